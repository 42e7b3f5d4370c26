"""URIs, endpoints and buckets are checked where they enter."""

from __future__ import annotations

import pytest

from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import InvalidLocation


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://my.bucket-1/a/b/", "s3://my.bucket-1/a/b"),
        ("file:///data/run", "file:///data/run"),
        ("file:///data/a%20b", "file:///data/a b"),
    ],
)
def test_a_good_uri_opens(uri: str, root: str) -> None:
    assert open_store(uri).uri == root


@pytest.mark.parametrize(
    ("uri", "endpoint", "says"),
    [
        ("bucket/prefix", None, "s3://bucket/prefix"),
        ("gs://bucket", None, "scheme"),
        ("s3://", None, "bucket"),
        ("s3://UPPER", None, "lower-case"),
        ("s3://a..b", None, "bucket"),
        ("s3://user@bucket", None, "bucket"),
        ("s3://bucket/a/../b", None, r"\.\."),
        ("file://relative", None, "absolute"),
        ("file:///a/../b", None, "absolute"),
        ("file:///", None, "below the root"),
        ("s3://bucket", "minio:9000", "http"),
        ("s3://bucket", "ftp://host", "http"),
        ("s3://bucket", "http://", "http"),
        ("s3://bucket", "http://host:99999", "endpoint"),
        ("s3://bucket", "http://key:secret@host", "credentials"),
        ("s3://bucket", "http://host/?x=1", "query"),
    ],
)
def test_a_wrong_location_is_refused_with_the_way_out(uri: str, endpoint: str | None, says: str) -> None:
    with pytest.raises(InvalidLocation, match=says):
        open_store(uri, endpoint=endpoint)


def test_an_endpoints_password_is_not_repeated() -> None:
    with pytest.raises(InvalidLocation) as caught:
        open_store("s3://bucket", endpoint="http://key:hunter2@host")
    assert "hunter2" not in str(caught.value)

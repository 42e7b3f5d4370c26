"""URIs, endpoints and buckets are checked where they enter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_checkpoint.open import PICTURE_SUFFIXES, open_location, open_store
from t2i_checkpoint.store import InvalidLocation

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.mark.parametrize(
    ("uri", "root", "key"),
    [
        ("s3://bucket/run", "s3://bucket/run", None),
        ("s3://bucket/run/", "s3://bucket/run", None),
        ("s3://bucket/a/b/v1-5.ckpt", "s3://bucket/a/b", "v1-5.ckpt"),
        ("s3://bucket/model.safetensors", "s3://bucket", "model.safetensors"),
        ("s3://bucket/epoch=3-step=500.ckpt", "s3://bucket", "epoch=3-step=500.ckpt"),
        ("s3://bucket/a%20b.pt", "s3://bucket", "a%20b.pt"),  # an S3 key is what it is
        ("s3://models.bin", "s3://models.bin", None),  # a bucket's name
        ("s3://bucket/folder.pt/", "s3://bucket/folder.pt", None),
        ("file:///data/a%20b.PT", "file:///data", "a b.PT"),
        ("/data/run/model.bin", "file:///data/run", "model.bin"),
        ("/data/../other/run", "file:///other/run", None),
    ],
)
def test_a_folder_or_one_file_is_opened_as_people_write_it(uri: str, root: str, key: str | None) -> None:
    location = open_location(uri)
    assert (location.store.uri, location.key) == (root, key)


def test_which_endings_are_a_file_is_the_callers_choice() -> None:
    location = open_location("s3://bucket/set/train.Parquet", suffixes=PICTURE_SUFFIXES)
    assert (location.store.uri, location.key) == ("s3://bucket/set", "train.Parquet")
    assert open_location("s3://bucket/set/model.bin", suffixes=PICTURE_SUFFIXES).key is None


def test_a_relative_path_is_one_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_location("runs/a b").store.uri == f"file://{tmp_path}/runs/a b"
    location = open_location("last.ckpt")
    assert (location.store.uri, location.key) == (f"file://{tmp_path}", "last.ckpt")


def test_a_local_folder_named_like_a_file_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "distributed.pt").mkdir()
    location = open_location(str(tmp_path / "distributed.pt"))
    assert (location.store.uri, location.key) == (f"file://{tmp_path}/distributed.pt", None)


@pytest.mark.parametrize(("uri", "says"), [("", "empty"), ("gs://bucket/x.pt", "scheme"), ("s3:///x.pt", "bucket")])
def test_what_names_no_place_is_refused(uri: str, says: str) -> None:
    with pytest.raises(InvalidLocation, match=says):
        open_location(uri)

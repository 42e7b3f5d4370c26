"""What is particular to S3: copies above CopyObject's limit, checksums, faults of the server, and secrets."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest

from t2i_checkpoint.s3 import S3Limits, S3Store
from t2i_checkpoint.s3_errors import translate
from t2i_checkpoint.store import (
    AccessDenied,
    AlreadyExists,
    Credentials,
    InvalidLocation,
    NotFound,
    NotSupported,
    ObjectChanged,
    StoreError,
    StoreUnavailable,
    content_sha256,
)
from t2i_dev.s3_server import S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024 * 1024
SMALL_PARTS = S3Limits(multipart_copy_above=8 * MIB, copy_part_size=5 * MIB, upload_part_size=5 * MIB)


def test_no_single_copy_request_takes_as_long_as_the_read_timeout() -> None:
    # CopyObject of 4 GiB ran under a timeout of 60 s. All copies at once, on a store that copies 35 MB a second:
    limits, timeout = S3Limits(), 60
    for size in (limits.multipart_copy_above, limits.copy_part_size):
        assert size * limits.copies / 36e6 < timeout


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """CopyObject refuses objects above 16 MiB here, as AWS does above 5 GiB."""
    with S3Server.start(tmp_path_factory.mktemp("strict"), copy_object_threshold_bytes=16 * MIB) as server:
        yield server


def connect(server: S3Server, limits: S3Limits | None = None, bucket: str | None = None) -> S3Store:
    credentials = Credentials(server.access_key, server.secret_key)
    prefix = uuid.uuid4().hex
    return S3Store(bucket or server.bucket, prefix, endpoint=server.endpoint, credentials=credentials, limits=limits)


def test_a_copy_above_copyobjects_limit_goes_in_parts(strict_server: S3Server, tmp_path: Path) -> None:
    store = connect(strict_server, SMALL_PARTS)
    path = tmp_path / "big"
    path.write_bytes(os.urandom(18 * MIB))
    store.upload("big", path)
    big = store.head("big")
    assert big is not None
    store.copy("big", "copy", source_etag=big.etag)
    copy = store.head("copy")
    assert copy is not None
    assert content_sha256(store, copy) == content_sha256(store, big)
    with pytest.raises(StoreError):
        connect(strict_server).copy("big", "x", source_etag=big.etag)


def test_a_copy_in_parts_carries_a_true_checksum_whatever_the_source_has(
    strict_server: S3Server, tmp_path: Path
) -> None:
    # versitygw 1.8 answers each part's copy with the checksum of the whole source and stores their combination, with
    # which every later checked read of the object fails. download_file checks.
    store = connect(strict_server, SMALL_PARTS)
    path, back = tmp_path / "big", tmp_path / "back"
    path.write_bytes(os.urandom(11 * MIB))
    store.upload("a", path)
    for source, target in (("a", "b"), ("b", "c"), ("c", "d")):
        info = store.head(source)
        assert info is not None
        store.copy(source, target, source_etag=info.etag)
    assert store.checksum("a") == store.checksum("c")
    assert store.checksum("b") == store.checksum("d")
    assert store.checksum("a") != store.checksum("b")
    assert store.read("d") == path.read_bytes()
    store.download("d", back)
    assert back.read_bytes() == path.read_bytes()


def test_a_copy_in_parts_is_bound_to_its_source_too(strict_server: S3Server, tmp_path: Path) -> None:
    store = connect(strict_server, SMALL_PARTS)
    path = tmp_path / "big"
    path.write_bytes(bytes(9 * MIB))
    store.upload("big", path)
    with pytest.raises(ObjectChanged):
        store.copy("big", "copy", source_etag="0" * 32)
    assert store.head("copy") is None


def test_an_upload_is_checked_over_the_whole_file(s3_store: S3Store, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"123456789")
    s3_store.upload("k", path)
    # CRC-32 of "123456789" is the published check value 0xCBF43926.
    assert str(s3_store.checksum("k")) == "CRC32:y/Q5Jg=="


def test_wrong_credentials_are_access_denied(s3_server: S3Server) -> None:
    for credentials in (Credentials("nobody", "x"), Credentials(s3_server.access_key, "wrong")):
        store = S3Store(s3_server.bucket, endpoint=s3_server.endpoint, credentials=credentials)
        with pytest.raises(AccessDenied, match="credentials"):
            list(store.list(""))


def test_an_absent_bucket_is_a_wrong_location(s3_server: S3Server) -> None:
    with pytest.raises(InvalidLocation, match="NoSuchBucket"):
        list(connect(s3_server, bucket="no-such-bucket").list(""))


def test_an_unreachable_endpoint_is_unavailable_within_seconds() -> None:
    store = S3Store("t2i", endpoint="http://127.0.0.1:1", credentials=Credentials("a", "b"))
    with pytest.raises(StoreUnavailable, match="reachable"):
        store.read("k")


def test_missing_credentials_say_which_variables_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID"):
        S3Store("t2i", endpoint="http://127.0.0.1:1").read("k")


def test_a_server_that_dies_between_calls_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    with S3Server.start(tmp_path) as server:
        store = connect(server)
        store.put("k", b"x")
        server.kill()
        with pytest.raises(StoreUnavailable):
            store.read("k")
        with server.restarted():
            assert store.read("k") == b"x"


def test_secrets_are_in_no_repr() -> None:
    assert "hidden" not in repr(Credentials("hidden", "hidden", "hidden"))


@pytest.mark.parametrize(
    ("code", "status", "operation", "kind"),
    [
        ("PreconditionFailed", 412, "create", AlreadyExists),
        ("PreconditionFailed", 412, "copy", ObjectChanged),
        ("412", 412, "head", ObjectChanged),
        ("ConditionalRequestConflict", 409, "create", StoreUnavailable),
        ("ObjectParentIsFile", 409, "put", InvalidLocation),
        ("NoSuchKey", 404, "read", NotFound),
        ("NoSuchBucket", 404, "list", InvalidLocation),
        ("AccessDenied", 403, "list", AccessDenied),
        ("403", 403, "head", AccessDenied),
        ("AccessDenied", 0, "delete", AccessDenied),
        ("SlowDown", 503, "put", StoreUnavailable),
        ("InternalError", 500, "put", StoreUnavailable),
        ("NotImplemented", 501, "delete", NotSupported),
        ("InvalidArgument", 400, "copy", NotSupported),
        ("RequestTimeout", 400, "put", StoreUnavailable),
        ("InternalError", 200, "copy", StoreUnavailable),
        ("PermanentRedirect", 301, "list", InvalidLocation),
    ],
)
def test_what_each_answer_means(code: str, status: int, operation: str, kind: type[StoreError]) -> None:
    error = translate(code, status, "text", uri="s3://b", operation=operation, key="k")
    assert type(error) is kind
    assert str(error).startswith(f"{operation} s3://b/k: {code}")


def test_a_refusal_names_the_permission_that_is_missing() -> None:
    error = translate("AccessDenied", 403, "", uri="s3://b", operation="delete", key="k")
    assert "needs s3:DeleteObject" in str(error)


def test_credentials_of_an_earlier_environment_are_not_used(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shared session kept what it had found first: a later client went on with keys that were gone."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    assert S3Store("t2i", "of-earlier", endpoint=s3_server.endpoint).head("k") is None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(AccessDenied):
        list(S3Store("t2i", "of-earlier", endpoint=s3_server.endpoint).list(""))

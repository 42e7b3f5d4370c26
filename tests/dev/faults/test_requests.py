"""Requests are read off the wire as S3 defines them (API reference, "Actions")."""

import pytest

from t2i_dev.faults import describe

COPY = {"x-amz-copy-source": "b/k"}


EFFECTS = [
    ("PUT", "/b/a%20b/c%2B", {}, "PutObject", ("a b/c+",)),
    ("PUT", "/b/k", COPY, "CopyObject", ("k",)),
    ("PUT", "/b/k?partNumber=1&uploadId=u", {}, "UploadPart", ("k",)),
    ("PUT", "/b/k?partNumber=1&uploadId=u", COPY, "UploadPartCopy", ("k",)),
    ("POST", "/b/k?uploads", {}, "CreateMultipartUpload", ("k",)),
    ("POST", "/b/k?uploadId=u", {}, "CompleteMultipartUpload", ("k",)),
    ("DELETE", "/b/k?uploadId=u", {}, "AbortMultipartUpload", ("k",)),
    ("DELETE", "/b/k", {}, "DeleteObject", ("k",)),
]
READS = [
    ("GET", "/b/k?uploadId=u", "ListParts"),
    ("GET", "/b?uploads&prefix=p", "ListMultipartUploads"),
    ("GET", "/b?list-type=2&prefix=p%2F", "ListObjectsV2"),
    ("GET", "/b/k", "GetObject"),
    ("HEAD", "/b/k", "HeadObject"),
]


@pytest.mark.parametrize(("method", "path", "headers", "action", "keys"), EFFECTS)
def test_a_side_effect_its_action_and_the_keys_that_it_may_change(
    method: str, path: str, headers: dict[str, str], action: str, keys: tuple[str, ...]
) -> None:
    request = describe(method, path, headers, b"")
    assert (request.action, request.keys, request.is_effect) == (action, keys, True)


@pytest.mark.parametrize(("method", "path", "action"), READS)
def test_what_only_reads_is_no_side_effect(method: str, path: str, action: str) -> None:
    request = describe(method, path, {}, b"")
    assert (request.action, request.is_effect) == (action, False)


def test_a_deletion_of_many_keys_names_them_all() -> None:
    body = b"<Delete><Object><Key>a &amp; b</Key></Object><Object><Key>c</Key></Object><Quiet>true</Quiet></Delete>"
    assert describe("POST", "/b?delete", {}, body).keys == ("a & b", "c")


def test_a_listing_tells_its_prefix() -> None:
    assert describe("GET", "/b?list-type=2&prefix=jobs%2Fa", {}, b"").prefix == "jobs/a"

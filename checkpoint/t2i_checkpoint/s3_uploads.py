"""Open uploads in parts: found, described, written down, gone on with, ended. `s3_multipart.py` fills them.

Where a destination belongs to the caller alone, every upload that is open there is an own one, broken off. Elsewhere
other programs may be uploading: own uploads are written down as notes below a prefix of the caller's, and only those
count. Killed between the creation and its note, an upload without parts stays, which costs nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from t2i_checkpoint.s3_connection import ClientError, error_code, error_status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from t2i_checkpoint.s3_connection import S3Connection
    from t2i_checkpoint.store import Checksum

_MOST_PARTS = 10_000  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_MOST_NOTE_BYTES = 4096
_UNTOLD = {403, 404, 405, 501}  # the store cannot or may not tell


@dataclass(frozen=True)
class Part:
    """Bytes `start` to `end` (exclusive) under a number from 1."""

    number: int
    start: int
    end: int

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.end - self.start


@dataclass(frozen=True)
class OpenUpload:
    """An upload that may be gone on with; `algorithm` is None where a store does not list it."""

    upload_id: str
    algorithm: str | None


@dataclass(frozen=True)
class Destination:
    """Where to copy, and which open uploads there are the caller's own: all, those noted below `notes`, or none."""

    key: str
    exclusive: bool = False
    notes: str | None = None

    @property
    def can_go_on(self) -> bool:
        """Whether an upload that is broken off now will be found again."""
        return self.exclusive or self.notes is not None


def plan_parts(size: int, part_size: int) -> list[Part]:
    """Cut `size` bytes into parts, bigger ones where there would be too many."""
    step = max(part_size, -(-size // _MOST_PARTS))
    return [Part(n, start, min(start + step, size)) for n, start in enumerate(range(0, size, step), start=1)]


def describe_part(number: int, answer: dict[str, Any]) -> dict[str, Any]:
    """Return what CompleteMultipartUpload wants to hear of a part."""
    sums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
    return {"PartNumber": number, "ETag": answer["ETag"], **sums}


def has_whole_checksum(part: dict[str, Any], checksum: Checksum | None) -> bool:
    """Whether a part came back with the checksum of the whole source."""
    return checksum is not None and part.get(f"Checksum{checksum.algorithm}") == checksum.value


def own_uploads(connection: S3Connection, destination: Destination) -> list[OpenUpload]:
    """Return the caller's open uploads to `destination`."""
    if destination.exclusive:
        found = _listed(connection, destination.key)
        key = connection.root + destination.key
        return [OpenUpload(each["UploadId"], each.get("ChecksumAlgorithm")) for each in found if each["Key"] == key]
    if destination.notes is not None:
        return [upload for _, upload in _noted(connection, destination.notes, destination.key)]
    return []


def resumable(
    connection: S3Connection, destination: Destination, algorithm: str, plan: list[Part], checksum: Checksum | None
) -> tuple[str | None, dict[int, dict[str, Any]]]:
    """Return the own open upload to `destination` that holds most of `plan`, and its parts by number."""
    sizes = {part.number: part.size for part in plan}
    best: tuple[str | None, dict[int, dict[str, Any]]] = (None, {})
    for upload in own_uploads(connection, destination):
        try:
            listed = list(_parts(connection, destination.key, upload.upload_id))
        except ClientError as error:
            if error_status(error) in _UNTOLD:  # ended meanwhile, too
                continue
            raise
        described = {part["PartNumber"]: describe_part(part["PartNumber"], part) for part in listed}
        fits = (
            upload.algorithm in {None, algorithm}
            # Another part size would put other bytes under the same number.
            and all(sizes.get(part["PartNumber"]) == part["Size"] for part in listed)
            and all(f"Checksum{algorithm}" in part for part in described.values())
            and not (len(plan) > 1 and any(has_whole_checksum(part, checksum) for part in described.values()))
        )
        if fits and (best[0] is None or len(described) > len(best[1])):
            best = upload.upload_id, described
    return best


def begin_upload(connection: S3Connection, destination: Destination, algorithm: str) -> str:
    """Create an upload and write it down where that is asked for."""
    upload_id = connection.client.create_multipart_upload(
        **connection.place(destination.key),
        ChecksumAlgorithm=algorithm,  # type: ignore[arg-type]  # one of botocore's literals
        ChecksumType="FULL_OBJECT",
    )["UploadId"]
    if destination.notes is not None:
        note = json.dumps({"uploadId": upload_id, "checksumAlgorithm": algorithm}).encode()
        name = f"{_folder(destination.key)}{hashlib.sha256(upload_id.encode()).hexdigest()[:32]}.json"
        try:
            connection.client.put_object(
                **connection.place(destination.notes + name), Body=note, ChecksumAlgorithm="SHA256"
            )
        except BaseException:
            abort_upload(connection, destination.key, upload_id)
            raise
    return upload_id


def abort_upload(connection: S3Connection, key: str, upload_id: str) -> bool:
    """Abort one upload; False where it had ended already or the store refused."""
    try:
        connection.client.abort_multipart_upload(**connection.place(key), UploadId=upload_id)
    except ClientError:
        return False
    return True


def abort_uploads(connection: S3Connection, prefix: str) -> int:
    """Abort every open upload below `prefix`, which must belong to the caller alone; returns how many."""
    found = list(_listed(connection, prefix))
    return sum(abort_upload(connection, u["Key"].removeprefix(connection.root), u["UploadId"]) for u in found)


def end_noted_uploads(connection: S3Connection, notes: str, keys: Iterable[str]) -> None:
    """Abort what is still open of the uploads to `keys` that are noted below `notes`, and remove the notes."""
    folders = {_folder(key): key for key in keys}
    for item in list(_objects(connection, notes)):
        key = folders.get(item.removeprefix(notes).partition("/")[0] + "/")
        if key is None:
            continue
        for note, upload in _noted(connection, notes, key, only=item):
            abort_upload(connection, key, upload.upload_id)
            connection.client.delete_object(**connection.place(note))


def has_ended(error: BaseException) -> bool:
    """Whether `error` says that somebody completed or aborted the upload."""
    return isinstance(error, ClientError) and error_code(error) == "NoSuchUpload"


def _folder(key: str) -> str:
    return f"{hashlib.sha256(key.encode()).hexdigest()[:32]}/"


def _noted(connection: S3Connection, notes: str, key: str, only: str | None = None) -> Iterator[tuple[str, OpenUpload]]:
    for note in [only] if only else list(_objects(connection, f"{notes}{_folder(key)}")):
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):  # no note of ours
            body = connection.client.get_object(**connection.place(note))["Body"].read(_MOST_NOTE_BYTES)
            document = json.loads(body)
            yield note, OpenUpload(str(document["uploadId"]), str(document["checksumAlgorithm"]))


def _objects(connection: S3Connection, prefix: str) -> Iterator[str]:
    pages = connection.client.get_paginator("list_objects_v2").paginate(
        Bucket=connection.bucket, Prefix=connection.root + prefix
    )
    for page in pages:
        for item in page.get("Contents", []):
            yield item["Key"].removeprefix(connection.root)


def _listed(connection: S3Connection, prefix: str) -> Iterator[dict[str, Any]]:
    """List open uploads; nothing where the store cannot or may not tell: then there is nothing to go on with."""
    try:
        pages = connection.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=connection.bucket, Prefix=connection.root + prefix
        )
        for page in pages:
            for upload in page.get("Uploads", []):
                if "UploadId" in upload and upload.get("Key", "").startswith(connection.root + prefix):
                    yield dict(upload)
    except ClientError as error:
        if error_status(error) not in _UNTOLD:
            raise


def _parts(connection: S3Connection, key: str, upload_id: str) -> Iterator[dict[str, Any]]:
    paginator = connection.client.get_paginator("list_parts")
    for page in paginator.paginate(**connection.place(key), UploadId=upload_id):
        for part in page.get("Parts", []):
            yield dict(part)

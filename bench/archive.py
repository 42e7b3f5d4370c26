"""How fast checkpoints are archived over a real S3 server, against plain boto3 that copies one object after another.

The archive copies, verifies, commits and deletes; the plain copy only copies: boto3's managed `copy` in one thread.
Both run in turn on the same objects: sparse files with the attributes that the server itself writes, and a mark of its
own every 16 MiB, so that parts in a wrong order would show. The copies are real; what lies in the archive is read as
the server's own file in the end. One is above 5 GiB, which CopyObject does not take. Run `python bench/archive.py`.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import tempfile
import time
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from boto3.s3.transfer import TransferConfig

from t2i_checkpoint.archive import run_archive
from t2i_checkpoint.archive_documents import ArchivedFolder, ArchiveEntry, ArchiveIntent
from t2i_checkpoint.s3 import S3Store
from t2i_checkpoint.store import Credentials
from t2i_dev.s3_server import REGION, S3Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_checkpoint.archive import ArchiveManifest

MIB, GIB = 1024**2, 1024**3
MARK_EVERY, MARK_BYTES = 16 * MIB, 64
COPY_OBJECT_LIMIT = 5 * GIB  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
FOLDER = "checkpoint-5000"
MOVED = ArchivedFolder(folder=FOLDER, step=5000, verdict="foreign", reason="NamesDiffer", explanation="a benchmark")


@dataclass(frozen=True)
class Workload:
    """What is archived: `lay` puts it into the server's directory below a prefix; `repeats` is how often."""

    name: str
    lay: Callable[[Path], None]
    repeats: int


def lay_many(objects: int, size: int) -> Callable[[Path], None]:
    """Return what writes ordinary objects."""

    def lay(folder: Path) -> None:
        for number in range(objects):
            lay_object(folder / f"shard-{number:05d}.safetensors", size)

    return lay


def lay_object(path: Path, size: int) -> None:
    """Write a sparse object with marks, as the server would have left it after an upload with a CRC32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
        for position in range(0, size - MARK_BYTES, MARK_EVERY):
            file.seek(position)
            file.write(position.to_bytes(MARK_BYTES, "little"))
    checksums = {"Algorithm": "CRC32", "Type": "FULL_OBJECT", "CRC32": crc32_of(path)}
    os.setxattr(path, "user.etag", b'"%032x"' % size)
    os.setxattr(path, "user.checksums", json.dumps(checksums).encode())


def crc32_of(path: Path) -> str:
    """Return a file's CRC32 as S3 writes it."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(MARK_EVERY):
            value = zlib.crc32(block, value)
    return base64.b64encode(value.to_bytes(4, "big")).decode()


@dataclass(frozen=True)
class Bench:
    """A server and two ways to copy."""

    server: S3Server

    def run(self, workload: Workload) -> dict[str, Any]:
        """Time both ways in turn; sizes in bytes, times in seconds."""
        plain, archive, verify = [], [], ""
        size = objects = requests = 0
        for number in range(workload.repeats):
            prefix = f"{workload.name}-{number}"
            files = self.server.directory / "data" / self.server.bucket / prefix
            workload.lay(files / FOLDER)
            store = self._store(prefix)
            infos = list(store.list(FOLDER))
            laid = {info.key: crc32_of(files / info.key) for info in infos}
            size, objects = sum(info.size for info in infos), len(infos)
            plain.append(self._plain_copy(prefix, [info.key for info in infos]))
            before, started = store.traffic, time.monotonic()
            manifest = run_archive(store, self._intent(store))
            archive.append(time.monotonic() - started)
            requests = store.traffic.since(before).requests
            verify = ", ".join(sorted({item.verified_by for item in manifest.objects}))
            expect_moved(store, manifest, files, laid)
            store.delete([info.key for info in store.list("")])
        best = {"plainSeconds": statistics.median(plain), "archiveSeconds": statistics.median(archive)}
        return {
            "name": workload.name,
            "objects": objects,
            "bytes": size,
            "verifiedBy": verify,
            "requests": requests,
            "repeats": workload.repeats,
            **best,
            "throughputRatio": best["plainSeconds"] / best["archiveSeconds"],
        }

    def _store(self, prefix: str) -> S3Store:
        credentials = Credentials(self.server.access_key, self.server.secret_key)
        return S3Store(self.server.bucket, prefix, endpoint=self.server.endpoint, credentials=credentials)

    def _intent(self, store: S3Store) -> ArchiveIntent:
        name, now = "20251214T221758Z-bench", datetime.now(UTC)
        entries = tuple(
            ArchiveEntry(
                source=info.key,
                destination=f"archive/{name}/{info.key}",
                size=info.size,
                etag=info.etag,
                modified_at=info.modified_at,
            )
            for info in store.list(FOLDER)
        )
        return ArchiveIntent(name=name, created_at=now, folders=(MOVED,), entries=entries)

    def _plain_copy(self, prefix: str, keys: list[str]) -> float:
        client = boto3.client(
            "s3",
            endpoint_url=self.server.endpoint,
            aws_access_key_id=self.server.access_key,
            aws_secret_access_key=self.server.secret_key,
            region_name=REGION,
        )
        one_thread = TransferConfig(use_threads=False, multipart_threshold=COPY_OBJECT_LIMIT)
        bucket = self.server.bucket
        started = time.monotonic()
        for key in keys:
            source: Any = {"Bucket": bucket, "Key": f"{prefix}/{key}"}
            client.copy(source, bucket, f"{prefix}/plain/{key}", Config=one_thread)
        seconds = time.monotonic() - started
        for key in keys:  # room for the next copy
            client.delete_object(Bucket=bucket, Key=f"{prefix}/plain/{key}")
        return seconds


def expect_moved(store: S3Store, manifest: ArchiveManifest, files: Path, laid: dict[str, str]) -> None:
    """Look past the code under test: `files` is where the server keeps the prefix, `laid` has each object's CRC32."""
    left = list(store.list(FOLDER))
    moved = {item.source: crc32_of(files / item.destination) for item in manifest.objects}
    if left or moved != laid:
        raise RuntimeError(f"the archive is not what was asked for: {len(left)} objects are left, {moved} for {laid}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--repeats", type=int, default=3, help="times the many objects are archived (default 3)")
    parser.add_argument("--objects", type=int, default=16, help="how many of them (default 16)")
    parser.add_argument("--object-mib", type=int, default=64, help="size of each in MiB (default 64)")
    parser.add_argument(
        "--big-gib", type=float, default=5.1, help="size of the one big object; 0 for none (default 5.1)"
    )
    parser.add_argument("--directory", type=Path, help="where the server keeps its objects (default: a temporary one)")
    arguments = parser.parse_args()
    workloads = [Workload("many", lay_many(arguments.objects, arguments.object_mib * MIB), arguments.repeats)]
    if arguments.big_gib:
        big = int(arguments.big_gib * GIB)
        workloads.append(Workload("big", lambda folder: lay_object(folder / "model.safetensors", big), 1))
    with (
        tempfile.TemporaryDirectory(dir=arguments.directory) as directory,
        # CopyObject refuses what AWS refuses.
        S3Server.start(Path(directory), copy_object_threshold_bytes=COPY_OBJECT_LIMIT) as server,
    ):
        for workload in workloads:
            report(Bench(server).run(workload), as_json=arguments.json)


def report(found: dict[str, Any], *, as_json: bool) -> None:
    """Print one workload's figures."""
    if as_json:
        print(json.dumps(found))  # noqa: T201  # the command's output
        return
    print(  # noqa: T201  # the command's output
        f"{found['name']}: {found['objects']} object(s), {found['bytes'] / 1e9:.2f} GB; plain boto3 copies it in "
        f"{found['plainSeconds']:.1f} s, the archive copies, verifies ({found['verifiedBy']}) and deletes it in "
        f"{found['archiveSeconds']:.1f} s: {found['throughputRatio']:.2f} times the throughput"
    )


if __name__ == "__main__":
    main()

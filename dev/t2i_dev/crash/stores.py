"""A bucket seen past the code under test: filled and listed by plain boto3, read as the server's own files."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from t2i_dev.faults.answers import ListedObject
from t2i_dev.s3_server import REGION, S3Server

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
else:
    S3Client = Any


@dataclass(frozen=True)
class TestedStore:
    """A running S3 implementation with a bucket; `files` is where it keeps objects as plain files, if it does."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    files: Path | None = None

    @classmethod
    def of(cls, server: "S3Server | TestedStore") -> "TestedStore":
        """The default server, whose objects lie as plain files; or another one as it is."""
        if isinstance(server, TestedStore):
            return server
        files = server.directory / "data" / server.bucket
        return cls("versitygw", server.endpoint, server.access_key, server.secret_key, server.bucket, files)

    def environment(self) -> dict[str, str]:
        """What boto3 reads to use this store by default."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def independent(self) -> "IndependentReader":
        """Return a way into the bucket that shares nothing with the code under test."""
        return IndependentReader(self)


class IndependentReader:
    """Reads and writes whole prefixes."""

    def __init__(self, store: TestedStore) -> None:
        self._store = store
        self._client: S3Client = boto3.client(
            "s3",
            endpoint_url=store.endpoint,
            aws_access_key_id=store.access_key,
            aws_secret_access_key=store.secret_key,
            region_name=REGION,
            config=Config(s3={"addressing_style": "path"}, proxies={}),
        )

    def fill(self, prefix: str, objects: Mapping[str, bytes]) -> None:
        """Write every object."""
        for key, content in objects.items():
            self._client.put_object(
                Bucket=self._store.bucket, Key=prefix + key, Body=content, ChecksumAlgorithm="SHA256"
            )

    def fill_again(self, template: str, prefix: str, objects: Mapping[str, bytes]) -> None:
        """Write what `fill` wrote below `template` once more: as a copy of the server's own files, if it has such."""
        if self._store.files is None:
            self.fill(prefix, objects)
        else:  # with extended attributes, where versitygw keeps ETag and checksums: as if they had been put
            shutil.copytree(self._store.files / template, self._store.files / prefix)

    def remove(self, prefix: str, keys: Iterable[str]) -> None:
        """Delete these keys."""
        for key in keys:
            self._client.delete_object(Bucket=self._store.bucket, Key=prefix + key)

    def read(self, prefix: str) -> dict[str, bytes]:
        """Return everything below `prefix` (ends with a slash), keys relative to it."""
        if self._store.files is not None:
            root = self._store.files / prefix
            paths = [path for path in root.rglob("*") if path.is_file()]
            return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
        return {
            each.key.removeprefix(prefix): self._client.get_object(Bucket=self._store.bucket, Key=each.key)[
                "Body"
            ].read()
            for each in self.listing(prefix)
        }

    def listing(self, prefix: str) -> tuple[ListedObject, ...]:
        """Return what a listing shows now, keys as the bucket has them."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._store.bucket, Prefix=prefix)
        return tuple(
            ListedObject(item["Key"], item["Size"], item["ETag"], item["LastModified"])
            for page in pages
            for item in page.get("Contents", [])
        )

    def open_uploads(self, prefix: str) -> list[str]:
        """Return the keys of multipart uploads that hold parts (which are paid for) and that nobody ended.

        An upload without parts costs nothing, and whoever lost the answer to its creation cannot know of it.
        """
        bucket = self._store.bucket
        found = self._client.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", [])
        return [
            upload["Key"]
            for upload in found
            if self._client.list_parts(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]).get("Parts")
        ]

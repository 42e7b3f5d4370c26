"""The one boto3 client of an `S3Store`, where it points to, what it has cost, and what its errors mean.

The only module that imports boto3. Every botocore error leaves as one of our `StoreError`s.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from t2i_checkpoint.s3_errors import translate
from t2i_checkpoint.s3_requests import tell_of_requests
from t2i_checkpoint.store import AccessDenied, NotSupported, StoreError, StoreUnavailable, TrafficMeter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from types_boto3_s3 import S3Client

    from t2i_checkpoint.store import Credentials, StoreListener

__all__ = ["ClientError", "S3Connection", "S3Limits", "error_code", "error_status"]

_MIB = 1024 * 1024


@dataclass(frozen=True)
class S3Limits:
    """Sizes in bytes, counts and times that bound one store's use of network and memory."""

    # One request must end within the read timeout, eight of them side by side on a slow store too (0110).
    multipart_copy_above: int = 256 * _MIB
    copy_part_size: int = 64 * _MIB  # also what a kill makes copy again
    create_by_put_up_to: int = _MIB  # a create-only copy of more goes in parts, on the server's side
    upload_part_size: int = 64 * _MIB
    concurrency: int = 4  # parts of one object, up and down or copied
    copies: int = 8  # server-side copies at once in all
    appears_within_seconds: float = 600.0  # a copy that the server calls complete


class S3Connection:
    """`client` and its bucket and prefix; thread-safe. `copy_slots` bounds the copies that a server works on for us."""

    def __init__(  # noqa: PLR0913  # keyword-only: one call site, s3.py
        self,
        bucket: str,
        prefix: str,
        *,
        endpoint: str | None,
        credentials: Credentials | None,
        region: str | None,
        limits: S3Limits,
        heard: StoreListener | None = None,
    ) -> None:
        self.bucket = bucket
        self.root = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.limits = limits
        self.meter = TrafficMeter()
        self.client = _client(endpoint, credentials, region, limits)
        self.client.meta.events.register("before-send.s3", self._count_request)
        if heard is not None:
            tell_of_requests(self.client, heard)
        self.copy_slots = threading.BoundedSemaphore(limits.copies)
        self.transfer = TransferConfig(
            multipart_threshold=limits.upload_part_size,
            multipart_chunksize=limits.upload_part_size,
            max_concurrency=limits.concurrency,
        )

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self.bucket}/{self.root}".rstrip("/")

    def place(self, key: str) -> dict[str, Any]:
        """Return the request parameters that name an object."""
        return {"Bucket": self.bucket, "Key": self.root + key}

    def unavailable(self, what: str, operation: str, key: str, way_out: str = "Run again") -> StoreUnavailable:
        """Return the error for something that may go better the next time."""
        return StoreUnavailable(what, uri=self.uri, operation=operation, key=key, way_out=way_out)

    def senseless(self, what: str, operation: str, key: str) -> NotSupported:
        """Return the error for an answer that means nothing."""
        return NotSupported(what, uri=self.uri, operation=operation, key=key, way_out="Run again")

    @contextlib.contextmanager
    def translated(self, operation: str, key: str | None) -> Iterator[None]:
        """Turn whatever botocore raises into the `StoreError` that it means."""
        place: dict[str, Any] = {"uri": self.uri, "operation": operation, "key": key}
        try:
            yield
        except StoreError:
            raise
        except ClientError as error:
            raise translate(error_code(error), error_status(error), _message(error), **place) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise AccessDenied(
                str(error), **place, way_out="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        except (BotoCoreError, boto3.exceptions.Boto3Error, OSError) as error:
            raise StoreUnavailable(
                f"{type(error).__name__}: {error}", **place, way_out="Check that the endpoint is reachable"
            ) from error

    def _count_request(self, **_event: Any) -> None:
        self.meter.add(requests=1)


def error_status(error: ClientError) -> int:
    """Return the HTTP status of an error answer, 0 where there was none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def error_code(error: ClientError) -> str:
    """Return S3's error code, `?` where there was none."""
    return error.response.get("Error", {}).get("Code", "?")


def _message(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Message", "")


def _client(endpoint: str | None, credentials: Credentials | None, region: str | None, limits: S3Limits) -> S3Client:
    config = Config(
        signature_version="s3v4",
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=max(16, limits.concurrency + limits.copies),
        # A custom endpoint rarely has a DNS name for every bucket.
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    keys: dict[str, Any] = {}
    if credentials is not None:
        keys = {
            "aws_access_key_id": credentials.access_key_id,
            "aws_secret_access_key": credentials.secret_access_key,
            "aws_session_token": credentials.session_token,
        }
    # boto3 makes clients safely in one thread at a time only; the clients themselves may be shared.
    with _MAKING_CLIENT:
        return _session(_ambient()).client(
            "s3", region_name=region or "us-east-1", endpoint_url=endpoint, config=config, **keys
        )


_MAKING_CLIENT = threading.Lock()


@functools.lru_cache(maxsize=1)
def _session(_environment: tuple[tuple[str, str], ...]) -> boto3.session.Session:
    """Return the session of this process: S3's service model costs 12 MB in every session, nothing in a shared one.

    A session keeps the credentials that it once found, so another environment gets another one.
    """
    return boto3.session.Session()


def _ambient() -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))

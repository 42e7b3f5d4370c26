"""Other S3 implementations that the checkpoint code is held against: SeaweedFS, and the least that calls itself S3.

SeaweedFS (Apache-2.0) is a second real one: signatures, conditions, checksums, its own errors. moto's server checks no
signature, keeps no checksum and ignores conditions on copies: what the code does there is what it does at the worst.
"""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from t2i_dev.crash.stores import TestedStore
from t2i_dev.ports import free_ports
from t2i_dev.processes import ProcessIdentity, spawn, wait_until
from t2i_dev.s3_server import DEFAULT_BUCKET, REGION
from t2i_dev.tools import SEAWEEDFS, program

_START_SECONDS = 120.0
_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
_MORE_PORTS = ("admin.port", "admin.port.grpc", "s3.port.grpc")
_OFF = ("-master.telemetry=false", "-webdav=false", "-admin.ui=false")
_NO_PORTS = ("-s3.port.iceberg=0", "-s3.port.lance=0", "-admin.port.legacy=0")


@contextmanager
def seaweedfs(directory: Path) -> Iterator[TestedStore]:
    """Run SeaweedFS with a bucket; built on first use (about ten minutes), seconds to start, up to 1 GB of memory."""
    names = (*_PORTS, *_MORE_PORTS)
    port, *others = free_ports(1 + len(names))
    access_key, secret_key = f"AK{secrets.token_hex(9).upper()}", secrets.token_urlsafe(30)
    argv = [str(program(SEAWEEDFS, "weed")), "mini", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    argv += [*_OFF, *_NO_PORTS, f"-s3.port={port}", *(f"-{n}={p}" for n, p in zip(names, others, strict=True))]
    store = TestedStore("SeaweedFS", f"http://127.0.0.1:{port}", access_key, secret_key, DEFAULT_BUCKET)
    environment = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    with _running(argv, directory, environment, store):
        yield store


@contextmanager
def moto(directory: Path) -> Iterator[TestedStore]:
    """Run moto's server with a bucket; everything is lost at the end."""
    port = free_ports(1)[0]
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    store = TestedStore("moto", f"http://127.0.0.1:{port}", "any", "any", DEFAULT_BUCKET)
    with _running(argv, directory, {}, store):
        yield store


@contextmanager
def _running(argv: list[str], directory: Path, environment: dict[str, str], store: TestedStore) -> Iterator[None]:
    log = directory / "server.log"
    process: ProcessIdentity = spawn(argv, log=log, environment=environment, die_with_parent=True)
    try:
        wait_until(
            lambda: _has_bucket(store),
            f"{store.name} at {store.endpoint}",
            timeout_seconds=_START_SECONDS,
            process=process,
            log=log,
            poll_seconds=0.5,
        )
        yield
    finally:
        process.stop()


def _has_bucket(store: TestedStore) -> bool:
    """Create the bucket as soon as the server does such things."""
    client = boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        region_name=REGION,
        config=Config(
            s3={"addressing_style": "path"}, connect_timeout=2, read_timeout=20, retries={"total_max_attempts": 1}
        ),
    )
    try:
        client.create_bucket(Bucket=store.bucket)
        client.put_object(Bucket=store.bucket, Key="ready", Body=b"")
    except (BotoCoreError, ClientError):
        return False
    return True

"""The S3 server of tests, demo and development cluster: versitygw over a directory.

versitygw (Apache-2.0) checks real signatures and checksums and gets conditional writes right in races, which S3 test
doubles do not.
"""

import secrets
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import boto3
from botocore.config import Config

from t2i_dev.errors import ComponentFailedError
from t2i_dev.ports import accepts_connections, free_ports
from t2i_dev.processes import ProcessIdentity, spawn, wait_until
from t2i_dev.tools import VERSITYGW, program

REGION = "us-east-1"
DEFAULT_BUCKET = "t2i"
LOG_NAME = "server.log"
START_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 server. Objects lie as plain files below `directory`/data/<bucket>."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str
    directory: Path
    process: ProcessIdentity
    argv: tuple[str, ...]
    die_with_parent: bool = False
    marks: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def start(  # noqa: PLR0913  # independent knobs of one server, all with defaults
        cls,
        directory: Path,
        *,
        address: str = "127.0.0.1",
        port: int | None = None,
        bucket: str = DEFAULT_BUCKET,
        copy_object_threshold_bytes: int | None = None,
        command_prefix: Sequence[str] = (),
        die_with_parent: bool = True,
        access_key: str | None = None,
        secret_key: str | None = None,
        marks: Mapping[str, str] | None = None,
    ) -> Self:
        """Start a server on a free port, with random credentials and one bucket; ready when this returns (0.3 s).

        `copy_object_threshold_bytes` makes CopyObject refuse bigger objects, as AWS does above 5 GiB.
        `command_prefix` runs the server elsewhere, e.g. in a network namespace; `marks` are added to its environment
        so that its owner recognises it. Raises `ComponentFailedError`
        with the server's own words when it does not come up.
        """
        (directory / "data").mkdir(parents=True, exist_ok=True)
        port = port or free_ports(1)[0]
        argv = [*command_prefix, str(program(VERSITYGW)), "--port", f"{address}:{port}", "--region", REGION]
        argv += ["--quiet", "--access-log", str(directory / "access.log")]
        if copy_object_threshold_bytes is not None:
            argv += ["--copy-object-threshold", str(copy_object_threshold_bytes)]
        argv += ["posix", str(directory / "data")]
        access_key = access_key or f"AK{secrets.token_hex(9).upper()}"
        secret_key = secret_key or secrets.token_urlsafe(30)
        marks = dict(marks or {})
        environment = {**marks, **server_credentials(access_key, secret_key)}
        process = spawn(argv, log=directory / LOG_NAME, environment=environment, die_with_parent=die_with_parent)
        endpoint = f"http://{address}:{port}"
        server = cls(endpoint, access_key, secret_key, bucket, directory, process, tuple(argv), die_with_parent, marks)
        server.wait_ready()
        server.create_bucket(bucket)
        return server

    @property
    def access_log(self) -> Path:
        """One line a request, in the format of S3 server access logs."""
        return self.directory / "access.log"

    def environment(self) -> dict[str, str]:
        """What boto3 and the AWS command line read to use this server by default."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def create_bucket(self, name: str) -> None:
        """Create a bucket; one that is there already stays as it is."""
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
            config=Config(retries={"mode": "standard", "total_max_attempts": 5}, proxies={}),
        )
        if name not in {each["Name"] for each in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=name)

    def kill(self) -> None:
        """SIGKILL: what a crash of the store looks like."""
        self.process.stop(signal.SIGKILL)

    def restarted(self) -> Self:
        """The same server, on the same port with the same credentials and objects, started again."""
        self.process.stop()
        environment = {**self.marks, **server_credentials(self.access_key, self.secret_key)}
        log = self.directory / LOG_NAME
        process = spawn(self.argv, log=log, environment=environment, die_with_parent=self.die_with_parent)
        server = replace(self, process=process)
        server.wait_ready()
        return server

    def wait_ready(self) -> None:
        """Return once the server accepts connections."""
        address, _, port = self.endpoint.removeprefix("http://").rpartition(":")
        wait_until(
            lambda: accepts_connections(address, int(port)),
            f"S3 server at {self.endpoint}",
            timeout_seconds=START_TIMEOUT_SECONDS,
            process=self.process,
            log=self.directory / LOG_NAME,
        )
        if not self.process.alive:
            raise ComponentFailedError(f"S3 server at {self.endpoint}: another process answers on its port")

    def stop(self) -> None:
        """Stop the server; the objects stay in `directory`."""
        self.process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def server_credentials(access_key: str, secret_key: str) -> dict[str, str]:
    """The server's own credentials: through its environment, since arguments are readable by every user."""
    return {"ROOT_ACCESS_KEY_ID": access_key, "ROOT_SECRET_ACCESS_KEY": secret_key}

from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from t2i_dev.s3_server import REGION, S3Server

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
else:
    S3Client = Any


def client_of(server: S3Server, *, secret_key: str | None = None) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=secret_key or server.secret_key,
        region_name=REGION,
    )


def test_it_serves_its_bucket_to_whoever_holds_the_keys(s3_server: S3Server) -> None:
    client = client_of(s3_server)
    client.put_object(Bucket=s3_server.bucket, Key="test-s3/hello", Body=b"hello")
    assert client.get_object(Bucket=s3_server.bucket, Key="test-s3/hello")["Body"].read() == b"hello"


def test_it_refuses_a_wrong_signature(s3_server: S3Server) -> None:
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client_of(s3_server, secret_key="guess").list_buckets()


def test_its_secret_is_neither_printed_nor_visible_in_the_process_list(s3_server: S3Server) -> None:
    assert s3_server.secret_key not in repr(s3_server)
    process = s3_server.process.process()
    assert process is not None
    assert s3_server.secret_key not in " ".join(process.cmdline())


def test_objects_survive_a_crash(tmp_path: Path) -> None:
    with S3Server.start(tmp_path) as server:
        client_of(server).put_object(Bucket=server.bucket, Key="a", Body=b"1")
        server.kill()
        restarted = server.restarted()
        assert restarted.endpoint == server.endpoint
        assert client_of(restarted).get_object(Bucket=server.bucket, Key="a")["Body"].read() == b"1"
        restarted.stop()
    assert not restarted.process.alive


def test_two_servers_run_side_by_side(s3_server: S3Server, tmp_path: Path) -> None:
    with S3Server.start(tmp_path) as other:
        assert other.endpoint != s3_server.endpoint
        assert other.access_key != s3_server.access_key


def test_copying_above_the_threshold_is_refused_as_by_aws(tmp_path: Path) -> None:
    with S3Server.start(tmp_path, copy_object_threshold_bytes=1 << 20) as server:
        client = client_of(server)
        client.put_object(Bucket=server.bucket, Key="big", Body=bytes((1 << 20) + 1))
        source = {"Bucket": server.bucket, "Key": "big"}
        with pytest.raises(ClientError, match="InvalidRequest"):
            client.copy_object(Bucket=server.bucket, Key="copy", CopySource=source)  # type: ignore[arg-type]


def test_every_request_is_in_the_access_log(s3_server: S3Server) -> None:
    client_of(s3_server).put_object(Bucket=s3_server.bucket, Key="test-s3/logged", Body=b"")
    assert "test-s3/logged" in s3_server.access_log.read_text()

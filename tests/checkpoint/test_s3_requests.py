"""Every request to an S3 server is told, with what came back: also one that fails, also one that never arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_checkpoint.open import open_location, open_store
from t2i_checkpoint.store import Credentials, NotFound, StoreRequest, StoreUnavailable
from t2i_dev.ports import free_ports

if TYPE_CHECKING:
    from t2i_dev.s3_server import S3Server


def test_requests_are_told_by_operation_and_status(s3_server: S3Server) -> None:
    heard: list[StoreRequest] = []
    store = open_store(
        f"s3://{s3_server.bucket}/requests",
        endpoint=s3_server.endpoint,
        credentials=Credentials(s3_server.access_key, s3_server.secret_key),
        heard=heard.append,
    )
    store.create("a", b"one")
    store.read("a")
    with pytest.raises(NotFound):
        store.read("b")
    assert [(request.operation, request.code) for request in heard] == [
        ("PutObject", "200"),
        ("GetObject", "200"),
        ("GetObject", "404"),
    ]
    assert len(heard) == store.traffic.requests
    assert all(0 < request.seconds < 60 for request in heard)


def test_a_request_without_an_answer_is_told_for_every_try() -> None:
    heard: list[StoreRequest] = []
    location = open_location(
        "s3://bucket/requests",
        endpoint=f"http://127.0.0.1:{free_ports(1)[0]}",
        credentials=Credentials("key", "secret"),
        heard=heard.append,
    )
    with pytest.raises(StoreUnavailable):
        location.store.head("a")
    assert {(request.operation, request.code) for request in heard} == {("HeadObject", "none")}
    assert len(heard) == location.store.traffic.requests > 1

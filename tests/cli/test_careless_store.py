"""On a store that takes conditions and ignores them, the command line moves nothing and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import Credentials
from t2i_dev.other_stores import moto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Place


@pytest.fixture
def careless(s3_place: Place, tmp_path: Path, write_job: Callable[..., Path]) -> Iterator[Place]:
    with moto(tmp_path) as server:
        uri = f"s3://{server.bucket}/run"
        keys = Credentials(server.access_key, server.secret_key)
        environment = {
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
        store = open_store(uri, endpoint=server.endpoint, credentials=keys)
        yield type(s3_place)(uri, store, write_job(uri, server.endpoint), environment)


def test_the_checkpoint_stays_where_it_is_and_the_user_is_told(careless: Place) -> None:
    careless.put_old()
    before = careless.contents()
    doctor = careless.run("doctor", "--storage", careless.uri, "-o", "json")
    assert (doctor.status, doctor.document["safeMethod"]) == (3, "Reference")
    assert doctor.document["reasons"]
    ran = careless.run("checkpoint", "archive", "--job", careless.job_file, "--yes", "-o", "json")
    assert (ran.status, ran.document["method"]) == (0, "Reference")
    assert "moving is not safe" in ran.errors
    after = careless.contents()
    assert {key: after[key] for key in before} == before
    judged = careless.run("checkpoint", "verdict", "--job", careless.job_file, "-o", "json")
    assert (judged.status, judged.document["verdict"]) == (0, None)

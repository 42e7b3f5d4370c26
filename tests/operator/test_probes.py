"""A store is asked once what it honours, however many archives wait for the answer."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import pytest

from t2i_api.spec_run import ArchiveMethod, Checkpoint
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.probe import StoreAbilities, probe
from t2i_checkpoint.store import Credentials, Store, StoreUnavailable
from t2i_operator.probes import Probes

ME = Credentials("me", "sesame")
SAFE = StoreAbilities(**{field.name: () if field.name == "notes" else True for field in fields(StoreAbilities)})  # type: ignore[arg-type]


class Counting:
    """The real probe, counted; the first `failures` times the store does not answer."""

    def __init__(self, failures: int = 0) -> None:
        self.asked = 0
        self._failures = failures
        self._lock = threading.Lock()

    def __call__(self, store: Store) -> StoreAbilities:
        with self._lock:
            self.asked += 1
            if self.asked <= self._failures:
                raise StoreUnavailable("no answer", uri=store.uri, operation="probe", way_out="Run again")
        return probe(store)


def at(uri: str, endpoint: str | None = None) -> Checkpoint:
    return Checkpoint(uri=uri, endpoint=endpoint)


def test_jobs_of_one_bucket_ask_once_also_at_the_same_time(tmp_path: Path) -> None:
    counting, store = Counting(), LocalStore(tmp_path)
    probes = Probes(counting)
    jobs = [at(f"s3://team/job-{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda checkpoint: probes.abilities(checkpoint, store, ME), jobs))
    assert counting.asked == 1
    assert {answer.safe_method for answer in answers} == {ArchiveMethod.MOVE}


def test_another_bucket_or_endpoint_is_another_store(tmp_path: Path) -> None:
    counting, store = Counting(), LocalStore(tmp_path)
    probes = Probes(counting)
    for checkpoint in (
        at("s3://team/a"),
        at("s3://other/a"),
        at("s3://team/a", "http://s3.example"),
        at("s3://team/b"),
    ):
        probes.abilities(checkpoint, store, ME)
    assert counting.asked == 3


def test_another_identity_is_asked_for_itself(tmp_path: Path) -> None:
    # Was: what one job's credentials could not do was taken for what the store does not honour, for every job.
    counting, store = Counting(), LocalStore(tmp_path)
    probes = Probes(counting)
    others = (replace(ME, access_key_id="other"), replace(ME, secret_access_key="x"), replace(ME, session_token="x"))
    for credentials in (ME, ME, None, *others, None, *others):
        probes.abilities(at("s3://team/a"), store, credentials)
    assert counting.asked == 5
    assert "sesame" not in repr(probes)


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    probes = Probes(lambda _store: SAFE)
    for number in range(1000):
        probes.abilities(at(f"s3://bucket-{number}/a"), LocalStore(tmp_path), None)
    assert len(probes._answers) == len(probes._asking) == 256  # noqa: SLF001  # nothing else shows it


def test_no_answer_is_not_taken_for_one(tmp_path: Path) -> None:
    counting, store = Counting(failures=1), LocalStore(tmp_path)
    probes = Probes(counting)
    with pytest.raises(StoreUnavailable):
        probes.abilities(at("s3://team/a"), store, ME)
    assert probes.abilities(at("s3://team/a"), store, ME).safe_method is ArchiveMethod.MOVE
    assert counting.asked == 2

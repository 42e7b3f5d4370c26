"""A store is asked once what it honours, however many archives wait for the answer."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from t2i_api.spec_run import ArchiveMethod, Checkpoint
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.probe import StoreAbilities, probe
from t2i_checkpoint.store import Store, StoreUnavailable
from t2i_operator.probes import Probes


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
        answers = list(pool.map(lambda checkpoint: probes.abilities(checkpoint, store), jobs))
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
        probes.abilities(checkpoint, store)
    assert counting.asked == 3


def test_no_answer_is_not_taken_for_one(tmp_path: Path) -> None:
    counting, store = Counting(failures=1), LocalStore(tmp_path)
    probes = Probes(counting)
    with pytest.raises(StoreUnavailable):
        probes.abilities(at("s3://team/a"), store)
    assert probes.abilities(at("s3://team/a"), store).safe_method is ArchiveMethod.MOVE
    assert counting.asked == 2

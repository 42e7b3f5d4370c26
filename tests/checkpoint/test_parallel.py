"""Work in several threads keeps its order, its bound and its first failure."""

from __future__ import annotations

import threading
import time

import pytest

from t2i_checkpoint.parallel import run_all


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert run_all(lambda n: n * n, range(20), workers=workers) == [n * n for n in range(20)]
    assert run_all(lambda n: n, [], workers=workers) == []


def test_no_more_than_the_bound_run_at_once() -> None:
    running, most, lock = [0], [0], threading.Lock()

    def work(_: int) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.005)
        with lock:
            running[0] -= 1

    run_all(work, range(20), workers=4)
    assert 1 < most[0] <= 4


class Killed(BaseException):
    """Not an Exception."""


@pytest.mark.parametrize("kind", [ValueError, Killed])
def test_the_first_failure_stops_what_has_not_begun_and_leaves_no_thread(kind: type[BaseException]) -> None:
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise kind(number)
        time.sleep(0.01)

    before = threading.active_count()
    with pytest.raises(kind, match="1"):
        run_all(work, range(100), workers=2)
    assert len(begun) < 50
    assert threading.active_count() == before

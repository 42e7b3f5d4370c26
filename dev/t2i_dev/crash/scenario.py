"""What a scenario of the crash matrix is: a bucket to begin with, work to do, and what must hold at every instant.

Checks read plain keys and bytes, never through the code under test.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

from t2i_checkpoint.s3 import S3Limits
from t2i_checkpoint.store import Store
from t2i_dev.faults import Fault, S3Request

ARCHIVE_COUNT = "committed archives"  # a line of an end state
Objects = Mapping[str, bytes]  # key relative to the job's prefix -> content


class Scenario(Protocol):
    """One line of work on one job's prefix."""

    @property
    def name(self) -> str:
        """The row group in the table."""

    @property
    def story(self) -> str:
        """What happens, in half a sentence."""

    @property
    def limits(self) -> S3Limits:
        """The store's limits of the client."""

    @property
    def refusals(self) -> tuple[type[Exception], ...]:
        """The errors by which the work may announce that it cannot go on."""

    @property
    def start(self) -> Objects:
        """What lies in the bucket before, canaries included."""

    def work(self, store: Store, life: int) -> None:
        """What the process does in its `life`-th life (from 1); a restart does the same again."""

    def meddling(self, fault: Fault, request: S3Request) -> Objects:
        """Return what somebody else writes at the instant of `request`, for the faults that are of this kind."""

    def may_change(self, key: str) -> bool:
        """Whether a request may name this key in a side effect."""

    def violations(self, now: Objects) -> Iterator[str]:
        """Yield what must never be, at no instant, and is."""

    def end_state(self, now: Objects) -> Mapping[str, bytes]:
        """Return what is left in the end, without what legitimately differs (times, names that carry times)."""


def without_meddling(scenario: Scenario, now: Objects, meddled: Objects) -> Objects:
    """Return the bucket as if nobody had meddled: at the source and wherever the meddler's bytes were archived."""
    clean = {}
    for key, content in now.items():
        source = next((each for each in meddled if key == each or key.endswith(f"/{each}")), None)
        if source is None or content != meddled[source]:
            clean[key] = content
        elif source in scenario.start:
            clean[key] = scenario.start[source]
    return clean


def changed(expected: Objects, now: Objects) -> list[str]:
    """Return the keys of `expected` that are missing or have other bytes."""
    return [key for key, content in expected.items() if now.get(key) != content]

"""What a scenario of the crash matrix is: a bucket to begin with, work to do, and what must hold at every instant.

Checks read plain keys and bytes, never through the code under test.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

from t2i_checkpoint.s3 import S3Limits
from t2i_checkpoint.store import Store

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

    def may_change(self, key: str) -> bool:
        """Whether a request may name this key in a side effect."""

    def violations(self, now: Objects) -> Iterator[str]:
        """Yield what must never be, at no instant, and is."""

    def end_state(self, now: Objects) -> Mapping[str, bytes]:
        """Return what is left in the end, without what legitimately differs (times, names that carry times)."""


def changed(expected: Objects, now: Objects) -> list[str]:
    """Return the keys of `expected` that are missing or have other bytes."""
    return [key for key, content in expected.items() if now.get(key) != content]

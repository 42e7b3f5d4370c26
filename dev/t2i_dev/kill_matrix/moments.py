"""Which moments a run is killed at: drawn by a seed, so that a run of the matrix can be had again."""

import random
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

from t2i_dev.kill_matrix.board import Phase

_LONGEST_EXTRA_SECONDS = 0.04
_MOST_STEPS = 9
# A stop on request lets the compilation end and takes a step: what comes after resumes, first from a cold cache.
_COMPILATIONS = (
    (signal.SIGKILL, False),
    (signal.SIGKILL, False),
    (signal.SIGTERM, False),
    (signal.SIGKILL, True),
    (signal.SIGKILL, False),
    (signal.SIGTERM, True),
)


@dataclass(frozen=True)
class Kill:
    """A moment to kill at: some steps and commits after the beginning, when `phase` comes, and a little later.

    For a compilation: when so many `libraries` are in the cache or being written. It is `cold` if the cache of the
    attempts before is taken away; else what they left is there.
    """

    phase: Phase
    signal: signal.Signals
    one_rank: bool
    steps: int
    commits: bool
    extra_seconds: float
    libraries: int = 0
    cold: bool = False

    @property
    def described(self) -> str:
        """In words, for the table."""
        whom = " of one rank" if self.one_rank else ""
        return f"{self.signal.name}{whom}"


def random_kills(seed: int, phases: Sequence[Phase]) -> Iterator[Kill]:
    """Yield moments for ever: every phase in turn, everything else by chance."""
    chance = random.Random(seed)  # noqa: S311  # which moments, not secrets
    for phase in cycle(phases):
        yield Kill(
            phase,
            chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)),
            chance.random() < 1 / 3,
            chance.randrange(_MOST_STEPS),
            chance.random() < 2 / 3,  # most of them, so that the chain moves on
            chance.uniform(0, _LONGEST_EXTRA_SECONDS),
        )


def compilation_kills(seed: int, libraries: int) -> Iterator[Kill]:
    """Yield moments within a compilation for ever; `libraries` is how many a whole one writes."""
    chance = random.Random(seed)  # noqa: S311  # which moments, not secrets
    for number, cold in cycle(_COMPILATIONS):
        yield Kill(
            Phase.COMPILATION,
            number,
            one_rank=False,
            steps=0,
            commits=False,
            extra_seconds=chance.uniform(0, _LONGEST_EXTRA_SECONDS),
            libraries=chance.randint(1, libraries),
            cold=cold,
        )

"""A row of the corpus: what lies in a job's prefix, who wrote it, and what every program must say of it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from t2i_api.status import VerdictKind
from t2i_dev.corpus.jobs import Task

# What the job's own text encoder makes of the empty caption.
NULL_EMBEDDING_SHA256 = "1f" * 32


class Then(StrEnum):
    """What becomes of the decisive checkpoint under `onIncompatible: Archive`."""

    RESUME = "resume"
    INITIAL_WEIGHTS = "initial-weights"
    ARCHIVE = "archive"
    STOP = "stop"
    FRESH = "fresh"


@dataclass(frozen=True)
class Row:
    """One prefix of a bucket.

    `build` writes below the directory that becomes the prefix. `verdict` and `reason` are of the decisive checkpoint
    (None: there is none), `says` are words that its explanation must contain. `then` is what happens under the job's
    default policy; where something is archived beside a checkpoint that fits, the fitting one is the decisive one.
    `only_with_text_encoder` marks what only a program can see that has the text encoder: to the others it is identical.
    """

    name: str
    why: str
    build: Callable[[Path], None]
    verdict: VerdictKind | None
    reason: str | None
    then: Then
    job: Task = Task.TINY
    says: tuple[str, ...] = ()
    only_with_text_encoder: bool = False

"""A checkpoint URI to everything that lies there, judged: one LIST and at most three ranged reads a checkpoint."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_checkpoint.discovery import Candidate, CheckpointFormat, candidates
from t2i_checkpoint.layout import SURVEY_PREFIX
from t2i_checkpoint.reading import read_checkpoint
from t2i_checkpoint.verdict import Verdict, Wanted, compare

if TYPE_CHECKING:
    from t2i_checkpoint.manifest import Manifest
    from t2i_checkpoint.store import ObjectInfo, Store


@dataclass(frozen=True)
class Judgement:
    """One checkpoint folder and its verdict; `folder` is relative to the URI, sizes in bytes."""

    name: str
    folder: str
    step: int
    format: CheckpointFormat
    size_bytes: int
    objects: tuple[ObjectInfo, ...]
    verdict: Verdict
    label: str
    manifest: Manifest | None


@dataclass(frozen=True)
class Survey:
    """All judgements, newest first, and what they cost."""

    judgements: tuple[Judgement, ...]
    bytes_read: int
    requests: int
    seconds: float

    @property
    def resumable(self) -> Judgement | None:
        """The newest checkpoint that training can go on from exactly, or None."""
        return next((judgement for judgement in self.judgements if judgement.verdict.resumable), None)

    @property
    def archivable(self) -> tuple[Judgement, ...]:
        """Those that were read completely and cannot serve this job."""
        return tuple(judgement for judgement in self.judgements if judgement.verdict.archivable)


def survey(store: Store, wanted: Wanted) -> Survey:
    """Judge every checkpoint below the store's root. Raises StoreError only if the listing itself fails."""
    before, started = store.traffic, time.monotonic()
    found = candidates(store.list(SURVEY_PREFIX))
    judgements = tuple(_judge(store, candidate, wanted) for candidate in found)
    cost = store.traffic.since(before)
    return Survey(judgements, cost.bytes_read, cost.requests, time.monotonic() - started)


def _judge(store: Store, candidate: Candidate, wanted: Wanted) -> Judgement:
    read = read_checkpoint(store, candidate, wanted.architecture)
    verdict = compare(read.stored, wanted)
    return Judgement(
        name=candidate.folder.name,
        folder=candidate.folder.folder,
        step=candidate.folder.step,
        format=read.format,
        size_bytes=candidate.size_bytes,
        objects=tuple(candidate.objects.values()),
        verdict=verdict,
        label=verdict.label,
        manifest=read.manifest,
    )

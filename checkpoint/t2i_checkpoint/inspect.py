"""A checkpoint URI to everything that lies there, judged: one LIST and at most three ranged reads a checkpoint.

Checkpoints are judged several at a time; what a judgement keeps of one is its verdict, never its table of tensors.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import unquote

from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.archive_reference import archived_references
from t2i_checkpoint.contents import Contents, read_contents
from t2i_checkpoint.describe import describe
from t2i_checkpoint.discovery import Candidate, CheckpointFormat, candidate_at, candidates, candidates_below
from t2i_checkpoint.header_memory import HeaderMemory
from t2i_checkpoint.layout import CHECKPOINTS, STRAY_PREFIXES, SURVEY_PREFIX, WEIGHTS_SUFFIXES, parse_name
from t2i_checkpoint.listing import TooManyObjects, list_bounded
from t2i_checkpoint.summary import ContentsSummary, summarise
from t2i_checkpoint.verdict import Verdict, Wanted, compare
from t2i_checkpoint.weights_files import folder_parts, is_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2i_checkpoint.manifest import Manifest
    from t2i_checkpoint.store import ObjectInfo, Store

__all__ = ["ContentsSummary", "Judgement", "Survey", "judge_folder", "read_folder", "survey", "survey_location"]

JUDGED_AT_ONCE = 8
_IN_FULL = 10  # newest checkpoints of which also another program's optimizer is looked at
_MAX_CHECKPOINTS = 5000  # each costs up to three reads


@dataclass(frozen=True)
class Judgement:
    """One checkpoint folder (or single file) and its verdict.

    `folder` is relative to the store's root, empty where the root itself is the checkpoint; sizes in bytes.
    `bytes_read` and `requests` are what judging this one cost, without the listing.
    """

    name: str
    folder: str
    step: int
    format: CheckpointFormat
    size_bytes: int
    objects: tuple[ObjectInfo, ...]
    verdict: Verdict
    label: str
    manifest: Manifest | None
    contents_summary: ContentsSummary = field(default_factory=ContentsSummary)
    bytes_read: int = 0
    requests: int = 0


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
    """Judge every checkpoint below the store's root, but those archived in place.

    Where the one LIST finds no checkpoint, three more look for what people leave directly at the root (`step_500/`,
    `epoch=3-step=500.ckpt`, `last.ckpt`). Raises StoreError only if a listing fails or is too long (TooManyObjects),
    ArchiveError for a pointer of an archive that cannot be believed.
    """
    return _survey(store, wanted)


def survey_location(store: Store, wanted: Wanted | None, key: str | None = None) -> Survey:
    """Judge whatever a URI names: a job's root, a folder of checkpoints, one of them, or one file.

    `key` is the file's, below the store's root. Without `wanted` nothing is compared: the verdicts tell only what
    cannot be read (reason NotCompared otherwise). Raises StoreError and ArchiveError as `survey`.
    """
    before, started = store.traffic, time.monotonic()
    root = _root_name(store)
    if key is None and parse_name(root) is None and root != CHECKPOINTS.rstrip("/"):
        found = _survey(store, wanted)
        if found.judgements:
            return found
    judgements = _judge_all(store, _candidates_at(store, key), wanted)
    cost = store.traffic.since(before)
    return Survey(tuple(judgements), cost.bytes_read, cost.requests, time.monotonic() - started)


def judge_folder(store: Store, folder: str, wanted: Wanted) -> Judgement:
    """Judge one checkpoint: a folder or a single file relative to the store's root, empty for the root itself.

    One LIST. Nothing there gives INCOMPLETE (reason NotFound). Raises StoreError only if the listing fails.
    """
    return _judge(store, _candidate(store, folder), wanted, HeaderMemory())


def read_folder(store: Store, folder: str, wanted: Wanted) -> tuple[Judgement, Contents]:
    """Judge one checkpoint as `judge_folder` does, and keep where its tensors lie, those of the EMA too."""
    candidate = _candidate(store, folder)
    contents = read_contents(store, candidate, wanted.architecture)
    return _judgement(candidate, contents, compare(contents.stored, wanted)), contents


def _survey(store: Store, wanted: Wanted | None) -> Survey:
    before, started = store.traffic, time.monotonic()
    listing = list(list_bounded(store, SURVEY_PREFIX))
    referenced = archived_references(store, listing)
    found = candidates(listing, without=referenced)
    if not found:
        strays = [info for prefix in STRAY_PREFIXES for info in list_bounded(store, prefix)]
        found = candidates(strays, without=referenced)
    judgements = sorted(_judge_all(store, found, wanted), key=lambda each: -each.step)
    cost = store.traffic.since(before)
    return Survey(tuple(judgements), cost.bytes_read, cost.requests, time.monotonic() - started)


def _judge_all(store: Store, found: Sequence[Candidate], wanted: Wanted | None) -> list[Judgement]:
    if len(found) > _MAX_CHECKPOINTS:
        raise TooManyObjects(
            f"{len(found):,} checkpoints lie there, more than {_MAX_CHECKPOINTS:,}; nothing was judged or changed",
            uri=store.uri,
            operation="list",
            way_out="Keep fewer (checkpoint.retain), or name a folder of its own",
        )
    in_full = HeaderMemory()
    in_brief = in_full.without_optimizers()
    memories = [in_full] * min(_IN_FULL, len(found)) + [in_brief] * (len(found) - _IN_FULL)
    if len(found) <= 1:
        return [_judge(store, candidate, wanted, in_full) for candidate in found]
    with ThreadPoolExecutor(JUDGED_AT_ONCE, thread_name_prefix="judge") as pool:
        return list(pool.map(lambda each: _judge(store, each[0], wanted, each[1]), zip(found, memories, strict=True)))


def _judge(store: Store, candidate: Candidate, wanted: Wanted | None, memory: HeaderMemory) -> Judgement:
    if wanted is None:
        contents = read_contents(store, candidate, Architecture([]), memory)
        return _judgement(candidate, contents, describe(contents.stored, memory.phrase))
    contents = read_contents(store, candidate, wanted.architecture, memory)
    return _judgement(candidate, contents, compare(contents.stored, wanted, memory.phrase))


def _judgement(candidate: Candidate, contents: Contents, verdict: Verdict) -> Judgement:
    named = candidate.folder
    return Judgement(
        name=named.name,
        folder=named.folder,
        step=named.step if named.names_step or contents.step is None else contents.step,
        format=contents.format,
        size_bytes=candidate.size_bytes,
        objects=tuple(candidate.objects.values()),
        verdict=verdict,
        label=verdict.label,
        manifest=contents.manifest,
        contents_summary=summarise(contents),
        bytes_read=contents.bytes_read,
        requests=contents.reads,
    )


def _candidates_at(store: Store, key: str | None) -> Sequence[Candidate]:
    """Return the file of that key; or the checkpoints directly below the root, or the root itself if it is one."""
    if key is not None:
        return [_candidate(store, key)]
    listing = list(list_bounded(store, ""))
    root = _root_name(store)
    if parse_name(root) is not None:
        return [candidate_at("", root, listing)]
    # A job's root holds archives and samples too, a bucket anything: of these nothing makes it a checkpoint.
    itself = candidate_at("", root, (info for info in listing if is_part(info.key)))
    return candidates_below(listing) or ([itself] if folder_parts(itself.objects).holds_weights else [])


def _candidate(store: Store, folder: str) -> Candidate:
    """List one checkpoint. A single file is found by its own key, which is a prefix of itself."""
    looks_like_file = folder.lower().endswith(WEIGHTS_SUFFIXES)
    prefix = folder if looks_like_file or not folder else f"{folder}/"
    found = candidate_at(folder, _root_name(store), list_bounded(store, prefix))
    if found.objects or looks_like_file or not folder:
        return found
    return candidate_at(folder, _root_name(store), islice(store.list(folder), 1))


def _root_name(store: Store) -> str:
    name = store.uri.rstrip("/").rpartition("/")[2]
    return unquote(name) if store.uri.startswith("file:") else name

"""Scenario: the operator's preflight finds checkpoints that cannot serve, and archives them (Move or Reference)."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint.archive import ArchiveError, plan_archive, run_archive
from t2i_checkpoint.archive_resume import finish_archives
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.s3 import S3Limits
from t2i_checkpoint.store import Store, StoreError
from t2i_dev.crash.checkpoints import of_another_meaning, of_the_old_unet, wanted
from t2i_dev.crash.scenario import ARCHIVE_COUNT, Objects, changed
from t2i_dev.faults import Fault, S3Request

NOW = datetime(2025, 12, 14, 22, 17, 58, tzinfo=UTC)
ARCHIVED = re.compile(r"archive/(?P<name>\d{8}T\d{6}Z-[a-z0-9-]+)/(?P<key>.+)")
POINTERS = "checkpoint-archived"
POINTER = re.compile(POINTERS + r"/(?P<name>\d{8}T\d{6}Z-[a-z0-9-]+)/(?P<key>.+)")
DOCUMENTS = {
    *("INTENT.json", "MANIFEST.json", "COMPLETED.json", "ABANDONED.json"),
    *("REFERENCE.json", "RESTORED.json"),
}
COMMITTED_FORMAT = "t2i.dev/archive"
# Neighbours of the plan: what a prefix without its slash, or a folder too much, would hit.
CANARIES: Objects = {
    "checkpoint-50001/optimizer.bin": b"incomplete, and its name begins like an archived one",
    "checkpoint-5000-notes/readme.txt": b"no checkpoint",
    "checkpoints/readme.txt": b"beside the checkpoints",
    "archive/20240101T000000Z-mine/notes.txt": b"somebody's own",
    "samples/step-00005000/grid.png": b"picture",
    "metrics.jsonl": b"{}\n",
}


@dataclass(frozen=True)
class MoveScenario:
    """Two checkpoints, one of our own layout and one of another program, moved into one archive."""

    name: str = "archive (Move)"
    story: str = "two foreign checkpoints of four objects are moved"
    method: ArchiveMethod = ArchiveMethod.MOVE
    limits: S3Limits = field(default_factory=S3Limits)
    concurrency: int = 1  # one after the other: the n-th side effect is the same one in every run
    checkpoints: tuple[Objects, ...] = field(default_factory=lambda: (of_another_meaning(4000), of_the_old_unet(5000)))
    refusals: tuple[type[Exception], ...] = (StoreError, ArchiveError)

    @property
    def originals(self) -> Objects:
        """Every object of every checkpoint."""
        return {key: content for each in self.checkpoints for key, content in each.items()}

    @property
    def start(self) -> Objects:
        """Checkpoints and canaries."""
        return {**CANARIES, **self.originals}

    def work(self, store: Store, life: int) -> None:
        """Finish what was begun, judge, archive: the first part of every preflight."""
        judged = wanted()
        finish_archives(store, judged)
        archivable = survey(store, judged).archivable
        if archivable:
            intent = plan_archive(archivable, now=NOW + timedelta(minutes=life), method=self.method)
            run_archive(store, intent, concurrency=self.concurrency)

    def meddling(self, fault: Fault, request: S3Request) -> Objects:
        """Somebody adds a file to a checkpoint, or writes one again; or a copy goes wrong without a word."""
        match fault:
            case Fault.INTRUDED:
                return {"checkpoint-5000/late.txt": b"written by somebody else"}
            case Fault.OVERWRITTEN:
                key = "checkpoint-5000/optimizer.bin"
                return {key: self.originals[key][::-1]}
            case _:
                source = ARCHIVED.search(request.keys[0])
                return {source[0]: bytes(len(self.originals[source["key"]]))} if source else {}

    def may_change(self, key: str) -> bool:
        """Sources of the plan, their copies, and the archive's documents."""
        return key in self.originals or self._is_in_archive(key)

    def _is_in_archive(self, key: str) -> bool:
        found = ARCHIVED.fullmatch(key)
        return found is not None and (found["key"] in DOCUMENTS or found["key"] in self.originals)

    def violations(self, now: Objects) -> Iterator[str]:
        """Whole at the source or whole in a committed archive; a commit tells the truth; nothing else changed."""
        committed = committed_archives(now)
        for checkpoint in self.checkpoints:
            at_source = not changed(checkpoint, now)
            if not at_source and not any(_holds(now, root, listed, checkpoint) for root, listed in committed.items()):
                yield f"{_folder(checkpoint)} is neither whole at the source nor in a committed archive"
            manifest = f"{_folder(checkpoint)}/MANIFEST.json"
            if manifest in checkpoint and manifest in now and not at_source:
                yield f"{manifest} is still there, but not {changed(checkpoint, now)[0]}: a half looks whole"
        yield from self._lies(now, committed)
        yield from (f"{key} is no part of the plan and was changed" for key in changed(CANARIES, now))
        yield from (f"{key} appeared" for key in now if key not in self.start and not self.may_change(key))

    def _lies(self, now: Objects, committed: Mapping[str, frozenset[str]]) -> Iterator[str]:
        for root, listed in committed.items():
            for key in sorted(listed):
                if now.get(root + key) != self.originals.get(key):
                    yield f"{root}MANIFEST.json is committed, but {root}{key} is not the original's bytes"

    def end_state(self, now: Objects) -> Mapping[str, bytes]:
        """Names of archives carry times; an archive that was given up may keep copies and documents."""
        state = {key: content for key, content in now.items() if _archive_of(key) is None or key in CANARIES}
        committed = committed_archives(now)
        state[ARCHIVE_COUNT] = str(len(committed)).encode()
        for root in committed:
            for key, content in now.items():
                if key.startswith(root):
                    path = key.removeprefix(root)
                    state[f"archive/*/{path}"] = b"document" if path in DOCUMENTS else content
        return state


@dataclass(frozen=True)
class ReferenceScenario(MoveScenario):
    """The same checkpoints, archived by a pointer: their bytes never move."""

    name: str = "archive (Reference)"
    story: str = "the same two checkpoints are archived where they lie"
    method: ArchiveMethod = ArchiveMethod.REFERENCE

    def may_change(self, key: str) -> bool:
        """Documents only."""
        found = ARCHIVED.fullmatch(key) or POINTER.fullmatch(key)
        return found is not None and found["key"] in DOCUMENTS

    def violations(self, now: Objects) -> Iterator[str]:
        """Everything that was there stays as it was."""
        yield from (f"{key} was changed" for key in changed(self.start, now))
        yield from (f"{key} appeared" for key in now if key not in self.start and not self.may_change(key))

    def end_state(self, now: Objects) -> Mapping[str, bytes]:
        """Pointers carry the archive's name as well."""
        found = {key: POINTER.fullmatch(key) for key in now}
        state = super().end_state({key: content for key, content in now.items() if found[key] is None})
        pointers = {f"{POINTERS}/*/{match['key']}": b"document" for match in found.values() if match is not None}
        return {**state, **pointers}


def committed_archives(now: Objects) -> dict[str, frozenset[str]]:
    """Return the folder of every committed archive (`archive/<name>/`) and the source keys that it lists."""
    found = {}
    for key, content in now.items():
        match = ARCHIVED.fullmatch(key)
        if match is None or match["key"] != "MANIFEST.json":
            continue
        document = json.loads(content)
        if document.get("format") == COMMITTED_FORMAT:
            found[key.removesuffix("MANIFEST.json")] = frozenset(item["source"] for item in document["objects"])
    return found


def _holds(now: Objects, root: str, listed: frozenset[str], checkpoint: Objects) -> bool:
    return all(key in listed and now.get(root + key) == content for key, content in checkpoint.items())


def _folder(checkpoint: Objects) -> str:
    shortest = min(checkpoint, key=len)
    return shortest.rpartition("/")[0]


def _archive_of(key: str) -> str | None:
    found = ARCHIVED.fullmatch(key)
    return found["name"] if found else None

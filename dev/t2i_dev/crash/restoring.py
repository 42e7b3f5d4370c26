"""Scenarios: an archive is copied back to where it lay, alone and past an archiver that was stopped in its midst."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from t2i_checkpoint.archive import ArchiveError
from t2i_checkpoint.archive_list import list_archives
from t2i_checkpoint.archive_resume import finish_archives
from t2i_checkpoint.restore import plan_restore, run_restore
from t2i_checkpoint.s3 import S3Limits
from t2i_checkpoint.store import Store, StoreError
from t2i_dev.crash.archiving import ARCHIVED, CANARIES, POINTER, MoveScenario, committed_archives
from t2i_dev.crash.checkpoints import wanted
from t2i_dev.crash.scenario import Objects, changed
from t2i_dev.faults import Fault, S3Request

_MARK = "RESTORED.json"
# While a copy in parts is under way: which upload it is, so that the next process goes on with exactly that one.
_NOTE = re.compile(r"archive/[^/]+/uploads/[0-9a-f]{32}/[0-9a-f]{32}\.json")


@dataclass(frozen=True)
class RestoreScenario:
    """`start` is what an archive left; everything that it holds comes back, and it stays whole itself."""

    start: Objects
    originals: Objects
    name: str = "restore"
    story: str = "an archive of two checkpoints and four objects is copied back"
    limits: S3Limits = field(default_factory=S3Limits)
    refusals: tuple[type[Exception], ...] = (StoreError, ArchiveError)

    def work(self, store: Store, life: int) -> None:  # noqa: ARG002  # every life does the same
        """What `t2i checkpoint restore` does."""
        restore_all(store)

    def meddling(self, fault: Fault, request: S3Request) -> Objects:  # noqa: ARG002  # the protocol's
        """Somebody puts another file where one will come back."""
        return {"checkpoint-5000/optimizer.bin": b"somebody's own"}

    def may_change(self, key: str) -> bool:
        """What was archived, at its old place; the mark that says so; the note of an upload under way."""
        found = ARCHIVED.fullmatch(key) or POINTER.fullmatch(key)
        is_mark = found is not None and found["key"] == _MARK
        return key in self.originals or is_mark or _NOTE.fullmatch(key) is not None

    def violations(self, now: Objects) -> Iterator[str]:
        """The archive stays whole; what is back is the original; a manifest comes last."""
        yield from (f"{key} was changed" for key in changed(self.start, now))
        yield from (
            f"{key} is not what was archived"
            for key, content in self.originals.items()
            if now.get(key) not in {content, None}
        )
        for key in self.originals:
            if key.endswith("/MANIFEST.json") and key in now:
                folder = key.removesuffix("MANIFEST.json")
                files = {each: content for each, content in self.originals.items() if each.startswith(folder)}
                yield from (f"{key} is there, but not {each}: a half looks whole" for each in changed(files, now))
        yield from (f"{key} appeared" for key in now if key not in self.start and not self.may_change(key))

    def end_state(self, now: Objects) -> Mapping[str, bytes]:
        """Everything; names are those of the archive that was there."""
        return {key: b"document" if key.endswith(_MARK) else content for key, content in now.items()}


@dataclass(frozen=True)
class OvertakenScenario(MoveScenario):
    """The first process archives; whoever comes later finishes that and copies everything back."""

    name: str = "restore past a stopped archiver"
    story: str = "an archiver is stopped, another process finishes its archive and restores it, the first goes on"

    def work(self, store: Store, life: int) -> None:
        """Archive in the first life, restore in all others."""
        if life == 1:
            super().work(store, life)
            return
        finish_archives(store, wanted())
        restore_all(store)

    def may_change(self, key: str) -> bool:
        """The restore's mark as well."""
        found = ARCHIVED.fullmatch(key)
        return super().may_change(key) or (found is not None and found["key"] == _MARK)

    def violations(self, now: Objects) -> Iterator[str]:
        """A late deletion may hit what is back at the source; the archive is never hit, so nothing is ever lost."""
        committed = committed_archives(now)
        for checkpoint in self.checkpoints:
            archived = any(
                all(now.get(root + key) == content for key, content in checkpoint.items()) for root in committed
            )
            if not archived and changed(checkpoint, now):
                yield f"{min(checkpoint)} is neither whole at the source nor in a committed archive"
        yield from self._lies(now, committed)
        yield from (f"{key} is no part of the plan and was changed" for key in changed(CANARIES, now))
        yield from (f"{key} appeared" for key in now if key not in self.start and not self.may_change(key))

    def end_state(self, now: Objects) -> Mapping[str, bytes]:
        """Whether the archiver or the restore is last decides what lies at the source: nothing to compare."""
        return {key: now[key] for key in CANARIES}


def restore_all(store: Store) -> None:
    """Restore every archive that can be."""
    for archive in list_archives(store):
        if archive.restorable:
            run_restore(store, plan_restore(store, archive.name), concurrency=1)

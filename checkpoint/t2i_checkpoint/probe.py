"""What a store really honours, found by trying: several take a condition silently and ignore it.

Whoever may not try, or meets a store that does not answer, has learnt nothing: that is an error and no answer.

Everything happens below a private prefix, which is cleaned up. Conditional writes are tried from several threads at
once, because some stores keep them only while nobody else writes.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint.parallel import run_all
from t2i_checkpoint.store import (
    AccessDenied,
    AlreadyExists,
    NotSupported,
    ObjectChanged,
    StoreError,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from t2i_checkpoint.store import ObjectInfo, Store

PROBE_PREFIX = ".t2i-probe/"


@dataclass(frozen=True)
class StoreAbilities:
    """One field a promise; `notes` say what was seen where one is broken."""

    conditional_create: bool  # If-None-Match: * refuses an existing key
    conditional_create_under_race: bool  # and lets exactly one of many writers win
    copy_source_condition: bool  # a copy of a replaced source is refused
    multipart_copy: bool  # parts are copied under the same condition, and the result is equal
    conditional_complete: bool  # a multipart upload completed with If-None-Match: * replaces nothing
    conditional_delete: bool  # If-Match on a deletion spares a replaced object, and deletes the one that is meant
    delete_takes_effect: bool  # what was deleted is gone at the next look
    full_object_checksum: bool  # source and copy have comparable checksums, so nothing need be read back
    ranged_reads: bool  # a range returns exactly that range
    list_after_write: bool  # a listing shows what was just written, and no longer what was just deleted
    notes: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why a checkpoint must not be moved on this store; empty where it is safe."""
        needed = {
            "conditional_create": "ignores If-None-Match on PUT",
            "conditional_create_under_race": "lets several of many concurrent If-None-Match writers win",
            "copy_source_condition": "ignores the condition on a copy's source",
            "multipart_copy": "does not copy in parts under a condition",
            "conditional_delete": "ignores If-Match on DELETE, so that a file replaced at that instant would be lost",
            "delete_takes_effect": "shows objects after their deletion",
            "ranged_reads": "ignores ranges",
        }
        return tuple(why for name, why in needed.items() if not getattr(self, name))

    @property
    def safe_method(self) -> ArchiveMethod:
        """Move where every condition that a move relies on is honoured, else Reference."""
        return ArchiveMethod.REFERENCE if self.reasons else ArchiveMethod.MOVE

    def warning(self, asked: ArchiveMethod) -> str | None:
        """Return what the user must know where `asked` cannot be had, or None."""
        if asked is ArchiveMethod.REFERENCE or not self.reasons:
            return None
        return (
            f"the store {' and '.join(self.reasons)}: moving is not safe on it, so the checkpoint stays where it is "
            "and a pointer archives it (method Reference)"
        )


def probe(store: Store) -> StoreAbilities:
    """Try everything once, in about 130 small requests.

    Raises StoreError where the store cannot be written, where a permission is missing (AccessDenied says which) and
    where it does not answer (StoreUnavailable): nothing is known then, so nothing of it may be remembered.
    """
    _remove_left_behind(store)
    trial = _Trial(store, f"{PROBE_PREFIX}{uuid.uuid4().hex}/")
    trial.begin()
    try:
        results = {name: trial.holds(name, check) for name, check in _CHECKS.items()}
    finally:
        trial.clean_up()
    return StoreAbilities(**results, notes=tuple(trial.notes))


_LEFT_BEHIND = timedelta(hours=1)
_MOST_LEFT_BEHIND = 10_000
_RACERS, _ROUNDS = 8, 6
_BIG = 1024 * 1024 + 1  # a create-only copy of more than 1 MiB goes in parts


class _Trial:
    """One probe's objects."""

    def __init__(self, store: Store, prefix: str) -> None:
        self.store, self.prefix, self.notes = store, prefix, list[str]()

    def begin(self) -> None:
        """Write and read something: whoever may not do that is told so by the store's own error."""
        self.store.read(self.put("begin", b"t2i").key)

    def holds(self, name: str, check: Callable[[_Trial], str | None]) -> bool:
        """Run one check; what it returns, or a request that the store does not know, says what is broken."""
        try:
            try:
                fault = check(self)
            except StoreUnavailable:  # a store that is busy for once is no reason to give up
                fault = check(self)
        except StoreError as error:
            if _is_no_answer(error):
                raise _untried(name, error) from error
            fault = str(error)
        if fault is not None:
            self.notes.append(f"{name}: {fault}")
        return fault is None

    def put(self, name: str, data: bytes) -> ObjectInfo:
        """Write an object and return a look at it."""
        key = self.prefix + name
        self.store.put(key, data)
        info = self.store.head(key)
        if info is None:
            raise StoreError(
                "is not there after it was written", uri=self.store.uri, operation="put", key=key, way_out="Probe again"
            )
        return info

    def clean_up(self) -> None:
        """Remove everything below the trial's own prefix; what cannot be removed is left to the next probe."""
        with contextlib.suppress(StoreError):
            self.store.abort_uploads(self.prefix)
        with contextlib.suppress(StoreError):
            self.store.delete([info.key for info in self.store.list(self.prefix)])


def _conditional_create(trial: _Trial) -> str | None:
    key = trial.put("create", b"first").key
    try:
        trial.store.create(key, b"second")
    except AlreadyExists:
        return None if trial.store.read(key) == b"first" else "refused, but replaced the object"
    return "replaced an object that was there"


def _conditional_create_under_race(trial: _Trial) -> str | None:
    won, unanswered = 0, list[StoreError]()
    for number in range(_ROUNDS):
        key, start = f"{trial.prefix}race-{number}", threading.Barrier(_RACERS)

        def enter(racer: int, key: str = key, start: threading.Barrier = start) -> int | None:
            start.wait()
            try:
                trial.store.create(key, bytes([racer]) * 4096)
            except StoreError as error:  # a loser, or nobody: some stores answer 409 to all but one, or to all
                unanswered.extend([error] if _is_no_answer(error) else [])
                return None
            return racer

        winners = [racer for racer in run_all(enter, range(_RACERS), workers=_RACERS) if racer is not None]
        if len(winners) > 1:
            return f"{len(winners)} of {_RACERS} concurrent writers won"
        if winners and trial.store.read(key)[:1] != bytes(winners):
            return "the object is not the winner's"
        won += len(winners)
    if not won and unanswered:
        raise unanswered[-1]
    return None


def _copy_source_condition(trial: _Trial) -> str | None:
    old = trial.put("source", b"old content")
    trial.put("source", b"new content")
    return _refused(trial, old, "copy", create_only=False)


def _multipart_copy(trial: _Trial) -> str | None:
    content = os.urandom(_BIG)
    big, target = trial.put("big", content), f"{trial.prefix}big-copy"
    trial.store.copy(big.key, target, source_etag=big.etag, create_only=True)
    if trial.store.read(target) != content:
        return "the copy differs"
    trial.put("big", content[::-1])
    return _refused(trial, big, "other-copy", create_only=True)


def _refused(trial: _Trial, replaced: ObjectInfo, name: str, *, create_only: bool) -> str | None:
    target = trial.prefix + name
    try:
        trial.store.copy(replaced.key, target, source_etag=replaced.etag, create_only=create_only)
    except ObjectChanged:
        return None if trial.store.head(target) is None else "refused, but wrote the copy"
    return "copied a source that was replaced"


def _conditional_complete(trial: _Trial) -> str | None:
    big, taken = trial.put("big", os.urandom(_BIG)), trial.put("taken", b"first")
    try:
        trial.store.copy(big.key, taken.key, source_etag=big.etag, create_only=True)
    except AlreadyExists:
        return None if trial.store.read(taken.key) == b"first" else "refused, but replaced the object"
    return "replaced an object that was there"


def _conditional_delete(trial: _Trial) -> str | None:
    meant = trial.put("meant", b"x")
    trial.store.delete_unchanged(meant)
    if trial.store.head(meant.key) is not None:
        return "does not delete the object that is meant"
    old = trial.put("spared", b"old content")
    trial.put("spared", b"new content")
    with contextlib.suppress(ObjectChanged):
        trial.store.delete_unchanged(old)
    return None if trial.store.head(old.key) is not None else "deleted an object that was replaced"


def _delete_takes_effect(trial: _Trial) -> str | None:
    gone = [trial.put("gone-1", b"x"), trial.put("gone-2", b"x")]
    trial.store.delete([gone[0].key, f"{trial.prefix}never-there"])
    trial.store.delete([gone[1].key])
    left = [info.key for info in gone if trial.store.head(info.key) is not None]
    return f"{left[0]} is still there" if left else None


def _full_object_checksum(trial: _Trial) -> str | None:
    source, target = trial.put("summed", b"123456789"), f"{trial.prefix}summed-copy"
    trial.store.copy(source.key, target, source_etag=source.etag)
    ours, theirs = trial.store.checksum(source.key), trial.store.checksum(target)
    return None if ours is not None and ours == theirs else f"source {ours}, copy {theirs}: copies are read back"


def _ranged_reads(trial: _Trial) -> str | None:
    key = trial.put("range", b"0123456789").key
    right = (trial.store.read(key, 3, 4), trial.store.read(key, 8, 5), trial.store.read(key, 20, 5))
    return None if right == (b"3456", b"89", b"") else f"other bytes came: {right}"


def _list_after_write(trial: _Trial) -> str | None:
    written = trial.put("listed/1", b"x"), trial.put("listed/2", b"y")
    prefix = f"{trial.prefix}listed/"
    if tuple(trial.store.list(prefix)) != written:
        return "a listing does not show what was just written"
    trial.store.delete([written[0].key])
    return None if tuple(trial.store.list(prefix)) == written[1:] else "a listing shows what was just deleted"


_CHECKS: Mapping[str, Callable[[_Trial], str | None]] = {
    "conditional_create": _conditional_create,
    "conditional_create_under_race": _conditional_create_under_race,
    "copy_source_condition": _copy_source_condition,
    "multipart_copy": _multipart_copy,
    "conditional_complete": _conditional_complete,
    "conditional_delete": _conditional_delete,
    "delete_takes_effect": _delete_takes_effect,
    "full_object_checksum": _full_object_checksum,
    "ranged_reads": _ranged_reads,
    "list_after_write": _list_after_write,
}


def _is_no_answer(error: StoreError) -> bool:
    """Whether `error` says nothing of what the store honours."""
    return isinstance(error, AccessDenied | StoreUnavailable) and not isinstance(error, NotSupported)


def _untried(name: str, error: StoreError) -> StoreError:
    kind = AccessDenied if isinstance(error, AccessDenied) else StoreUnavailable
    way_out = (
        "Grant what is missing, or choose the archive method Reference, which deletes nothing"
        if kind is AccessDenied
        else "Nothing was archived; it is tried again"
    )
    what = f"whether the store keeps the promise {name} could not be tried ({error})"
    return kind(what, uri=error.uri, operation="probe", key=error.key, way_out=way_out)


def _remove_left_behind(store: Store) -> None:
    """Remove what probes that were killed have left."""
    before = datetime.now(UTC) - _LEFT_BEHIND
    listed = islice(store.list(PROBE_PREFIX), _MOST_LEFT_BEHIND)
    old = [info.key for info in listed if info.modified_at < before]
    with contextlib.suppress(StoreError):
        store.delete(old)

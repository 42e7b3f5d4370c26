"""Killed before or after any of its operations, an archive leaves every checkpoint whole, and the next run finishes it.

The kill is an exception that nothing catches, at the boundary to the store, right after the k-th operation with its
answer lost, for every k until the archive gets through. (Before an operation is right after the one before it.)
"""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from t2i_checkpoint import layout
from t2i_checkpoint.archive import ArchiveError, plan_archive, run_archive
from t2i_checkpoint.archive_resume import finish_archives
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.store import StoreError
from t2i_dev.contents import contents

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.checkpoint.conftest import CheckpointWriter

    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted

NOW = datetime(2025, 12, 14, 22, 17, 58, tzinfo=UTC)
ROOT = "archive/20251214T221758Z-custom-unet/"
OPERATIONS = {"list", "head", "checksum", "read", "create", "put", "upload", "download", "copy"} | {
    "delete",
    "delete_unchanged",
    "abort_uploads",
}
MANY = 200
NOT_NEEDED = {layout.WEIGHTS_CONFIG, layout.TRAINER_STATE}


class Killed(BaseException):
    """The process is gone: not an Exception, so that no handler can pretend to survive it."""


class KillingStore:
    """Kills after operation number `at`, counted from 1; at 0 before anything was done. The dead do nothing more."""

    def __init__(self, store: Store, at: int) -> None:
        self._store, self._at = store, at
        self._lock = threading.Lock()
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        original = getattr(self._store, name)
        if name not in OPERATIONS:
            return original

        def counted(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                if self.count == self._at:
                    raise Killed
                result = original(*args, **kwargs)
                if name == "list":
                    result = iter(list(result))
                self.count += 1
                if self.count == self._at:
                    raise Killed
                return result

        return counted


@pytest.fixture(autouse=True)
def processes_die_and_machines_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is there for the next process whether or not it has reached the disk: not waited for here."""
    monkeypatch.setattr("t2i_checkpoint.local._sync", lambda _path: None)


def stride(store: Store, on_s3: int) -> int:
    """Every operation on a directory; the real S3 server meets real kills and stops at every request in tests/crash."""
    return 1 if isinstance(store, LocalStore) else on_s3


def emptied(store: Store) -> Store:
    """Return the same kind of store with nothing in it: beginning elsewhere is cheaper than deleting everything."""
    if isinstance(store, LocalStore):
        return LocalStore(Path(store.uri.removeprefix("file://")) / uuid.uuid4().hex)
    for info in list(store.list("")):
        store.delete([info.key])
    return store


def operate(store: Store, wanted: Wanted) -> None:
    """What the operator does at every preflight."""
    finish_archives(store, wanted)
    archivable = survey(store, wanted).archivable
    if archivable:
        run_archive(store, plan_archive(archivable, now=NOW))


def expect_whole(store: Store, originals: Mapping[str, bytes], bystanders: Mapping[str, bytes]) -> None:
    now = contents(store)
    at_source = {key: now.get(key) for key in originals} == dict(originals)
    in_archive = {key: now.get(ROOT + key) for key in originals} == dict(originals) and ROOT + "MANIFEST.json" in now
    assert at_source or in_archive
    assert {key: now.get(key) for key in bystanders} == dict(bystanders)


def test_killed_after_every_operation_nothing_is_lost_and_the_next_run_finishes(
    checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture
) -> None:
    reached = 0
    kind = checkpoints.store
    weights = checkpoints.tensors(old_unet)
    originals = own_checkpoint(checkpoints, wanted)
    originals |= {"checkpoint-5000/model.safetensors": weights, "checkpoint-5000/optimizer.bin": b"PK"}
    bystanders = {"checkpoint-3000/optimizer.bin": b"incomplete", "samples/step-00005000/grid.png": b"picture"}
    for at in range(0, MANY, stride(kind, 9)):
        store = emptied(kind)
        for key, value in {**originals, **bystanders}.items():
            store.put(key, value)
        killed = False
        try:
            operate(KillingStore(store, at), wanted)
        except Killed:
            killed = True
        expect_whole(store, originals, bystanders)
        if not killed:
            break
        reached = at
        operate(store, wanted)
        final = contents(store)
        assert {key: final.get(ROOT + key) for key in originals} == originals
        assert not originals.keys() & final.keys()
        assert {key: final[key] for key in bystanders} == bystanders
        assert ROOT + "COMPLETED.json" in final
    else:
        pytest.fail(f"the archive takes more than {MANY} operations")
    assert reached > 40


def own_checkpoint(checkpoints: CheckpointWriter, wanted: Wanted) -> dict[str, bytes]:
    """Return the objects of a checkpoint of our own layout that does not fit the job."""
    checkpoints.own(4000, wanted.architecture, prediction_type="epsilon", without=NOT_NEEDED)
    return contents(checkpoints.store)


def test_killed_again_and_again_it_still_arrives(
    checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture
) -> None:
    store = checkpoints.store
    checkpoints.accelerate(5000, old_unet)
    originals = contents(store)
    for at in range(MANY):
        try:
            operate(KillingStore(store, at), wanted)
        except Killed:
            expect_whole(store, originals, {})
            continue
        break
    assert {key: store.read(ROOT + key) for key in originals} == originals
    assert list(store.list("checkpoint")) == []


def test_one_archiver_may_finish_while_another_stands_still(
    checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture
) -> None:
    """Before every operation of the first (SIGSTOP), a second one does all the work; the first then goes on."""
    originals = {"checkpoint-5000/model.safetensors": checkpoints.tensors(old_unet)}
    originals["checkpoint-5000/optimizer.bin"] = b"PK"
    for at in range(0, MANY, stride(checkpoints.store, 4)):
        store = emptied(checkpoints.store)
        for key, value in originals.items():
            store.put(key, value)
        overtaken = Overtaken(store, at, wanted)
        operate_tolerantly(overtaken, wanted)
        final = contents(store)
        assert {key: final.get(ROOT + key) for key in originals} == originals, f"overtaken at operation {at}"
        assert not originals.keys() & final.keys()
        if not overtaken.happened:
            break
    assert at > 20


class Overtaken(KillingStore):
    """Lets a second archiver run to its end before operation number `at`."""

    def __init__(self, store: Store, at: int, wanted: Wanted) -> None:
        super().__init__(store, -1)
        self._overtake_at, self._wanted, self.happened = at, wanted, False
        self._overtaking = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        counted = super().__getattr__(name)
        if name not in OPERATIONS:
            return counted

        def overtaken(*args: Any, **kwargs: Any) -> Any:
            with self._overtaking:
                if self.count >= self._overtake_at and not self.happened:
                    self.happened = True
                    operate(self._store, self._wanted)
            return counted(*args, **kwargs)

        return overtaken


def operate_tolerantly(store: Store, wanted: Wanted) -> None:
    """Run as the operator does: an archive error ends this preflight, and the next one begins afresh."""
    try:
        operate(store, wanted)
    except (ArchiveError, StoreError):
        operate(store, wanted)

"""Old checkpoints go, manifest first, and a deletion that was cut off is finished; nothing else is ever touched."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.trainer.mortal_store import Killed, MortalStore

from t2i_checkpoint import layout
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.manifest import read_manifest
from t2i_checkpoint.store import AccessDenied
from t2i_trainer.checkpointing.retention import beyond_retained, retire_checkpoints, retired_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.trainer.checkpointing.conftest import Bench

    from t2i_api.job import JobSpec
    from t2i_checkpoint.store import Store


def folders(store: Store) -> set[str]:
    return {"/".join(info.key.split("/")[:2]) for info in store.list("checkpoints/")}


def test_only_older_checkpoints_of_the_same_model_are_retired(bench: Bench) -> None:
    for step in (1, 2, 3, 5):
        bench.save(step)
    foreign = "checkpoints/step-00000001-other"
    bench.store.put(f"{foreign}/{layout.MANIFEST}", b"{not json")
    bench.store.put("checkpoint-1/model.safetensors", b"of another program")
    newest = bench.save(4)
    gone = retire_checkpoints(bench.store, newest, 2)
    assert gone == (bench.folder(2), bench.folder(1))
    assert folders(bench.store) == {bench.folder(step) for step in (3, 4, 5)} | {foreign}
    assert bench.store.head("checkpoint-1/model.safetensors") is not None


def test_checkpoints_of_another_meaning_are_no_surplus(bench: Bench, changed: Callable[..., JobSpec]) -> None:
    """They wait for the operator's archive: same names and seed, another noise schedule."""
    bench.save(1)
    bench.spec = changed(bench.spec, lambda spec: spec["diffusion"].update(schedule="Linear"))
    assert retire_checkpoints(bench.store, bench.save(2), 1) == ()
    assert folders(bench.store) == {bench.folder(1), bench.folder(2)}


def test_checkpoints_of_another_run_are_neither_deleted_nor_counted(
    bench: Bench, changed: Callable[..., JobSpec]
) -> None:
    """A run with another batch size began beside an older one's checkpoints, even from their weights."""
    for step in (1, 2):
        bench.save(step)
    bench.spec = changed(bench.spec, lambda spec: spec["training"].update(globalBatchSize=8))
    bench.save(3)
    assert retire_checkpoints(bench.store, bench.save(4), 2) == ()
    assert folders(bench.store) == {bench.folder(step) for step in (1, 2, 3, 4)}


def test_retaining_one_keeps_the_one_just_committed(bench: Bench) -> None:
    newest = bench.save(7)
    older = layout.parse_folder("checkpoints/step-00000006-a")
    same = layout.parse_folder(bench.folder(7))
    assert older is not None
    assert same is not None
    foreign = replace(older, writer=None)
    assert beyond_retained([older, same, foreign], newest, 1) == (older,)


def test_of_one_step_the_tenth_attempts_checkpoint_outlives_the_ninths(bench: Bench) -> None:
    ninth, tenth = (layout.parse_folder(f"checkpoints/step-00000006-0123abcd-a{attempt}") for attempt in (9, 10))
    assert ninth is not None
    assert tenth is not None
    assert beyond_retained([ninth, tenth], bench.save(7), 2) == (ninth,)


def test_what_the_run_went_back_from_goes_before_what_it_can_go_back_to(bench: Bench) -> None:
    """Saves that no going back may load used to push out the older one that it needs."""
    sound, left, left_last = (layout.parse_folder(f"checkpoints/step-{step:08d}-a") for step in (100, 150, 200))
    assert sound is not None
    assert left is not None
    assert left_last is not None
    folders = [sound, left, left_last]
    assert beyond_retained(folders, bench.save(250), 3, {left.folder, left_last.folder}) == (left,)
    assert beyond_retained(folders, bench.save(250), 3) == (sound,)


def test_a_damaged_checkpoint_is_neither_deleted_nor_counted(bench: Bench) -> None:
    """With two to keep, the damaged second newest used to push out the only intact one beside the newest."""
    for step in (1, 2, 3):
        bench.save(step)
    newest = bench.save(4)
    bench.store.create(f"{bench.folder(3)}/{layout.DAMAGED}", b"{}")
    assert retire_checkpoints(bench.store, newest, 2) == (bench.folder(1),)
    assert folders(bench.store) == {bench.folder(step) for step in (2, 3, 4)}
    bench.store.create(f"{bench.folder(3)}/{layout.RETIRED}", json.dumps(retired_mark(newest)).encode())
    assert retire_checkpoints(bench.store, newest, 2) == ()


def test_a_deletion_that_another_run_began_is_not_ours_to_finish(
    bench: Bench, changed: Callable[..., JobSpec], caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever could write a mark could let a run delete another run's checkpoints, newer ones too."""
    other = bench.save(1)
    bench.save(5)
    bench.spec = changed(bench.spec, lambda spec: spec["training"].update(globalBatchSize=8))
    bench.save(2)
    newest = bench.save(3)
    bench.store.create(f"{bench.folder(1)}/{layout.RETIRED}", json.dumps(retired_mark(other)).encode())
    bench.store.create(f"{bench.folder(2)}/{layout.RETIRED}", b"{}")
    bench.store.create(f"{bench.folder(5)}/{layout.RETIRED}", json.dumps(retired_mark(newest)).encode())
    before = {info.key for info in bench.store.list("")}
    assert retire_checkpoints(bench.store, newest, 1) == ()
    assert {info.key for info in bench.store.list("")} == before
    assert "was not written by this run" in caplog.text


def test_nothing_is_retired_in_favour_of_a_checkpoint_that_is_marked_as_damaged(bench: Bench) -> None:
    """Whoever can forge a mark can let a checkpoint be passed over, and lose none."""
    bench.save(1)
    newest = bench.save(2)
    bench.store.create(f"{bench.folder(2)}/{layout.DAMAGED}", b"forged")
    assert retire_checkpoints(bench.store, newest, 1) == ()
    assert folders(bench.store) == {bench.folder(1), bench.folder(2)}


def test_killed_anywhere_in_a_deletion_the_next_retention_finishes_it(bench: Bench) -> None:
    for lives in range(1000):
        for step in (1, 2, 3):
            bench.save(step)
        newest = read_manifest(bench.store, bench.folder(3))
        assert newest is not None
        dying = MortalStore(bench.scratch / "bucket", lives)
        try:
            retire_checkpoints(dying, newest, 2)
        except Killed:
            for step in (2, 3):
                assert read_manifest(bench.store, bench.folder(step)) is not None
        else:
            assert lives > 8  # mark, manifest, seven files, mark
            break
        retire_checkpoints(bench.store, newest, 2)
        assert folders(bench.store) == {bench.folder(2), bench.folder(3)}


class SealedStore(LocalStore):
    """A store whose credentials may write and not delete."""

    def delete(self, keys: Iterable[str]) -> None:
        raise AccessDenied(
            f"may not delete {len(list(keys))}", uri=self.uri, operation="delete", way_out="Grant s3:DeleteObject"
        )


def test_a_deletion_that_is_refused_is_said_and_does_not_end_the_run(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.save(1)
    newest = bench.save(2)
    with caplog.at_level(logging.WARNING):
        assert retire_checkpoints(SealedStore(bench.scratch / "bucket"), newest, 1) == ()
    assert "Grant s3:DeleteObject" in caplog.text
    assert read_manifest(bench.store, bench.folder(1)) is not None

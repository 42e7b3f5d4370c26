"""A listing that is older than the bucket neither stops an archive nor makes it delete anything wrongly."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from t2i_checkpoint.archive import ArchiveError, SourceChangedError, plan_archive, run_archive, unfinished_archives
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.store import StoreError
from t2i_dev.contents import contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.checkpoint.conftest import CheckpointWriter

    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.archive import ArchiveIntent
    from t2i_checkpoint.store import ObjectInfo, Store
    from t2i_checkpoint.verdict import Wanted

NOW = datetime(2025, 12, 14, 22, 17, 58, tzinfo=UTC)
OLD = "checkpoint-00005000"


class Stale:
    """Lists what was there when it was made."""

    def __init__(self, store: Store) -> None:
        self._store, self._then = store, list(store.list(""))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return iter([info for info in self._then if info.key.startswith(prefix)])


def test_a_listing_of_before_the_archive_lets_it_finish(store: Store, planned: ArchiveIntent) -> None:
    before = contents(store, OLD)
    run_archive(Stale(store), planned)
    assert contents(store, planned.root + OLD) == {planned.root + key: value for key, value in before.items()}
    assert list(store.list(OLD)) == []
    assert unfinished_archives(store) == []


def test_an_empty_listing_lets_it_finish(store: Store, planned: ArchiveIntent) -> None:
    stale = Stale(store)
    stale._then = []  # noqa: SLF001  # this test's own class
    run_archive(stale, planned)
    assert list(store.list(OLD)) == []


def test_a_listing_of_before_the_completion_deletes_nothing_that_was_put_back(
    store: Store, planned: ArchiveIntent, checkpoints: CheckpointWriter, old_unet: Architecture
) -> None:
    stale = Stale(store)
    run_archive(store, planned)
    checkpoints.accelerate(5000, old_unet)
    back = contents(store, OLD)
    run_archive(stale, planned)
    assert contents(store, OLD) == back


def test_a_listing_that_hides_a_replaced_object_does_not_cost_it(store: Store, planned: ArchiveIntent) -> None:
    stale = Stale(store)
    store.put(f"{OLD}/optimizer.bin", b"newer, after the stale listing")
    with pytest.raises((SourceChangedError, ArchiveError, StoreError)):
        run_archive(stale, planned)
    assert store.read(f"{OLD}/optimizer.bin") == b"newer, after the stale listing"
    assert len(contents(store, OLD)) == 4


class Refusing:
    """Refuses one operation once, or lets it do nothing, as a store does that answers before it is done."""

    def __init__(self, store: Store, operation: str, refusal: Callable[..., object]) -> None:
        self._store, self._operation, self._refusal, self.done = store, operation, refusal, False

    def __getattr__(self, name: str) -> Any:
        if name != self._operation or self.done:
            return getattr(self._store, name)

        def refuse(*_arguments: Any, **_options: Any) -> object:
            self.done = True
            return self._refusal()

        return refuse


def test_a_deletion_that_takes_no_effect_is_noticed(store: Store, planned: ArchiveIntent) -> None:
    # 200, but the object stays: an unread per-key error or a retention rule.
    with pytest.raises(ArchiveError, match="still there") as caught:
        run_archive(Refusing(store, "delete_unchanged", lambda: None), planned)
    assert caught.value.reason == "DeletionFailed"
    assert store.head(planned.root + "COMPLETED.json") is None
    run_archive(store, planned)
    assert list(store.list(OLD)) == []


def test_a_refused_copy_of_an_unchanged_source_does_not_give_the_archive_up(
    store: Store, planned: ArchiveIntent
) -> None:
    def refuse() -> None:
        store.copy(planned.entries[0].source, "elsewhere", source_etag="0" * 32)

    with pytest.raises(ArchiveError, match="run again") as caught:
        run_archive(Refusing(store, "copy", refuse), planned)
    assert not isinstance(caught.value, SourceChangedError)
    assert unfinished_archives(store) == [planned]
    run_archive(store, planned)
    assert unfinished_archives(store) == []


@pytest.mark.parametrize("key", ["last.ckpt", "checkpoint-700.safetensors", "checkpoints/epoch=1-step=20.ckpt"])
def test_a_checkpoint_that_is_one_file_moves_like_a_folder(
    store: Store, checkpoints: CheckpointWriter, old_unet: Architecture, wanted: Wanted, key: str
) -> None:
    raw = checkpoints.tensors(old_unet)
    store.put(key, raw)
    store.put(f"{key}.txt", b"a neighbour")
    found = survey(store, wanted).archivable
    if not key.endswith(".safetensors"):
        # Only a real torch zip is read at such a key; what matters here is how a single file moves.
        found = _as_foreign(store, checkpoints, old_unet, wanted, key)
    intent = plan_archive(found, now=NOW)
    assert [entry.source for entry in intent.entries] == [key]
    run_archive(store, intent)
    assert store.head(key) is None
    assert store.read(intent.root + key) == raw
    assert store.read(f"{key}.txt") == b"a neighbour"


def _as_foreign(
    store: Store, checkpoints: CheckpointWriter, old_unet: Architecture, wanted: Wanted, key: str
) -> tuple[Any, ...]:
    folder = checkpoints.accelerate(1, old_unet)
    judgement = survey(store, wanted).archivable[0]
    store.delete([info.key for info in store.list(f"{folder}/")])
    info = store.head(key)
    assert info is not None
    return (dataclasses.replace(judgement, folder=key, objects=(info,)),)

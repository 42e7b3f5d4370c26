"""Power-function averages lie in `ema/` before their checkpoint goes, whatever happens in between."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from tests.trainer.mortal_store import Killed, MortalStore

from t2i_checkpoint import layout
from t2i_checkpoint.discovery import candidates
from t2i_checkpoint.ema_snapshots import stored_profiles
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.manifest import StepSpan, read_manifest
from t2i_checkpoint.store import AccessDenied
from t2i_dev.contents import contents
from t2i_trainer.checkpointing.retention import retire_checkpoints
from t2i_trainer.ema import ExponentialMovingAverage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.trainer.checkpointing.conftest import Bench

    from t2i_checkpoint.manifest import Manifest
    from t2i_checkpoint.store import Store

WIDTHS = (0.05, 0.1)
KEPT = {f"{width}.safetensors" for width in WIDTHS} | {"SNAPSHOT.json", "config.json"}


@pytest.fixture(autouse=True)
def profiles(bench: Bench) -> None:
    """The run keeps two widths."""
    bench.state.ema = ExponentialMovingAverage(bench.state.unet, 0.9, power_widths=WIDTHS)


def save(bench: Bench, step: int) -> Manifest:
    """Commit a checkpoint whose averages are other ones than those of any other step."""
    for profile in bench.state.ema.profiles:
        for tensor in profile.tensors.values():
            tensor.fill_(step)
    return bench.save(step)


def kept(store: Store) -> dict[int, set[str]]:
    """The files in `ema/` by step."""
    found: dict[int, set[str]] = {}
    for info in store.list("ema/"):
        _, folder, name = info.key.split("/")
        parsed = layout.parse_name(folder)
        assert parsed is not None
        found.setdefault(parsed.step, set()).add(name)
    return found


def whole(store: Store) -> dict[tuple[int, float], str]:
    """Every average that can be combined with the newest, by step and width; each is what was written."""
    profiles = {(each.step, each.width): each for each in stored_profiles(store)}
    for each in profiles.values():
        assert hashlib.sha256(store.read(each.key)).hexdigest() == each.sha256
        json.loads(store.read(each.config_key))
    return {place: each.sha256 for place, each in profiles.items()}


def test_what_is_retired_leaves_its_averages_and_what_stays_is_not_stored_twice(bench: Bench) -> None:
    for step in (1, 2, 3):
        newest = save(bench, step)
    expected = whole(bench.store)
    assert retire_checkpoints(bench.store, newest, 1) == (bench.folder(2), bench.folder(1))
    assert kept(bench.store) == {1: KEPT, 2: KEPT}
    assert whole(bench.store) == expected
    assert {step for step, _ in expected} == {1, 2, 3}


def test_snapshots_are_no_checkpoints(bench: Bench) -> None:
    for step in (1, 2):
        newest = save(bench, step)
    retire_checkpoints(bench.store, newest, 1)
    assert [each.folder.step for each in candidates(bench.store.list(""))] == [2]
    before = contents(bench.store)
    assert retire_checkpoints(bench.store, newest, 1) == ()
    assert contents(bench.store) == before


def test_averages_of_hardly_more_steps_are_not_kept_however_many_go_at_once(bench: Bench) -> None:
    for step in (100, 102, 104, 106, 108, 110):
        newest = save(bench, step)
    retire_checkpoints(bench.store, newest, 1)
    assert set(kept(bench.store)) == {100, 106}


def test_killed_anywhere_no_average_is_lost_and_the_next_retention_does_the_rest(bench: Bench) -> None:
    for step in (1, 2):
        newest = save(bench, step)
    expected = whole(bench.store)
    for lives in range(1000):
        root = bench.scratch / f"killed-before-change-{lives}"
        shutil.copytree(bench.scratch / "bucket", root)
        try:
            retire_checkpoints(MortalStore(root, lives), newest, 1)
        except Killed:
            assert whole(LocalStore(root)) == expected
        else:
            assert lives > len(KEPT) + 9  # copies and document, then mark, manifest, files, mark
            break
        retire_checkpoints(LocalStore(root), newest, 1)
        assert whole(LocalStore(root)) == expected
        assert kept(LocalStore(root)) == {1: KEPT}
        shutil.rmtree(root)


class NoCopies(LocalStore):
    """A store whose credentials may not copy what lies below a prefix."""

    below = ""

    def copy(self, source_key: str, destination_key: str, **flags: Any) -> None:
        if not source_key.startswith(self.below):
            super().copy(source_key, destination_key, **flags)
            return
        raise AccessDenied(
            f"not to {destination_key} ({len(flags)})",
            uri=self.uri,
            operation="copy",
            key=source_key,
            way_out="Grant it",
        )


def test_a_checkpoint_whose_averages_cannot_be_kept_holds_no_other_up(bench: Bench) -> None:
    """One object of an archived storage class let every later checkpoint stay, until the store was full."""
    for step in (1, 2, 3):
        newest = save(bench, step)
    store = NoCopies(bench.scratch / "bucket")
    store.below = bench.folder(1)
    assert retire_checkpoints(store, newest, 1) == (bench.folder(2),)
    assert kept(bench.store) == {2: KEPT}
    assert read_manifest(bench.store, bench.folder(1)) is not None


def test_what_cannot_be_kept_is_not_retired_and_the_run_goes_on(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Averages that are gone never come back; a checkpoint too many costs room."""
    save(bench, 1)
    newest = save(bench, 2)
    with caplog.at_level(logging.WARNING):
        assert retire_checkpoints(NoCopies(bench.scratch / "bucket"), newest, 1) == ()
    assert f"{bench.folder(1)} stays for now" in caplog.text
    assert read_manifest(bench.store, bench.folder(1)) is not None
    assert retire_checkpoints(bench.store, newest, 1) == (bench.folder(1),)
    assert kept(bench.store) == {1: KEPT}


def test_an_average_that_somebody_took_away_keeps_nothing_from_being_retired(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2, 3):
        newest = save(bench, step)
    bench.store.delete([f"{bench.folder(1)}/ema_power/0.1.safetensors"])
    with caplog.at_level(logging.WARNING):
        assert retire_checkpoints(bench.store, newest, 1) == (bench.folder(2), bench.folder(1))
    assert "0.1.safetensors is not as it was written" in caplog.text
    assert kept(bench.store) == {2: KEPT}


def test_steps_that_the_run_went_back_from_are_neither_kept_nor_combined(bench: Bench) -> None:
    for step in (10, 20, 30):
        save(bench, step)
    newest = save(bench, 40).model_copy(update={"rolled_back": (StepSpan(first=11, last=35),)})
    bench.store.put(f"{bench.folder(40)}/{layout.MANIFEST}", newest.to_json())
    assert {step for step, _ in whole(bench.store)} == {10, 40}
    retire_checkpoints(bench.store, newest, 1)
    assert set(kept(bench.store)) == {10}
    assert {step for step, _ in whole(bench.store)} == {10, 40}


def test_a_damaged_checkpoint_gives_no_average(bench: Bench) -> None:
    for step in (1, 2):
        save(bench, step)
    bench.store.create(f"{bench.folder(1)}/{layout.DAMAGED}", b"{}")
    assert {step for step, _ in whole(bench.store)} == {2}


def leftovers(bench: Bench, name: str) -> Mapping[str, bytes]:
    """What may lie where the snapshot of step 1 belongs."""
    whole_snapshot = {info.key: bench.store.read(info.key) for info in bench.store.list("ema/step-00000001")}
    first = next(key for key in whole_snapshot if key.endswith("0.05.safetensors"))
    other = bytearray(whole_snapshot[first])
    other[-1] ^= 1
    return {
        "half a copy": {first: bytes(other)[:-9]},
        "a copy of another content without a document": {first: bytes(other)},
        "a snapshot of another run": {first: bytes(other), f"{first.rpartition('/')[0]}/SNAPSHOT.json": b"{}"},
    }[name]


@pytest.mark.parametrize(
    "name", ["half a copy", "a copy of another content without a document", "a snapshot of another run"]
)
def test_what_lies_in_its_place_is_replaced_and_never_believed(bench: Bench, name: str) -> None:
    def until_retired() -> dict[tuple[int, float], str]:
        save(bench, 1)
        newest = save(bench, 2)
        retire_checkpoints(bench.store, newest, 1)
        return whole(bench.store)

    expected = until_retired()
    left = leftovers(bench, name)
    bench.store.delete(list(contents(bench.store)))
    for key, content in left.items():
        bench.store.put(key, content)
    assert until_retired() == expected
    assert kept(bench.store) == {1: KEPT}

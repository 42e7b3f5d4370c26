"""A checkpoint appears with its manifest, which tells everything about it, and is never written into again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load
from tests.trainer.mortal_store import Killed, MortalStore

from t2i_api.progress import ExitCode
from t2i_api.status import VerdictKind
from t2i_checkpoint import layout
from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.manifest import InitialWeightsFacts, ManifestError, read_manifest
from t2i_checkpoint.wanted import model_config_sha256
from t2i_dev.contents import contents
from t2i_trainer.failures import TrainerError
from t2i_trainer.model import build_unet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.trainer.checkpointing.conftest import Bench

    from t2i_api.job import JobSpec


def test_the_manifest_lists_every_file_with_its_checksum(bench: Bench) -> None:
    manifest = bench.save(3)
    folder = bench.folder(3)
    assert read_manifest(bench.store, folder) == manifest
    listed = {f"{folder}/{file.path}" for file in manifest.files} | {f"{folder}/{layout.MANIFEST}"}
    assert {info.key for info in bench.store.list("checkpoints/")} == listed
    for file in manifest.files:
        assert hashlib.sha256(bench.store.read(f"{folder}/{file.path}")).hexdigest() == file.sha256
    assert (manifest.samples_seen, manifest.epoch, manifest.position_in_epoch) == (12, 1, 2)


def test_the_manifest_tells_what_every_safetensors_file_holds_and_of_which_config(bench: Bench) -> None:
    manifest = bench.save(3)
    assert manifest.model_config_sha256 == model_config_sha256(bench.spec)
    for file in manifest.files:
        if file.path.endswith(".safetensors"):
            tensors = load(bench.store.read(f"{bench.folder(3)}/{file.path}"))
            shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
            assert file.architecture_fingerprint == Architecture.from_shapes(shapes).fingerprint(), file.path
        else:
            assert file.architecture_fingerprint is None


def test_the_manifest_remembers_the_weights_that_the_run_began_with(bench: Bench) -> None:
    facts = InitialWeightsFacts(uri="s3://b/p", verdict=VerdictKind.PARTIAL, step=9, fresh=("conv_in.weight",))
    assert bench.save(3, initial_weights=facts).initial_weights == facts
    assert bench.save(6).initial_weights is None


def test_a_committed_checkpoint_is_not_written_into_again(bench: Bench) -> None:
    """The pod of an attempt that is started again comes by the same step, perhaps with other last bits."""
    first = bench.save(3)
    before = contents(bench.store)
    with torch.no_grad():
        next(bench.state.unet.parameters()).add_(1)
    assert bench.save(3) == first
    assert contents(bench.store) == before


def test_another_models_checkpoint_of_the_same_name_stops_the_run(
    bench: Bench, changed: Callable[..., JobSpec]
) -> None:
    bench.save(3)
    before = contents(bench.store)
    wider = changed(bench.spec, lambda spec: spec["model"]["unet"]["config"].update(block_out_channels=[16, 32]))
    bench.state.unet = build_unet(wider, torch.device("cpu"))
    with pytest.raises(TrainerError, match="another model's checkpoint") as refused:
        bench.save(3)
    assert refused.value.code is ExitCode.INCOMPATIBLE_WEIGHTS
    assert contents(bench.store) == before


def deaths(bench: Bench) -> Iterator[int]:
    """Save step 6 in a process that dies before each of its writes in turn; ends with the save that is not cut off."""
    root = bench.scratch / "bucket"
    for lives in range(1000):
        store = MortalStore(root, lives)
        bench.store = store
        try:
            bench.save(6)
        except Killed:
            yield lives
        else:
            return


def test_killed_before_any_write_of_a_save_the_checkpoint_before_stays_and_the_save_can_be_repeated(
    bench: Bench,
) -> None:
    before = bench.save(3)
    kept = contents(bench.store)
    cut = 0
    for cut in deaths(bench):  # noqa: B007  # the last one is looked at below
        store = LocalStore(bench.scratch / "bucket")
        assert read_manifest(store, bench.folder(3)) == before
        assert read_manifest(store, bench.folder(6)) is None
        now = contents(store)
        assert {key: now[key] for key in kept if key != layout.METRICS} == {
            key: kept[key] for key in kept if key != layout.METRICS
        }
    files = len(before.files)
    assert cut == files + 1  # every file, then the metrics; before the last one the manifest
    assert read_manifest(bench.store, bench.folder(6)) is not None


def test_nothing_is_committed_or_believed_where_a_mark_of_damage_lies(bench: Bench) -> None:
    bench.store.create(f"{bench.folder(3)}/{layout.DAMAGED}", b"forged")
    with pytest.raises(ManifestError, match="nobody would resume"):
        bench.save(3)
    bench.save(6)
    bench.store.create(f"{bench.folder(6)}/{layout.DAMAGED}", b"found by another process")
    with pytest.raises(TrainerError, match="marked as damaged") as refused:
        bench.save(6)
    assert refused.value.code is ExitCode.STORAGE_UNAVAILABLE

"""A checkpoint is loaded whole or not at all: whatever does not fit is named before a weight is touched."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

from t2i_api.progress import ExitCode
from t2i_api.spec_run import OnIncompatible
from t2i_api.status import VerdictKind
from t2i_checkpoint import layout
from t2i_checkpoint.choose import Resume, choose
from t2i_checkpoint.inspect import judge_folder, survey
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.store import AccessDenied
from t2i_checkpoint.wanted import wanted_from
from t2i_dev.corpus.ldm import LdmConfig, UNetModel
from t2i_dev.corpus.own_layout import rename_everywhere
from t2i_trainer.checkpointing.restore import is_same_null_embedding, refuse_null_embedding
from t2i_trainer.checkpointing.state import weights_sha256
from t2i_trainer.failures import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.trainer.checkpointing.conftest import Bench

    from t2i_api.job import JobSpec
    from t2i_checkpoint.store import Store

NULL = torch.ones(8, 16)
READER = "0123abcd-a2"
# The UNet of `job_spec`, as the original Stable Diffusion code would have been configured for it.
LDM = LdmConfig(12, 12, 8, (1, 2), 1, (0, 1), 1, 16, groups=4)


@functools.cache
def ldm_names() -> dict[str, str]:
    """Diffusers name -> LDM name, found out by sending numbered tensors through Diffusers' own converter."""
    shapes = UNetModel(LDM).state_dict()
    numbered = {f"model.diffusion_model.{name}": torch.tensor(float(n)) for n, name in enumerate(shapes)}
    config = {"layers_per_block": 1, "class_embed_type": None, "addition_embed_type": None}
    converted: dict[str, torch.Tensor] = cast("Any", convert_ldm_unet_checkpoint)(numbered, config)
    return {name: list(shapes)[int(tensor)] for name, tensor in converted.items()}


def ldm_name(name: str) -> str:
    """What the original Stable Diffusion code calls a parameter of the job's UNet."""
    return ldm_names()[name]


def test_everything_comes_back_bit_for_bit(bench: Bench) -> None:
    bench.save(3)
    bench.fetch()
    restored = bench.fresh(seed=1)
    assert weights_sha256(restored.unet) != weights_sha256(bench.state.unet)
    facts = bench.load(restored)
    assert (restored.step, facts.loss_smoothed) == (3, 0.5)
    assert weights_sha256(restored.unet) == weights_sha256(bench.state.unet)
    assert weights_sha256(restored.ema.module) == weights_sha256(bench.state.ema.module)
    for ours, theirs in zip(bench.state.unet.parameters(), restored.unet.parameters(), strict=True):
        for key, value in bench.state.optimizer.state[ours].items():
            assert torch.equal(value, restored.optimizer.state[theirs][key]), key


def test_the_operator_judges_it_identical(bench: Bench) -> None:
    bench.save(3)
    (judgement,) = survey(bench.store, wanted_from(bench.spec)).judgements
    assert judgement.verdict.kind is VerdictKind.IDENTICAL, judgement.verdict.explanation


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda spec: spec["model"]["unet"]["config"].update(block_out_channels=[16, 32]),
            "conv_in.weight: stored [8, 12, 3, 3], wanted [16, 12, 3, 3]",
        ),
        (lambda spec: spec["model"]["unet"]["config"].update(layers_per_block=2), "names missing"),
        (lambda spec: spec["diffusion"].update(schedule="Linear"), "noise schedule"),
        (
            lambda spec: spec["diffusion"].update(schedule="Linear", predictionType="Epsilon"),
            "prediction type is v_prediction, the job asks for epsilon",
        ),
        (lambda spec: spec["training"].update(seed=8), "training.seed"),
        (lambda spec: spec["training"].update(globalBatchSize=8), "training.globalBatchSize"),
    ],
)
def test_what_differs_is_named_in_the_words_of_the_verdict(
    bench: Bench, changed: Callable[..., JobSpec], change: Callable[[dict[str, Any]], None], words: str
) -> None:
    bench.save(3)
    asked = changed(bench.spec, change)
    with pytest.raises(TrainerError) as refused:
        bench.fetch(asked)
    assert refused.value.code is ExitCode.INCOMPATIBLE_WEIGHTS
    assert words in str(refused.value)
    verdict = judge_folder(bench.store, bench.folder(3), wanted_from(asked)).verdict
    assert verdict.explanation in str(refused.value)
    assert not (bench.scratch / "restore").exists()


def test_a_folder_without_manifest_is_no_checkpoint(bench: Bench) -> None:
    bench.save(3)
    bench.store.delete([f"{bench.folder(3)}/{layout.MANIFEST}"])
    with pytest.raises(TrainerError, match=r"MANIFEST\.json was never written") as refused:
        bench.fetch()
    assert refused.value.code is ExitCode.INCOMPATIBLE_WEIGHTS


def flip_last_byte(store: Store, key: str) -> bytes:
    """Damage an object; returns what it held."""
    whole = store.read(key)
    store.put(key, whole[:-1] + bytes([whole[-1] ^ 1]))
    return whole


def test_every_file_of_the_manifest_is_checked_bit_by_bit(bench: Bench) -> None:
    manifest = bench.save(3)
    for file in manifest.files:
        key = f"{bench.folder(3)}/{file.path}"
        whole = flip_last_byte(bench.store, key)
        with pytest.raises(TrainerError, match="is damaged") as refused:
            bench.fetch()
        assert file.path in str(refused.value)
        bench.store.put(key, whole)
        bench.store.delete([f"{bench.folder(3)}/{layout.DAMAGED}"])
    bench.fetch()


def test_a_damaged_checkpoint_is_marked_and_the_one_before_is_taken(bench: Bench) -> None:
    """One flipped byte below sound headers used to end the job although an intact checkpoint lay there."""
    bench.save(3)
    manifest = bench.save(6)
    weights = manifest.file(layout.WEIGHTS)
    assert weights is not None
    flip_last_byte(bench.store, f"{bench.folder(6)}/{layout.WEIGHTS}")
    before = choose(survey(bench.store, wanted_from(bench.spec)), OnIncompatible.ARCHIVE)
    assert isinstance(before, Resume)
    assert before.judgement.folder == bench.folder(6)

    with pytest.raises(TrainerError, match=r"the newest one before it\. No step was taken") as refused:
        bench.fetch(step=6)
    assert refused.value.code is ExitCode.INCOMPATIBLE_WEIGHTS  # upon which the operator judges again
    mark = json.loads(bench.store.read(f"{bench.folder(6)}/{layout.DAMAGED}"))
    assert (mark["file"], mark["expectedSha256"], mark["foundBy"]) == (layout.WEIGHTS, weights.sha256, READER)
    assert mark["foundSha256"] != weights.sha256

    after = choose(survey(bench.store, wanted_from(bench.spec)), OnIncompatible.ARCHIVE)
    assert isinstance(after, Resume)
    assert after.judgement.folder == bench.folder(3)
    assert [(each.folder, each.verdict.reason) for each in after.skipped] == [(bench.folder(6), "Damaged")]
    assert layout.WEIGHTS in after.skipped[0].verdict.explanation
    bench.fetch(step=3)


class Flaky(LocalStore):
    """A store from which the first `wrong` downloads of the weights come with another last byte each time."""

    wrong = 0

    def download(self, key: str, path: Path) -> None:
        super().download(key, path)
        if key.endswith(layout.WEIGHTS) and self.wrong:
            content = path.read_bytes()
            path.write_bytes(content[:-1] + bytes([content[-1] ^ self.wrong]))
            self.wrong -= 1


def test_a_transfer_error_is_not_called_damage(bench: Bench) -> None:
    bench.save(3)
    bench.store = Flaky(bench.scratch / "bucket")
    bench.store.wrong = 1
    bench.fetch()
    bench.store.wrong = 2
    with pytest.raises(TrainerError, match="other bytes each time") as refused:
        bench.fetch()
    assert refused.value.code is ExitCode.STORAGE_UNAVAILABLE
    assert bench.store.head(f"{bench.folder(3)}/{layout.DAMAGED}") is None


class Sealed(LocalStore):
    """A store that may only be read."""

    def create(self, key: str, _data: bytes) -> None:
        raise AccessDenied("may not write", uri=self.uri, operation="create", key=key, way_out="Grant s3:PutObject")


def test_a_mark_that_cannot_be_written_is_said(bench: Bench) -> None:
    bench.save(3)
    flip_last_byte(bench.store, f"{bench.folder(3)}/{layout.WEIGHTS}")
    bench.store = Sealed(bench.scratch / "bucket")
    with pytest.raises(TrainerError, match=r"could not be marked .*Grant s3:PutObject"):
        bench.fetch()


def test_the_null_embedding_may_differ_in_its_last_bits_only(bench: Bench) -> None:
    assert is_same_null_embedding(NULL, NULL + 1e-5)
    bench.save(3)
    name = bench.folder(3).removeprefix(layout.CHECKPOINTS)
    for other in (NULL + 0.1, NULL[:4]):
        assert not is_same_null_embedding(NULL, other)
        with pytest.raises(TrainerError, match="NullEmbeddingDiffers") as refused:
            refuse_null_embedding(bench.store, name, bench.wanted, other)
        assert refused.value.code is ExitCode.INCOMPATIBLE_WEIGHTS


@pytest.mark.parametrize(
    ("rename", "said"),
    [(lambda name: f"module.{name}", None), (lambda name: f"_orig_mod.{name}", None), (ldm_name, VerdictKind.RENAMED)],
    ids=["DistributedDataParallel", "torch.compile", "LDM"],
)
def test_a_checkpoint_under_other_names_is_resumed_whole(
    bench: Bench, rename: Callable[[str], str], said: VerdictKind | None
) -> None:
    """Weights, average and both moments come back under the model's names, and the very next step is the same."""
    bench.save(3)
    rename_everywhere(bench.scratch / "bucket" / bench.folder(3), rename)
    verdict = judge_folder(bench.store, bench.folder(3), wanted_from(bench.spec)).verdict
    assert verdict.resumable
    assert verdict.kind is (said or VerdictKind.IDENTICAL)
    bench.fetch()
    restored = bench.fresh(seed=1)
    bench.load(restored)
    assert weights_sha256(restored.unet) == weights_sha256(bench.state.unet)
    assert weights_sha256(restored.ema.module) == weights_sha256(bench.state.ema.module)
    for state in (bench.state, restored):
        for number, parameter in enumerate(state.unet.parameters()):
            parameter.grad = torch.full_like(parameter, 0.02 * (1 + number % 3))
        state.optimizer.step()
    assert weights_sha256(restored.unet) == weights_sha256(bench.state.unet)

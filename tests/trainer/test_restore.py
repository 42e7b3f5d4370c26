"""A checkpoint is loaded whole or not at all: whatever does not fit is named before a weight is touched."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from t2i_api.job import JobSpec
from t2i_api.progress import ExitCode
from t2i_api.status import VerdictKind
from t2i_checkpoint import layout
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.manifest import Manifest, RankFacts, read_manifest
from t2i_checkpoint.wanted import meaning_from, wanted_from
from t2i_trainer.checkpointing.restore import Expected, check_null_embedding, fetch_checkpoint, load_checkpoint
from t2i_trainer.checkpointing.retention import beyond_retained, retire_checkpoints
from t2i_trainer.checkpointing.save import RunFacts, save_checkpoint
from t2i_trainer.checkpointing.state import TrainingState, weights_sha256
from t2i_trainer.checkpointing.trainer_state import TrainerState
from t2i_trainer.ema import ExponentialMovingAverage
from t2i_trainer.failures import TrainerError
from t2i_trainer.model import architecture_of, build_unet
from t2i_trainer.optim import build_optimizer
from t2i_trainer.text_encoder import embedding_sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CPU = torch.device("cpu")
NULL = torch.ones(8, 16)


@dataclass
class Bench:
    """A store, scratch space, and a run that has taken one optimizer step on made-up gradients."""

    spec: JobSpec
    store: LocalStore
    scratch: Path
    state: TrainingState

    def save(self, step: int) -> Manifest:
        self.state.step = step
        facts = RunFacts(
            writer="0123abcd-a1",
            seed=self.spec.training.seed,
            global_batch_size=self.spec.training.global_batch_size,
            dataset_size=10,
            meaning=meaning_from(self.spec, embedding_sha256(NULL)),
            null_embedding=NULL,
        )
        digest = weights_sha256(self.state.unet)
        return save_checkpoint(
            self.store,
            self.scratch / "save",
            state=self.state,
            trainer_state=TrainerState(step=step, dataset_size=10, dataset_sha256="ab", loss_smoothed=0.5),
            facts=facts,
            ranks=(RankFacts(rank=0, weights_sha256=digest, noise_sha256=digest),),
            metrics=b"",
        )

    def fetch(self, spec: JobSpec | None = None, name: str = "step-00000003-0123abcd-a1") -> None:
        spec = spec or self.spec
        expected = Expected(meaning_from(spec), spec.training.seed, spec.training.global_batch_size)
        model = architecture_of(build_unet(spec, CPU))
        fetch_checkpoint(self.store, name, expected, model, self.scratch / "restore")


def fresh(spec: JobSpec) -> TrainingState:
    unet = build_unet(spec, CPU)
    return TrainingState(unet, ExponentialMovingAverage(unet, 0.9), build_optimizer(unet, spec.training))


def changed(spec: JobSpec, change: Callable[[dict[str, Any]], None]) -> JobSpec:
    document = spec.to_wire()
    change(document)
    return JobSpec.model_validate(document)


@pytest.fixture
def bench(job_spec: JobSpec, tmp_path: Path) -> Bench:
    state = fresh(job_spec)
    for number, parameter in enumerate(state.unet.parameters()):
        parameter.grad = torch.full_like(parameter, 0.01 * (1 + number % 5))
    state.optimizer.step()
    state.ema.update(1)
    return Bench(job_spec, LocalStore(tmp_path / "bucket"), tmp_path, state)


def test_everything_comes_back_bit_for_bit(bench: Bench) -> None:
    bench.save(3)
    bench.fetch()
    restored = fresh(changed(bench.spec, lambda spec: spec["training"].update(seed=1)))
    assert weights_sha256(restored.unet) != weights_sha256(bench.state.unet)
    facts = load_checkpoint(bench.scratch / "restore", restored)
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
            "predictionType is v_prediction there, the job asks for epsilon",
        ),
        (lambda spec: spec["training"].update(seed=8), "training.seed"),
        (lambda spec: spec["training"].update(globalBatchSize=8), "training.globalBatchSize is 4"),
    ],
)
def test_what_differs_is_named(bench: Bench, change: Callable[[dict[str, Any]], None], words: str) -> None:
    bench.save(3)
    with pytest.raises(TrainerError) as refused:
        bench.fetch(changed(bench.spec, change))
    assert refused.value.code is ExitCode.INCOMPATIBLE_WEIGHTS
    assert words in str(refused.value)


def test_a_folder_without_manifest_is_no_checkpoint(bench: Bench) -> None:
    bench.save(3)
    bench.store.delete([f"checkpoints/step-00000003-0123abcd-a1/{layout.MANIFEST}"])
    with pytest.raises(TrainerError, match=r"it has no MANIFEST\.json") as refused:
        bench.fetch()
    assert refused.value.code is ExitCode.INCOMPATIBLE_WEIGHTS


def test_a_flipped_bit_is_noticed(bench: Bench) -> None:
    bench.save(3)
    key = f"checkpoints/step-00000003-0123abcd-a1/{layout.WEIGHTS}"
    raw = bytearray(bench.store.read(key))
    raw[-1] ^= 1
    bench.store.put(key, bytes(raw))
    with pytest.raises(TrainerError, match="is damaged"):
        bench.fetch()


def test_the_null_embedding_may_differ_in_its_last_bits_only() -> None:
    check_null_embedding(NULL, NULL + 1e-5, "here")
    for other in (NULL + 0.1, NULL[:4]):
        with pytest.raises(TrainerError, match="another null embedding"):
            check_null_embedding(NULL, other, "here")


def test_the_manifest_lists_every_file_with_its_checksum(bench: Bench) -> None:
    manifest = bench.save(3)
    folder = "checkpoints/step-00000003-0123abcd-a1"
    assert read_manifest(bench.store, folder) == manifest
    listed = {f"{folder}/{file.path}" for file in manifest.files} | {f"{folder}/{layout.MANIFEST}"}
    assert {info.key for info in bench.store.list("checkpoints/")} == listed
    for file in manifest.files:
        assert hashlib.sha256(bench.store.read(f"{folder}/{file.path}")).hexdigest() == file.sha256
    assert (manifest.samples_seen, manifest.epoch, manifest.position_in_epoch) == (12, 1, 2)


def test_only_older_checkpoints_of_the_same_model_are_retired(bench: Bench) -> None:
    for step in (1, 2, 3, 5):
        bench.save(step)
    foreign = "checkpoints/step-00000001-other"
    bench.store.put(f"{foreign}/{layout.MANIFEST}", b"{not json")
    bench.store.put("checkpoint-1/model.safetensors", b"of another program")
    newest = bench.save(4)
    gone = retire_checkpoints(bench.store, newest, 2)
    assert gone == ("checkpoints/step-00000002-0123abcd-a1", "checkpoints/step-00000001-0123abcd-a1")
    left = {info.key.split("/")[1] for info in bench.store.list("checkpoints/")}
    steps = {f"step-0000000{step}-0123abcd-a1" for step in (3, 4, 5)}
    assert left == steps | {"step-00000001-other"}
    assert bench.store.head("checkpoint-1/model.safetensors") is not None


def test_retaining_one_keeps_the_one_just_committed(bench: Bench) -> None:
    newest = bench.save(7)
    older = layout.parse_folder("checkpoints/step-00000006-a")
    same = layout.parse_folder("checkpoints/step-00000007-0123abcd-a1")
    assert older is not None
    assert same is not None
    foreign = replace(older, writer=None)
    assert beyond_retained([older, same, foreign], newest, 1) == (older,)

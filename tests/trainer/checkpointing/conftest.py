"""A run that has taken one optimizer step on made-up gradients, a store, and scratch space: enough to save and load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch

from t2i_api.job import DiffusionTrainingJob, JobSpec
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.manifest import RankFacts
from t2i_checkpoint.wanted import meaning_from, model_config_sha256
from t2i_trainer.checkpointing.judging import wanted_of
from t2i_trainer.checkpointing.restore import fetch_checkpoint, load_checkpoint, open_fetched
from t2i_trainer.checkpointing.save import RunFacts, save_checkpoint
from t2i_trainer.checkpointing.state import TrainingState, weights_sha256
from t2i_trainer.checkpointing.trainer_state import TrainerState
from t2i_trainer.ema import ExponentialMovingAverage
from t2i_trainer.model import architecture_of, build_unet
from t2i_trainer.optim import build_optimizer
from t2i_trainer.text_encoder import embedding_sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from t2i_checkpoint.manifest import InitialWeightsFacts, Manifest
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted
    from t2i_trainer.checkpointing.saver import Saver
    from t2i_trainer.non_finite import SkippedSteps

CPU = torch.device("cpu")
NULL = torch.ones(8, 16)
WRITER = "0123abcd-a1"
READER = "0123abcd-a2"


@dataclass
class Bench:
    """What the tests of saving and loading work with; `state` is the run's."""

    spec: JobSpec
    store: Store
    scratch: Path
    state: TrainingState

    @property
    def wanted(self) -> Wanted:
        """What the job asks for, as the trainer says it."""
        return wanted_of(self.spec, architecture_of(self.state.unet))

    def save(
        self,
        step: int,
        *,
        initial_weights: InitialWeightsFacts | None = None,
        skipped: tuple[SkippedSteps, ...] = (),
    ) -> Manifest:
        """Commit a checkpoint of `step` in the folder `step-<step>-0123abcd-a1`."""
        self.state.step = step
        facts = RunFacts(
            writer=WRITER,
            seed=self.spec.training.seed,
            global_batch_size=self.spec.training.global_batch_size,
            dataset_size=10,
            meaning=meaning_from(self.spec, embedding_sha256(NULL)),
            null_embedding=NULL,
            model_config_sha256=model_config_sha256(self.spec),
            initial_weights=initial_weights,
        )
        digest = weights_sha256(self.state.unet)
        return save_checkpoint(
            self.store,
            self.scratch / "save",
            state=self.state,
            trainer_state=TrainerState(
                step=step, dataset_size=10, dataset_sha256="ab", loss_smoothed=0.5, skipped=skipped
            ),
            facts=facts,
            ranks=(RankFacts(rank=0, weights_sha256=digest, noise_sha256=digest),),
            metrics=b"",
        )

    def folder(self, step: int) -> str:
        """The folder of a checkpoint that `save` wrote."""
        return f"checkpoints/step-{step:08d}-{WRITER}"

    def fetch(self, spec: JobSpec | None = None, step: int = 3) -> None:
        """Fetch the checkpoint as a run of `spec` would, by default of the same job."""
        spec = spec or self.spec
        wanted = wanted_of(spec, architecture_of(build_unet(spec, CPU)))
        name = self.folder(step).removeprefix("checkpoints/")
        fetch_checkpoint(self.store, name, wanted, self.scratch / "restore", READER)

    def load(self, state: TrainingState) -> TrainerState:
        """Load what was fetched."""
        fetched = open_fetched(self.scratch / "restore")
        load_checkpoint(fetched, state)
        return fetched.trainer_state

    def fresh(self, **training: Any) -> TrainingState:
        """A run of the same job that has taken no step, with fields of `spec.training` changed."""
        return fresh_state(changed_spec(self.spec, lambda document: document["training"].update(training)))


@dataclass(frozen=True)
class QuietBatch:
    """All that a save asks of a batch."""

    noise: str = "ab" * 32

    def noise_sha256(self) -> str:
        return self.noise


def hand_over(saver: Saver, spec: JobSpec, state: TrainingState, noise: str = "ab" * 32) -> None:
    """Save a state as the training loop does."""
    facts = RunFacts(
        writer=WRITER,
        seed=spec.training.seed,
        global_batch_size=4,
        dataset_size=10,
        meaning=meaning_from(spec, embedding_sha256(NULL)),
        null_embedding=NULL,
    )
    batch: Any = QuietBatch(noise)
    told = TrainerState(step=state.step, dataset_size=10, dataset_sha256="ab")
    saver.save(state=state, batch=batch, trainer_state=told, facts=facts, metrics=b"rows\n")


def saving_job(spec: JobSpec, bucket: str, retain: int = 2) -> DiffusionTrainingJob:
    """The job that saves every step to `bucket`."""
    checkpoint = {"uri": bucket, "everySteps": 1, "retain": retain}
    return DiffusionTrainingJob.from_object(
        {
            "apiVersion": "training.t2i.dev/v1alpha1",
            "kind": "DiffusionTrainingJob",
            "metadata": {"name": "tiny", "namespace": "default", "uid": "0123abcd-0000"},
            "spec": {**spec.to_wire(), "checkpoint": checkpoint},
        }
    )


def fresh_state(spec: JobSpec) -> TrainingState:
    unet = build_unet(spec, CPU)
    return TrainingState(unet, ExponentialMovingAverage(unet, 0.9), build_optimizer(unet, spec.training))


def changed_spec(spec: JobSpec, change: Callable[[dict[str, Any]], None]) -> JobSpec:
    document = spec.to_wire()
    change(document)
    return JobSpec.model_validate(document)


@pytest.fixture
def changed() -> Callable[[JobSpec, Callable[[dict[str, Any]], None]], JobSpec]:
    """Return the function that changes a spec in its wire form."""
    return changed_spec


@pytest.fixture
def bench(job_spec: JobSpec, tmp_path: Path) -> Bench:
    """A run that has taken one step, beside an empty bucket in a directory."""
    state = fresh_state(job_spec)
    for number, parameter in enumerate(state.unet.parameters()):
        parameter.grad = torch.full_like(parameter, 0.01 * (1 + number % 5))
    state.optimizer.step()
    state.ema.update(1)
    return Bench(job_spec, LocalStore(tmp_path / "bucket"), tmp_path, state)

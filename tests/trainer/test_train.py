"""A wish to stop is heard while a run draws and evaluates: it saves at once, and the next attempt does the rest."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import torch
from accelerate import Accelerator

from t2i_api.job import DiffusionTrainingJob, JobSpec, ObjectMetadata
from t2i_api.progress import Progress, TrainerPhase
from t2i_checkpoint import layout
from t2i_checkpoint.local import LocalStore
from t2i_dev.lone_attempt import ALONE
from t2i_dev.small_unet import small_unet
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.failures import Interrupted
from t2i_trainer.interruption import Interruption
from t2i_trainer.pipeline import model_folder
from t2i_trainer.telemetry import Telemetry
from t2i_trainer.train import train
from t2i_trainer.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from t2i_checkpoint.store import Store

STEPS, EVERY = 4, 2
PROMPTS = ("a red circle on white", "a blue square on white", "a green circle on white")
INFERENCE_STEPS = 5


@dataclass(frozen=True)
class Stop:
    """When a run is asked to stop: it has looked for a wish `looks` times while it evaluated and drew after `step`."""

    step: int
    looks: int


class Asked(Interruption):
    """A process that is asked to stop; `seen` counts how often it looked while it evaluated and drew."""

    def __init__(self, telemetry: Telemetry, stop: Stop | None) -> None:
        super().__init__()
        self._telemetry = telemetry
        self._stop = stop
        self.seen = 0

    @property
    def is_asked(self) -> bool:
        if self._stop is None:
            return False
        now = self._telemetry.progress
        self.seen += now.phase is TrainerPhase.SAMPLING and now.step == self._stop.step
        return self.seen > self._stop.looks


@dataclass
class Runs:
    """Attempts of one job in this process."""

    spec: JobSpec
    folder: Path
    attempts: int = 0

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.folder / "bucket")

    def attempt(self, stop: Stop | None = None) -> Asked:
        """Train on from the newest checkpoint, to the end or until the stop; returns how it was asked."""
        self.attempts += 1
        scratch = self.folder / f"attempt-{self.attempts}"
        scratch.mkdir(parents=True)
        names = [key.split("/")[1] for key in self.keys(layout.CHECKPOINTS) if key.endswith(layout.MANIFEST)]
        document = ALONE.model_copy(update={"attempt": self.attempts, "resume_from": max(names, default=None)})
        checkpoint = self.spec.checkpoint.model_copy(update={"uri": self.store.uri})
        spec = self.spec.model_copy(update={"checkpoint": checkpoint})
        job = DiffusionTrainingJob(metadata=ObjectMetadata(name="shapes"), spec=spec)
        progress = Progress(
            attempt=self.attempts, world_size=1, target_steps=STEPS, updated_at=datetime(2026, 1, 1, tzinfo=UTC)
        )
        telemetry = Telemetry(progress, spec.training.global_batch_size)
        asked = Asked(telemetry, stop)
        world = World(Accelerator(cpu=True), 0, 0, 1, torch.device("cpu"))
        with pytest.raises(Interrupted) if stop else nullcontext():
            train(RunConfiguration(job, document, "cpu", scratch), world, telemetry, asked)
        return asked

    def keys(self, below: str) -> list[str]:
        return [info.key for info in self.store.list(below)]

    def saved(self) -> set[str]:
        """The steps of the committed checkpoints, as their folders begin."""
        keys = self.keys(layout.CHECKPOINTS)
        return {key.split("/")[1][: len("step-00000000")] for key in keys if key.endswith(layout.MANIFEST)}

    def pictures(self) -> dict[str, bytes]:
        return {key: self.store.read(key) for key in self.keys(layout.SAMPLES) if key.endswith(".png")}

    def measured(self) -> list[tuple[Any, ...]]:
        """What each step's row says of the weights, every digit of it."""
        rows = [json.loads(line) for line in self.store.read(layout.METRICS).splitlines()]
        return [(row["step"], row["loss"], row["gradientNorm"], row.get("evaluation")) for row in rows]


@pytest.fixture(scope="module")
def runs(
    text_encoder_folder: Path, write_dataset: Callable[[Store], None], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Runs]:
    """Make a run of four steps that evaluates and draws after every second one."""
    folder = tmp_path_factory.mktemp("runs")
    write_dataset(LocalStore(folder / "data"))
    spec = JobSpec.model_validate(
        {
            "model": {
                "unet": {"config": small_unet((4, 8), text_width=16, attention_head_dim=4, norm_num_groups=4)},
                "textEncoder": {"uri": f"file://{text_encoder_folder}", "maxTokens": 8},
            },
            "data": {"uri": f"file://{folder}/data", "resolution": 8},
            "training": {"steps": STEPS, "globalBatchSize": 4, "learningRate": 0.002},
            "sampling": {"prompts": list(PROMPTS), "inferenceSteps": INFERENCE_STEPS, "everySteps": EVERY},
            "evaluation": {"everySteps": EVERY, "images": 4},
            "checkpoint": {"uri": "file:///elsewhere", "everySteps": 100},
            "workers": {"gpusPerWorker": 0},
        }
    )
    return lambda name: Runs(spec, folder / name)


@pytest.fixture(scope="module")
def calm(runs: Callable[[str], Runs]) -> Runs:
    """The run that nobody stops."""
    undisturbed = runs("calm")
    undisturbed.attempt()
    return undisturbed


@pytest.mark.parametrize(
    ("looks", "left_out", "pictures"),
    [
        pytest.param(0, "evaluation", 0, id="before the evaluation", marks=pytest.mark.exhaustive),
        pytest.param(3, "pictures", 0, id="in the first picture", marks=pytest.mark.exhaustive),
        pytest.param(
            1 + 3 * INFERENCE_STEPS - 1, "pictures", 0, id="in the last picture", marks=pytest.mark.exhaustive
        ),
        pytest.param(
            1 + 3 * INFERENCE_STEPS + 1, "pictures", 1, id="while pictures are written", marks=pytest.mark.exhaustive
        ),
    ],
)
def test_a_run_that_is_stopped_while_it_draws_saves_that_step_and_the_next_attempt_draws_it(  # noqa: PLR0913, PLR0917
    runs: Callable[[str], Runs],
    calm: Runs,
    looks: int,
    left_out: str,
    pictures: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wild = runs(f"stopped-after-{looks}")
    with caplog.at_level("INFO", "t2i_trainer"):
        asked = wild.attempt(Stop(step=EVERY, looks=looks))
    assert f"step {EVERY}: asked to stop before its {left_out}" in caplog.text
    assert asked.seen == looks + 1, "the first wish that it sees ends all drawing"
    assert wild.saved() == {"step-00000002"}
    assert [name.rpartition("/")[2] for name in wild.pictures()] == ["0000.png"][:pictures], "no grid"
    wild.attempt()
    assert wild.pictures() == calm.pictures()
    assert wild.measured() == calm.measured()


@pytest.mark.exhaustive
@pytest.mark.parametrize("looks", [0, 3], ids=["before the evaluation", "in the first picture"])
def test_the_last_pictures_and_the_model_are_made_up_for_too(
    runs: Callable[[str], Runs], calm: Runs, looks: int
) -> None:
    wild = runs(f"stopped-at-the-end-{looks}")
    wild.attempt(Stop(step=STEPS, looks=looks))
    assert wild.saved() == {"step-00000004"}
    wild.attempt(Stop(step=STEPS, looks=0))
    assert not wild.keys(model_folder(STEPS))
    wild.attempt()
    assert wild.keys(model_folder(STEPS)) == calm.keys(model_folder(STEPS)) != []
    assert wild.pictures() == calm.pictures()
    assert wild.measured() == calm.measured()


@pytest.mark.exhaustive
def test_only_what_a_stop_left_out_is_drawn_again(runs: Callable[[str], Runs]) -> None:
    run = runs("goes-on-at-its-end")
    run.attempt()
    first = f"{layout.sample_folder(STEPS)}/0000.png"
    run.store.delete([first])
    run.attempt()
    assert first not in run.pictures()


def test_pictures_of_an_earlier_run_do_not_stand_for_those_that_were_left_out(
    runs: Callable[[str], Runs], calm: Runs
) -> None:
    wild = runs("in-a-used-folder")
    for key in calm.pictures():
        wild.store.put(key, b"of another run")
    wild.attempt(Stop(step=EVERY, looks=3))
    wild.attempt()
    assert wild.pictures() == calm.pictures()

"""What gate, expectations and the policy for bad steps say is told everywhere, by the leader, and decided once."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from t2i_api.findings import FindingName
from t2i_api.job import DiffusionTrainingJob, JobSpec, ObjectMetadata
from t2i_api.progress import ExitCode, Progress
from t2i_api.spec_training import PredictionType
from t2i_checkpoint.open import open_store
from t2i_checkpoint.wanted import meaning_from
from t2i_dev.lone_attempt import ALONE
from t2i_trainer.checkpointing.save import RunFacts
from t2i_trainer.checkpointing.state import TrainingState
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.data.feed import Batch
from t2i_trainer.ema import ExponentialMovingAverage
from t2i_trainer.errors import TrainerError
from t2i_trainer.metrics_log import MetricsLog, MetricsRow
from t2i_trainer.model import build_unet
from t2i_trainer.optim import build_optimizer
from t2i_trainer.prepare import Prepared
from t2i_trainer.step_result import StepResult
from t2i_trainer.telemetry import Telemetry
from t2i_trainer.watch import Watch
from t2i_trainer.world import World

CPU = torch.device("cpu")
TOKENS, WIDTH = 8, 16


@dataclass(frozen=True)
class RandomFeed:
    """Batches of random numbers, other ones at every step; captions too, unless all pictures have the same."""

    same_caption: bool = False

    def batch(self, step: int) -> Batch:
        generator = torch.Generator().manual_seed(step)
        latents, noise = torch.randn(2, 4, 12, 8, 8, generator=generator)
        timesteps = torch.tensor([10, 300, 600, 900])
        texts = (
            torch.ones(4, TOKENS, WIDTH) if self.same_caption else torch.randn(4, TOKENS, WIDTH, generator=generator)
        )
        return Batch(0.5 * latents, noise, timesteps, texts)


class Follower(World):
    """A process that is not rank 0."""

    @property
    def leads(self) -> bool:
        return False


@dataclass
class Watched:
    """A run under watch whose steps are told, not taken."""

    watch: Watch
    state: TrainingState
    metrics: MetricsLog
    telemetry: Telemetry
    feed: RandomFeed

    def step(self, loss: float = 0.9, *, seen: Batch | None = None, skipped: bool = False) -> None:
        """One step that measured this."""
        batch = seen or self.feed.batch(self.state.step)
        self.watch.before(batch)
        self.state.step += 1
        self.watch.after(batch)
        result = StepResult(
            step=self.state.step,
            loss=loss,
            gradient_norm=1.0,
            learning_rate=0.002,
            finite=math.isfinite(loss),
            skipped=skipped,
            quartile_losses=(loss, loss, loss, None),
        )
        self.telemetry.stepped(result)
        self.watch.hear(result)
        row = MetricsRow(step=result.step, loss=None, gradientNorm=None, learningRate=0, imagesPerSecond=0, attempt=1)
        self.metrics.append(row)

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.metrics.to_bytes().splitlines()]

    def wishes_back_to(self) -> int | None:
        """Before which step the checkpoint must lie that the run wants to go back to."""
        return self.watch.roll_back.before if self.watch.roll_back else None

    def found(self) -> list[str]:
        return [finding.name for finding in self.telemetry.progress.findings]

    def metric(self, line: str) -> float:
        """The value of one line of /metrics; 0 where there is none."""
        lines = self.telemetry.exposition().decode().splitlines()
        return float(next((each.rpartition(" ")[2] for each in lines if each.startswith(line)), 0))


Watching = Callable[..., Watched]


@pytest.fixture
def watching(job_spec: JobSpec, tmp_path: Path) -> Watching:
    """Put a fresh run under watch; groups of the spec may be changed."""

    def build(
        *, leads: bool = True, feed: Any = RandomFeed(), widths: tuple[float, ...] = (), **groups: dict[str, Any]
    ) -> Watched:
        changes = {name: getattr(job_spec, name).model_copy(update=fields) for name, fields in groups.items()}
        spec = job_spec.model_copy(update=changes)
        job = DiffusionTrainingJob(metadata=ObjectMetadata(name="shapes"), spec=spec)
        world = (World if leads else Follower)(Accelerator(cpu=True), rank=0, local_rank=0, size=1, device=CPU)
        telemetry = Telemetry(Progress(attempt=1, world_size=1, target_steps=12, updated_at=datetime.now(UTC)), 4)
        unet = build_unet(spec, CPU)
        average = ExponentialMovingAverage(unet, 0.9, power_widths=widths)
        state = TrainingState(unet, average, build_optimizer(unet, spec.training))
        null = torch.zeros(TOKENS, WIDTH)
        facts = RunFacts("w1", 0, 4, 10, meaning_from(spec, "0" * 64), null)
        metrics = MetricsLog()
        store = open_store(spec.checkpoint.uri)
        prepared = Prepared(store, state, feed, null.new_empty(0, TOKENS, WIDTH), facts, "0" * 64, metrics)
        watch = Watch(RunConfiguration(job, ALONE, "cpu", tmp_path), world, telemetry, prepared)
        return Watched(watch, state, metrics, telemetry, feed)

    return build


def double_scaled(batch: Batch) -> Batch:
    return Batch(batch.latents * 0.2, batch.noise, batch.timesteps, batch.conditioning)


def test_a_finding_is_in_log_metrics_progress_and_the_steps_row(
    watching: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    run = watching()
    with caplog.at_level(logging.WARNING, "t2i_trainer"):
        run.step(seen=double_scaled(run.feed.batch(0)))
    (finding,) = run.telemetry.progress.findings
    assert (finding.name, finding.step) == (FindingName.LATENT_SCALE, 1)
    assert run.metric('t2i_trainer_findings_total{finding="LatentScale",severity="Error"}') == 1
    assert [each["sentence"] for each in run.rows()[0]["findings"]] == [finding.sentence]
    assert [record.getMessage() for record in caplog.records] == [f"step 1: LatentScale: {finding.sentence}"]


def test_only_the_leader_tells(watching: Watching) -> None:
    run = watching(leads=False)
    run.step(seen=double_scaled(run.feed.batch(0)))
    assert run.found() == []
    assert {"batch", "quartiles", "findings"}.isdisjoint(run.rows()[0])


def test_what_cannot_work_is_told_before_the_first_step(watching: Watching) -> None:
    run = watching(diffusion={"prediction_type": PredictionType.EPSILON})
    assert run.found() == [FindingName.SCHEDULE_UNUSABLE]


def test_each_steps_row_has_the_batchs_mark_and_the_losses_by_quarter(watching: Watching) -> None:
    run = watching()
    for loss in (0.9, 0.8):
        run.step(loss)
    rows = run.rows()
    assert [row["quartiles"] for row in rows] == [[0.9, 0.9, 0.9, None], [0.8, 0.8, 0.8, None]]
    assert len({row["batch"] for row in rows}) == 2


def test_a_batch_that_comes_again_is_named(watching: Watching) -> None:
    run = watching()
    run.step()
    run.step(seen=run.feed.batch(0))
    assert run.found() == [FindingName.REPEATED_DATA]


@pytest.mark.parametrize("updated", [0, 1, 2])
def test_a_power_profile_that_is_never_updated_is_named(watching: Watching, updated: int) -> None:
    widths = (0.05, 0.1)
    run = watching(widths=widths)
    averages = [each.detach() for each in run.state.ema.module.parameters()]
    for profile in run.state.ema.profiles[:updated]:
        averages += profile.tensors.values()
    for _ in range(11):
        for tensor in (*averages, *(each.detach() for each in run.state.unet.parameters())):
            tensor.add_(0.002)
        run.step()
    stuck = [each.sentence for each in run.telemetry.progress.findings if each.name == FindingName.EMA_STUCK]
    told = ", ".join(f"{width:g}" for width in widths[updated:])
    assert [f"powerWidths {told} did not change" in each for each in stuck] == [True] * bool(told)


def test_steps_left_out_are_counted_and_too_many_are_a_wish_to_go_back(watching: Watching) -> None:
    run = watching(failure_policy={"max_skipped_steps": 1})
    run.step()
    run.step(math.nan, skipped=True)
    assert run.wishes_back_to() is None
    for _ in range(2):
        run.step(math.nan, skipped=True)
    assert run.wishes_back_to() == 2, "the first wish stands until it is carried out"
    assert run.found() == [FindingName.NON_FINITE_STEP, FindingName.ROLLED_BACK]
    assert run.metric("t2i_trainer_skipped_steps_total") == 3
    run.watch.went_back(1)
    assert run.wishes_back_to() is None
    assert run.metric("t2i_trainer_rollbacks_total") == 1
    assert [(each.first, each.last) for each in run.watch.skipped] == [(2, 4), (2, 4)]


def test_going_back_to_no_earlier_checkpoint_is_told_once_it_is_done(watching: Watching) -> None:
    run = watching(failure_policy={"max_skipped_steps": 0})
    run.step(math.nan, skipped=True)
    run.step()
    run.watch.went_back(1)
    assert run.found() == [FindingName.ROLLED_BACK, FindingName.NO_EARLIER_CHECKPOINT]
    run.step(math.nan, skipped=True)
    run.watch.went_back(2)
    assert run.metric('t2i_trainer_findings_total{finding="NoEarlierCheckpoint",severity="Warning"}') == 1


def test_beyond_the_jobs_bounds_the_run_fails_and_names_its_last_checkpoint(watching: Watching) -> None:
    run = watching(failure_policy={"max_skipped_steps": 0, "max_rollbacks": 0})
    run.telemetry.knows_checkpoint("step-00000001-w1", 1)
    with pytest.raises(TrainerError, match="last checkpoint is step-00000001-w1") as failed:
        run.step(math.inf, skipped=True)
    assert failed.value.code is ExitCode.NON_FINITE_LOSS


def test_spikes_are_left_out_once_the_first_steps_are_over(watching: Watching) -> None:
    run = watching()
    assert math.isinf(run.watch.loss_limit)
    run.state.step = 200
    assert run.watch.loss_limit == 10


def test_the_grid_is_evaluated_when_it_is_due_and_told(watching: Watching) -> None:
    run = watching()
    due = []
    for _ in range(3):
        run.step()
        due.append(run.watch.is_evaluation_due)
        run.watch.evaluate()
    assert due == [True, False, False]
    losses = run.rows()[0]["evaluation"]
    assert {"right", "wrong", "null", "targetPower"} <= set(losses)
    assert run.metric('t2i_trainer_evaluation_loss{caption="right"}') == pytest.approx(
        run.rows()[2]["evaluation"]["right"]
    )


def test_nothing_is_claimed_of_captions_that_cannot_differ(watching: Watching) -> None:
    run = watching(feed=RandomFeed(same_caption=True))
    run.step()
    run.watch.evaluate()
    assert run.rows()[0]["evaluation"]["answerPower"] > 0
    assert run.rows()[0]["evaluation"]["reaction"] == 0
    assert run.found() == []


def test_a_band_that_is_left_is_marked_at_every_step_and_told_once(watching: Watching, job_spec: JobSpec) -> None:
    bands = type(job_spec.expectations).model_validate({"bands": [{"fromStep": 2, "toStep": 9, "lossAtMost": 0.5}]})
    run = watching(expectations={"bands": bands.bands})
    marked = []
    for _ in range(3):
        run.step()
        marked.append(run.telemetry.progress.as_expected)
    assert marked == [None, False, False]
    assert run.found() == [FindingName.OUTSIDE_EXPECTATIONS]
    assert len([row for row in run.rows() if "findings" in row]) == 1

"""Going back in the middle of a run: the tensors of a checkpoint, the count of the run, and nothing written."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import torch
from accelerate import Accelerator

from t2i_api.findings import Finding, FindingName, Severity
from t2i_api.job import DiffusionTrainingJob, ObjectMetadata
from t2i_api.progress import ExitCode
from t2i_checkpoint import layout
from t2i_checkpoint.archive_documents import ArchiveReference
from t2i_checkpoint.archive_list import RESTORED
from t2i_checkpoint.archive_reference import REFERENCE
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.store import ObjectInfo, StoreUnavailable
from t2i_dev.contents import contents
from t2i_dev.lone_attempt import ALONE
from t2i_trainer.checkpointing.state import weights_sha256
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.ema import ExponentialMovingAverage
from t2i_trainer.errors import TrainerError
from t2i_trainer.going_back import go_back, whole_before
from t2i_trainer.non_finite import Cause, RollBack, SkippedSteps
from t2i_trainer.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.trainer.checkpointing.conftest import Bench

    from t2i_trainer.checkpointing.state import TrainingState

CPU = torch.device("cpu")
FINDING = Finding(name=FindingName.ROLLED_BACK, severity=Severity.ERROR, step=9, sentence="3 steps were left out")


def own(step: int, attempt: int = 1) -> str:
    return layout.checkpoint_folder(step, f"0123abcd-a{attempt}")


def committed(step: int, attempt: int = 1) -> list[str]:
    return [f"{own(step, attempt)}/{name}" for name in (layout.WEIGHTS, layout.MANIFEST)]


@pytest.mark.parametrize(
    ("keys", "before", "expected"),
    [
        ([], 9, []),
        ([*committed(3), *committed(6), *committed(9)], 9, [own(6), own(3)]),
        ([*committed(3), *committed(6), *committed(9)], 3, []),
        ([*committed(3), f"{own(6)}/{layout.WEIGHTS}"], 9, [own(3)]),  # never committed
        ([*committed(3), *committed(6), f"{own(6)}/{layout.DAMAGED}"], 9, [own(3)]),
        ([*committed(3), *committed(6), f"{own(6)}/{layout.RETIRED}"], 9, [own(3)]),  # being deleted
        ([*committed(3), f"checkpoints/checkpoint-6/{layout.MANIFEST}"], 9, [own(3)]),  # another program's
        ([*committed(6, 9), *committed(6, 10)], 9, [own(6, 10), own(6, 9)]),
        ([f"archive/20251214T221758Z-x/{key}" for key in committed(3)], 9, []),
    ],
)
def test_whole_checkpoints_from_before_come_newest_first(keys: list[str], before: int, expected: list[str]) -> None:
    listing = [ObjectInfo(key, 10, "e", datetime(2026, 1, 1, tzinfo=UTC)) for key in keys]
    for order in (listing, listing[::-1]):
        assert [each.folder for each in whole_before(order, (), before)] == expected


def test_of_one_step_the_checkpoint_that_was_written_last_comes_first() -> None:
    """As in the survey, whatever the names say."""
    written = {1: datetime(2026, 1, 2, tzinfo=UTC), 2: datetime(2026, 1, 1, tzinfo=UTC)}
    listing = [ObjectInfo(key, 10, "e", written[attempt]) for attempt in written for key in committed(6, attempt)]
    assert [each.folder for each in whole_before(listing, (), 9)] == [own(6, 1), own(6, 2)]


@pytest.fixture
def configuration(bench: Bench) -> RunConfiguration:
    job = DiffusionTrainingJob(metadata=ObjectMetadata(name="shapes"), spec=bench.spec)
    attempt = ALONE.model_copy(update={"attempt": 2})
    return RunConfiguration(job, attempt, "cpu", bench.scratch / "run")


@pytest.fixture(scope="module")
def world() -> World:
    return World(Accelerator(cpu=True), rank=0, local_rank=0, size=1, device=CPU)


def train_on(state: TrainingState, step: int, value: float) -> None:
    for parameter in state.unet.parameters():
        parameter.grad = torch.full_like(parameter, value)
    state.optimizer.step()
    state.ema.update(step)
    state.step = step


def digest(state: TrainingState) -> tuple[Any, ...]:
    moments = [
        tensor.double().sum().item()
        for parameter in state.unet.parameters()
        for tensor in state.optimizer.state[parameter].values()
    ]
    return weights_sha256(state.unet), moments


def caught_up(state: TrainingState, step: int) -> str:
    """Hash of the average once it has taken in the state's weights for every step after 3."""
    average = ExponentialMovingAverage(state.unet, 0.9, module=copy.deepcopy(state.ema.module))
    average.update(step, since=3)
    return weights_sha256(average.module)


def test_weights_and_moments_are_those_of_the_checkpoint_and_the_count_goes_on(
    bench: Bench, configuration: RunConfiguration, world: World
) -> None:
    bench.save(3)
    then, average = digest(bench.state), caught_up(bench.state, 9)
    train_on(bench.state, 6, 0.02)
    bench.save(6)
    train_on(bench.state, 9, float("nan"))
    assert go_back(configuration, world, bench.store, bench.state, RollBack(5, FINDING)) == 3
    assert digest(bench.state) == then
    assert weights_sha256(bench.state.ema.module) == average, "the steps since then count as steps that moved nothing"
    assert bench.state.step == 9, "samples since then are not seen again"
    assert not (configuration.run_directory / "going-back").exists(), "scratch space is small"


def test_steps_that_were_gone_back_from_are_never_loaded(
    bench: Bench, configuration: RunConfiguration, world: World
) -> None:
    """At step 7 the run went back to step 3, and saved that with a record; the save of step 6 knows nothing of it."""
    gone = SkippedSteps(first=4, last=7, cause=Cause.ROLLED_BACK)
    bench.save(3)
    then = digest(bench.state)
    train_on(bench.state, 6, 0.02)
    bench.save(6)
    train_on(bench.state, 9, 0.02)
    assert go_back(configuration, world, bench.store, bench.state, RollBack(8, FINDING, (gone,))) == 3
    assert digest(bench.state) == then
    bench.save(7, skipped=(gone,))
    train_on(bench.state, 9, 0.02)
    assert go_back(configuration, world, bench.store, bench.state, RollBack(8, FINDING, (gone,))) == 7
    assert digest(bench.state) == then


@pytest.mark.parametrize("raw", [None, b"{}"])
def test_a_checkpoint_that_does_not_tell_what_it_holds_is_passed_over(
    bench: Bench, configuration: RunConfiguration, world: World, raw: bytes | None
) -> None:
    for step in (3, 6):
        bench.save(step)
    notes = f"{bench.folder(6)}/{layout.TRAINER_STATE}"
    bench.store.delete([notes])
    if raw is not None:
        bench.store.put(notes, raw)
    bench.state.step = 9
    assert go_back(configuration, world, bench.store, bench.state, RollBack(8, FINDING)) == 3


POINTER = ArchiveReference(name="20251214T221758Z-mine", folders=(own(6),))


def test_what_is_archived_in_place_is_nobodys_now(bench: Bench, configuration: RunConfiguration, world: World) -> None:
    for step in (3, 6):
        bench.save(step)
    bench.state.step = 9
    bench.store.create(f"{POINTER.root}{REFERENCE}", POINTER.to_json())
    assert go_back(configuration, world, bench.store, bench.state, RollBack(8, FINDING)) == 3
    bench.store.create(f"{POINTER.root}{RESTORED}", b"{}")
    assert go_back(configuration, world, bench.store, bench.state, RollBack(8, FINDING)) == 6


def test_a_pointer_that_cannot_be_believed_is_the_operators_to_judge(
    bench: Bench, configuration: RunConfiguration, world: World
) -> None:
    bench.save(3)
    bench.state.step = 9
    bench.store.create(f"{POINTER.root}{REFERENCE}", b"{}")
    with pytest.raises(TrainerError, match=r"3 steps were left out.*REFERENCE.json") as failed:
        go_back(configuration, world, bench.store, bench.state, RollBack(8, FINDING))
    assert failed.value.code is ExitCode.INCOMPATIBLE_WEIGHTS


def test_where_retention_left_none_from_before_the_oldest_is_loaded(
    bench: Bench, configuration: RunConfiguration, world: World
) -> None:
    bench.save(6)
    then = digest(bench.state)
    train_on(bench.state, 7, 0.02)
    bench.save(7)
    train_on(bench.state, 9, 0.02)
    assert go_back(configuration, world, bench.store, bench.state, RollBack(5, FINDING)) == 6
    assert digest(bench.state) == then


def test_another_runs_checkpoint_is_no_way_back(
    bench: Bench, configuration: RunConfiguration, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It lies there, older than all of this run's: made with another batch size."""
    training = bench.spec.training
    bench.spec = bench.spec.model_copy(update={"training": training.model_copy(update={"global_batch_size": 64})})
    bench.save(1)
    bench.spec = configuration.spec
    bench.save(6)
    bench.state.step = 9
    assert go_back(configuration, world, bench.store, bench.state, RollBack(5, FINDING)) == 6
    assert "step-00000001-0123abcd-a1 is passed over" in caplog.text


def test_with_nothing_to_go_back_to_the_run_ends_and_says_so(
    bench: Bench, configuration: RunConfiguration, world: World
) -> None:
    bench.save(6)
    with pytest.raises(TrainerError, match=r"3 steps were left out.*no checkpoint to go back to") as failed:
        go_back(configuration, world, bench.store, bench.state, RollBack(5, FINDING))
    assert failed.value.code is ExitCode.NON_FINITE_LOSS


class Breaking(LocalStore):
    """A store that answers so many questions and then no more: as if everything ended at that moment."""

    def __init__(self, root: Path, answers: int) -> None:
        super().__init__(root)
        self.answers = answers

    def _ask(self) -> None:
        if self.answers == 0:
            raise StoreUnavailable("no answer", uri=self.uri, operation="read", way_out="Try again")
        self.answers -= 1

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._ask()
        return super().list(prefix)

    def head(self, key: str) -> ObjectInfo | None:
        self._ask()
        return super().head(key)

    def read(self, key: str, start: int = 0, length: int | None = None, *, etag: str | None = None) -> bytes:
        self._ask()
        return super().read(key, start, length, etag=etag)

    def download(self, key: str, path: Path) -> None:
        self._ask()
        super().download(key, path)


def test_broken_off_at_every_moment_it_has_changed_nothing_and_can_be_done_again(
    bench: Bench, configuration: RunConfiguration, world: World, tmp_path: Path
) -> None:
    bench.save(3)
    then = digest(bench.state)
    train_on(bench.state, 9, 0.02)
    now, bucket = digest(bench.state), contents(LocalStore(tmp_path / "bucket"))
    answers = 0
    while True:
        store = Breaking(tmp_path / "bucket", answers)
        try:
            assert go_back(configuration, world, store, bench.state, RollBack(5, FINDING)) == 3
            break
        except (StoreUnavailable, TrainerError):
            assert digest(bench.state) == now, f"half loaded after {answers} answers"
            assert contents(LocalStore(tmp_path / "bucket")) == bucket
        answers += 1
    assert answers > 8, "the files of a checkpoint are several"
    assert digest(bench.state) == then
    assert contents(LocalStore(tmp_path / "bucket")) == bucket, "going back only reads"

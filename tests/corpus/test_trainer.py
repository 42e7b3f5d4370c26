"""Every row through the trainer: what a run on one machine begins with, and whether it can really load it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from accelerate import Accelerator

from t2i_api.attempt import InitialWeightsDocument
from t2i_checkpoint.choose import BeginWith, Resume, StartFresh
from t2i_checkpoint.wanted import wanted_from
from t2i_dev.corpus.jobs import Task
from t2i_dev.corpus.row import Row, Then
from t2i_dev.corpus.table import ROWS
from t2i_trainer.checkpointing.initial_weights import fill_module, plan_initial_weights
from t2i_trainer.checkpointing.judging import wanted_of
from t2i_trainer.checkpointing.restore import (
    fetch_checkpoint,
    is_same_null_embedding,
    load_checkpoint,
    open_fetched,
    refuse_null_embedding,
)
from t2i_trainer.checkpointing.state import TrainingState
from t2i_trainer.configuration import open_weights
from t2i_trainer.ema import ExponentialMovingAverage
from t2i_trainer.failures import TrainerError
from t2i_trainer.local import beginning_of
from t2i_trainer.model import architecture_of, build_unet
from t2i_trainer.optim import build_optimizer
from t2i_trainer.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from t2i_api.job import JobSpec
    from t2i_dev.corpus.placed import PlacedCorpus

CPU = torch.device("cpu")
SMALL = {Task.TINY, Task.ATTENTION}  # the others are sparse files: true headers, gigabytes of zeros


@pytest.fixture(autouse=True)
def credentials(corpus: PlacedCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the trainer finds in its environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", corpus.credentials.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", corpus.credentials.secret_access_key)


def begin(spec: JobSpec) -> tuple[Resume | BeginWith | StartFresh | None, str]:
    """What the trainer begins with, or None and why not."""
    try:
        return beginning_of(spec), ""
    except TrainerError as error:
        return None, str(error)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_trainer_begins_with_the_same(corpus: PlacedCorpus, row: Row) -> None:
    beginning, refused = begin(corpus.job(row, "s3").spec)
    match beginning:
        case None:
            assert row.then in {Then.STOP, Then.ARCHIVE}, refused
            assert "othing was changed" in refused
            assert all(words in refused for words in row.says)
        case StartFresh():
            assert row.then is Then.FRESH
        case _ if row.only_with_text_encoder:
            assert isinstance(beginning, Resume)
        case _:
            assert row.then is (Then.RESUME if isinstance(beginning, Resume) else Then.INITIAL_WEIGHTS)
            verdict = beginning.judgement.verdict
            assert (verdict.kind, str(verdict.reason)) == (row.verdict, row.reason)


@dataclass(frozen=True)
class Fresh:
    """A run of a row's job that has taken no step."""

    spec: JobSpec
    state: TrainingState

    @classmethod
    def of(cls, spec: JobSpec) -> Fresh:
        unet = build_unet(spec, CPU)
        return cls(spec, TrainingState(unet, ExponentialMovingAverage(unet, 0.9), build_optimizer(unet, spec.training)))

    @property
    def wanted(self) -> Any:
        return wanted_of(self.spec, architecture_of(self.state.unet))

    def random_bytes(self) -> dict[str, bytes]:
        """What of the model is not a constant of its initialisation, such as the ones of a norm."""
        state = self.state.unet.state_dict()
        return {name: each.numpy().tobytes() for name, each in state.items() if each.unique().numel() > 1}


RESUMED = [row for row in ROWS if row.then is Then.RESUME and row.job in SMALL]


@pytest.mark.parametrize("row", RESUMED, ids=lambda row: row.name)
def test_what_is_resumable_is_loaded_whole(corpus: PlacedCorpus, row: Row, tmp_path: Path) -> None:
    spec = corpus.job(row, "s3").spec
    beginning, _ = begin(spec)
    assert isinstance(beginning, Resume)
    fresh = Fresh.of(spec)
    before = fresh.random_bytes()
    fetch_checkpoint(corpus.store(row, "s3"), beginning.judgement.name, fresh.wanted, tmp_path / "restore")
    load_checkpoint(open_fetched(tmp_path / "restore"), fresh.state)
    assert fresh.state.step == beginning.judgement.step
    after = fresh.random_bytes()
    assert not [name for name, raw in before.items() if after.get(name) == raw]
    assert len(fresh.state.optimizer.state) == len(list(fresh.state.unet.parameters()))


ONLY_WITH_TEXT_ENCODER = [row for row in ROWS if row.only_with_text_encoder]


@pytest.mark.parametrize("row", ONLY_WITH_TEXT_ENCODER, ids=lambda row: row.name)
def test_what_only_the_text_encoder_tells_is_refused_in_the_same_words(
    corpus: PlacedCorpus, row: Row, tmp_path: Path
) -> None:
    spec, store = corpus.job(row, "s3").spec, corpus.store(row, "s3")
    beginning, _ = begin(spec)
    assert isinstance(beginning, Resume)
    fresh, name = Fresh.of(spec), beginning.judgement.name
    fetch_checkpoint(store, name, fresh.wanted, tmp_path / "restore")
    computed = torch.ones(1, 16)
    assert not is_same_null_embedding(open_fetched(tmp_path / "restore").null_embedding(), computed)
    with pytest.raises(TrainerError, match=str(row.reason)):
        refuse_null_embedding(store, name, fresh.wanted, computed)


BEGUN_WITH = [row for row in ROWS if row.then is Then.INITIAL_WEIGHTS]


@pytest.mark.parametrize("row", BEGUN_WITH, ids=lambda row: row.name)
def test_initial_weights_are_planned_whole_and_loaded(corpus: PlacedCorpus, row: Row) -> None:
    spec = corpus.job(row, "s3").spec
    beginning, refused = begin(spec)
    assert isinstance(beginning, BeginWith), refused
    given = InitialWeightsDocument(
        uri=spec.checkpoint.uri,
        endpoint=spec.checkpoint.endpoint,
        folder=beginning.judgement.folder,
        verdict=beginning.judgement.verdict.kind,
    )
    location = open_weights(given.uri, given.endpoint, given.region)
    plan = plan_initial_weights(location, given, replace(wanted_from(spec), run=None))
    assert not plan.fresh
    if row.job in SMALL:
        fresh = Fresh.of(spec)
        before = fresh.random_bytes()
        fill_module(fresh.state.unet, location.store, plan.weights, World(Accelerator(cpu=True), 0, 0, 1, CPU), given)
        after = fresh.random_bytes()
        assert not [name for name, raw in before.items() if after.get(name) == raw]

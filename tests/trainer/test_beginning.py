"""What a run begins with: another program's weights land in the right parameters, and what is random is named."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from diffusers.training_utils import EMAModel
from safetensors.torch import save_file

from t2i_api.attempt import InitialWeightsDocument
from t2i_api.job import DiffusionTrainingJob, JobSpec, ObjectMetadata
from t2i_api.progress import ExitCode, Progress
from t2i_api.status import VerdictKind
from t2i_checkpoint import layout
from t2i_checkpoint.local import LocalStore
from t2i_dev.corpus.ldm import LdmConfig, UNetModel
from t2i_dev.lone_attempt import ALONE
from t2i_trainer.beginning import Beginning, Starter
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.data.imagefolder import CaptionedPictures
from t2i_trainer.data.opening import TrainingData
from t2i_trainer.data.samples import PicturesInMemory
from t2i_trainer.data.space import PixelSpace
from t2i_trainer.failures import TrainerError
from t2i_trainer.model import build_unet
from t2i_trainer.telemetry import Telemetry
from t2i_trainer.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from t2i_api.progress import WarmStart

CPU = torch.device("cpu")
State = dict[str, torch.Tensor]
# The UNet of `job_spec`, as the original Stable Diffusion code would have been configured for it.
LDM = LdmConfig(12, 12, 8, (1, 2), 1, (0, 1), 1, 16, groups=4)


@dataclass(frozen=True)
class Begun:
    """A beginning, and what was said of it."""

    beginning: Beginning
    told: WarmStart | None

    @property
    def weights(self) -> State:
        return self.beginning.state.unet.state_dict()

    @property
    def average(self) -> State:
        return self.beginning.state.ema.module.state_dict()


def unet(spec: JobSpec, seed: int = 99, **changes: Any) -> Any:
    """The job's UNet as another program made and trained it."""
    torch.manual_seed(seed)
    return cast("Any", UNet2DConditionModel)(**{**spec.model.unet.resolved.to_diffusers(), **changes})


@pytest.fixture
def begin(job_spec: JobSpec, tmp_path: Path) -> Callable[..., Begun]:
    """Begin the job with the checkpoint `folder` of `tmp_path`/elsewhere, as the operator's document says."""

    def begin(folder: str | None, *, allow_partial: bool = False) -> Begun:
        given = folder and InitialWeightsDocument(
            uri=f"file://{tmp_path}/elsewhere",
            folder=folder,
            verdict=VerdictKind.INFERENCE_ONLY,
            allow_partial=allow_partial,
        )
        attempt = ALONE.model_copy(update={"initial_weights": given or None})
        job = DiffusionTrainingJob(metadata=ObjectMetadata(name="shapes"), spec=job_spec)
        telemetry = Telemetry(Progress.model_validate({"attempt": 1, "world_size": 1, "target_steps": 12, **_NOW}), 4)
        pictures = CaptionedPictures(np.zeros((2, 3, 16, 16), np.uint8), ("a", "b"), "ab" * 32)
        starter = Starter(
            configuration=RunConfiguration(job, attempt, "cpu", tmp_path / "run"),
            world=World(Accelerator(cpu=True), 0, 0, 1, CPU),
            telemetry=telemetry,
            store=LocalStore(tmp_path / "bucket"),
            unet=build_unet(job_spec, CPU),
            pictures=TrainingData(
                PicturesInMemory(pictures, torch.zeros(1, 8, 16), torch.zeros(2).long()), PixelSpace(2)
            ),
            null_embedding=torch.ones(8, 16),
        )
        return Begun(starter.begin(), telemetry.progress.warm_start)

    return begin


_NOW = {"updated_at": "2026-11-24T00:00:00Z"}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The prefix that holds the other program's checkpoints."""
    return tmp_path / "elsewhere"


def assert_equal(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor.to(found[name].dtype)), name


def test_without_any_the_weights_are_the_seeds(job_spec: JobSpec, begin: Callable[..., Begun]) -> None:
    begun = begin(None)
    assert_equal(begun.weights, build_unet(job_spec, CPU).state_dict())
    assert_equal(begun.average, begun.weights)
    assert begun.told is None
    assert begun.beginning.initial_weights is None


def test_a_diffusers_folder_gives_weights_and_average(
    job_spec: JobSpec, begin: Callable[..., Begun], elsewhere: Path
) -> None:
    model = unet(job_spec)
    average: Any = EMAModel(model.parameters(), model_cls=UNet2DConditionModel, model_config=model.config)
    model.save_pretrained(elsewhere / "checkpoint-5" / "unet")
    with torch.no_grad():
        for shadow in average.shadow_params:
            shadow.mul_(0.5)
    average.save_pretrained(str(elsewhere / "checkpoint-5" / "unet_ema"))
    begun = begin("checkpoint-5")
    assert_equal(begun.weights, model.state_dict())
    assert_equal(begun.average, {name: tensor * 0.5 for name, tensor in model.state_dict().items()})
    assert begun.beginning.state.step == 0
    assert begun.told is not None
    assert (begun.told.loaded, begun.told.fresh) == (len(model.state_dict()), 0)


def test_the_average_of_trained_weights_counts_from_the_first_step(
    job_spec: JobSpec, begin: Callable[..., Begun], elsewhere: Path
) -> None:
    """With the warm-up that forgets random weights, the given average would be gone after a few steps."""
    unet(job_spec).save_pretrained(elsewhere / "checkpoint-5" / "unet")
    for folder, kept in (("checkpoint-5", job_spec.training.ema.decay), (None, 2 / 11)):
        state = begin(folder).beginning.state
        with torch.no_grad():
            for parameter in state.unet.parameters():
                parameter.zero_()
        before = state.ema.module.state_dict()["conv_in.weight"].clone()
        state.ema.update(1)
        torch.testing.assert_close(state.ema.module.state_dict()["conv_in.weight"], kept * before)


def half(model: Any, folder: Path) -> State:
    state: State = model.half().state_dict()
    model.save_pretrained(folder / "unet")
    return state


def prefixed(model: Any, folder: Path) -> State:
    state: State = model.state_dict()
    folder.mkdir(parents=True)
    save_file({f"module.{name}": tensor for name, tensor in state.items()}, folder / "model.safetensors")
    return state


def lightning(model: Any, folder: Path) -> State:
    state: State = model.to(memory_format=torch.channels_last).state_dict()
    folder.mkdir(parents=True)
    named = {f"model.{name}": tensor for name, tensor in state.items()}
    torch.save({"state_dict": named, "global_step": 7, "epoch": 0}, folder / "last.ckpt")
    return state


def sharded(model: Any, folder: Path) -> State:
    state: State = model.state_dict()
    model.save_pretrained(folder / "unet", max_shard_size="100KB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    return state


@pytest.mark.parametrize("write", [half, prefixed, lightning, sharded])
def test_every_format_gives_the_very_numbers_in_the_parameters_dtype(
    job_spec: JobSpec, begin: Callable[..., Begun], elsewhere: Path, write: Callable[[Any, Path], State]
) -> None:
    expected = write(unet(job_spec), elsewhere / "checkpoint-7")
    begun = begin("checkpoint-7")
    assert {tensor.dtype for tensor in begun.weights.values()} == {torch.float32}
    assert_equal(begun.weights, expected)
    assert_equal(begun.average, expected)
    assert begun.beginning.state.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr,operator]  # a Conv2d


def test_ldm_names_are_placed_as_diffusers_own_converter_places_them(
    job_spec: JobSpec, begin: Callable[..., Begun], elsewhere: Path
) -> None:
    torch.manual_seed(5)
    stored = {f"model.diffusion_model.{name}": tensor for name, tensor in UNetModel(LDM).state_dict().items()}
    (elsewhere / "checkpoint-9").mkdir(parents=True)
    save_file(stored, elsewhere / "checkpoint-9" / "model.safetensors")
    config = dict(unet(job_spec).config)
    expected: State = cast("Any", convert_ldm_unet_checkpoint)(dict(stored), config)
    begun = begin("checkpoint-9")
    assert_equal(begun.weights, {name: expected[name] for name in begun.weights})
    assert begun.told is not None
    assert begun.told.verdict is VerdictKind.RENAMED


def test_a_partial_fit_is_loaded_only_if_allowed_and_names_what_is_fresh(
    job_spec: JobSpec, begin: Callable[..., Begun], elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = unet(job_spec, cross_attention_dim=24)
    model.save_pretrained(elsewhere / "checkpoint-5" / "unet")
    with pytest.raises(TrainerError, match="partial") as refused:
        begin("checkpoint-5")
    assert refused.value.code is ExitCode.INCOMPATIBLE_WEIGHTS
    with caplog.at_level(logging.WARNING):
        begun = begin("checkpoint-5", allow_partial=True)
    random, stored = build_unet(job_spec, CPU).state_dict(), model.state_dict()
    fresh = tuple(name for name in random if random[name].shape != stored[name].shape)
    assert fresh
    assert all("attn2.to_" in name for name in fresh)
    assert_equal(begun.weights, {name: random[name] if name in fresh else stored[name] for name in random})
    facts = begun.beginning.initial_weights
    assert facts is not None
    assert set(facts.fresh) == set(fresh)
    assert begun.told is not None
    assert (begun.told.fresh, set(begun.told.fresh_names)) == (len(fresh), set(fresh[:10]))
    assert all(name in caplog.text for name in fresh)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda state: state["conv_in.bias"].fill_(float("nan")), "conv_in.bias holds NaN"),
        (lambda state: state.update({"conv_in.bias": state["conv_in.bias"].long()}), "conv_in.bias is stored as I64"),
        (lambda state: state.pop("conv_in.bias"), "conv_in.bias"),
    ],
)
def test_weights_that_cannot_be_used_end_the_attempt_by_name(
    job_spec: JobSpec,
    begin: Callable[..., Begun],
    elsewhere: Path,
    spoil: Callable[[State], object],
    words: str,
) -> None:
    state: State = dict(unet(job_spec).state_dict())
    spoil(state)
    (elsewhere / "checkpoint-5").mkdir(parents=True)
    save_file(state, elsewhere / "checkpoint-5" / "model.safetensors")
    with pytest.raises(TrainerError, match=words) as refused:
        begin("checkpoint-5")
    assert refused.value.code is ExitCode.INCOMPATIBLE_WEIGHTS


def test_no_pickle_is_run(begin: Callable[..., Begun], elsewhere: Path, tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple[Any, ...]:
            return (tmp_path / "created").touch, ()

    (elsewhere / "checkpoint-5").mkdir(parents=True)
    torch.save({"state_dict": Malice()}, elsewhere / "checkpoint-5" / "pytorch_model.bin")
    with pytest.raises(TrainerError):
        begin("checkpoint-5")
    assert not (tmp_path / "created").exists()


def test_what_is_gone_by_now_is_judged_again(begin: Callable[..., Begun]) -> None:
    with pytest.raises(TrainerError) as refused:
        begin("checkpoint-5")
    assert refused.value.code is ExitCode.INCOMPATIBLE_WEIGHTS


def test_what_begins_at_step_0_keeps_the_rows_of_the_run_before(begin: Callable[..., Begun], tmp_path: Path) -> None:
    """Its first save writes metrics.jsonl anew; after an archive nothing else told of the earlier run's losses."""
    store = LocalStore(tmp_path / "bucket")
    store.put(layout.METRICS, b"of another model\n")
    begin(None)
    copies = [info.key for info in store.list("metrics-")]
    assert [store.read(key) for key in copies] == [b"of another model\n"]

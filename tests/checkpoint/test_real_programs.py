"""Folders as Diffusers and Accelerate really write them, not as we remember them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from accelerate import Accelerator
from diffusers import UNet2DConditionModel
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.checkpoint.state_dict_saver import save

from t2i_api.presets import PRESETS
from t2i_api.status import VerdictKind
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.unet import unet_architecture
from t2i_checkpoint.verdict import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def unet(small_unet: dict[str, Any]) -> Any:
    return UNet2DConditionModel(**small_unet)  # type: ignore[no-untyped-call]  # Diffusers has no annotations here


def test_a_diffusers_script_folder(tmp_path: Path, unet: Any, wanted: Wanted) -> None:
    unet.save_pretrained(tmp_path / "checkpoint-500" / "unet")
    unet.save_pretrained(tmp_path / "checkpoint-500" / "unet_ema")
    judgement = survey(LocalStore(tmp_path), wanted).judgements[0]
    assert (judgement.step, judgement.format) == (500, "diffusers")
    assert (judgement.verdict.kind, judgement.verdict.matched_parameter_share) == (VerdictKind.INFERENCE_ONLY, 1.0)


def test_a_sharded_diffusers_folder(tmp_path: Path, unet: Any, wanted: Wanted) -> None:
    unet.save_pretrained(tmp_path / "checkpoint-500" / "unet", max_shard_size="10KB")
    judgement = survey(LocalStore(tmp_path), wanted).judgements[0]
    assert judgement.format == "sharded-safetensors"
    assert judgement.verdict.reason == "WeightsWithoutResumeState"


def test_an_accelerate_state(tmp_path: Path, unet: Any, wanted: Wanted) -> None:
    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.AdamW(unet.parameters())
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    accelerator.prepare(unet, optimizer, schedule)
    accelerator.save_state(str(tmp_path / "checkpoint-00005000"))
    written = {path.name for path in (tmp_path / "checkpoint-00005000").iterdir()}
    assert {"model.safetensors", "optimizer.bin", "scheduler.bin", "random_states_0.pkl"} <= written
    judgement = survey(LocalStore(tmp_path), wanted).judgements[0]
    assert (judgement.step, judgement.format) == (5000, "accelerate")
    assert judgement.verdict.reason == "ResumeStateOfAnotherProgram"


def test_an_accelerate_state_in_pickles_is_read_without_unpickling(tmp_path: Path, unet: Any, wanted: Wanted) -> None:
    accelerator = Accelerator(cpu=True)
    accelerator.prepare(unet)
    accelerator.save_state(str(tmp_path / "checkpoint-1"), safe_serialization=False)
    judgement = survey(LocalStore(tmp_path), wanted).judgements[0]
    assert judgement.format == "pickle"
    assert (judgement.verdict.kind, judgement.verdict.reason) == (
        VerdictKind.INFERENCE_ONLY,
        "WeightsWithoutResumeState",
    )


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"app": state}], ids=["plain", "torchtitan"])
def test_a_distributed_checkpoint_is_known_but_has_to_be_converted(
    tmp_path: Path, unet: Any, wanted: Wanted, wrap: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    optimizer = torch.optim.AdamW(unet.parameters())
    for parameter in unet.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    model_state, optimizer_state = get_state_dict(unet, optimizer)
    state = wrap({"model": model_state, "optimizer": optimizer_state})
    save(state, checkpoint_id=str(tmp_path / "checkpoint-5"), no_dist=True)
    judgement = survey(LocalStore(tmp_path), wanted).judgements[0]
    assert judgement.format == "distributed"
    assert (judgement.verdict.kind, judgement.verdict.reason) == (VerdictKind.INFERENCE_ONLY, "NotLoadable")
    assert "dcp_to_torch" in judgement.verdict.explanation
    assert judgement.contents_summary.optimizer == "optimizer state of 208 parameters"
    assert not judgement.verdict.usable_as_initial_weights
    converted = tmp_path / "checkpoint-6.pt"
    dcp_to_torch_save(tmp_path / "checkpoint-5", converted)
    verdict = survey(LocalStore(tmp_path), wanted).judgements[0].verdict
    assert verdict.usable_as_initial_weights
    assert verdict.matched_parameter_share == 1.0


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_what_diffusers_builds(name: str) -> None:
    config = PRESETS[name]
    with torch.device("meta"):
        model: Any = UNet2DConditionModel(**config.to_diffusers())  # type: ignore[no-untyped-call]  # see above
    built = [(key, tuple(tensor.shape)) for key, tensor in model.state_dict().items()]
    assert [(key, p.shape) for key, p in unet_architecture(config).parameters.items()] == built

"""What the trainer loads is bit for bit what the other program saved, whatever its format and names."""

from typing import Any, cast

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

from t2i_checkpoint.choose import BeginWith
from t2i_checkpoint.load_plan import load_plan
from t2i_checkpoint.wanted import wanted_from
from t2i_dev.corpus import ldm
from t2i_dev.corpus.jobs import ATTENTION_UNET, TINY_UNET, UNETS
from t2i_dev.corpus.ldm_companions import below
from t2i_dev.corpus.models import seeded, stepped_adamw, unet
from t2i_dev.corpus.placed import PlacedCorpus
from t2i_dev.corpus.row import Row
from t2i_dev.corpus.table import ROWS
from t2i_trainer.checkpointing.stored_bytes import fill_parameter, read_ahead
from t2i_trainer.local import beginning_of

BY_NAME = {row.name: row for row in ROWS}
# The optimizer of these took a step before the save.
STEPPED = {"diffusers-script", "accelerate-bin", "accelerate-wrapped", "lightning-compiled"}
# Rows whose weights are those of `unet(seed)`, whatever the program and the file format.
SEEDS = {
    "diffusers-script": "script",
    "diffusers-unet": "only",
    "diffusers-sharded": "sharded",
    "diffusers-bin": "bin",
    "diffusers-sharded-bin": "sharded-bin",
    "diffusers-bin-pipeline": "bin",
    "deepspeed-zero-2": "zero-2",
    "diffusers-ema-only": "ema",
    "diffusers-pipeline": "pipeline",
    "diffusers-prefixed": "prefixed",
    "accelerate-bin": "accelerate-bin",
    "accelerate-wrapped": "accelerate-wrapped",
    "torch-single-file": "single",
    "torch-ema-only": "ema-only",
    "torch-ddp": "ddp",
    "torch-ddp-compiled": "ddp-compiled",
    "torch-channels-last": "strided",
    "torch-flat-storage": "flat",
    "lightning-compiled": "lightning",
    "hostile-optimizer": "beside-hostile",
}


def loaded(corpus: PlacedCorpus, row: Row) -> dict[str, torch.Tensor]:
    """Fill a real UNet that holds only NaN with a row's weights, as rank 0 does."""
    wanted = wanted_from(corpus.job(row, "file").spec)
    begin = beginning_of(corpus.job(row, "file").spec)
    assert isinstance(begin, BeginWith)
    store = corpus.store(row, "file")
    plan = load_plan(store, begin.judgement.folder, wanted, allow_partial=False)
    module: torch.nn.Module = cast("Any", UNet2DConditionModel)(**UNETS[row.job])
    state = module.state_dict()
    for target in state.values():
        target.fill_(torch.nan)
    for name, raw in read_ahead(store, plan.weights):
        fill_parameter(state[name], raw, plan.weights[name])
    return state


@pytest.mark.parametrize(("name", "seed"), SEEDS.items(), ids=SEEDS)
def test_initial_weights_are_bit_for_bit_those_that_were_saved(corpus: PlacedCorpus, name: str, seed: str) -> None:
    model = unet(seed)
    if name in STEPPED:
        stepped_adamw(model)
    state, saved = loaded(corpus, BY_NAME[name]), model.state_dict()
    assert [key for key in saved if not torch.equal(state[key], saved[key])] == []


def test_half_precision_is_widened_exactly(corpus: PlacedCorpus) -> None:
    state, saved = loaded(corpus, BY_NAME["diffusers-fp16"]), unet("half").half().state_dict()
    assert [key for key in saved if not torch.equal(state[key], saved[key].float())] == []


@pytest.mark.parametrize("name", ["ldm-single-file", "ldm-ckpt", "ldm-folder", "ldm-bare"])
def test_ldm_names_are_converted_as_diffusers_converts_them(corpus: PlacedCorpus, name: str) -> None:
    state = loaded(corpus, BY_NAME[name])
    seeded("ldm")
    original = below("model.diffusion_model.", ldm.UNetModel(ldm.TINY))
    converted = cast("Any", convert_ldm_unet_checkpoint)(original, {**TINY_UNET, "class_embed_type": None})
    assert converted.keys() == state.keys()
    assert [key for key in converted if not torch.equal(state[key], converted[key])] == []


def test_deprecated_attention_names_are_converted(corpus: PlacedCorpus) -> None:
    state = loaded(corpus, BY_NAME["diffusers-deprecated-attention"])
    saved = unet("old-attention", **ATTENTION_UNET).state_dict()
    assert [key for key in saved if not torch.equal(state[key], saved[key])] == []

"""Shards that a job cannot be trained on are refused with every reason; those that fit are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from t2i_api.progress import ExitCode
from t2i_checkpoint.local import LocalStore
from t2i_trainer.data.shard_fit import check_fit, reasons_against
from t2i_trainer.data.shard_index import Content
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("space", ["pixels", "latents"])
def test_what_was_encoded_for_a_job_fits_it(make_workshop: Callable[[str], Any], tmp_path: Path, space: str) -> None:
    workshop, store = make_workshop(space), LocalStore(tmp_path / "out")
    index = workshop.encode(store).index
    check_fit(store, index, workshop.spec, workshop.models, workshop.encoders.null_embedding)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"resolution": 32}, "their pictures are 32 pixels wide, data.resolution is 16"),
        ({"vae_sha256": "0" * 64}, "another autoencoder"),
        ({"text_encoder_sha256": "0" * 64}, "another text encoder"),
        ({"max_tokens": 9}, "captions have 9 tokens, model.textEncoder.maxTokens is 8"),
        ({"content": Content.PIXELS}, "they hold pixels, the job has a model.vae"),
    ],
    ids=["resolution", "vae", "text-encoder", "tokens", "pixels"],
)
def test_each_difference_is_named(
    make_workshop: Callable[[str], Any], tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    workshop = make_workshop("latents")
    recipe = workshop.encode(LocalStore(tmp_path / "out")).index.recipe.model_copy(update=changes)
    encoders = workshop.encoders
    (found,) = reasons_against(recipe, workshop.spec, vae_sha256=encoders.vae_sha256, text_sha256=encoders.text_sha256)
    assert reason in found


def test_another_null_embedding_is_refused(make_workshop: Callable[[str], Any], tmp_path: Path) -> None:
    """The files may be the same while a library pads or masks otherwise: what training drops to would be another."""
    workshop, store = make_workshop("pixels"), LocalStore(tmp_path / "out")
    index = workshop.encode(store).index
    null = workshop.encoders.null_embedding
    check_fit(store, index, workshop.spec, workshop.models, null + 1e-5)
    with pytest.raises(TrainerError, match=r"the empty caption gave another vector.*t2i data encode") as caught:
        check_fit(store, index, workshop.spec, workshop.models, null + torch.ones_like(null))
    assert caught.value.code is ExitCode.BAD_CONFIGURATION

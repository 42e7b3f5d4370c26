"""Initial weights are planned by the comparison that gave the verdict: exactly the tensors that agree, by place."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load, save

from t2i_api.status import VerdictKind
from t2i_checkpoint import layout
from t2i_checkpoint.architecture import Architecture, Parameter
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.load_plan import NotLoadableError, load_plan
from t2i_checkpoint.tensors import read_tensor
from t2i_checkpoint.verdict import Meaning, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.checkpoint.conftest import CheckpointWriter

    from t2i_checkpoint.store import Store

DIFFUSERS = "unet/diffusion_pytorch_model.safetensors"


def noise(architecture: Architecture, seed: int = 3) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.standard_normal(p.shape, dtype=np.float32) for name, p in architecture.parameters.items()}


def test_every_wanted_tensor_is_read_from_its_place(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    held = noise(wanted.architecture)
    checkpoints.files("checkpoint-7", {DIFFUSERS: save(held)})
    plan = load_plan(store, "checkpoint-7", wanted, allow_partial=False)
    assert plan.judgement.verdict.kind is VerdictKind.INFERENCE_ONLY
    assert tuple(plan.weights) == wanted.architecture.names
    assert (plan.fresh, plan.ema) == ((), None)
    for name, tensor in plan.weights.items():
        assert read_tensor(store, tensor) == held[name].tobytes(), name


def test_our_own_checkpoint_gives_weights_and_average(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    average = noise(wanted.architecture, seed=9)
    folder = checkpoints.own(5, wanted.architecture, replaced={layout.EMA_WEIGHTS: save(average)})
    plan = load_plan(store, folder, wanted, allow_partial=False)
    assert plan.ema is not None
    assert plan.ema.keys() == plan.weights.keys()
    assert read_tensor(store, plan.ema["conv_in.weight"]) == average["conv_in.weight"].tobytes()
    weights = load(store.read(f"{folder}/{layout.WEIGHTS}"))
    assert read_tensor(store, plan.weights["conv_in.weight"]) == weights["conv_in.weight"].tobytes()


def test_a_judgement_is_as_good_as_its_folder(store: Store, checkpoints: CheckpointWriter, wanted: Wanted) -> None:
    checkpoints.own(5, wanted.architecture)
    (judgement,) = survey(store, wanted).judgements
    assert load_plan(store, judgement, wanted, allow_partial=False).judgement.folder == judgement.folder


def test_names_under_a_prefix_are_loaded_under_the_wanted_names(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    held = noise(wanted.architecture)
    wrapped = {f"model.diffusion_model.{name}": tensor for name, tensor in held.items()}
    checkpoints.files("", {"checkpoint-3.safetensors": save(wrapped)})
    plan = load_plan(store, "checkpoint-3.safetensors", wanted, allow_partial=False)
    assert read_tensor(store, plan.weights["conv_out.bias"]) == held["conv_out.bias"].tobytes()


def test_a_diffusers_average_comes_under_the_wanted_names_too(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    held, average = noise(wanted.architecture), noise(wanted.architecture, seed=8)
    checkpoints.files("checkpoint-7", {DIFFUSERS: save(held), layout.EMA_WEIGHTS: save(average)})
    plan = load_plan(store, "checkpoint-7", wanted, allow_partial=False)
    assert plan.ema is not None
    assert read_tensor(store, plan.ema["conv_in.bias"]) == average["conv_in.bias"].tobytes()


@pytest.fixture
def partial(checkpoints: CheckpointWriter, wanted: Wanted) -> dict[str, np.ndarray]:
    """Stored: another `conv_in`, no `conv_out.bias`, and a name of its own."""
    held = noise(wanted.architecture)
    del held["conv_out.bias"]
    held["conv_in.weight"] = np.zeros((4, 9, 3, 3), np.float32)
    held["mine.weight"] = np.zeros((1,), np.float32)
    checkpoints.files("checkpoint-7", {DIFFUSERS: save(held)})
    return held


def test_partial_weights_load_exactly_what_agrees_and_list_the_rest(
    store: Store, wanted: Wanted, partial: dict[str, np.ndarray]
) -> None:
    plan = load_plan(store, "checkpoint-7", wanted, allow_partial=True)
    assert plan.judgement.verdict.kind is VerdictKind.PARTIAL
    assert plan.fresh == ("conv_in.weight", "conv_out.bias")
    assert set(plan.weights) == set(wanted.architecture.names) - set(plan.fresh)
    assert set(plan.weights) == set(partial) - {"conv_in.weight", "mine.weight"}
    assert "2 parameters are not in it" in plan.described


def test_partial_weights_are_refused_where_that_was_not_asked_for(
    store: Store, wanted: Wanted, partial: dict[str, np.ndarray]
) -> None:
    del partial
    with pytest.raises(NotLoadableError, match="WarmStart") as raised:
        load_plan(store, "checkpoint-7", wanted, allow_partial=False)
    assert raised.value.verdict.kind is VerdictKind.PARTIAL


def test_nothing_is_loaded_from_what_does_not_fit_or_cannot_be_read(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture
) -> None:
    adapter = Architecture([("unet.conv.lora_A.weight", Parameter((4, 4)))])
    checkpoints.files("checkpoint-1", {DIFFUSERS: checkpoints.tensors(old_unet)})
    checkpoints.files("checkpoint-2", {"pytorch_lora_weights.safetensors": checkpoints.tensors(adapter)})
    checkpoints.files("checkpoint-3", {"model.safetensors": b"not a header"})
    checkpoints.files("checkpoint-4", {"optimizer.bin": b"PK"})
    cases = {"checkpoint-1": "foreign", "checkpoint-2": "adapter", "checkpoint-3": "unreadable"}
    for folder, kind in {**cases, "checkpoint-4": "incomplete", "checkpoint-5": "incomplete"}.items():
        with pytest.raises(NotLoadableError) as raised:
            load_plan(store, folder, wanted, allow_partial=True)
        assert raised.value.verdict.kind == kind, folder
        assert folder in str(raised.value)


def test_weights_of_another_meaning_are_not_loaded(store: Store, checkpoints: CheckpointWriter, wanted: Wanted) -> None:
    folder = checkpoints.own(5, wanted.architecture)
    other = dataclasses.replace(wanted, meaning=Meaning("epsilon", wanted.meaning.noise_schedule, 1.0))
    with pytest.raises(NotLoadableError, match="prediction type is v_prediction, the job asks for epsilon"):
        load_plan(store, folder, other, allow_partial=True)


def test_a_sharded_model_is_planned_over_its_files(
    store: Store,
    checkpoints: CheckpointWriter,
    wanted: Wanted,
    write_sharded: Callable[[Architecture], dict[str, bytes]],
) -> None:
    checkpoints.files("checkpoint-1", write_sharded(wanted.architecture))
    plan = load_plan(store, "checkpoint-1", wanted, allow_partial=False)
    assert len({tensor.key for tensor in plan.weights.values() if hasattr(tensor, "key")}) == 2

"""Whatever a training program wraps around its model, the very tensors are found: saved by torch, read without it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.training_utils import EMAModel
from hypothesis import given
from hypothesis import strategies as st

from t2i_api.status import VerdictKind
from t2i_checkpoint.inspect import judge_folder, survey
from t2i_checkpoint.load_plan import load_plan
from t2i_checkpoint.state_dicts import saved_state
from t2i_checkpoint.tensors import StoredTensor, architecture_of_table, read_tensor
from t2i_checkpoint.torch_optimizer import order_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from t2i_checkpoint.local import LocalStore
    from t2i_checkpoint.tensors import AnyTensor
    from t2i_checkpoint.verdict import Wanted

A_TENSOR = StoredTensor((2,), "F32", "x.pt", "e", 0, 8)
Tensors = dict[str, torch.Tensor]


def build(config: dict[str, Any]) -> Any:
    return UNet2DConditionModel(**config)  # type: ignore[no-untyped-call]  # Diffusers has no annotations here


class Run:
    """A tiny UNet after one optimizer step, its average, and what its program would save."""

    def __init__(self, config: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self.unet = build(config)
        optimizer = torch.optim.AdamW(self.unet.parameters())
        for parameter in self.unet.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        self.weights: Tensors = {name: value.clone() for name, value in self.unet.state_dict().items()}
        self.average: Tensors = {name: value * 0.5 for name, value in self.weights.items()}
        self.optimizer = optimizer.state_dict()


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: value for name, value in tensors.items()}


def ldm(run: Run) -> dict[str, Any]:
    """Lightning's checkpoint of a LatentDiffusion: LitEma's buffers have names without dots."""
    average = {"model_ema.diffusion_model" + name.replace(".", ""): value for name, value in run.average.items()}
    counters = {"model_ema.decay": torch.tensor(0.99), "model_ema.num_updates": torch.tensor(3)}
    others = {"first_stage_model.encoder.conv_in.weight": torch.zeros(3, 3), "betas": torch.zeros(1000)}
    return {
        "epoch": 3,
        "global_step": 500,
        "pytorch-lightning_version": "2.0.0",
        "state_dict": {**prefixed("model.diffusion_model.", run.weights), **average, **counters, **others},
        "optimizer_states": [run.optimizer],
        "lr_schedulers": [{"last_epoch": 500}],
    }


def ema_pytorch(run: Run) -> dict[str, Any]:
    average = prefixed("ema_model.model.", run.average)
    copies = {**prefixed("online_model.model.", run.weights), **average, "initted": torch.tensor(True)}
    return {"step": 9, "model": prefixed("model.", run.weights), "opt": run.optimizer, "ema": copies}


def shadow(run: Run) -> dict[str, Any]:
    model = build({**run.unet.config})
    model.load_state_dict(run.average)
    return {"unet": run.weights, "ema": EMAModel(model.parameters()).state_dict()}


WITH_OPTIMIZER, WEIGHTS_ONLY = "ResumeStateOfAnotherProgram", "WeightsWithoutResumeState"


@pytest.fixture
def run(small_unet: dict[str, Any]) -> Run:
    return Run(small_unet)


@pytest.mark.parametrize(
    ("save", "reason", "step", "has_average"),
    [
        (lambda run: run.weights, WEIGHTS_ONLY, 0, False),
        (lambda run: {"state_dict": run.weights, "epoch": 1}, WEIGHTS_ONLY, 0, False),
        (lambda run: {"module": prefixed("module.", run.weights), "global_steps": 77}, WEIGHTS_ONLY, 77, False),
        (lambda run: {"unet_state_dict": run.weights, "loss": 0.5, "epoch": 4}, WEIGHTS_ONLY, 0, False),
        (lambda run: {"model": {"unet": run.weights, "vae": {"x": torch.zeros(2)}}}, WEIGHTS_ONLY, 0, False),
        (lambda run: {"model": run.weights, "ema": run.average, "opt": run.optimizer}, WITH_OPTIMIZER, 0, True),
        (
            lambda run: {**prefixed("unet.", run.weights), **prefixed("ema_unet.", run.average)},
            WEIGHTS_ONLY,
            0,
            True,
        ),
        (lambda run: prefixed("_orig_mod.", run.weights), WEIGHTS_ONLY, 0, False),
        (ldm, WITH_OPTIMIZER, 500, True),
        (ema_pytorch, WITH_OPTIMIZER, 9, True),
        (shadow, WEIGHTS_ONLY, 0, True),
    ],
)
def test_the_model_is_found_whatever_is_wrapped_around_it(  # noqa: PLR0913, PLR0917  # a row of a table
    directory_store: LocalStore,
    wanted: Wanted,
    run: Run,
    save: Callable[[Run], Any],
    reason: str,
    step: int,
    has_average: bool,  # noqa: FBT001  # a column of a table
) -> None:
    write(directory_store, "checkpoints/last.ckpt", save(run))
    (judgement,) = survey(directory_store, wanted).judgements
    assert (judgement.verdict.kind, judgement.verdict.reason) == (VerdictKind.INFERENCE_ONLY, reason)
    assert judgement.step == step
    if reason == WITH_OPTIMIZER:
        assert "Adam optimizer state of 208 parameters fits in order and shapes" in judgement.verdict.explanation
    plan = load_plan(directory_store, judgement, wanted, allow_partial=False)
    assert_same(directory_store, plan.weights, run.weights)
    assert (plan.ema is not None) == has_average
    if plan.ema is not None:
        assert_same(directory_store, plan.ema, run.average)


def test_equal_pickles_of_different_files_are_loaded_each_from_its_own(
    directory_store: LocalStore, wanted: Wanted, run: Run
) -> None:
    # A survey takes equal pickles apart once; a load plan must not take another file's places from that.
    for step, tensors in enumerate((run.weights, run.average)):
        write(directory_store, f"checkpoint-{step}.pt", {"model": tensors})
    found = survey(directory_store, wanted).judgements
    assert [judgement.verdict.reason for judgement in found] == [WEIGHTS_ONLY, WEIGHTS_ONLY]
    for judgement, tensors in zip(found, (run.average, run.weights), strict=True):
        plan = load_plan(directory_store, judgement, wanted, allow_partial=False)
        assert_same(directory_store, plan.weights, tensors)


def test_an_optimizer_over_parameters_in_another_order_is_named(
    directory_store: LocalStore, wanted: Wanted, run: Run
) -> None:
    # The usual two groups, with and without weight decay, number the parameters in another order than the model.
    parameters = list(run.unet.parameters())
    groups = [[p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]]
    optimizer = torch.optim.AdamW([{"params": group} for group in groups])
    optimizer.step()
    write(directory_store, "checkpoints/last.ckpt", {"model": run.weights, "optimizer": optimizer.state_dict()})
    explanation = judge_folder(directory_store, "checkpoints/last.ckpt", wanted).verdict.explanation
    assert "does not fit (its parameter 1 has shape [16, 4], the model's is conv_in.bias [4])" in explanation


@pytest.mark.parametrize("value", [[1, 2], {"epoch": 3}, {"state_dict": {}}, torch.zeros(3), {1: torch.zeros(2)}])
def test_what_holds_no_state_dict_is_unreadable_and_left_alone(
    directory_store: LocalStore, wanted: Wanted, value: Any
) -> None:
    write(directory_store, "checkpoint-1.pt", value)
    verdict = judge_folder(directory_store, "checkpoint-1.pt", wanted).verdict
    assert (verdict.kind, verdict.reason) == (VerdictKind.UNREADABLE, "NoStateDict")
    assert "state_dict()" in verdict.explanation


def test_a_whole_pickled_module_is_not_taken_apart(directory_store: LocalStore, wanted: Wanted, run: Run) -> None:
    write(directory_store, "checkpoint-1.pt", run.unet)
    verdict = judge_folder(directory_store, "checkpoint-1.pt", wanted).verdict
    assert (verdict.kind, verdict.reason) == (VerdictKind.UNREADABLE, "NoStateDict")


@pytest.mark.parametrize("tree", [None, 3, "text", [], {}, {"model": None}, {"optimizer": {"state": 3}}, {"ema": []}])
def test_any_tree_is_taken_apart(tree: Any) -> None:
    assert saved_state(tree).weights == {}


leaves = st.none() | st.integers() | st.text(max_size=3) | st.just(A_TENSOR)
keys = st.sampled_from(
    ["model", "state_dict", "ema", "optimizer", "state", "param_groups", "params", "x", "shadow_params"]
)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.dictionaries(keys | st.integers(0, 3), inner, max_size=4)
        | st.lists(inner, max_size=3)
        | st.dictionaries(st.integers(0, 3), st.dictionaries(st.sampled_from(["exp_avg", "step"]), inner), max_size=3)
    ),
    max_leaves=12,
)


@given(trees)
def test_no_tree_is_too_odd_to_be_taken_apart(tree: Any) -> None:
    state = saved_state(tree)
    assert all(isinstance(name, str) for name in state.weights)
    assert set(state.weights.values()) <= {A_TENSOR}
    if state.ema is not None:
        assert state.ema.keys() <= state.weights.keys()
    if state.optimizer is not None:
        order_fault(state.optimizer, architecture_of_table(state.weights))


def test_a_dict_that_holds_itself_a_thousand_times_is_visited_once() -> None:
    # A pickle's memo makes such a thing of a few bytes; walking all its paths would take for ever.
    tree: dict[Any, Any] = {"w": A_TENSOR}
    for number in range(1000):
        tree[f"x{number}_state_dict"] = tree
        tree[f"x{number}"] = tree
    tree["optimizer"] = tree["ema"] = tree["model"] = tree["state"] = tree
    assert saved_state(tree).weights == {"w": A_TENSOR}


def write(store: LocalStore, key: str, value: Any) -> None:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    store.put(key, buffer.getvalue())


def assert_same(store: LocalStore, planned: Mapping[str, AnyTensor], tensors: Tensors) -> None:
    assert planned.keys() == tensors.keys()
    for name, tensor in planned.items():
        assert read_tensor(store, tensor) == tensors[name].numpy().tobytes(), name

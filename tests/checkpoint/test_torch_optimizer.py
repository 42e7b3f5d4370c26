"""A torch optimizer's state is known by order and shapes: torch itself loads a wrong one without a word."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.facts import OptimizerFacts
from t2i_checkpoint.tensors import StoredTensor
from t2i_checkpoint.torch_optimizer import optimizer_facts, order_fault

MODEL = Architecture.from_shapes({"a.weight": (3, 2), "a.bias": (3,), "b.weight": (1, 3)})


def moments(*shape: int) -> StoredTensor:
    return StoredTensor(shape, "F32", "optimizer.bin", "e", 0, 0)


def adam(*shapes: tuple[int, ...]) -> dict[str, Any]:
    state = {
        number: {"step": moments(), "exp_avg": moments(*shape), "exp_avg_sq": moments(*shape)}
        for number, shape in enumerate(shapes)
    }
    return {"state": state, "param_groups": [{"lr": 1e-4, "params": list(range(len(shapes)))}]}


def test_why_it_must_be_seen_before_it_is_loaded() -> None:
    # Two parameters swapped: torch takes the moments of the other one, and training goes on with nonsense.
    first, second = torch.nn.Parameter(torch.zeros(3, 2)), torch.nn.Parameter(torch.zeros(2, 3))
    optimizer = torch.optim.AdamW([first, second])
    for parameter in (first, second):
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    other = torch.optim.AdamW([second, first])
    other.load_state_dict(optimizer.state_dict())
    assert other.state[second]["exp_avg"].shape != second.shape


@pytest.mark.parametrize(
    ("tree", "fault"),
    [
        (adam((3, 2), (3,), (1, 3)), None),
        ([adam((3, 2), (3,), (1, 3))], None),
        (adam((3, 2), (1, 3), (3,)), "its parameter 1 has shape [1, 3], the model's is a.bias [3]"),
        (adam((3, 2), (3,)), "it is of 2 parameters, the model has 3"),
        ({"state": {}, "param_groups": [{"params": [0, 1, 2]}]}, None),
        (
            {"state": {name: {"exp_avg": moments(*p.shape)} for name, p in MODEL.parameters.items()}},
            None,
        ),
        ({"state": {"a.weight": {"exp_avg": moments(3, 2)}}}, "it has no moments of a.bias"),
        (
            {"state": {"module.a.weight": {"exp_avg": moments(2, 3)}}},
            "its moments of a.weight have shape [2, 3], the model's is [3, 2]",
        ),
    ],
)
def test_order_and_shapes_are_held_against_the_model(tree: Any, fault: str | None) -> None:
    facts = optimizer_facts(tree)
    assert facts is not None
    assert order_fault(facts, MODEL) == fault


@pytest.mark.parametrize(
    ("state", "described", "shape"),
    [
        ({"exp_avg": moments(3), "exp_avg_sq": moments(3)}, "Adam optimizer state of 1 parameters", (3,)),
        ({"exp_avg": moments(3)}, "Lion optimizer state of 1 parameters", (3,)),
        ({"momentum_buffer": moments(3)}, "SGD optimizer state of 1 parameters", (3,)),
        ({"state1": moments(9), "state2": moments(9)}, "8-bit Adam optimizer state of 1 parameters", None),
        ({"mine": 1}, "optimizer state of 1 parameters", None),
    ],
)
def test_its_kind_is_told_by_what_it_remembers(
    state: dict[str, Any], described: str, shape: tuple[int, ...] | None
) -> None:
    assert optimizer_facts({"state": {0: state}, "param_groups": []}) == OptimizerFacts(described, (shape,))


@pytest.mark.parametrize("tree", [None, 3, [], {}, {"state": 3}, {"param_groups": []}, "text"])
def test_what_is_no_optimizer_is_none(tree: Any) -> None:
    assert optimizer_facts(tree) is None

"""The state of a torch optimizer as facts: how many parameters, in which order, with moments of which shapes. Pure.

`torch.optim.Optimizer.state_dict()` numbers parameters in the order in which the program passed them, over all groups;
FSDP's full state dict and torch.distributed.checkpoint write names instead. `load_state_dict` compares neither shapes
nor order, so a wrong state is loaded without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from t2i_checkpoint.facts import OptimizerFacts
from t2i_checkpoint.tensors import DistributedTensor, StoredTensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2i_checkpoint.architecture import Architecture

_MAX_PARAMETERS = 1_000_000
# State of one parameter by optimizer, the telling key first.
_KINDS = (
    ("exp_avg_sq", "Adam"),
    ("state2", "8-bit Adam"),
    ("exp_avg", "Lion"),
    ("exp_avg_sq_row", "Adafactor"),
    ("momentum_buffer", "SGD"),
)


def optimizer_facts(tree: Any) -> OptimizerFacts | None:
    """Return what a saved optimizer holds; None where `tree` is none."""
    if isinstance(tree, list | tuple) and tree:  # Lightning: one for each optimizer
        tree = tree[0]
    if not isinstance(tree, Mapping):
        return None
    state, groups = tree.get("state"), tree.get("param_groups")
    if not isinstance(state, Mapping):
        return None
    named = {key: _shape(value) for key, value in state.items() if isinstance(key, str)}
    if named:
        shapes = {name: shape for name, shape in named.items() if shape is not None}
        return OptimizerFacts(_described(state, len(named)), by_name=shapes)
    count = _parameter_count(groups, state)
    return OptimizerFacts(_described(state, count), tuple(_shape(state.get(index)) for index in range(count)))


def order_fault(facts: OptimizerFacts, model: Architecture) -> str | None:
    """Say why the moments do not belong to `model`'s parameters in its order, or None where they do."""
    if facts.by_name is not None:
        return _names_fault(facts.by_name, model)
    if len(facts.by_index) != len(model):
        return f"it is of {len(facts.by_index)} parameters, the model has {len(model)}"
    for position, (shape, (name, parameter)) in enumerate(zip(facts.by_index, model.parameters.items(), strict=True)):
        if shape is not None and shape != parameter.shape:
            return f"its parameter {position} has shape {list(shape)}, the model's is {name} {list(parameter.shape)}"
    return None


def _names_fault(shapes: Mapping[str, Sequence[int]], model: Architecture) -> str | None:
    for name, parameter in model.parameters.items():
        held = next((shapes[key] for key in (name, f"model.{name}", f"module.{name}") if key in shapes), None)
        if held is None:
            return f"it has no moments of {name}"
        if tuple(held) != parameter.shape:
            return f"its moments of {name} have shape {list(held)}, the model's is {list(parameter.shape)}"
    return None


def _parameter_count(groups: Any, state: Mapping[Any, Any]) -> int:
    listed = 0
    for group in groups if isinstance(groups, list | tuple) else ():
        parameters = group.get("params") if isinstance(group, Mapping) else None
        listed += len(parameters) if isinstance(parameters, list | tuple) else 0
    numbers = [key for key in state if type(key) is int and 0 <= key < _MAX_PARAMETERS]
    return min(max(listed, max(numbers, default=-1) + 1), _MAX_PARAMETERS)


def _shape(state: Any) -> tuple[int, ...] | None:
    """Return the shape of a parameter's moments; counters such as `step` have none of their own."""
    if not isinstance(state, Mapping):
        return None
    tensors = {key: value for key, value in state.items() if isinstance(value, StoredTensor | DistributedTensor)}
    for key in ("exp_avg", "momentum_buffer", "exp_avg_sq"):
        if key in tensors:
            return tensors[key].shape
    return None


def _described(state: Mapping[Any, Any], count: int) -> str:
    first = next((value for value in state.values() if isinstance(value, Mapping)), {})
    kind = next((kind for key, kind in _KINDS if key in first), "optimizer")
    kind = kind if kind == "optimizer" else f"{kind} optimizer"
    return f"{kind} state of {count} parameters"

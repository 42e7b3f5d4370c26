"""`optimizer.safetensors` of our own layout: AdamW's two moments for every parameter, found by name. Pure.

torch loads moments of a wrong shape or in a wrong order without a word; here both are seen from the header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_checkpoint.architecture import Architecture, Parameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOMENTS = ("exp_avg", "exp_avg_sq")
STEP = "step"


def moment_name(moment: str, parameter: str) -> str:
    """Return the tensor name of a parameter's moment, `exp_avg/conv_in.weight`."""
    return f"{moment}/{parameter}"


def optimizer_architecture(model: Architecture) -> Architecture:
    """Return the tensors that the optimizer file of `model` has, the optional `step` not counted."""
    return Architecture(
        (moment_name(moment, name), Parameter(parameter.shape))
        for moment in MOMENTS
        for name, parameter in model.parameters.items()
    )


def rename_moments(stored: Architecture, names: Mapping[str, str]) -> Architecture:
    """Return the optimizer's tensors with their parameters under other names."""
    return Architecture(
        (moment_name(moment, names.get(parameter, parameter)) if parameter else moment, tensor)
        for name, tensor in stored.parameters.items()
        for moment, _, parameter in (name.partition("/"),)
    )


def optimizer_fault(stored: Architecture | None, order: Sequence[str], model: Architecture) -> str | None:
    """Say what is wrong with the stored optimizer state for `model`, or None where it fits."""
    if stored is None:
        return "there is none"
    if tuple(order) != model.names:
        return _order_fault(order, model)
    tensors = Architecture((name, p) for name, p in stored.parameters.items() if name != STEP)
    difference = tensors.diff(optimizer_architecture(model))
    if difference.mismatched:
        return str(difference.mismatched[0])
    if difference.missing:
        return f"{len(difference.missing)} moments are missing, the first is {difference.missing[0]}"
    if difference.unexpected:
        return f"{len(difference.unexpected)} tensors are unexpected, the first is {difference.unexpected[0]}"
    return None


def _order_fault(order: Sequence[str], model: Architecture) -> str:
    for position, (stored, wanted) in enumerate(zip(order, model.names, strict=False)):
        if stored != wanted:
            return f"its parameter {position} is {stored}, the model's is {wanted}"
    return f"its parameter order lists {len(order)} parameters, the model has {len(model)}"

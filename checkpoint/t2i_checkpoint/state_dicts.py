"""Where in a saved tree the model is: what training programs wrap around a state dict. Pure.

Covers plain state dicts, `{"state_dict"|"model"|"module": …}`, Lightning (`optimizer_states`, `global_step`), EMA
copies beside the model or as names inside it, and the flat names of torch.distributed.checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from t2i_checkpoint.facts import OptimizerFacts
from t2i_checkpoint.renaming import translate
from t2i_checkpoint.tensors import AnyTensor, DistributedTensor, StoredTensor, architecture_of_table
from t2i_checkpoint.torch_optimizer import optimizer_facts

if TYPE_CHECKING:
    from t2i_checkpoint.tensors import TensorTable

    _Named = tuple[str, AnyTensor]

_MODEL_KEYS = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "unet",
    "net",
    "network",
    "denoiser",
    "params",
    "weights",
)
_EMA_KEYS = (
    "ema",
    "ema_state_dict",
    "model_ema",
    "ema_model",
    "ema_unet",
    "unet_ema",
    "state_dict_ema",
    "ema_weights",
    "shadow_params",
)
_EMA_PREFIXES = ("model_ema.", "ema_model.", "ema_unet.", "unet_ema.", "ema.", "averaged_model.", "ema_denoiser.")
_OPTIMIZER_KEYS = ("optimizer", "optimizer_states", "optimizer_state_dict", "opt", "optim", "optimizers")
_STEP_KEYS = ("global_step", "global_steps", "step", "steps", "train_steps", "iteration", "iter", "num_steps")
_RESUME_KEYS = ("lr_schedulers", "scheduler", "lr_scheduler", "sched", "scaler", "loops", "callbacks", "random_state")
_MAX_DEPTH = 6
_MOST_STATE_DICTS = 8
_MAX_STEP = 10**12


@dataclass(frozen=True)
class SavedState:
    """What a saved tree holds; `ema` has the names of `weights`, `holds` what else a program would resume from."""

    weights: TensorTable
    ema: TensorTable | None = None
    optimizer: OptimizerFacts | None = None
    step: int | None = None
    holds: tuple[str, ...] = ()


def saved_state(tree: Any) -> SavedState:
    """Take a tree of `torch.load` apart; no weights in it gives an empty table."""
    if isinstance(tree, Mapping) and tree.keys() == {"app"}:  # what torch.distributed.checkpoint's examples save
        tree = tree["app"]
    if not isinstance(tree, Mapping):
        return SavedState({})
    weights, ema = split_average(_model(tree))
    held_ema = next((tree[key] for key in _EMA_KEYS if _holds_tensors(tree.get(key))), None)
    if held_ema is not None:
        ema = _average(held_ema, weights)
    found = next((tree[key] for key in _OPTIMIZER_KEYS if key in tree), None)
    return SavedState(
        weights,
        ema,
        optimizer_facts(found),
        _step(tree),
        tuple(key for key in _RESUME_KEYS if tree.get(key)),
    )


def saved_state_of_names(flat: Mapping[str, Any]) -> SavedState:
    """Take the flat names of a distributed checkpoint apart: `model.<name>`, `optimizer.state.<name>.exp_avg`."""
    model: dict[str, AnyTensor] = {}
    moments: dict[str, tuple[int, ...]] = {}
    held = set()
    for name, value in flat.items():
        parts = name.removeprefix("app.").split(".")
        if parts[0] in _OPTIMIZER_KEYS:
            if parts[-1] == "exp_avg" and isinstance(value, DistributedTensor):
                moments[".".join(parts[1:-1]).removeprefix("state.")] = value.shape
        elif isinstance(value, StoredTensor | DistributedTensor):
            model[".".join(parts)] = value
        else:
            held.add(parts[0])
    weights, ema = split_average(model)
    facts = OptimizerFacts(f"optimizer state of {len(moments)} parameters", by_name=moments) if moments else None
    return SavedState(weights, ema, facts, holds=tuple(sorted(held)))


def split_average(table: TensorTable) -> tuple[TensorTable, TensorTable | None]:
    """Part an EMA copy from the model that it lies beside; the copy comes under the model's names."""
    for prefix in _EMA_PREFIXES:
        average = {name: tensor for name, tensor in table.items() if name.startswith(prefix)}
        model = {name: tensor for name, tensor in table.items() if name not in average}
        if average and len(model) >= len(average) - 2:  # LDM's copy has two counters of its own
            return model, under_names_of(model, average, prefix)
    return table, None


def under_names_of(model: TensorTable, average: TensorTable, prefix: str = "") -> TensorTable | None:
    """Return the average's tensors under the model's names, or None where hardly any can be told."""
    # ema-pytorch keeps the trained model beside its average.
    inner = next(
        (inner for inner in ("ema_model.", "averaged_model.") if any(key.startswith(inner) for key in average)), ""
    )
    short = {
        name.removeprefix(prefix).removeprefix(inner): tensor
        for name, tensor in average.items()
        if prefix or name.startswith(inner)
    }
    # LDM's LitEma registers buffers, whose names cannot have dots: `model_ema.diffusion_modelout0weight`.
    dotless = {name.removeprefix("model.").replace(".", ""): name for name in model}
    found = {dotless[key]: tensor for key, tensor in short.items() if key in dotless}
    if len(found) * 2 <= len(short):
        named = translate(architecture_of_table(model), architecture_of_table(short)).names
        found = {name: short[renamed] for name, renamed in named.items() if renamed in short}
    return found if len(found) * 2 > len(short) else None


def _model(tree: Mapping[Any, Any]) -> dict[str, AnyTensor]:
    named = [key for key in tree if isinstance(key, str) and key.endswith("_state_dict") and not _is_other(key)]
    for key in (*_MODEL_KEYS, *named[:_MOST_STATE_DICTS]):
        inner = dict(_flatten(tree.get(key)))
        if inner:
            return inner
    left = {key: value for key, value in tree.items() if key not in {*_EMA_KEYS, *_OPTIMIZER_KEYS, *_RESUME_KEYS}}
    found = dict(_flatten(left))
    return found or (dict(_flatten(tree.get("ema"))) if "ema" in tree else {})


def _is_other(key: str) -> bool:
    """Whether a state dict is not the model's, by its key: `optimizer_state_dict`, `ema_state_dict`."""
    return any(word in key for word in ("optim", "ema", "sched", "scaler", "vae", "encoder", "disc"))


def _average(held: Any, weights: TensorTable) -> TensorTable | None:
    listed = held.get("shadow_params") if isinstance(held, Mapping) else held
    if isinstance(listed, list | tuple):  # EMAModel of Diffusers, torch_ema: in the order of the parameters
        fits = len(listed) == len(weights) and all(
            isinstance(tensor, StoredTensor) and tensor.shape == other.shape
            for tensor, other in zip(listed, weights.values(), strict=True)
        )
        return dict(zip(weights, listed, strict=True)) if fits else None
    return under_names_of(weights, dict(_flatten(held)))


def _flatten(tree: Any, prefix: str = "", depth: int = 0, seen: set[int] | None = None) -> Iterator[_Named]:
    """Yield dotted names and tensors of nested dicts; lists are no modules.

    A pickle can put a dict into itself, or one dict into a thousand places: each is visited once.
    """
    seen = set() if seen is None else seen
    if not isinstance(tree, Mapping) or depth > _MAX_DEPTH or id(tree) in seen:
        return
    seen.add(id(tree))
    for key, value in tree.items():
        if not isinstance(key, str):
            continue
        if isinstance(value, StoredTensor | DistributedTensor):
            yield prefix + key, value
        elif isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.", depth + 1, seen)


def _holds_tensors(tree: Any) -> bool:
    if isinstance(tree, list | tuple):
        return any(isinstance(item, StoredTensor) for item in tree)
    if isinstance(tree, Mapping) and isinstance(tree.get("shadow_params"), list | tuple):
        return True
    return next(_flatten(tree), None) is not None


def _step(tree: Mapping[Any, Any]) -> int | None:
    for key in _STEP_KEYS:
        value = tree.get(key)
        if type(value) is int and 0 <= value < _MAX_STEP:
            return value
    return None

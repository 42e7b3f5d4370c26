"""Which part of a file is the model: what wrappers, trainers and whole pipelines put before its names. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

# Put into the middle of a name too: torch.compile of one block, FSDP, activation checkpointing.
_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
# Leading parts: DistributedDataParallel and AveragedModel, Lightning modules, LDM, pipelines, EMA copies.
_LEADING = frozenset(
    {"module", "model", "unet", "diffusion_model", "net", "network", "denoiser", "denoise_fn", "student", "generator"}
    | {
        "state_dict",
        "online_model",
        "shadow",
        "ema",
        "ema_model",
        "ema_unet",
        "unet_ema",
        "model_ema",
        "averaged_model",
    }
)
_DEEPEST = 6
_MOST_PREFIXES = 16  # hostile names could make as many as there are tensors

# Beside a UNet whose names carry no prefix: other models of the pipeline, and buffers of schedules and of EMA.
_OTHER_PARTS = frozenset(
    {"first_stage_model", "cond_stage_model", "conditioner", "vae", "text_encoder", "text_encoder_2", "image_encoder"}
    | {"model_ema", "safety_checker", "scheduler", "denoiser", "loss", "lpips"}
)
_BUFFERS = frozenset(
    {"betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"}
    | {"log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "loss_weight"}
    | {"posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2"}
    | {"lvlb_weights", "logvar", "scale_factor", "p2_loss_weight", "n_averaged", "initted", "step", "num_updates"}
)


def plain_names(names: Iterable[str], wanted: Container[str] = ()) -> dict[str, str]:
    """Return name -> name without wrappers anywhere in it; unchanged where two would become one, or are wanted so."""
    plain = {name: name if name in wanted else _without_wrappers(name) for name in names}
    return plain if len(set(plain.values())) == len(plain) else {name: name for name in plain}


def candidate_prefixes(names: Iterable[str]) -> tuple[str, ...]:
    """Return the known prefixes that names carry, the most frequent first, always with the empty one."""
    counted: Counter[str] = Counter()
    for name in names:
        prefix = ""
        for part in name.split(".", _DEEPEST + 1)[:-1][:_DEEPEST]:
            if part not in _LEADING:
                break
            prefix += f"{part}."
            counted[prefix] += 1
    return ("", *(prefix for prefix, _ in counted.most_common(_MOST_PREFIXES)))


def top_module(name: str) -> str:
    """Return the first part of a name that is no known prefix."""
    parts = name.split(".", _DEEPEST + 1)
    return next((part for part in parts[:_DEEPEST] if part not in _LEADING and part not in _WRAPPERS), parts[-1])


def is_average(prefix: str) -> bool:
    """Whether a prefix names an exponential moving average beside the model itself."""
    return any("ema" in part.split("_") or part in {"averaged_model", "shadow"} for part in prefix.split("."))


def is_other_part(name: str) -> bool:
    """Whether a tensor without prefix belongs to another model of the pipeline, to a schedule, or to an average."""
    first, _, rest = name.partition(".")
    return name in _BUFFERS or first in _OTHER_PARTS or bool(rest and is_average(first))


def _without_wrappers(name: str) -> str:
    if "_mod" not in name:
        return name
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)

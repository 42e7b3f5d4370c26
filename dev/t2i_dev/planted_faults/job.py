"""The job that faults are planted into: 90 captioned pictures that a UNet of 0.2 M weights learns within 200 steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from t2i_dev import captioned_set
from t2i_dev.small_unet import small_unet

if TYPE_CHECKING:
    from pathlib import Path

# The gate's 200, and what is measured there is heard one step later.
STEPS: Final = 205
# A run that resumes was stopped here, long before its end.
RESUME_AT: Final = 30
_UNSHUFFLE = 2


@dataclass(frozen=True)
class Setting:
    """The run: processes, seed, whether it resumes from step 30, and what differs in groups of the spec."""

    processes: int = 1
    seed: int = 0
    resumes: bool = False
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def job_at(shared: Path, bucket: Path, setting: Setting, *, steps: int = STEPS) -> dict[str, Any]:
    """Return the job's document; data and text encoder lie below `shared`, checkpoints in `bucket`."""
    channels = 3 * _UNSHUFFLE**2
    spec: dict[str, dict[str, Any]] = {
        "model": {
            "unet": {"config": _unet(channels)},
            "textEncoder": {"uri": f"file://{shared}/encoder", "maxTokens": captioned_set.MAX_TOKENS},
            "pixelUnshuffleFactor": _UNSHUFFLE,
        },
        "data": {"uri": f"file://{shared}/data", "resolution": captioned_set.SIDE},
        "diffusion": {},
        "training": {
            "steps": steps,
            "globalBatchSize": 32,
            "learningRate": 0.003,
            "warmupSteps": 20,
            "seed": setting.seed,
            "ema": {"decay": 0.99},
        },
        "checkpoint": {"uri": f"file://{bucket}", "everySteps": 100_000},
        "workers": {"gpusPerWorker": 0},
    }
    for group, changes in setting.changes.items():
        spec[group] |= changes
    return {
        "apiVersion": "training.t2i.dev/v1alpha1",
        "kind": "DiffusionTrainingJob",
        "metadata": {"name": "planted", "namespace": "default", "uid": "0123abcd-0000-4000-8000-000000000000"},
        "spec": spec,
    }


def _unet(channels: int) -> dict[str, Any]:
    return small_unet(
        (24, 48),
        text_width=captioned_set.TEXT_WIDTH,
        sample_size=captioned_set.SIDE // _UNSHUFFLE,
        in_channels=channels,
        out_channels=channels,
        attention_head_dim=4,
        norm_num_groups=8,
    )

"""The tiny job that is killed: a UNet of 20,000 weights on 90 pictures, saved, evaluated and drawn every few steps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i_dev import captioned_set
from t2i_dev.small_unet import small_unet

RETAIN = 2
BATCH = 4

_UNET = small_unet((4, 8), text_width=captioned_set.TEXT_WIDTH)
# A compiler takes a minute and a half for the one above, on two cores.
_ONE_LEVEL: dict[str, Any] = {
    "block_out_channels": [4],
    "down_block_types": ["DownBlock2D"],
    "mid_block_type": None,
    "up_block_types": ["UpBlock2D"],
}


@dataclass(frozen=True)
class Place:
    """Where data, text encoder and checkpoints of the runs lie: a URI, and the directory that the store keeps it in."""

    uri: str
    directory: Path
    endpoint: str | None = None

    def prepare(self) -> int:
        """Write pictures and text encoder; returns the number of pictures."""
        captioned_set.write_text_encoder(self.directory / "encoder")
        return captioned_set.write_pictures(self.directory / "data")


def job_at(place: Place, name: str, *, steps: int, compiled: bool = False) -> dict[str, Any]:
    """Return the job whose checkpoints lie at `<place>/<name>`."""
    checkpoint: dict[str, Any] = {"uri": f"{place.uri}/{name}", "everySteps": 4, "retain": RETAIN}
    if place.endpoint is not None:
        checkpoint["endpoint"] = place.endpoint
    training: dict[str, Any] = {
        "steps": steps,
        "globalBatchSize": BATCH,
        "learningRate": 0.002,
        "warmupSteps": 4,
        "ema": {"decay": 0.9, "powerWidths": [0.1]},
        "seed": 7,
    }
    if compiled:
        training["compile"] = "WholeGraph"
    return {
        "apiVersion": "training.t2i.dev/v1alpha1",
        "kind": "DiffusionTrainingJob",
        "metadata": {"name": "killed", "namespace": "default", "uid": "0123abcd-0000-4000-8000-000000000000"},
        "spec": {
            "model": {
                "unet": {"config": _UNET | (_ONE_LEVEL if compiled else {})},
                "textEncoder": {"uri": f"{place.uri}/encoder", "maxTokens": captioned_set.MAX_TOKENS},
            },
            "data": {"uri": f"{place.uri}/data", "resolution": 8},
            "training": training,
            "sampling": {
                "prompts": ["a red circle on white"],
                "guidanceScale": 1.5,
                "inferenceSteps": 2,
                "everySteps": 6,
            },
            "evaluation": {"everySteps": 5, "images": 4},
            "checkpoint": checkpoint,
            "workers": {"count": 1, "gpusPerWorker": 0},
        },
    }

"""The jobs that are recorded: variations of examples/emoji-short.yaml, small enough for two cores.

- `story`: two ranks; finds a checkpoint of another model (archive), and is killed once (restart)
- `calm`: the same with half the learning rate, to compare with
- `hot`: activations near what floats hold, and a learning rate without reason: it overflows, and gives up
- `waiting`: suspended
"""

from typing import Any

from t2i_dev.demo.plan import DemoPlan

STORY, CALM, HOT, WAITING = "emoji", "emoji-half-rate", "emoji-too-hot", "emoji-later"
_STEPS = 90
_HOT_RATE = 1.0  # AdamW moves every weight by that much a step
# The middle block divides by it three times; squares overflow in the norms behind it once the weights have grown.
_HOT_SCALE = 2e-6


def story(plan: DemoPlan, endpoint: str) -> dict[str, Any]:
    """Return the main job."""
    document = _small(plan, endpoint, STORY)
    document["spec"]["workers"]["gpusPerWorker"] = 2
    document["spec"]["expectations"] = {"bands": [{"fromStep": 20, "toStep": _STEPS, "lossAtMost": 1.2}]}
    return document


def calm(plan: DemoPlan, endpoint: str) -> dict[str, Any]:
    """Return the job to compare with."""
    document = _small(plan, endpoint, CALM)
    document["spec"]["training"]["learningRate"] /= 2
    return document


def hot(plan: DemoPlan, endpoint: str) -> dict[str, Any]:
    """Return the job that diverges: it warms up until its loss overflows."""
    document = _small(plan, endpoint, HOT)
    document["spec"]["model"]["unet"]["config"]["mid_block_scale_factor"] = _HOT_SCALE
    document["spec"]["checkpoint"]["everySteps"] = 5
    del document["spec"]["sampling"]
    document["spec"]["training"] |= {"learningRate": _HOT_RATE, "warmupSteps": _STEPS // 3}
    document["spec"]["failurePolicy"] |= {"maxSkippedSteps": 2, "maxRollbacks": 1, "maxRestarts": 0}
    return document


def waiting(plan: DemoPlan, endpoint: str) -> dict[str, Any]:
    """Return the job that is not to run yet."""
    document = _small(plan, endpoint, WAITING)
    document["spec"]["suspend"] = True
    return document


def _small(plan: DemoPlan, endpoint: str, name: str) -> dict[str, Any]:
    document = plan.document(endpoint=endpoint, name=name, uri=f"s3://t2i/jobs/{name}")
    document["spec"]["workers"]["count"] = 1
    document["spec"]["failurePolicy"]["stallSeconds"] = 3600  # a machine with much else to do is no stall
    document["spec"]["training"] |= {"steps": _STEPS, "globalBatchSize": 4}
    document["spec"]["checkpoint"]["everySteps"] = 15
    document["spec"]["sampling"] |= {"everySteps": 60, "inferenceSteps": 4}
    document["spec"]["evaluation"] = {"everySteps": 20}
    return document

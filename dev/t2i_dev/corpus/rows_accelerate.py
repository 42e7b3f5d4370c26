"""What plain Accelerate programs leave: `save_state` in its variants, the story's old UNet among them."""

from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from t2i_api.status import VerdictKind
from t2i_dev.corpus.models import seeded, stepped_adamw, unet, warmup
from t2i_dev.corpus.row import Row, Then
from t2i_dev.corpus.rows_diffusers import fresh_accelerator
from t2i_dev.story.custom_unet import CustomUNet

STEP: Final = "checkpoint-00005000"


def save_state(folder: Path, *models: nn.Module, backwards: bool = False, **options: Any) -> None:
    """`Accelerator.save_state` of these models, an AdamW of the first, and a schedule."""
    accelerator = fresh_accelerator()
    optimizer = stepped_adamw(models[0], backwards=backwards)
    accelerator.prepare(*models, optimizer, warmup(optimizer))
    accelerator.save_state(str(folder), **options)


def _plain(root: Path) -> None:
    save_state(root / STEP, unet("accelerate"))


def _below_checkpoints(root: Path) -> None:
    save_state(root / "checkpoints" / STEP, unet("accelerate-below"))


def _torch_files(root: Path) -> None:
    save_state(root / STEP, unet("accelerate-bin"), safe_serialization=False)


def _automatic_names(root: Path) -> None:
    save_state(root / "checkpoints" / "checkpoint_7", unet("accelerate-automatic"))


def old_unet(root: Path) -> None:
    """What the team of the story left: `checkpoints/checkpoint-00005000/` of the old UNet."""
    seeded("story")
    save_state(root / "checkpoints" / STEP, CustomUNet())


def _old_unet_torch(root: Path) -> None:
    seeded("story")
    save_state(root / "checkpoints" / STEP, CustomUNet(), safe_serialization=False)


def _old_unet_beside_new(root: Path) -> None:
    """The job changed its model midway: old checkpoints lie below the new one's steps."""
    from t2i_dev.corpus.own_layout import save_own  # noqa: PLC0415  # two kinds of writers in one prefix

    old_unet(root)
    save_own(root, 6000)


def _permuted(root: Path) -> None:
    save_state(root / STEP, unet("permuted"), backwards=True)


def _without_weights(root: Path) -> None:
    _plain(root)
    (root / STEP / "model.safetensors").unlink()


def _sharded(root: Path) -> None:
    fresh_accelerator().save_model(unet("accelerate-sharded"), str(root / STEP), max_shard_size="150KB")


def _averages_beside(root: Path) -> None:
    """An EMA as a registered object: `custom_checkpoint_0.pkl` beside the weights."""
    from diffusers.training_utils import EMAModel  # noqa: PLC0415

    model = unet("accelerate-ema")
    accelerator = fresh_accelerator()
    optimizer = stepped_adamw(model)
    accelerator.prepare(model, optimizer)
    accelerator.register_for_checkpointing(EMAModel(model.parameters()))
    accelerator.save_state(str(root / STEP))


def _two_models(root: Path) -> None:
    seeded("encoder")
    save_state(root / STEP, unet("accelerate-two"), nn.Linear(16, 16))


def _wrapped(root: Path) -> None:
    """A training module that holds the UNet and a frozen encoder, saved whole."""
    seeded("encoder")
    save_state(root / STEP, nn.ModuleDict({"unet": unet("accelerate-wrapped"), "text_encoder": nn.Linear(16, 16)}))


def _truncated(root: Path) -> None:
    _plain(root)
    path = root / STEP / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _random_states_only(root: Path) -> None:
    folder = root / STEP
    folder.mkdir(parents=True)
    torch.save({"step": 5000}, folder / "random_states_0.pkl")


_K = VerdictKind
_OTHER = "ResumeStateOfAnotherProgram"
ROWS: Final = (
    Row("accelerate", "save_state: the weights fit; optimizer, schedule and random state are in formats of their own",
        _plain, _K.INFERENCE_ONLY, _OTHER, Then.INITIAL_WEIGHTS),
    Row("accelerate-below-checkpoints", "the same below `checkpoints/`",
        _below_checkpoints, _K.INFERENCE_ONLY, _OTHER, Then.INITIAL_WEIGHTS),
    Row("accelerate-bin", "the same in torch files",
        _torch_files, _K.INFERENCE_ONLY, _OTHER, Then.INITIAL_WEIGHTS),
    Row("accelerate-automatic-names", "automatic_checkpoint_naming: `checkpoints/checkpoint_7`",
        _automatic_names, _K.INFERENCE_ONLY, _OTHER, Then.INITIAL_WEIGHTS),
    Row("accelerate-permuted-optimizer", "an optimizer that was built over the parameters in reverse order",
        _permuted, _K.INFERENCE_ONLY, _OTHER, Then.INITIAL_WEIGHTS, says=("optimizer",)),
    Row("accelerate-sharded", "save_model over several files",
        _sharded, _K.INFERENCE_ONLY, "WeightsWithoutResumeState", Then.INITIAL_WEIGHTS),
    Row("accelerate-ema", "averages as custom_checkpoint_0.pkl beside the weights",
        _averages_beside, _K.INFERENCE_ONLY, _OTHER, Then.INITIAL_WEIGHTS),
    Row("accelerate-two-models", "a second model beside the UNet: the first is the one that was prepared first",
        _two_models, _K.INFERENCE_ONLY, _OTHER, Then.INITIAL_WEIGHTS),
    Row("accelerate-wrapped", "UNet and text encoder in one module",
        _wrapped, _K.INFERENCE_ONLY, _OTHER, Then.INITIAL_WEIGHTS),
    Row("story-old-unet", "the story: the home-made UNet's checkpoint where a Diffusers UNet shall train",
        old_unet, _K.FOREIGN, "NamesDiffer", Then.ARCHIVE, says=("home-made UNet",)),
    Row("story-old-unet-bin", "the same, saved as a torch file",
        _old_unet_torch, _K.FOREIGN, "NamesDiffer", Then.ARCHIVE, says=("home-made UNet",)),
    Row("story-old-beside-new", "old checkpoints below a newer one that fits: what cannot fit is archived first",
        _old_unet_beside_new, _K.IDENTICAL, "NamesAndShapesMatch", Then.ARCHIVE),
    Row("accelerate-without-weights", "optimizer and random state, and the weights are gone",
        _without_weights, _K.INCOMPLETE, "NoWeights", Then.FRESH),
    Row("accelerate-truncated", "an upload that ended a kilobyte early",
        _truncated, _K.INCOMPLETE, "HeaderFileSizeDiffers", Then.FRESH),
    Row("accelerate-random-states-only", "no weights were ever written",
        _random_states_only, _K.INCOMPLETE, "NoWeights", Then.FRESH),
)  # fmt: skip

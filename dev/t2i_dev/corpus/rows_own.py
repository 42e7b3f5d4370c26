"""Our own layout: what resumes exactly, and every way in which it may not."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

from t2i_api.status import VerdictKind
from t2i_checkpoint import layout
from t2i_dev.corpus.jobs import ATTENTION_UNET, Task
from t2i_dev.corpus.models import compiled, old_attention_name, unet
from t2i_dev.corpus.own_layout import (
    MEANING,
    WRITER,
    Tensors,
    drop_file,
    edit_manifest,
    edit_tensors,
    rename_everywhere,
    save_own,
)
from t2i_dev.corpus.row import Row, Then

_WIDE: Final = "down_blocks.0.resnets.0.conv1.weight"


def _complete(root: Path) -> None:
    save_own(root)


def _other_world_size(root: Path) -> None:
    save_own(root, world_size=4)


def _compiled(root: Path) -> None:
    save_own(root, model=compiled("compiled"))


def _deprecated_attention(root: Path) -> None:
    folder = save_own(root, model=unet("attention", **ATTENTION_UNET), task=Task.ATTENTION)
    rename_everywhere(folder, old_attention_name)


def _prediction_type(root: Path) -> None:
    save_own(root, meaning=replace(MEANING, prediction_type="epsilon"))


def _noise_schedule(root: Path) -> None:
    save_own(root, meaning=replace(MEANING, noise_schedule="scaled_linear, 1000 timesteps"))


def _latent_scale(root: Path) -> None:
    save_own(root, meaning=replace(MEANING, latent_scale=0.18215))


def _null_embedding(root: Path) -> None:
    save_own(root, meaning=replace(MEANING, null_embedding_sha256="0e" * 32))


def _seed(root: Path) -> None:
    save_own(root, seed=17)


def _global_batch_size(root: Path) -> None:
    save_own(root, global_batch_size=16)


def _samples_seen(root: Path) -> None:
    edit_manifest(save_own(root), samples_seen=3999)


def _without_optimizer(root: Path) -> None:
    drop_file(save_own(root), layout.OPTIMIZER)


def _optimizer_wrong_shape(root: Path) -> None:
    def transpose(tensors: Tensors) -> Tensors:
        name = f"exp_avg/{_WIDE}"
        return {**tensors, name: tensors[name].transpose(0, 1).reshape(-1, 4, 3, 3)}

    edit_tensors(save_own(root), layout.OPTIMIZER, transpose)


def _optimizer_missing_moment(root: Path) -> None:
    def without(tensors: Tensors) -> Tensors:
        return {name: each for name, each in tensors.items() if name != f"exp_avg_sq/{_WIDE}"}

    edit_tensors(save_own(root), layout.OPTIMIZER, without)


def _optimizer_swapped(root: Path) -> None:
    """Give two parameters each other's moments, as an optimizer that was built in another order does."""

    def swap(tensors: Tensors) -> Tensors:
        one, other = f"exp_avg/{_WIDE}", "exp_avg/conv_in.weight"
        return {**tensors, one: tensors[other], other: tensors[one]}

    edit_tensors(save_own(root), layout.OPTIMIZER, swap)


def _without_ema(root: Path) -> None:
    drop_file(save_own(root), layout.EMA_WEIGHTS)


def _ema_of_another_model(root: Path) -> None:
    wide = unet("wide", block_out_channels=[16, 32]).state_dict()
    edit_tensors(save_own(root), layout.EMA_WEIGHTS, lambda _: dict(wide))


def _old_width(root: Path) -> None:
    save_own(root, model=unet("wide", block_out_channels=[32, 64]))


def _not_committed(root: Path) -> None:
    (save_own(root) / layout.MANIFEST).unlink()


def _truncated(root: Path) -> None:
    weights = save_own(root) / layout.WEIGHTS
    os.truncate(weights, weights.stat().st_size // 2)


def _file_missing(root: Path) -> None:
    (save_own(root) / layout.EMA_WEIGHTS).unlink()


def _newer_not_committed(root: Path) -> None:
    save_own(root, 500)
    (save_own(root, 600) / layout.MANIFEST).unlink()


def _retired(root: Path) -> None:
    """Retention was killed midway: the mark is there, the manifest still too."""
    (save_own(root) / layout.RETIRED).write_text("{}\n")


def _manifest_garbage(root: Path) -> None:
    (save_own(root) / layout.MANIFEST).write_bytes(b'{"format": "t2i.dev/checkpoint", "version": 1, "step"')


def _manifest_of_the_future(root: Path) -> None:
    path = save_own(root) / layout.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "version": 2}))


def _copied_folder(root: Path) -> None:
    folder = save_own(root)
    shutil.move(folder, root / layout.checkpoint_folder(700, WRITER))


def _swapped_weights(root: Path) -> None:
    folder = save_own(root)
    other = unet("other", layers_per_block=2).state_dict()
    edit_tensors(folder, layout.WEIGHTS, lambda _: dict(other))


def _nothing(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)


def _set_aside_by_hand(root: Path) -> None:
    """What the team of the story did: moved away, so that nobody should look at it again."""
    aside = root / "checkpoints_backup" / "20251214_221758_custom_unet"
    save_own(root)
    shutil.move(root / "checkpoints", aside)


_K = VerdictKind
ROWS: Final = (
    Row("own-complete", "the trainer's own save, untouched",
        _complete, _K.IDENTICAL, "NamesAndShapesMatch", Then.RESUME),
    Row("own-other-world-size", "four processes saved it; the data position does not depend on how many go on",
        _other_world_size, _K.IDENTICAL, "NamesAndShapesMatch", Then.RESUME),
    Row("own-compiled", "torch.compile put `_orig_mod.` before every name; only a prefix, so the names are the same",
        _compiled, _K.IDENTICAL, "NamesAndShapesMatch", Then.RESUME),
    Row("own-deprecated-attention", "weights, EMA and optimizer in the attention names of old Diffusers: one-to-one",
        _deprecated_attention, _K.RENAMED, "NamesConvertible", Then.RESUME, Task.ATTENTION),
    Row("own-prediction-type", "the same tensors predict noise, the job wants velocity",
        _prediction_type, _K.FOREIGN, "PredictionTypeDiffers", Then.ARCHIVE, says=("epsilon", "v_prediction")),
    Row("own-noise-schedule", "trained under another schedule: each timestep means another noise level",
        _noise_schedule, _K.FOREIGN, "NoiseScheduleDiffers", Then.ARCHIVE, says=("scaled_linear", "squaredcos_cap_v2")),
    Row("own-latent-scale", "inputs were scaled for a VAE, the job is in pixel space",
        _latent_scale, _K.FOREIGN, "LatentScaleDiffers", Then.ARCHIVE, says=("0.18215",)),
    Row("own-null-embedding", "another text encoder's answer to the empty caption: guidance would steer to noise",
        _null_embedding, _K.FOREIGN, "NullEmbeddingDiffers", Then.ARCHIVE, only_with_text_encoder=True),
    Row("own-seed", "fits, but sample order and noise of the rest would not be those of the run that began",
        _seed, _K.INFERENCE_ONLY, "SeedDiffers", Then.STOP, says=("17", "7")),
    Row("own-global-batch-size", "fits, but a step was another number of samples: the data position would be wrong",
        _global_batch_size, _K.INFERENCE_ONLY, "GlobalBatchSizeDiffers", Then.STOP, says=("16", "8")),
    Row("own-samples-seen", "its step and its batch size do not give the samples that it says it saw",
        _samples_seen, _K.INFERENCE_ONLY, "SamplesSeenDiffers", Then.STOP, says=("3999",)),
    Row("own-without-optimizer", "committed without moments, e.g. published for others",
        _without_optimizer, _K.INFERENCE_ONLY, "OptimizerDiffers", Then.STOP),
    Row("own-optimizer-wrong-shape", "one moment is reshaped: torch would load it without a word",
        _optimizer_wrong_shape, _K.INFERENCE_ONLY, "OptimizerDiffers", Then.STOP, says=(_WIDE,)),
    Row("own-optimizer-missing-moment", "one second moment is not there",
        _optimizer_missing_moment, _K.INFERENCE_ONLY, "OptimizerDiffers", Then.STOP, says=(_WIDE,)),
    Row("own-optimizer-swapped", "two parameters have each other's moments, as after a permuted load",
        _optimizer_swapped, _K.INFERENCE_ONLY, "OptimizerDiffers", Then.STOP),
    Row("own-without-ema", "the averages that pictures are drawn with are not there",
        _without_ema, _K.INFERENCE_ONLY, "EmaDiffers", Then.STOP),
    Row("own-ema-of-another-model", "averages of a wider UNet beside fitting weights",
        _ema_of_another_model, _K.INFERENCE_ONLY, "EmaDiffers", Then.STOP),
    Row("own-other-width", "the job's UNet was narrowed: same names, nearly every shape differs",
        _old_width, _K.FOREIGN, "ShapesDiffer", Then.ARCHIVE),
    Row("own-not-committed", "killed before the manifest: it never existed",
        _not_committed, _K.INCOMPLETE, "NotCommitted", Then.FRESH),
    Row("own-truncated", "committed, then half of the weights were lost",
        _truncated, _K.INCOMPLETE, "FilesMissing", Then.STOP, says=(layout.WEIGHTS,)),
    Row("own-file-missing", "committed, then the EMA was deleted",
        _file_missing, _K.INCOMPLETE, "FilesMissing", Then.STOP, says=(layout.EMA_WEIGHTS,)),
    Row("own-newer-not-committed", "killed in the save of step 600: step 500 is still there and whole",
        _newer_not_committed, _K.IDENTICAL, "NamesAndShapesMatch", Then.RESUME),
    Row("own-retired", "retention began to delete it and was killed: not to be resumed from",
        _retired, _K.INCOMPLETE, "Retired", Then.FRESH),
    Row("own-manifest-garbage", "a manifest that ends midway cannot be believed, nor can its absence",
        _manifest_garbage, _K.UNREADABLE, "ManifestInvalid", Then.STOP),
    Row("own-manifest-of-the-future", "written by a newer version: leave it to that one",
        _manifest_of_the_future, _K.UNREADABLE, "ManifestVersionUnknown", Then.STOP, says=("2",)),
    Row("own-copied-folder", "a folder renamed by hand: its manifest is of another step",
        _copied_folder, _K.UNREADABLE, "ManifestFolderDiffers", Then.STOP),
    Row("own-swapped-weights", "the weights file is not the one that the manifest was written for",
        _swapped_weights, _K.UNREADABLE, "FingerprintDiffers", Then.STOP),
    Row("empty-prefix", "nothing there: a fresh start", _nothing, None, None, Then.FRESH),
    Row("set-aside-by-hand", "the story's own way of archiving; nobody may judge it again",
        _set_aside_by_hand, None, None, Then.FRESH),
)  # fmt: skip

"""The published models at full size, as sparse files: Stable Diffusion 1.5, 2.1, XL and inpainting.

Names and shapes are those of the real Diffusers models on the meta device, and of the original modules in `ldm.py`.
"""

from pathlib import Path
from typing import Final

import torch

from t2i_api.status import VerdictKind
from t2i_checkpoint import layout
from t2i_dev.corpus import ldm
from t2i_dev.corpus.full_size import save_full_size
from t2i_dev.corpus.jobs import UNETS, Task
from t2i_dev.corpus.ldm_companions import AutoencoderKL, OpenClipText, below, clip_text, flat_ema, schedule_buffers
from t2i_dev.corpus.row import Row, Then
from t2i_dev.corpus.rows_single_files import UNET
from t2i_dev.corpus.sparse import write_sparse
from t2i_dev.corpus.true_shapes import diffusers_unet, shapes

_CLIP: Final = "cond_stage_model.transformer.text_model."
_VAE: Final = "first_stage_model."
_HALF: Final = "F16"


def _folder(task: Task, root: Path, dtype: str = "F32") -> None:
    write_sparse(root / "checkpoint-500" / layout.WEIGHTS, shapes(diffusers_unet(UNETS[task]).state_dict()), dtype)


def _sd1(root: Path) -> None:
    _folder(Task.SD1, root)


def _sd1_inpainting(root: Path) -> None:
    _folder(Task.SD1_INPAINTING, root)


def _sd2(root: Path) -> None:
    _folder(Task.SD2, root)


def _sdxl(root: Path) -> None:
    _folder(Task.SDXL, root, _HALF)


def _single(path: Path, config: ldm.LdmConfig, dtype: str = "F32", *, averages: bool = False) -> None:
    with torch.device("meta"):
        model = ldm.UNetModel(config)
        state = below(UNET, model) | below(_VAE, AutoencoderKL())
        if averages:
            state |= flat_ema(model)
        if config.labels is not None:
            state |= below("conditioner.embedders.0.transformer.text_model.", clip_text())
            state |= below("conditioner.embedders.1.model.", OpenClipText(1280, 32, 1280))
        elif config.context == ldm.SD2.context:
            state |= below("cond_stage_model.model.", OpenClipText(1024, 24, 1024)) | schedule_buffers()
        else:
            state |= below(_CLIP, clip_text()) | schedule_buffers()
            state[f"{_CLIP}embeddings.position_ids"] = torch.empty(1, 77)
    write_sparse(path, shapes(state), dtype)


def _sd1_single(root: Path) -> None:
    _single(root / "checkpoints" / "step_840000.safetensors", ldm.SD1)


def _sd1_single_with_averages(root: Path) -> None:
    _single(root / "checkpoint-840000" / "v1-5-pruned.safetensors", ldm.SD1, averages=True)


def _sd1_inpainting_single(root: Path) -> None:
    _single(root / "checkpoint-440000" / "sd-v1-5-inpainting.safetensors", ldm.SD1_INPAINTING)


def _sd2_single(root: Path) -> None:
    _single(root / "checkpoint-140000" / "v2-1_768-ema-pruned.safetensors", ldm.SD2)


def _sdxl_single(root: Path) -> None:
    _single(root / "checkpoint-100" / "sd_xl_base_1.0.safetensors", ldm.SDXL, _HALF)


def _own_sd1(root: Path) -> None:
    save_full_size(root, Task.SD1, 5000)


_K = VerdictKind
_WEIGHTS = "WeightsWithoutResumeState"
_LDM = "NamesConvertible"
ROWS: Final = (
    Row("sd15", "SD 1.5's unet/ in its own job", _sd1, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS, Task.SD1),
    Row("sd15-single-file", "v1-5-pruned-emaonly.safetensors as a job's only leftover",
        _sd1_single, _K.RENAMED, _LDM, Then.INITIAL_WEIGHTS, Task.SD1, says=("LDM names", "convertible")),
    Row("sd15-single-file-ema", "v1-5-pruned.safetensors: weights and averages, 7.7 GB",
        _sd1_single_with_averages, _K.RENAMED, _LDM, Then.INITIAL_WEIGHTS, Task.SD1),
    Row("sd15-in-inpainting", "the UNet takes 4 channels, an inpainting job 9",
        _sd1, _K.PARTIAL, "MostParametersMatch", Then.ARCHIVE, Task.SD1_INPAINTING,
        says=("4 channels in", "asks for 9 (inpainting)")),
    Row("sd15-in-sd2", "SD 1.5 where SD 2.1 shall train",
        _sd1, _K.PARTIAL, "MostParametersMatch", Then.ARCHIVE, Task.SD2,
        says=("cross-attention 768 against 1024", "SD 1.x checkpoint in an SD 2.x job")),
    Row("sd15-in-sdxl", "SD 1.5 where SDXL shall train", _sd1, _K.FOREIGN, "NamesDiffer", Then.ARCHIVE, Task.SDXL),
    Row("sd15-in-tiny", "SD 1.5 in the prefix of a small pixel-space job",
        _sd1, _K.FOREIGN, "NamesDiffer", Then.ARCHIVE, Task.TINY),
    Row("sd15-own", "a whole checkpoint of ours at 13.8 GB: weights, EMA, optimizer",
        _own_sd1, _K.IDENTICAL, "NamesAndShapesMatch", Then.RESUME, Task.SD1),
    Row("sd15-inpainting", "SD 1.5 inpainting in its own job",
        _sd1_inpainting, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS, Task.SD1_INPAINTING),
    Row("sd15-inpainting-in-sd1", "an inpainting UNet where a plain one shall train", _sd1_inpainting,
        _K.PARTIAL, "MostParametersMatch", Then.ARCHIVE, Task.SD1, says=("9 channels in (inpainting)", "asks for 4")),
    Row("sd15-inpainting-single-file", "the inpainting single file in a plain job", _sd1_inpainting_single,
        _K.PARTIAL, "MostParametersMatch", Then.ARCHIVE, Task.SD1, says=("9 channels in",)),
    Row("sd21", "SD 2.1's unet/ in its own job", _sd2, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS, Task.SD2),
    Row("sd21-in-sd1", "SD 2.1 where SD 1.5 shall train",
        _sd2, _K.PARTIAL, "MostParametersMatch", Then.ARCHIVE, Task.SD1,
        says=("cross-attention 1024 against 768",)),
    Row("sd21-single-file", "v2-1_768-ema-pruned.safetensors with its OpenCLIP encoder",
        _sd2_single, _K.RENAMED, _LDM, Then.INITIAL_WEIGHTS, Task.SD2),
    Row("sdxl", "SDXL's unet/ in half precision", _sdxl, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS, Task.SDXL),
    Row("sdxl-single-file", "sd_xl_base_1.0.safetensors with both text encoders",
        _sdxl_single, _K.RENAMED, _LDM, Then.INITIAL_WEIGHTS, Task.SDXL),
    Row("sdxl-in-sd1", "SDXL where SD 1.5 shall train", _sdxl, _K.FOREIGN, "NamesDiffer", Then.ARCHIVE, Task.SD1),
)  # fmt: skip

"""What Diffusers writes: `save_pretrained`, its training scripts' folders, and models that are no such UNet."""

from pathlib import Path
from typing import Any, Final, cast

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, ControlNetModel, DiTTransformer2DModel, UNet2DModel
from diffusers.training_utils import EMAModel
from safetensors.torch import save_file

from t2i_api.status import VerdictKind
from t2i_dev.corpus.jobs import ATTENTION_UNET, TINY_UNET, Task
from t2i_dev.corpus.models import old_attention_name, seeded, stepped_adamw, unet, warmup
from t2i_dev.corpus.row import Row, Then


def save(model: Any, folder: Path, **options: Any) -> Path:
    """`save_pretrained`, which carries no types."""
    model.save_pretrained(folder, **options)
    return folder


def fresh_accelerator() -> Accelerator:
    """Return an Accelerator of its own: the library keeps one state a process."""
    from accelerate.state import AcceleratorState  # noqa: PLC0415  # private to tests by its own documentation

    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  # it has no public way
    return Accelerator(cpu=True)


def _script_folder(root: Path) -> None:
    """As `train_text_to_image.py --use_ema` saves: a hook that writes `unet/` and `unet_ema/` in place of weights."""
    accelerator = fresh_accelerator()
    model = unet("script")
    average: Any = EMAModel(model.parameters(), model_cls=type(model), model_config=cast("Any", model).config)
    optimizer = stepped_adamw(model)
    prepared = accelerator.prepare(model, optimizer, warmup(optimizer))

    def write(models: list[Any], weights: list[Any], output: str) -> None:
        average.save_pretrained(str(Path(output) / "unet_ema"))
        for each in models:
            accelerator.unwrap_model(each).save_pretrained(Path(output) / "unet")
            weights.pop()

    accelerator.register_save_state_pre_hook(write)
    accelerator.save_state(str(root / "checkpoint-500"))
    del prepared


def _unet_only(root: Path) -> None:
    save(unet("only"), root / "checkpoint-500" / "unet")


def _sharded(root: Path) -> None:
    save(unet("sharded"), root / "checkpoint-500" / "unet", max_shard_size="150KB")


def _missing_shard(root: Path) -> None:
    _sharded(root)
    next((root / "checkpoint-500" / "unet").glob("*-00002-of-*.safetensors")).unlink()


def _index_missing(root: Path) -> None:
    _sharded(root)
    next((root / "checkpoint-500" / "unet").glob("*.index.json")).unlink()


def _first_shard_only(root: Path) -> None:
    """An upload that was cut off, or is still going on: the index comes last."""
    _index_missing(root)
    for shard in (root / "checkpoint-500" / "unet").glob("*.safetensors"):
        if "-00001-of-" not in shard.name:
            shard.unlink()


def _sharded_torch_files(root: Path) -> None:
    save(unet("sharded-bin"), root / "checkpoint-500" / "unet", safe_serialization=False, max_shard_size="150KB")


def _torch_file_beside_safetensors(root: Path) -> None:
    """A pipeline whose UNet was saved as a torch file, its VAE as safetensors."""
    _torch_file(root)
    save(_autoencoder(), root / "checkpoint-500" / "vae")


def _quantised(root: Path) -> None:
    """Eight-bit codes under the weights' own names and shapes."""
    folder = root / "checkpoint-500" / "unet"
    folder.mkdir(parents=True)
    codes = {name: (each * 100).to(torch.int8) for name, each in unet("int8").state_dict().items()}
    save_file(codes, folder / "diffusion_pytorch_model.safetensors")


def _torch_file(root: Path) -> None:
    save(unet("bin"), root / "checkpoint-500" / "unet", safe_serialization=False)


def _half_precision(root: Path) -> None:
    save(unet("half").half(), root / "checkpoint-500" / "unet", variant="fp16")


def _ema_only(root: Path) -> None:
    save(unet("ema"), root / "checkpoint-500" / "unet_ema")


def _pipeline(root: Path) -> None:
    """A whole pipeline folder: `model_index.json` beside UNet and VAE."""
    folder = root / "checkpoint-500"
    save(unet("pipeline"), folder / "unet")
    save(_autoencoder(), folder / "vae")
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}\n')


def _other_context(root: Path) -> None:
    save(unet("context", cross_attention_dim=24), root / "checkpoint-500" / "unet")


def _more_input_channels(root: Path) -> None:
    save(unet("inpainting", in_channels=9), root / "checkpoint-500" / "unet")


def _deeper(root: Path) -> None:
    save(unet("deeper", layers_per_block=2), root / "checkpoint-500" / "unet")


def _wider(root: Path) -> None:
    save(unet("wider", block_out_channels=[16, 32]), root / "checkpoint-500" / "unet")


def _unconditional(root: Path) -> None:
    seeded("unconditional")
    blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    kinds = {"sample_size": 8, "block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 4}
    save(cast("Any", UNet2DModel)(**blocks, **kinds), root / "checkpoint-500" / "unet")


def _transformer(root: Path) -> None:
    seeded("transformer")
    sizes = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 2, "sample_size": 8, "norm_num_groups": 4}
    save(cast("Any", DiTTransformer2DModel)(**sizes), root / "checkpoint-500" / "transformer")


def _autoencoder() -> Any:
    seeded("autoencoder")
    return cast("Any", AutoencoderKL)(block_out_channels=(8,), norm_num_groups=4)


def _autoencoder_only(root: Path) -> None:
    save(_autoencoder(), root / "checkpoint-500" / "vae")


def _control_net(root: Path) -> None:
    seeded("controlnet")
    options = {
        key: value for key, value in TINY_UNET.items() if key not in {"out_channels", "up_block_types", "sample_size"}
    }
    model = cast("Any", ControlNetModel)(**options, conditioning_embedding_out_channels=(8, 16))
    save(model, root / "checkpoint-500" / "controlnet")


def _deprecated_attention(root: Path) -> None:
    folder = root / "checkpoint-500" / "unet"
    folder.mkdir(parents=True)
    state = unet("old-attention", **ATTENTION_UNET).state_dict()
    tensors = {old_attention_name(name): each for name, each in state.items()}
    save_file(tensors, folder / "diffusion_pytorch_model.safetensors")


def _below_a_prefix(root: Path) -> None:
    folder = root / "checkpoint-500"
    folder.mkdir(parents=True)
    save_file(
        {f"unet.{name}": each for name, each in unet("prefixed").state_dict().items()}, folder / "model.safetensors"
    )


_K = VerdictKind
_OTHER = "ResumeStateOfAnotherProgram"
_WEIGHTS = "WeightsWithoutResumeState"
ROWS: Final = (
    Row("diffusers-script", "train_text_to_image.py with EMA: weights fit, its optimizer is in pickles of its own",
        _script_folder, _K.INFERENCE_ONLY, _OTHER, Then.INITIAL_WEIGHTS),
    Row("diffusers-unet", "save_pretrained: weights, nothing to resume with",
        _unet_only, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("diffusers-sharded", "the same over several files with an index",
        _sharded, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("diffusers-missing-shard", "the index names a file that is not there",
        _missing_shard, _K.INCOMPLETE, "ShardMissing", Then.FRESH, says=("00002-of",)),
    Row("diffusers-index-missing", "several files and no index: the last of an upload is not there yet",
        _index_missing, _K.INCOMPLETE, "ShardIndexMissing", Then.FRESH, says=("without the index",)),
    Row("diffusers-first-shard-only", "one of several files: most of the tensors, and no reason to archive them",
        _first_shard_only, _K.INCOMPLETE, "ShardIndexMissing", Then.FRESH),
    Row("diffusers-sharded-bin", "torch files with an index",
        _sharded_torch_files, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("diffusers-bin-pipeline", "the UNet as a torch file, the VAE as safetensors: the UNet is the model",
        _torch_file_beside_safetensors, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("diffusers-int8", "a quantised model's codes: same names, same shapes, no weights",
        _quantised, _K.INFERENCE_ONLY, "NotLoadable", Then.STOP, says=("I8", "dequantised")),
    Row("diffusers-bin", "safe_serialization=False: a torch file, read without running it",
        _torch_file, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("diffusers-fp16", "half precision under a variant name: the same names and shapes",
        _half_precision, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("diffusers-ema-only", "averages only: good to start from",
        _ema_only, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("diffusers-pipeline", "a pipeline folder: the UNet is found beside the VAE",
        _pipeline, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("diffusers-prefixed", "names below `unet.`, as programs with several models in one file write",
        _below_a_prefix, _K.INFERENCE_ONLY, _WEIGHTS, Then.INITIAL_WEIGHTS),
    Row("diffusers-deprecated-attention", "attention blocks in the names before Diffusers 0.15: one-to-one",
        _deprecated_attention, _K.RENAMED, "NamesConvertible", Then.INITIAL_WEIGHTS, Task.ATTENTION),
    Row("diffusers-other-context", "another text encoder's width: only the keys and values of cross-attention differ",
        _other_context, _K.PARTIAL, "MostParametersMatch", Then.ARCHIVE, says=("cross-attention 24 against 16",)),
    Row("diffusers-inpainting", "nine channels in: one tensor of another shape",
        _more_input_channels, _K.PARTIAL, "MostParametersMatch", Then.ARCHIVE, says=("9 channels in", "asks for 3")),
    Row("diffusers-deeper", "two layers a block in place of one: most of the wanted tensors are there",
        _deeper, _K.PARTIAL, "MostParametersMatch", Then.ARCHIVE),
    Row("diffusers-wider", "twice the channels: same names, hardly a shape agrees",
        _wider, _K.FOREIGN, "ShapesDiffer", Then.ARCHIVE),
    Row("diffusers-unconditional", "UNet2DModel: related names, no cross-attention",
        _unconditional, _K.FOREIGN, "NamesDiffer", Then.ARCHIVE),
    Row("diffusers-transformer", "a DiT has nothing in common with the UNet",
        _transformer, _K.FOREIGN, "NamesDiffer", Then.ARCHIVE),
    Row("diffusers-autoencoder", "only a VAE: its blocks are named alike, its shapes are not",
        _autoencoder_only, _K.FOREIGN, "NamesDiffer", Then.ARCHIVE),
    Row("diffusers-controlnet", "the encoder half of the UNet: less than half of what is wanted",
        _control_net, _K.FOREIGN, "NamesDiffer", Then.ARCHIVE),
)  # fmt: skip

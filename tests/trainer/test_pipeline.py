"""The finished folder is one that stock Diffusers loads, and it draws the pictures that the trainer drew."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from tests.trainer.mortal_store import Killed, MortalStore
from tests.trainer.stock_diffusers import drawn_by, readme_code

from t2i_api.job import JobSpec
from t2i_checkpoint.local import LocalStore
from t2i_dev.contents import contents
from t2i_trainer.diffusion import ForwardProcess, sample_losses
from t2i_trainer.failures import TrainerError
from t2i_trainer.model import build_unet
from t2i_trainer.pipeline import INDEX, FinishedModel, model_folder, write_pipeline
from t2i_trainer.sample import draw_pictures, latent_shape
from t2i_trainer.shares import gathered
from t2i_trainer.text_encoder import TextEncoder
from t2i_trainer.vae import Vae

if TYPE_CHECKING:
    from collections.abc import Callable

CPU = torch.device("cpu")
FOLDER = model_folder(3)


@dataclass(frozen=True)
class Alone:
    """A world of one process."""

    accelerator: Accelerator
    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return values


@dataclass(frozen=True)
class Kind:
    """What a finished model is made of."""

    vae: str | None = None
    scaling_factor: float = 1.0
    text: str = "bert"
    diffusion: tuple[tuple[str, Any], ...] = ()


KINDS = {
    "Stable Diffusion's own parts": Kind("AutoencoderKL", 0.5, "clip"),
    "the tiny autoencoder, a masked encoder, pure noise at the end": Kind(
        "AutoencoderTiny", diffusion=(("zeroTerminalSnr", True), ("schedule", "ScaledLinear"))
    ),
    "an autoencoder with a shift": Kind("shifted", 0.5, "clip"),
    "pixels": Kind(),
}


@dataclass(frozen=True)
class Made:
    """A model as the trainer holds it at the end, and the pictures that it draws of its prompts."""

    model: FinishedModel
    pictures: torch.Tensor


def _spec(job_spec: JobSpec, kind: Kind) -> JobSpec:
    document = job_spec.to_wire()
    document["sampling"]["prompts"] = ["a red circle on white", "a blue square"]
    document["diffusion"].update(dict(kind.diffusion))
    if kind.vae is not None:
        document["model"]["pixelUnshuffleFactor"] = 1
        document["model"]["vae"] = {"uri": "s3://bucket/vae", "scalingFactor": kind.scaling_factor}
        document["model"]["unet"]["config"].update({"in_channels": 4, "out_channels": 4})
    return JobSpec.model_validate(document)


def _train_a_little(
    spec: JobSpec, unet: torch.nn.Module, shape: tuple[int, int, int], conditions: torch.Tensor
) -> None:
    process, optimizer = ForwardProcess(spec.diffusion, CPU), torch.optim.AdamW(unet.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        latents, noise = (torch.randn(2, *shape, generator=generator) for _ in range(2))
        timesteps = torch.randint(0, 1000, (2,), generator=generator)
        predicted = unet(process.add_noise(latents, noise, timesteps), timesteps, encoder_hidden_states=conditions)
        losses = sample_losses(predicted.sample, process.target(latents, noise, timesteps))
        torch.autograd.backward([losses.mean()])
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture
def make(
    job_spec: JobSpec,
    text_encoder_folder: Path,
    make_clip: Callable[[Path], None],
    make_vae: Callable[[Path, str], None],
    tmp_path: Path,
) -> Callable[[Kind], Made]:
    def made(kind: Kind) -> Made:
        spec = _spec(job_spec, kind)
        text, vae_folder, vae = text_encoder_folder, None, None
        if kind.text == "clip":
            text = tmp_path / "clip"
            make_clip(text)
        if kind.vae is not None:
            vae_folder = tmp_path / "vae"
            make_vae(vae_folder, kind.vae.replace("shifted", "AutoencoderKL"))
            if kind.vae == "shifted":
                config = vae_folder / "config.json"
                config.write_text(json.dumps({**json.loads(config.read_text()), "shift_factor": 0.25}))
            vae = Vae(vae_folder, kind.scaling_factor, CPU)
        encoder = TextEncoder(text, spec.model.text_encoder.max_tokens, CPU)
        prompts, null = encoder.encode(spec.sampling.prompts), encoder.null_embedding()
        unet = build_unet(spec, CPU)
        _train_a_little(spec, unet, latent_shape(spec, vae), prompts)
        world = cast("Any", Alone(Accelerator(cpu=True)))
        pictures = draw_pictures(unet.eval(), spec, prompts, null, world, vae=vae)
        assert pictures is not None
        return Made(FinishedModel(spec, 3, unet, gathered(unet, keep=True), text, vae_folder, vae), pictures)

    return made


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_of_its_readme_draws_the_trainers_own_picture_in_stock_diffusers_to_the_bit(
    kind: str, make: Callable[[Kind], Made], tmp_path: Path
) -> None:
    made = make(KINDS[kind])
    assert made.pictures.float().std() > 5, "a picture of one colour would prove nothing"
    uri = write_pipeline(LocalStore(tmp_path / "bucket"), tmp_path / "scratch", made.model)
    code = readme_code(Path(uri.removeprefix("file://")))
    ours, other = (picture.permute(1, 2, 0).numpy().astype(int) for picture in made.pictures)
    assert np.array_equal(drawn_by(code), ours)
    assert np.abs(ours - other).max() > 1
    # Whoever leaves the memory format as Diffusers has it gets other convolutions, which round otherwise.
    without = "\n".join(line for line in code.splitlines() if "channels_last" not in line)
    assert len(without.splitlines()) == len(code.splitlines()) - 1
    assert np.abs(drawn_by(without) - ours).max() <= 1


def test_the_weights_written_are_those_given_and_every_file_is_listed(
    make: Callable[[Kind], Made], tmp_path: Path
) -> None:
    made = make(KINDS["pixels"])
    store = LocalStore(tmp_path / "bucket")
    write_pipeline(store, tmp_path / "scratch", made.model)
    folder = tmp_path / "bucket" / FOLDER
    weights = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    state = made.model.unet.state_dict()
    assert weights.keys() == state.keys()
    assert all(torch.equal(weights[name], state[name]) for name in state)
    listed = json.loads((folder / "FILES.json").read_text())
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == {*listed, "FILES.json", INDEX}
    assert not any(name.endswith((".bin", ".pt", ".ckpt", ".pkl")) for name in there)
    assert not (tmp_path / "scratch").exists()


def test_killed_at_any_write_no_folder_looks_whole_and_the_next_attempt_finishes_it(
    make: Callable[[Kind], Made], tmp_path: Path
) -> None:
    made = make(KINDS["pixels"])
    index, writes = tmp_path / "bucket" / FOLDER / INDEX, 0
    while not index.exists():
        try:
            write_pipeline(MortalStore(tmp_path / "bucket", writes), tmp_path / "scratch", made.model)
        except Killed:
            assert not index.exists()
        writes += 1
        assert writes < 30
    listed = json.loads((index.parent / "FILES.json").read_text())
    assert writes - 1 == len(listed) + 2
    before = {path: path.stat().st_mtime_ns for path in index.parent.rglob("*")}
    # Whole already: nothing is written again.
    write_pipeline(MortalStore(tmp_path / "bucket", 0), tmp_path / "scratch", made.model)
    assert {path: path.stat().st_mtime_ns for path in index.parent.rglob("*")} == before


def test_the_model_of_an_earlier_run_is_neither_touched_nor_taken_for_this_ones(
    make: Callable[[Kind], Made], tmp_path: Path
) -> None:
    """After an archive the run ended well, and `model/` held the old architecture's weights as if they were its own."""
    made = make(KINDS["pixels"])
    store = LocalStore(tmp_path / "bucket")
    first = write_pipeline(store, tmp_path / "scratch", made.model)
    before = contents(store)
    with torch.no_grad():
        next(made.model.unet.parameters()).add_(1.0)
    other = replace(made.model, weights=gathered(made.model.unet, keep=True))
    uris = {write_pipeline(store, tmp_path / "scratch", other) for _ in range(2)}
    assert write_pipeline(store, tmp_path / "scratch", made.model) == first
    (second,) = uris
    assert second != first
    weights = load_file(Path(second.removeprefix("file://")) / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(weights[name], tensor) for name, tensor in other.weights.items())
    assert before.items() <= contents(store).items()
    readme_code(Path(second.removeprefix("file://")))


class Forgetful(LocalStore):
    """A store that loses half of what it was given."""

    def upload(self, key: str, path: Path) -> None:
        super().put(key, path.read_bytes()[: path.stat().st_size // 2])


def test_a_folder_whose_files_are_not_what_was_written_is_not_committed(
    make: Callable[[Kind], Made], tmp_path: Path
) -> None:
    made = make(KINDS["pixels"])
    with pytest.raises(TrainerError, match="right after"):
        write_pipeline(Forgetful(tmp_path / "bucket"), tmp_path / "scratch", made.model)
    assert not (tmp_path / "bucket" / FOLDER / INDEX).exists()

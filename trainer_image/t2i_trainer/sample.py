"""Pictures of the job's prompts, drawn from the EMA weights by DPM-Solver++ with classifier-free guidance.

Each prompt has a seed of its own, so its picture depends on the weights alone. Ranks share the prompts; rank 0 writes
one PNG a prompt and a grid.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import torch
from PIL import Image

from t2i_checkpoint import layout
from t2i_trainer.data.feed import to_pixels
from t2i_trainer.data.sampling import Stream, generator_for
from t2i_trainer.diffusion import sampling_scheduler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2i_api.job import JobSpec
    from t2i_checkpoint.store import Store
    from t2i_trainer.world import World

_GAP_PIXELS = 2
_LARGEST_GRID_SIDE = 8192


def draw_pictures(
    unet: torch.nn.Module, spec: JobSpec, prompts: torch.Tensor, null: torch.Tensor, world: World
) -> torch.Tensor:
    """Return uint8 [P, 3, R, R] for conditioning [P, T, D], on every rank."""
    side = spec.data.resolution
    pictures = torch.zeros(len(prompts), 3, side, side, dtype=torch.int32, device=world.device)
    for index in range(world.rank, len(prompts), world.size):
        latents = _denoise(unet, spec, prompts[index], null, index, world)
        pictures[index] = to_pixels(latents, spec.model.pixel_unshuffle_factor)[0].int()
    return world.sum(pictures).to(torch.uint8).cpu()


@torch.no_grad()
def _denoise(  # noqa: PLR0913, PLR0917  # one call site
    unet: torch.nn.Module, spec: JobSpec, prompt: torch.Tensor, null: torch.Tensor, index: int, world: World
) -> torch.Tensor:
    scheduler = sampling_scheduler(spec.diffusion)
    scheduler.set_timesteps(spec.sampling.inference_steps, device=world.device)
    factor = spec.model.pixel_unshuffle_factor
    shape = (1, 3 * factor**2, spec.data.resolution // factor, spec.data.resolution // factor)
    noise = generator_for(spec.training.seed, Stream.PICTURES, index).standard_normal(shape, dtype="float32")
    latents: torch.Tensor = torch.from_numpy(noise).to(world.device) * scheduler.init_noise_sigma
    conditions = torch.stack([null, prompt]).to(world.device)
    for time in scheduler.timesteps:
        with world.accelerator.autocast():
            both = unet(latents.expand(2, -1, -1, -1), time, encoder_hidden_states=conditions).sample.float()
        unconditional, conditional = both.chunk(2)
        guided = unconditional + spec.sampling.guidance_scale * (conditional - unconditional)
        latents = scheduler.step(guided, time, latents).prev_sample
    return latents


def write_pictures(store: Store, step: int, pictures: torch.Tensor) -> str:
    """Write `samples/step-…/0000.png` and so on, then `grid.png`; returns the grid's URI."""
    folder = layout.sample_folder(step)
    images = [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in pictures]
    for number, image in enumerate(images):
        store.put(f"{folder}/{number:04d}.png", _png(image))
    key = f"{folder}/grid.png"
    store.put(key, _png(grid(images)))
    return f"{store.uri}/{key}"


def grid(images: Sequence[Image.Image]) -> Image.Image:
    """Lay pictures of one size out in rows, as square as possible, on white."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    side = images[0].width
    cell = side + _GAP_PIXELS
    sheet = Image.new("RGB", (columns * cell + _GAP_PIXELS, rows * cell + _GAP_PIXELS), "white")
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        sheet.paste(image, (_GAP_PIXELS + column * cell, _GAP_PIXELS + row * cell))
    if max(sheet.size) > _LARGEST_GRID_SIDE:
        sheet.thumbnail((_LARGEST_GRID_SIDE, _LARGEST_GRID_SIDE))
    return sheet


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()

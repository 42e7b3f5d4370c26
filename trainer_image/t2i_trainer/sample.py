"""Pictures of the job's prompts, drawn from the EMA weights by DPM-Solver++ with classifier-free guidance.

Each prompt has a seed of its own, so its picture depends on the weights alone; the finished pipeline draws the same one
in stock Diffusers with `torch.Generator().manual_seed(seed)`. Ranks share the prompts; rank 0 writes one PNG a prompt
and, last, a grid: without it a folder is not complete. All of it takes minutes, so each inference step begins with the
question whether to stop.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from t2i_checkpoint import layout
from t2i_trainer.data.feed import to_pixels
from t2i_trainer.diffusion import sampling_scheduler
from t2i_trainer.shares import is_sharded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from t2i_api.job import JobSpec
    from t2i_checkpoint.store import Store
    from t2i_trainer.vae import Vae
    from t2i_trainer.world import World

_GAP_PIXELS = 2
_LARGEST_GRID_SIDE = 8192
# Of the grid that the report page holds: tens of kilobytes.
_PREVIEW_SIDE, _PREVIEW_QUALITY = 640, 80


def draw_pictures(  # noqa: PLR0913  # facts of the run, one call site
    unet: torch.nn.Module,
    spec: JobSpec,
    prompts: torch.Tensor,
    null: torch.Tensor,
    world: World,
    *,
    vae: Vae | None = None,
    wants_stop: Callable[[], bool] = lambda: False,
) -> torch.Tensor | None:
    """Return uint8 [P, 3, R, R] for conditioning [P, T, D], on every rank; `vae` is that of the job, if it has one.

    `wants_stop` is asked by all ranks together and answers them alike; None: it said yes.
    """
    side = spec.data.resolution
    pictures = torch.zeros(len(prompts), 3, side, side, dtype=torch.int32, device=world.device)
    shape = latent_shape(spec, vae)
    sampler = Sampler(unet, spec, world, wants_stop)
    for first in range(0, len(prompts), world.size):
        index = first + world.rank
        prompt = min(index, len(prompts) - 1)
        # Every rank has as many turns. In one without a picture it draws all the same if the model is sharded.
        if index > prompt and not is_sharded(unet):
            if sampler.is_stopped_while_others_draw():
                return None
            continue
        conditions = torch.stack([null, prompts[prompt]]).to(world.device)
        latents = sampler.draw(first_noise(seed_of(spec, prompt), shape), conditions)
        if latents is None:
            return None
        if index == prompt:
            pictures[index] = decode_pictures(latents, spec, vae)[0].int()
    return world.sum(pictures).to(torch.uint8).cpu()


def seed_of(spec: JobSpec, index: int) -> int:
    """Return the seed of a prompt's picture: the job's, counted up by the prompt's place."""
    return spec.training.seed + index


def latent_shape(spec: JobSpec, vae: Vae | None) -> tuple[int, int, int]:
    """Return the shape of what the UNet takes for one picture."""
    if vae is not None:
        return vae.latent_shape(spec.data.resolution)
    factor = spec.model.pixel_unshuffle_factor
    return 3 * factor**2, spec.data.resolution // factor, spec.data.resolution // factor


def first_noise(seed: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Return the noise that a picture is made of, float32 [1, C, h, w]: on the CPU, so the same on every device."""
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))


def decode_pictures(latents: torch.Tensor, spec: JobSpec, vae: Vae | None) -> torch.Tensor:
    """Return uint8 [B, 3, R, R] of finished latents."""
    if vae is not None:
        return to_pixels(vae.decode(latents), 1)
    return to_pixels(latents, spec.model.pixel_unshuffle_factor)


@dataclass(frozen=True)
class Sampler:
    """DPM-Solver++ over a UNet; `wants_stop` is asked before each inference step."""

    unet: torch.nn.Module
    spec: JobSpec
    world: World
    wants_stop: Callable[[], bool]

    @torch.no_grad()
    def draw(self, noise: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor | None:
        """Return latents [1, C, h, w] for first noise and the null embedding above the prompt's, [2, T, D].

        None where the drawing was stopped.
        """
        scheduler = self._scheduler()
        latents: torch.Tensor = noise.to(self.world.device) * scheduler.init_noise_sigma
        for time in scheduler.timesteps:
            if self.wants_stop():
                return None
            with self.world.accelerator.autocast():
                both = self.unet(latents.expand(2, -1, -1, -1), time, encoder_hidden_states=conditions).sample.float()
            unconditional, conditional = both.chunk(2)
            guided = unconditional + self.spec.sampling.guidance_scale * (conditional - unconditional)
            latents = scheduler.step(guided, time, latents).prev_sample
        return latents

    def is_stopped_while_others_draw(self) -> bool:
        """Ask as often as a rank that draws."""
        return any(self.wants_stop() for _ in self._scheduler().timesteps)

    def _scheduler(self) -> Any:
        scheduler = sampling_scheduler(self.spec.diffusion)
        scheduler.set_timesteps(self.spec.sampling.inference_steps, device=self.world.device)
        return scheduler


def write_pictures(
    store: Store,
    step: int,
    pictures: torch.Tensor,
    prompts: Sequence[str],
    *,
    wants_stop: Callable[[], bool] = lambda: False,
) -> str | None:
    """Write `samples/step-…/0000.png` and so on, the prompts, a small grid and `grid.png`; returns the last's URI.

    `wants_stop` is asked before each picture; None: it said yes, and there is no grid.
    """
    folder = layout.sample_folder(step)
    images = [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in pictures]
    for number, image in enumerate(images):
        if wants_stop():
            return None
        store.put(f"{folder}/{number:04d}.png", _encoded(image, "PNG"))
    sheet = grid(images)
    small = sheet.copy()
    small.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
    store.put(f"{folder}/{layout.PROMPTS}", json.dumps({"prompts": list(prompts)}).encode())
    store.put(f"{folder}/{layout.PREVIEW}", _encoded(small, "WEBP"))
    key = f"{folder}/{layout.GRID}"
    store.put(key, _encoded(sheet, "PNG"))
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


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=_PREVIEW_QUALITY)  # PNG, which has none, takes no note of it
    return buffer.getvalue()

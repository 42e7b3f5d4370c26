"""The training loop of Diffusers' `examples/text_to_image/train_text_to_image.py`, in its public structure.

What it does a step: pictures opened and scaled by the DataLoader (no workers, as the script's default), pixels and
captions encoded by the frozen encoders, loss gathered over the processes and read with `.item()`, clipping, AdamW,
`EMAModel.step`, the progress bar's second `.item()`. Only what the comparison needs was left out: argument parsing,
checkpoints, validation. In pixel space there is no autoencoder; its place is the fold of pixels into channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import diffusers
import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch.utils.data import DataLoader

_UNET: Any = cast("Any", diffusers.UNet2DConditionModel)
_EMA: Any = cast("Any", EMAModel)
_SCHEDULE: Any = cast("Any", get_scheduler)


@dataclass(frozen=True)
class Parts:
    """What the script loads: `encode_pixels` and `encode_text` are the frozen encoders, called every step."""

    unet_config: dict[str, Any]
    scheduler: Any
    encode_pixels: Callable[[torch.Tensor], torch.Tensor]
    encode_text: Callable[[torch.Tensor], torch.Tensor]
    loader: DataLoader[dict[str, torch.Tensor]]
    learning_rate: float
    weight_decay: float
    max_grad_norm: float
    ema_decay: float


class DiffusersLoop:
    """`step()` is one turn of the script's inner loop."""

    def __init__(self, parts: Parts, accelerator: Accelerator) -> None:
        self._accelerator: Any = accelerator
        self._parts = parts
        unet = _UNET(**parts.unet_config)
        unet.train()
        self._ema = _EMA(
            unet.parameters(), decay=parts.ema_decay, model_cls=diffusers.UNet2DConditionModel, model_config=unet.config
        )
        optimizer = torch.optim.AdamW(unet.parameters(), lr=parts.learning_rate, weight_decay=parts.weight_decay)
        schedule = _SCHEDULE("constant", optimizer=optimizer, num_warmup_steps=0, num_training_steps=10**6)
        self._unet, self._optimizer, self._loader, self._schedule = self._accelerator.prepare(
            unet, optimizer, parts.loader, schedule
        )
        self._ema.to(self._accelerator.device)
        self._weight_dtype = torch.bfloat16 if self._accelerator.mixed_precision == "bf16" else torch.float32
        self._batches = self._endless()

    def step(self) -> float:
        """Take one step and return its loss."""
        parts, accelerator = self._parts, self._accelerator
        batch = next(self._batches)
        with accelerator.accumulate(self._unet):
            latents = parts.encode_pixels(batch["pixel_values"].to(self._weight_dtype))
            noise = torch.randn_like(latents)
            timesteps = torch.randint(
                0, parts.scheduler.config.num_train_timesteps, (latents.shape[0],), device=latents.device
            ).long()
            noisy = parts.scheduler.add_noise(latents, noise, timesteps)
            texts = parts.encode_text(batch["input_ids"])
            if parts.scheduler.config.prediction_type == "epsilon":
                target = noise
            else:
                target = parts.scheduler.get_velocity(latents, noise, timesteps)
            prediction = self._unet(noisy, timesteps, texts, return_dict=False)[0]
            loss = torch.nn.functional.mse_loss(prediction.float(), target.float(), reduction="mean")
            train_loss = accelerator.gather(loss.repeat(latents.shape[0])).mean().item()
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(self._unet.parameters(), parts.max_grad_norm)
            self._optimizer.step()
            self._schedule.step()
            self._optimizer.zero_grad()
        self._ema.step(self._unet.parameters())
        accelerator.log({"train_loss": train_loss})
        return float(loss.detach().item())  # the progress bar's

    def _endless(self) -> Iterator[dict[str, torch.Tensor]]:
        while True:
            yield from self._loader

"""The README of a finished model: what it is, and the lines of stock Diffusers that draw with it. Pure text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from t2i_api.job import JobSpec

_LATENT = """\
import torch
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained(folder)
pipeline.unet.to(memory_format=torch.channels_last)  # as in training: the same picture to the bit
picture = pipeline(
    {prompt!r},
    guidance_scale={guidance},
    num_inference_steps={steps},
    generator=torch.Generator().manual_seed({seed}),
).images[0]
"""

_SHIFTED = """\
import torch
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained(folder)
pipeline.unet.to(memory_format=torch.channels_last)  # as in training: the same picture to the bit
latents = pipeline(
    {prompt!r},
    guidance_scale={guidance},
    num_inference_steps={steps},
    generator=torch.Generator().manual_seed({seed}),
    output_type="latent",
).images
# This autoencoder has a shift, which StableDiffusionPipeline does not put back.
with torch.no_grad():
    pixels = pipeline.vae.decode(latents / {scale} + {shift}).sample
picture = pipeline.image_processor.postprocess(pixels)[0]
"""

_PIXELS = """\
import torch
from diffusers import DiffusionPipeline

# The model draws pixels: there is no autoencoder, which StableDiffusionPipeline wants to be told.
pipeline = DiffusionPipeline.from_pretrained(folder, vae=None)
pipeline.unet.to(memory_format=torch.channels_last)  # as in training: the same picture to the bit
folded = pipeline(
    {prompt!r},
    guidance_scale={guidance},
    num_inference_steps={steps},
    generator=torch.Generator().manual_seed({seed}),
    output_type="latent",
).images
pixels = torch.nn.functional.pixel_shuffle(folded, {factor})
picture = pipeline.image_processor.postprocess(pixels)[0]
"""


def model_card(spec: JobSpec, *, step: int, seed: int, shift: float = 0.0) -> str:
    """Return the README: metadata of the hub, the code, and the facts of the training; `seed` is the first prompt's."""
    code = usage(spec, seed=seed, shift=shift)
    training = spec.training
    facts = (
        ("optimizer steps", step),
        ("images seen", step * training.global_batch_size),
        ("resolution", spec.data.resolution),
        ("trained on", "pixels" if spec.model.vae is None else "latents"),
        ("prediction type", spec.diffusion.prediction_type.value),
        ("noise schedule", spec.diffusion.schedule.value),
        ("zero terminal SNR", "yes" if spec.diffusion.zero_terminal_snr else "no"),
        ("weights", f"exponential moving average, decay {training.ema.decay}"),
        ("tokens of a caption", spec.model.text_encoder.max_tokens),
    )
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts)
    return (
        "---\nlibrary_name: diffusers\npipeline_tag: text-to-image\n---\n"
        "A text-to-image model trained from scratch by t2i-operator. With stock Diffusers (`folder` is a local copy of "
        "this one):\n\n"
        f"```python\n{code}```\n\n"
        f"Prompt number i of the job's own sample grids is drawn with seed {training.seed} + i.\n\n"
        f"| | |\n|---|---|\n{rows}\n"
    )


def usage(spec: JobSpec, *, seed: int, shift: float = 0.0) -> str:
    """Return Python that draws `picture` from `folder`, as this job's trainer draws it."""
    fields = {
        "prompt": spec.sampling.prompts[0] if spec.sampling.prompts else "a picture",
        "guidance": spec.sampling.guidance_scale,
        "steps": spec.sampling.inference_steps,
        "seed": seed,
    }
    if spec.model.vae is None:
        return _PIXELS.format(factor=spec.model.pixel_unshuffle_factor, **fields)
    if shift:
        return _SHIFTED.format(scale=spec.model.vae.scaling_factor, shift=shift, **fields)
    return _LATENT.format(**fields)

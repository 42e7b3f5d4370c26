"""One sentence on why two models differ, in the words of the people who train them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_checkpoint.recognise import ModelFamily, recognise

if TYPE_CHECKING:
    from t2i_checkpoint.architecture import Architecture, ArchitectureDifference

_SD_BY_CONTEXT = {768: "SD 1.x", 1024: "SD 2.x", 2048: "SDXL"}
_INPAINTING_CHANNELS = 9
_INPUT, _OUTPUT, _KEYS = "conv_in.weight", "conv_out.weight", ".attn2.to_k.weight"


def explain_difference(stored: Architecture, wanted: Architecture, difference: ArchitectureDifference) -> str:
    """Return what the stored model is and what the job asks for."""
    family = recognise(stored)
    if family is not ModelFamily.DIFFUSERS_UNET or recognise(wanted) is not family:
        return (
            f"stored is {family.described} of {_millions(stored)} parameters, "
            f"the job asks for {recognise(wanted).described} of {_millions(wanted)}"
        )
    facts = [fact for fact in (_input(stored, wanted), _context(stored, wanted), _output(stored, wanted)) if fact]
    width = _axes(stored, wanted, _INPUT, 0)
    if width:
        facts.append(f"the first block is {width[0]} channels wide, the job asks for {width[1]}")
    if not facts:
        facts.append(
            f"{difference.matched} of {len(wanted)} tensors agree, {len(difference.missing)} are missing, "
            f"{len(difference.unexpected)} unexpected, {len(difference.mismatched)} of another shape"
        )
    return "; ".join(facts)


def _input(stored: Architecture, wanted: Architecture) -> str | None:
    channels = _axes(stored, wanted, _INPUT, 1)
    if channels is None:
        return None
    note = " (inpainting)" if channels[1] == _INPAINTING_CHANNELS else ""
    was = " (inpainting)" if channels[0] == _INPAINTING_CHANNELS else ""
    return f"the stored UNet is {channels[0]} channels in{was}, the job asks for {channels[1]}{note}"


def _output(stored: Architecture, wanted: Architecture) -> str | None:
    channels = _axes(stored, wanted, _OUTPUT, 0)
    return None if channels is None else f"{channels[0]} channels out against {channels[1]}"


def _context(stored: Architecture, wanted: Architecture) -> str | None:
    held, asked = _context_width(stored), _context_width(wanted)
    if held is None or asked is None or held == asked:
        return None
    fact = f"cross-attention {held} against {asked}"
    if held in _SD_BY_CONTEXT and asked in _SD_BY_CONTEXT:
        fact += f": an {_SD_BY_CONTEXT[held]} checkpoint in an {_SD_BY_CONTEXT[asked]} job"
    return fact


def _context_width(architecture: Architecture) -> int | None:
    shapes = (p.shape for name, p in architecture.parameters.items() if name.endswith(_KEYS))
    return next((shape[1] for shape in shapes if len(shape) > 1), None)


def _axes(stored: Architecture, wanted: Architecture, name: str, axis: int) -> tuple[int, int] | None:
    """Return the sizes along one axis where both have the tensor and they differ."""
    held, asked = stored.shape(name), wanted.shape(name)
    if held is None or asked is None or axis >= min(len(held), len(asked)) or held[axis] == asked[axis]:
        return None
    return held[axis], asked[axis]


def _millions(architecture: Architecture) -> str:
    millions = architecture.count / 1e6
    return f"{millions:.0f} M" if millions >= 10 else f"{millions:.2g} M"  # noqa: PLR2004  # two digits are enough

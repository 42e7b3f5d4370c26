"""How long a header probably is, so that one read usually gets all of it; a guess that is never believed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from t2i_checkpoint.architecture import Architecture

_ENTRY_BYTES = 110  # of a header entry besides its name: dtype, shape, two ten-digit offsets
_METADATA_BYTES = 1024
_UNKNOWN_MODEL_BYTES = 128 * 1024  # SD 1.5 in one file, about


def expected_header_bytes(wanted: Architecture, tensors_per_parameter: int = 1) -> int:
    """Guess the length of a safetensors header that fits `wanted`; a usual UNet's where `wanted` is empty."""
    if not len(wanted):
        return _UNKNOWN_MODEL_BYTES * tensors_per_parameter
    names = sum(len(name) + _ENTRY_BYTES for name in wanted)
    return _METADATA_BYTES + tensors_per_parameter * names

"""Files of true size and true header whose tensors are holes: gigabytes on a listing, kilobytes on the disk."""

import json
from pathlib import Path
from typing import Any, Final

from t2i_checkpoint.architecture import Architecture

_BYTES: Final = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}
_ALIGNMENT: Final = 8  # as the safetensors library pads its header


def write_sparse(path: Path, architecture: Architecture, dtype: str = "F32") -> int:
    """Write a safetensors file with this header; returns the header's bytes, the eight of its length included."""
    table: dict[str, dict[str, Any]] = {}
    position = 0
    for name, parameter in architecture.parameters.items():
        end = position + parameter.count * _BYTES[dtype]
        table[name] = {"dtype": dtype, "shape": list(parameter.shape), "data_offsets": [position, end]}
        position = end
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + position)
    return 8 + len(header)

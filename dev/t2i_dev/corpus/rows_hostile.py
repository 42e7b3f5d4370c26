"""Files made to hurt whoever opens them: each must be refused, and nothing may happen meanwhile.

The pickles would leave a file named `EXECUTED` in the working directory if anybody ran them; tests look for it.
"""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from t2i_api.status import VerdictKind
from t2i_dev.corpus.models import unet
from t2i_dev.corpus.row import Row, Then
from t2i_dev.corpus.rows_torch import save

EXECUTED: Final = "EXECUTED-BY-A-CHECKPOINT"
_TEN_GIGABYTES: Final = 10 * 1024**3


class _Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def _torch_zip(path: Path, pickled: bytes, *, compression: int = zipfile.ZIP_STORED) -> None:
    """Write what `torch.save` writes, with this `data.pkl`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/data/0", bytes(64))
        archive.writestr("archive/version", b"3\n")


def _hostile(value: Any) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        _torch_zip(root / "checkpoint-500" / "model.pt", pickle.dumps({"state_dict": value}, protocol=2))

    return build


def _raw_pickle(root: Path) -> None:
    folder = root / "checkpoint-500"
    folder.mkdir(parents=True)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Calls(open, EXECUTED, "w")))


def _by_name(pickled: bytes) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        _torch_zip(root / "checkpoint-500" / "model.pt", pickled)

    return build


def _memo_bomb(root: Path) -> None:
    """Thirty levels of lists that hold the level below twice: a billion elements when walked."""
    value: list[Any] = ["x"]
    for _ in range(30):
        value = [value, value]
    _torch_zip(root / "checkpoint-500" / "model.pt", pickle.dumps({"state_dict": value}, protocol=2))


def _zip_bomb(root: Path) -> None:
    """A kilobyte that inflates to 100 megabytes of pickle."""
    path = root / "checkpoint-500" / "model.pt"
    _torch_zip(path, b"\x80\x02" + b"0" * 100_000_000 + b".", compression=zipfile.ZIP_DEFLATED)


def _lying_directory(root: Path) -> None:
    """A zip whose directory says that data.pkl has four gigabytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
    raw = bytearray(buffer.getvalue())
    entry = raw.rindex(b"PK\x01\x02")
    raw[entry + 20 : entry + 28] = struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)
    folder = root / "checkpoint-500"
    folder.mkdir(parents=True)
    (folder / "model.pt").write_bytes(bytes(raw))


def _distributed(root: Path) -> None:
    folder = root / "checkpoint-500"
    folder.mkdir(parents=True)
    (folder / ".metadata").write_bytes(pickle.dumps(_Calls(open, EXECUTED, "w")))
    (folder / "__0_0.distcp").write_bytes(bytes(64))


def _optimizer(root: Path) -> None:
    """Weights that fit, beside an optimizer that would run code: the weights are judged, the optimizer is not run."""
    folder = root / "checkpoint-500"
    save(unet("beside-hostile").state_dict(), folder / "pytorch_model.bin")
    _torch_zip(folder / "optimizer.bin", pickle.dumps(_Calls(open, EXECUTED, "w"), protocol=2))


def _safetensors(raw: bytes) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        folder = root / "checkpoint-500"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(raw)

    return build


def _header(table: dict[str, Any], data: int = 0) -> bytes:
    raw = json.dumps(table).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(data)


_MOVES_THE_CURSOR: Final = _header(
    {"\x1b[2J\x1b]0;owned\x07weight\r": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, 16
)
_OVERLAPPING: Final = _header(
    {
        "one": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
        "two": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]},
    },
    24,
)
_HUGE_SHAPE: Final = _header({"one": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 16]}}, 16)
_HUGE_HEADER: Final = struct.pack("<Q", 2**60) + b"{}" + bytes(1000)
_NESTED: Final = struct.pack("<Q", 100_000) + b"[" * 100_000 + bytes(16)
# A protocol-0 pickle that says `os.system`, written by hand: no class of this program is involved.
_SYSTEM: Final = b"cos\nsystem\n(S'touch " + EXECUTED.encode() + b"'\ntR."
_IMPORTS: Final = b"\x80\x04\x8c\x0bantigravity\x8c\x03fly\x93)R."

_K = VerdictKind
_FORBIDDEN = "PickleForbidden"
ROWS: Final = (
    Row("hostile-open", "a pickle that would create a file",
        _hostile(_Calls(open, EXECUTED, "w")), _K.UNREADABLE, _FORBIDDEN, Then.STOP),
    Row("hostile-eval", "a pickle that would evaluate a string",
        _hostile(_Calls(eval, f"open('{EXECUTED}', 'w')")), _K.UNREADABLE, _FORBIDDEN, Then.STOP),
    Row("hostile-system", "`os.system`, written by hand", _by_name(_SYSTEM), _K.UNREADABLE, _FORBIDDEN, Then.STOP),
    Row("hostile-import", "a pickle that would import a module",
        _by_name(_IMPORTS), _K.UNREADABLE, _FORBIDDEN, Then.STOP),
    Row("hostile-allocation", "a pickle that would allocate ten gigabytes",
        _hostile(_Calls(bytearray, _TEN_GIGABYTES)), _K.UNREADABLE, _FORBIDDEN, Then.STOP),
    Row("hostile-memo-bomb", "thirty levels that double", _memo_bomb, _K.UNREADABLE, "PickleTooLarge", Then.STOP),
    Row("hostile-zip-bomb", "a kilobyte that inflates to a hundred megabytes",
        _zip_bomb, _K.UNREADABLE, "ZipCompressed", Then.STOP),
    Row("hostile-lying-directory", "a directory that promises four gigabytes",
        _lying_directory, _K.UNREADABLE, "ZipSizeDiffers", Then.STOP),
    Row("hostile-raw-pickle", "no zip at all: a pickle that would create a file",
        _raw_pickle, _K.UNREADABLE, "LegacyPickle", Then.STOP),
    Row("hostile-metadata", "a DCP metadata that would create a file",
        _distributed, _K.UNREADABLE, _FORBIDDEN, Then.STOP),
    Row("hostile-optimizer", "fitting weights beside an optimizer that would run code",
        _optimizer, _K.INFERENCE_ONLY, "ResumeStateOfAnotherProgram", Then.INITIAL_WEIGHTS),
    Row("hostile-header-length", "a safetensors header of an exabyte",
        _safetensors(_HUGE_HEADER), _K.UNREADABLE, "HeaderTooLarge", Then.STOP),
    Row("hostile-names", "names that would clear the terminal of whoever prints them",
        _safetensors(_MOVES_THE_CURSOR), _K.FOREIGN, "NamesDiffer", Then.ARCHIVE),
    Row("hostile-overlapping", "two tensors in the same bytes",
        _safetensors(_OVERLAPPING), _K.UNREADABLE, "HeaderOffsetsInvalid", Then.STOP),
    Row("hostile-shape", "a tensor of more elements than there are atoms",
        _safetensors(_HUGE_SHAPE), _K.UNREADABLE, "HeaderOffsetsInvalid", Then.STOP),
    Row("hostile-nesting", "a hundred thousand brackets",
        _safetensors(_NESTED), _K.UNREADABLE, "HeaderNotJson", Then.STOP),
)  # fmt: skip

"""Files of `torch.save` since torch 1.6: a zip archive of uncompressed members, its `data.pkl` read as a tree.

Layout: `<root>/data.pkl`, the value; `<root>/data/<key>`, a storage each; `<root>/byteorder` (torch 2.1 on). Stands on
`zip_directory.py` and `pickle_reader.py`; what cannot be read is named with the way out.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.pickle_reader import read_pickle
from t2i_checkpoint.headers.pickle_values import Budget
from t2i_checkpoint.headers.ranges import RangedObject
from t2i_checkpoint.headers.torch_builder import TorchBuilder
from t2i_checkpoint.headers.zip_directory import PADDING_BYTES, parse_local_header, read_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from t2i_checkpoint.headers.zip_directory import Member
    from t2i_checkpoint.store import ObjectInfo, Store

    _Key = tuple[bytes, tuple[tuple[str, int], ...]]

MAX_PICKLE_BYTES = 4 * 1024 * 1024
WHOLE_FILE_BYTES = 64 * 1024  # no more than this costs less as one request
_MAX_TAIL_BYTES = 256 * 1024
_NEIGHBOUR_BYTES = 1024  # `byteorder` is written next to `data.pkl`
_HEAD_BYTES = 512
_WAY_OUT = (
    "Convert it where you trust it: torch.save(torch.load(old, weights_only=True), new), or save the state dict with "
    "safetensors.torch.save_file"
)
_LEGACY_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # 0x1950a86a20f9469cfc6c, torch 0.1.10 to 1.5


def read_torch_zip(
    store: Store,
    info: ObjectInfo,
    *,
    expected_bytes: int,
    remembered: Callable[[_Key, Callable[[], Any]], Any] | None = None,
) -> Any:
    """Return the saved value: dict, list, tuple, str, int, float, bool and None, StoredTensor and Opaque leaves.

    `expected_bytes` is the guessed length of a safetensors header for the same tensors, never believed. One ranged read
    for small files, two where the guess is enough, three otherwise. `remembered(key, make)` may return what it got for
    an equal pickle over members of equal sizes, whose tensors then have that file's places. Raises HeaderError, or
    StoreError.
    """
    file = RangedObject(store, info)
    is_small = info.size <= WHOLE_FILE_BYTES
    # A directory entry is half as long as a safetensors entry: it tells neither the parameter's name nor its shape.
    members = read_directory(file, expected_bytes=info.size if is_small else min(expected_bytes // 2, _MAX_TAIL_BYTES))
    if members is None:
        raise _other_format(file)
    root = _root(members)
    raw = _value(file, root, members)
    del file

    def make() -> Any:
        budget = Budget()
        return read_pickle(raw, TorchBuilder(info, root, members, budget), budget)

    if remembered is None:
        return make()
    return remembered((sha256(raw).digest(), tuple((member.name, member.size) for member in members.values())), make)


def _root(members: Mapping[str, Member]) -> str:
    roots = [name.removesuffix("/data.pkl") for name in members if name.partition("/")[2] == "data.pkl"]
    if len(roots) != 1:
        detail = "a zip archive without the one data.pkl that torch.save writes"
        raise HeaderError(HeaderFault.NOT_A_TORCH_FILE, detail)
    (root,) = roots
    if f"{root}/constants.pkl" in members or any(name.startswith(f"{root}/code/") for name in members):
        detail = "a TorchScript program, not a state dictionary. Save its state_dict() instead"
        raise HeaderError(HeaderFault.TORCH_SCRIPT, detail)
    return root


def _value(file: RangedObject, root: str, members: Mapping[str, Member]) -> bytes:
    value = members[f"{root}/data.pkl"]
    if value.size > MAX_PICKLE_BYTES:
        detail = f"data.pkl has {value.size} bytes, at most {MAX_PICKLE_BYTES} are read"
        raise HeaderError(HeaderFault.PICKLE_TOO_LARGE, detail)
    wanted = value.least_end - value.offset + PADDING_BYTES + _NEIGHBOUR_BYTES
    file.read(value.offset, min(wanted, file.info.size - value.offset))
    order = members.get(f"{root}/byteorder")
    if order is not None and _member(file, order) != b"little":
        detail = "written on a machine of the other byte order; convert it there"
        raise HeaderError(HeaderFault.BYTE_ORDER, detail)
    return _member(file, value)


def _member(file: RangedObject, member: Member) -> bytes:
    least = member.least_end - member.offset
    window = file.read(member.offset, min(least + PADDING_BYTES, file.info.size - member.offset))
    start = parse_local_header(window, member)
    if start + member.size <= len(window):
        return window[start : start + member.size]
    return file.read(member.offset + start, member.size)


def _other_format(file: RangedObject) -> HeaderError:
    head = file.read(0, min(_HEAD_BYTES, file.info.size))
    if _LEGACY_MAGIC in head[:32]:
        return HeaderError(HeaderFault.LEGACY_PICKLE, f"written by torch before 1.6, as a pickle. {_WAY_OUT}")
    if head[257:262] == b"ustar":
        return HeaderError(HeaderFault.LEGACY_PICKLE, f"a tar archive, as torch wrote before 0.1.10. {_WAY_OUT}")
    if head[:1] == b"\x80" and head[1:2] <= b"\x05" and head[1:2]:
        return HeaderError(HeaderFault.LEGACY_PICKLE, f"a plain pickle, which only running it could read. {_WAY_OUT}")
    if head.startswith(b"version https://git-lfs"):
        return HeaderError(HeaderFault.NOT_A_TORCH_FILE, "a git-lfs pointer; fetch the file itself with `git lfs pull`")
    if head.startswith(b"PK\x03\x04"):
        return HeaderError(HeaderFault.HEADER_TRUNCATED, "a zip archive without its end: the file is cut short")
    return HeaderError(HeaderFault.NOT_A_TORCH_FILE, f"no zip archive of torch; begins with {head[:16]!r}")

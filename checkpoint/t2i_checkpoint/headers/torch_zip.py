"""Files of `torch.save` since torch 1.6: a zip archive of uncompressed members, its `data.pkl` read as a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t2i_checkpoint.store import ObjectInfo, Store


def read_torch_zip(store: Store, info: ObjectInfo, *, expected_bytes: int) -> Any:
    """Return the saved value: dict, list, tuple, str, int, float, bool and None, StoredTensor and Opaque leaves.

    `expected_bytes` is a guess of the zip directory's length, never believed (a safetensors header for the same tensors
    is about as long). Two ranged reads where it is enough, one for small files. Raises HeaderError, or StoreError.
    """
    raise NotImplementedError((store, info, expected_bytes))

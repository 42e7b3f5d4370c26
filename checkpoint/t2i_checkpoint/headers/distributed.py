"""The `.metadata` of torch.distributed.checkpoint (FSDP, DCP): a pickle of plain records, read as names and blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from t2i_checkpoint.headers.pickle_reader import Opaque
    from t2i_checkpoint.store import ObjectInfo, Store
    from t2i_checkpoint.tensors import DistributedTensor


def read_distributed(
    store: Store, metadata: ObjectInfo, objects_by_key: Mapping[str, ObjectInfo]
) -> dict[str, DistributedTensor | Opaque]:
    """Return fully qualified name -> tensor, or Opaque for a value that is no tensor; one ranged read.

    `objects_by_key` is the listing, for the files beside. Raises HeaderError or StoreError.
    """
    raise NotImplementedError((store, metadata, objects_by_key))

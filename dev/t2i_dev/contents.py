"""All that a store holds, byte for byte, so that tests can say that nothing was lost or touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store


def contents(store: Store, prefix: str = "") -> dict[str, bytes]:
    """Return each object below a prefix by its key."""
    return {info.key: store.read(info.key) for info in store.list(prefix)}

"""Listings with an end: a prefix may hold millions of objects, and half of a listing must never be judged as the whole.

Every page is taken as it comes; whoever keeps what is listed keeps at most `MAX_KEPT` objects (about 60 MB).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_checkpoint.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from t2i_checkpoint.store import ObjectInfo, Store

MAX_KEPT = 100_000  # hundreds of checkpoints of hundreds of files
MAX_SEEN = 1_000_000  # 1,000 pages, minutes: where nothing but a few marks is kept


class TooManyObjects(StoreError):  # noqa: N818  # reads as what was met, like its relatives
    """More objects lie there than are looked at; nothing was judged and nothing changed."""


def list_bounded(store: Store, prefix: str, most: int = MAX_KEPT) -> Iterator[ObjectInfo]:
    """Yield what `Store.list` yields; raises TooManyObjects instead of the object after `most`."""
    for count, info in enumerate(store.list(prefix)):
        if count == most:
            raise TooManyObjects(
                f"more than {most:,} objects lie there; of a part nothing true could be said, so nothing was judged "
                "and nothing was changed",
                uri=store.uri,
                operation="list",
                key=f"{prefix}…",
                way_out="Move elsewhere what does not belong to this job, or name a folder of its own",
            )
        yield info

"""Which checkpoints are kept: the newest of this very run, never one that something else could still need.

Runs only after a new checkpoint was committed and read back. Looks at nothing newer than that one: after a resume
from an older step, later folders belong to a history that somebody may want to see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_checkpoint import layout
from t2i_checkpoint.manifest import Manifest, ManifestError, read_manifest, remove_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from t2i_checkpoint.layout import FolderName
    from t2i_checkpoint.store import Store


def retire_checkpoints(store: Store, newest: Manifest, retain: int) -> tuple[str, ...]:
    """Delete own committed checkpoints of the same model beyond the `retain` newest; returns the deleted folders."""
    committed = (
        layout.folder_of(info.key)
        for info in store.list(f"{layout.CHECKPOINTS}step-")
        if info.key.endswith(f"/{layout.MANIFEST}")
    )
    candidates = beyond_retained((each for each in committed if each is not None), newest, retain)
    gone = tuple(folder.folder for folder in candidates if _is_same_model(store, folder.folder, newest))
    for folder in gone:
        remove_checkpoint(store, folder)
    return gone


def beyond_retained(committed: Iterable[FolderName], newest: Manifest, retain: int) -> tuple[FolderName, ...]:
    """Return the own folders that are older than the `retain` newest, counted from `newest` downwards."""
    older = sorted(
        (each for each in committed if each.is_own and each.step < newest.step),
        key=lambda each: (each.step, each.folder),
        reverse=True,
    )
    return tuple(older[retain - 1 :])


def _is_same_model(store: Store, folder: str, newest: Manifest) -> bool:
    try:
        manifest = read_manifest(store, folder)
    except ManifestError:
        return False
    return (
        manifest is not None
        and manifest.architecture_fingerprint == newest.architecture_fingerprint
        and manifest.seed == newest.seed
    )

"""`method: Reference`: the checkpoint stays where it is, and a pointer says that it is archived.

    archive/<name>/MANIFEST.json                     what was archived, and where it lies (the commit)
    checkpoint-archived/<name>/REFERENCE.json        found by the survey's one LIST: these folders are nobody's now
    checkpoint-archived/<name>/RESTORED.json         the pointer no longer holds

Marks are only ever added, so whatever order late writers arrive in, the result is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_checkpoint import layout
from t2i_checkpoint.archive_plan import MAX_DOCUMENT_BYTES, parse_reference
from t2i_checkpoint.store import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from t2i_checkpoint.store import ObjectInfo, Store

REFERENCES = "checkpoint-archived/"  # sorts into the listing of layout.SURVEY_PREFIX
REFERENCE, RESTORED = "REFERENCE.json", "RESTORED.json"


def archived_references(store: Store, listing: Iterable[ObjectInfo]) -> frozenset[str]:
    """Return the checkpoint folders that are archived in place; `listing` holds at least everything below REFERENCES.

    No request where there is no reference, one small read for each. Raises ArchiveError for a pointer that cannot be
    believed, StoreError if it cannot be read: nobody then knows which checkpoints may be touched.
    """
    marks: dict[str, set[str]] = {}
    for info in listing:
        if info.key.startswith(REFERENCES):
            name, _, mark = info.key.removeprefix(REFERENCES).partition("/")
            marks.setdefault(name, set()).add(mark)
    return frozenset(
        folder
        for name, found in sorted(marks.items())
        if layout.parse_archive_name(name) is not None and REFERENCE in found and RESTORED not in found
        for folder in _referenced_folders(store, f"{REFERENCES}{name}/{REFERENCE}")
    )


def _referenced_folders(store: Store, key: str) -> tuple[str, ...]:
    try:
        raw = store.read(key, 0, MAX_DOCUMENT_BYTES + 1)
    except NotFound:  # a listing may be older than the bucket
        return ()
    return parse_reference(raw, key).folders

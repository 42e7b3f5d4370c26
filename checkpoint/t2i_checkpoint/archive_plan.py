"""From judgements to an archive's intent: which objects, in which order, under which name. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint import layout
from t2i_checkpoint.archive_documents import (
    MAX_DOCUMENT_BYTES,
    ArchivedFolder,
    ArchivedObject,
    ArchiveEntry,
    ArchiveError,
    ArchiveIntent,
    ArchiveManifest,
    SourceChangedError,
    parse_archive_manifest,
    parse_intent,
)
from t2i_checkpoint.store import key_fault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from t2i_checkpoint.inspect import Judgement

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "ArchiveEntry",
    "ArchiveError",
    "ArchiveIntent",
    "ArchiveManifest",
    "ArchivedFolder",
    "ArchivedObject",
    "SourceChangedError",
    "deletion_rank",
    "parse_archive_manifest",
    "parse_intent",
    "plan_archive",
]

_LONGEST_ETAG = 64
_LONGEST_CHECKSUM = 96  # "sha256-hex:" and 64 digits, with room
_INDEXES = (".index.json", ".metadata")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".distcp")


def plan_archive(
    judgements: Sequence[Judgement],
    *,
    now: datetime,
    label: str | None = None,
    method: ArchiveMethod = ArchiveMethod.MOVE,
) -> ArchiveIntent:
    """Plan one archive for `judgements`, all of which must be archivable; its name is the time and the newest's label.

    Raises ArchiveError for an empty plan, a verdict that must not be archived (unreadable, incomplete, resumable), a
    key that could not be moved, and more than one archive can list.
    """
    if not judgements:
        raise ArchiveError("NothingToArchive", "no checkpoint was given to archive")
    for judgement in judgements:
        if not judgement.verdict.archivable:
            detail = f"{judgement.folder} is {judgement.verdict.kind}: only what was read and cannot serve is archived"
            raise ArchiveError("NotArchivable", detail)
    name = layout.archive_name(now, label or judgements[0].label)
    objects = sorted(
        (info for judgement in judgements for info in judgement.objects),
        key=lambda info: (deletion_rank(info.key), info.key),
    )
    for info in objects:
        _expect_movable(info.key, name)
    intent = ArchiveIntent(
        name=name,
        method=method,
        created_at=now,
        folders=tuple(_folder(judgement) for judgement in judgements),
        entries=tuple(
            ArchiveEntry(
                source=info.key,
                destination=info.key if method is ArchiveMethod.REFERENCE else f"{layout.ARCHIVE}{name}/{info.key}",
                size=info.size,
                etag=info.etag,
                modified_at=info.modified_at,
            )
            for info in objects
        ),
    )
    _expect_readable(intent)
    return intent


def _expect_movable(key: str, name: str) -> None:
    """Refuse keys that other programs wrote and ours cannot, before an intent stands in the way of every next look."""
    fault = key_fault(key) or key_fault(f"{layout.ARCHIVE}{name}/{key}")
    if fault is not None:
        detail = f"{key!r} cannot be archived: {fault}. Rename or remove that object; nothing was changed"
        raise ArchiveError("KeyNotMovable", detail)


def _expect_readable(intent: ArchiveIntent) -> None:
    """Refuse an archive whose documents could not be read back: its commit would come before its sources' deletion."""
    manifest = ArchiveManifest.model_validate(
        {
            "name": intent.name,
            "method": intent.method,
            "folders": intent.folders,
            "committed_at": intent.created_at,
            "objects": [
                {
                    "source": entry.source,
                    "destination": entry.destination,
                    "size": entry.size,
                    "etag": "0" * _LONGEST_ETAG,
                    "checksum": "0" * _LONGEST_CHECKSUM,
                    "modified_at": entry.modified_at,
                    "verified_by": "read-back",
                }
                for entry in intent.entries
            ],
        }
    )
    try:
        parse_intent(intent.to_json(), intent.root + layout.INTENT)
        parse_archive_manifest(manifest.to_json(), intent.root + layout.MANIFEST)
    except ArchiveError as error:
        count = len(intent.entries)
        detail = f"{count} objects are more than one archive can list; archive fewer checkpoints at a time ({error})"
        raise ArchiveError("TooManyObjects", detail) from error


def _folder(judgement: Judgement) -> ArchivedFolder:
    verdict = judgement.verdict
    return ArchivedFolder(
        folder=judgement.folder,
        step=judgement.step,
        verdict=verdict.kind,
        reason=verdict.reason,
        explanation=verdict.explanation,
    )


def deletion_rank(key: str) -> int:
    """Order deletions: what makes a folder a checkpoint goes first and comes back last, so no half ever looks whole."""
    folder = layout.folder_of(key)
    if folder is not None and key == f"{folder.folder}/{layout.MANIFEST}":
        return 0
    if key.endswith(_INDEXES):
        return 1
    return 2 if key.endswith(_WEIGHTS) else 3

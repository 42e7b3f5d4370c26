"""From one listing to checkpoint candidates. Pure; `weights_files.py` says which file of each holds what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from t2i_checkpoint.layout import FolderName, folder_of, parse_name
from t2i_checkpoint.weights_files import CheckpointFormat, WeightsFile, find_weights

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from datetime import datetime

    from t2i_checkpoint.store import ObjectInfo

__all__ = [
    "Candidate",
    "CheckpointFormat",
    "WeightsFile",
    "candidate_at",
    "candidates",
    "candidates_below",
    "find_weights",
]


@dataclass(frozen=True)
class Candidate:
    """A folder that its name says is a checkpoint, and everything below it; `objects` by path inside the folder.

    A single file is a candidate with one object, under the file's own name.
    """

    folder: FolderName
    objects: Mapping[str, ObjectInfo]

    @property
    def size_bytes(self) -> int:
        """Sum over all objects."""
        return sum(info.size for info in self.objects.values())

    @property
    def modified_at(self) -> datetime:
        """When its youngest object was written."""
        return max(info.modified_at for info in self.objects.values())


def candidates(listing: Iterable[ObjectInfo], without: Container[str] = ()) -> tuple[Candidate, ...]:
    """Group a listing into candidates, newest first: by step, then by time of writing.

    `without` are folders that are not looked at, such as those archived in place.
    """
    folders: dict[FolderName, dict[str, ObjectInfo]] = {}
    for info in listing:
        folder = folder_of(info.key)
        if folder is not None and folder.folder not in without:
            folders.setdefault(folder, {})[_path_inside(folder, info.key)] = info
    return _newest_first(folders)


def candidates_below(listing: Iterable[ObjectInfo]) -> tuple[Candidate, ...]:
    """Do the same for a folder that is not a job's root: whatever directly below it is named as checkpoints are."""
    folders: dict[FolderName, dict[str, ObjectInfo]] = {}
    for info in listing:
        first, _, inside = info.key.partition("/")
        folder = parse_name(first)
        if folder is not None and folder.is_file != bool(inside):
            folders.setdefault(folder, {})[inside or first] = info
    return _newest_first(folders)


def candidate_at(folder: str, root_name: str, listing: Iterable[ObjectInfo]) -> Candidate:
    """Return the checkpoint that somebody pointed at, however it is named: `folder`, or the file of that key.

    An empty `folder` is the store's root, which `root_name` is the name of.
    """
    prefix = f"{folder}/" if folder else ""
    objects = {}
    is_file = False
    for info in listing:
        if info.key == folder:
            objects[folder.rpartition("/")[2]] = info
            is_file = True
        elif info.key.startswith(prefix):
            objects[info.key.removeprefix(prefix)] = info
    named = parse_name((folder or root_name).rpartition("/")[2])
    if named is None or named.is_file != is_file:
        named = FolderName(folder, 0, None, is_file=is_file, names_step=False)
    return Candidate(replace(named, folder=folder, root_name=root_name), objects)


def _newest_first(folders: Mapping[FolderName, Mapping[str, ObjectInfo]]) -> tuple[Candidate, ...]:
    found = [Candidate(folder, objects) for folder, objects in folders.items()]
    return tuple(sorted(found, key=lambda c: (c.folder.step, c.modified_at, c.folder.age), reverse=True))


def _path_inside(folder: FolderName, key: str) -> str:
    return key.rpartition("/")[2] if folder.is_file else key.removeprefix(f"{folder.folder}/")

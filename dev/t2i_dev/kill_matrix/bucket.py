"""What must never be lost: the committed checkpoints, looked at by code that shares none with the trainer's."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

MANIFEST, RETIRED = "MANIFEST.json", "RETIRED.json"


@dataclass
class Bucket:
    """A job's prefix as plain files, and the committed checkpoints that were ever seen in it (step by folder name)."""

    root: Path
    retain: int
    seen: dict[str, int] = field(default_factory=dict)

    def look(self) -> list[str]:
        """Return what is wrong: a checkpoint with a manifest that is not whole, or one that is gone before its time."""
        faults, whole = [], {}
        for manifest in self._manifests():
            folder = manifest.parent
            if (folder / RETIRED).exists():
                continue
            try:
                told = json.loads(manifest.read_bytes())
                broken = [file["path"] for file in told["files"] if _sha256(folder / file["path"]) != file["sha256"]]
            except OSError:  # retired while it was looked at: the next look tells
                continue
            if broken:
                faults.append(f"{folder.name} is committed, but {broken[0]} is not what its manifest says")
            else:
                whole[folder.name] = told["step"]
        for name, step in self.seen.items():
            newer = sum(other > step for other in whole.values())
            if name not in whole and newer < self.retain:
                faults.append(f"{name} was committed and is gone, with {newer} newer ones to resume from")
        self.seen |= whole
        return faults

    def note(self) -> None:
        """Remember which checkpoints are committed right now."""
        for manifest in self._manifests():
            if not (manifest.parent / RETIRED).exists():
                self.seen.setdefault(manifest.parent.name, int(manifest.parent.name.split("-")[1]))

    @property
    def newest(self) -> int:
        """The highest step that was ever seen committed, 0 without any."""
        return max(self.seen.values(), default=0)

    def is_uploading(self) -> bool:
        """Whether a folder is there whose manifest is not."""
        return any(not (folder / MANIFEST).exists() for folder in self._folders())

    def is_rotating(self) -> bool:
        """Whether a folder is being deleted."""
        return any((folder / RETIRED).exists() for folder in self._folders())

    def _folders(self) -> list[Path]:
        place = self.root / "checkpoints"
        return sorted(place.iterdir()) if place.is_dir() else []

    def _manifests(self) -> list[Path]:
        return [folder / MANIFEST for folder in self._folders() if (folder / MANIFEST).exists()]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

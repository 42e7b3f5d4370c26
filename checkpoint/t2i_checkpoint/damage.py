"""`DAMAGED.json`: a committed checkpoint whose bytes are no longer what its manifest says, as a reader found out.

Only who reads a checkpoint whole can know; the mark tells everybody who reads headers. It is create-only and bars
nothing but a resume: a marked checkpoint is passed over, and neither retention nor an archive ever takes it away.
"""

from __future__ import annotations

import contextlib
import json
from datetime import datetime  # pydantic resolves the annotation at run time
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from t2i_api.status import VerdictKind
from t2i_checkpoint.headers.bounded_json import parse_object
from t2i_checkpoint.headers.faults import HeaderError
from t2i_checkpoint.layout import DAMAGED, MANIFEST
from t2i_checkpoint.manifest import Sha256
from t2i_checkpoint.reading_faults import FaultError
from t2i_checkpoint.store import AlreadyExists

if TYPE_CHECKING:
    from t2i_checkpoint.discovery import Candidate
    from t2i_checkpoint.metered_reads import MeteredReads
    from t2i_checkpoint.store import Store

DAMAGED_REASON = "Damaged"
_MAX_MARK_BYTES = 4096
# What a name may hold that a message repeats: the mark could be anybody's.
_Plain = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=512)]


class Damage(BaseModel):
    """What was found: `file` inside the folder, and the SHA-256 that two readings of it agreed on."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    format: Literal["t2i.dev/damage"] = "t2i.dev/damage"
    version: Literal[1] = 1
    file: _Plain
    expected_sha256: Sha256
    found_sha256: Sha256
    found_at: datetime
    found_by: _Plain

    def to_json(self) -> bytes:
        """Serialise: stable, readable, camelCase."""
        return (json.dumps(self.model_dump(mode="json", by_alias=True), indent=1) + "\n").encode()

    def __str__(self) -> str:
        return (
            f"SHA-256 of {self.file} is {self.found_sha256[:12]}…, the manifest's is {self.expected_sha256[:12]}…: "
            f"found by {self.found_by} on {self.found_at:%Y-%m-%d at %H:%M:%S %Z}".rstrip()
        )


def mark_damaged(store: Store, folder: str, damage: Damage) -> None:
    """Write the mark, unless another reader was first. Raises StoreError."""
    try:
        store.create(f"{folder}/{DAMAGED}", damage.to_json())
    except AlreadyExists:
        return


def refuse_damaged(reads: MeteredReads, candidate: Candidate) -> None:
    """Raise FaultError for a committed checkpoint of our own that is marked; a mark that says nothing counts too."""
    info = candidate.objects.get(DAMAGED)
    if info is None or not candidate.folder.is_own or MANIFEST not in candidate.objects:
        return
    what = "what it says cannot be read"
    if info.size <= _MAX_MARK_BYTES:
        with contextlib.suppress(HeaderError, ValidationError):
            what = str(Damage.model_validate(parse_object(reads.read(info.key, 0, info.size, etag=info.etag))))
    raise FaultError(VerdictKind.INCOMPLETE, DAMAGED_REASON, f"{DAMAGED} marks it: {what}")

"""The documents of an archive, in `archive/<name>/`: what it is going to do, frozen before it begins, and what it did.

`INTENT.json` lists every key with size, ETag and time of writing. `MANIFEST.json` is the decision: the commit, from
which on the archive is the checkpoint, or that the archive was given up; being one create-only key it cannot be both.
All are read back from a bucket that others can write to, so a document that would touch anything outside its own
checkpoint folders is refused.
"""

from __future__ import annotations

from datetime import datetime  # pydantic resolves the annotation at run time
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint import layout
from t2i_checkpoint.headers.bounded_json import parse_object
from t2i_checkpoint.headers.faults import HeaderError
from t2i_checkpoint.store import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

REFERENCES = "checkpoint-archived/"  # sorts into the listing of layout.SURVEY_PREFIX
MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
Count = Annotated[int, Field(ge=0, lt=2**63)]


class ArchiveError(Exception):
    """An archive cannot go on; nothing was lost. `reason` is a CamelCase constant, the message names the way out."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class SourceChangedError(ArchiveError):
    """The checkpoint is no longer the one that was judged; nothing (more) was deleted."""

    def __init__(self, detail: str) -> None:
        super().__init__("SourceChanged", detail)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    def to_json(self) -> bytes:
        """Serialise: stable, readable, camelCase."""
        return (self.model_dump_json(by_alias=True, indent=1) + "\n").encode()


class ArchiveEntry(_Model):
    """One object to move, as it was when the checkpoint was judged."""

    source: str
    destination: str
    size: Count
    etag: str
    modified_at: datetime

    def is_unchanged(self, info: ObjectInfo | None) -> bool:
        """Whether `info`, a fresh look at the source, still shows this object."""
        return ObjectInfo(self.source, self.size, self.etag, self.modified_at).same_content_as(info)


class ArchivedFolder(_Model):
    """A checkpoint folder in the archive and the verdict that sent it there."""

    folder: str
    step: Count
    verdict: str
    reason: str
    explanation: str


class _Document(_Model):
    version: Literal[1] = 1
    name: str
    method: ArchiveMethod = ArchiveMethod.MOVE  # older documents have none
    folders: Annotated[tuple[ArchivedFolder, ...], Field(min_length=1)]

    @property
    def root(self) -> str:
        """The archive's folder with a trailing slash."""
        return f"{layout.ARCHIVE}{self.name}/"

    def _check_name(self) -> None:
        if layout.parse_archive_name(self.name) is None:
            raise ValueError(f"{self.name!r} is no archive name")
        for folder in self.folders:
            if layout.parse_folder(folder.folder) is None:
                raise ValueError(f"{folder.folder!r} is no checkpoint folder")

    def _check_moves(self, moves: Iterable[tuple[str, str]]) -> None:
        folders = {item.folder for item in self.folders}
        seen = set()
        for source, destination in moves:
            folder = layout.folder_of(source)
            if folder is None or folder.folder not in folders:
                raise ValueError(f"{source!r} lies in none of the archive's checkpoint folders")
            allowed = source if self.method is ArchiveMethod.REFERENCE else self.root + source
            if destination != allowed or ".." in source.split("/"):
                raise ValueError(f"{source!r} would go to {destination!r}")
            if source in seen:
                raise ValueError(f"{source!r} is listed twice")
            seen.add(source)


class ArchiveIntent(_Document):
    """`INTENT.json`; entries in the order in which the sources will be deleted."""

    format: Literal["t2i.dev/archive-intent"] = "t2i.dev/archive-intent"
    created_at: datetime
    entries: Annotated[tuple[ArchiveEntry, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _stays_inside(self) -> Self:
        self._check_name()
        self._check_moves((entry.source, entry.destination) for entry in self.entries)
        return self

    @property
    def size_bytes(self) -> int:
        """Sum over all objects."""
        return sum(entry.size for entry in self.entries)


class ArchivedObject(_Model):
    """One object that was copied and verified; `checksum` is of the destination, `algorithm:base64`.

    Of a checkpoint archived in place nothing was copied: the destination is the source and there is no checksum.
    """

    source: str
    destination: str
    size: Count
    etag: str
    checksum: str
    modified_at: datetime | None = None  # of the source; older documents have none
    verified_by: Literal["checksum", "read-back", "in-place"]


class ArchiveManifest(_Document):
    """`MANIFEST.json` of an archive: everything is there and verified."""

    format: Literal["t2i.dev/archive"] = "t2i.dev/archive"
    committed_at: datetime
    objects: tuple[ArchivedObject, ...]

    @model_validator(mode="after")
    def _stays_inside(self) -> Self:
        self._check_name()
        self._check_moves((item.source, item.destination) for item in self.objects)
        return self

    @property
    def size_bytes(self) -> int:
        """Sum over all objects."""
        return sum(item.size for item in self.objects)


class ArchiveAbandonment(_Model):
    """`MANIFEST.json` of an archive that was given up: it can never be committed any more."""

    format: Literal["t2i.dev/archive-abandoned"] = "t2i.dev/archive-abandoned"
    version: Literal[1] = 1
    name: str
    why: str

    @property
    def root(self) -> str:
        """The archive's folder with a trailing slash."""
        return f"{layout.ARCHIVE}{self.name}/"


class ArchiveReference(_Model):
    """The pointer that takes checkpoint folders out of the survey while their bytes stay."""

    format: Literal["t2i.dev/archive-reference"] = "t2i.dev/archive-reference"
    version: Literal[1] = 1
    name: str
    folders: Annotated[tuple[str, ...], Field(min_length=1)]

    @property
    def root(self) -> str:
        """The folder of the archive's marks, in the survey's listing, with a trailing slash."""
        return f"{REFERENCES}{self.name}/"


_D = TypeVar("_D", ArchiveIntent, ArchiveManifest, ArchiveAbandonment, ArchiveReference)


def parse_intent(raw: bytes, key: str) -> ArchiveIntent:
    """Read an intent back; `key` is where it lay. Raises ArchiveError."""
    return _parse(ArchiveIntent, raw, key)


def parse_archive_manifest(raw: bytes, key: str) -> ArchiveManifest:
    """Read an archive's manifest back; `key` is where it lay. Raises ArchiveError."""
    return _parse(ArchiveManifest, raw, key)


def parse_decision(raw: bytes, key: str) -> ArchiveManifest | ArchiveAbandonment:
    """Read `MANIFEST.json` back, whichever of the two it is. Raises ArchiveError."""
    if b'"t2i.dev/archive-abandoned"' in raw[:200]:
        return _parse(ArchiveAbandonment, raw, key)
    return _parse(ArchiveManifest, raw, key)


def parse_reference(raw: bytes, key: str) -> ArchiveReference:
    """Read a pointer back; `key` is where it lay. Raises ArchiveError."""
    return _parse(ArchiveReference, raw, key)


def _parse(kind: type[_D], raw: bytes, key: str) -> _D:
    way_out = "nothing was touched; remove or repair the file by hand"
    try:
        if len(raw) > MAX_DOCUMENT_BYTES:
            raise ArchiveError("ArchiveInvalid", f"{key} is larger than {MAX_DOCUMENT_BYTES} bytes; {way_out}")
        document = kind.model_validate(parse_object(raw))
    except HeaderError as error:
        raise ArchiveError("ArchiveInvalid", f"{key} is {error.detail}; {way_out}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise ArchiveError("ArchiveInvalid", f"{key}: {where}: {first['msg']}; {way_out}") from error
    if not key.startswith(document.root):
        raise ArchiveError("ArchiveInvalid", f"{key} says that it belongs to {document.root}; {way_out}")
    return document

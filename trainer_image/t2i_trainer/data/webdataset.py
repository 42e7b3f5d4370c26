"""Captioned pictures in tars: files of one sample share their name up to the first dot and stand side by side.

Format: https://github.com/webdataset/webdataset#the-webdataset-format. `<key>.jpg|jpeg|png|webp` is the picture; its
caption is `<key>.txt` or a field of `<key>.json`. Members are read, never unpacked: no name in a tar becomes a path.
A tar counts as read only where its end stands: what `tarfile` takes for the end may be damage.
"""

from __future__ import annotations

import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from t2i_api.progress import ExitCode
from t2i_trainer.data.json_rows import row_of, text_of
from t2i_trainer.data.pictures import BrokenPictureError
from t2i_trainer.data.sources import SourceSample, broken_sample
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from t2i_api.spec_model import Data
    from t2i_checkpoint.store import ObjectInfo, Store
    from t2i_trainer.data.sources import Part

_PICTURES = ("jpg", "jpeg", "png", "webp")
_MAXIMUM_MEMBER_BYTES = 256 * 1024 * 1024
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True)
class WebDataset:
    """All tars below a prefix, in the order of their keys; each is downloaded whole to `scratch` while it is read."""

    store: Store
    tars: tuple[ObjectInfo, ...]
    data: Data
    scratch: Path
    sha256: str

    @property
    def uri(self) -> str:
        """Where the tars lie."""
        return self.store.uri

    @property
    def count(self) -> None:
        """Unknown before the tars are read."""
        return

    @property
    def parts(self) -> Sequence[Part]:
        """One part a tar."""
        return tuple(TarPart(self.store, info, self.data, self.scratch) for info in self.tars)


@dataclass(frozen=True)
class TarPart:
    """One tar."""

    store: Store
    info: ObjectInfo
    data: Data
    scratch: Path

    @property
    def etag(self) -> str:
        """The tar's, as it was listed."""
        return self.info.etag

    def samples(self, skip: int) -> Iterator[SourceSample]:
        """Yield the samples after `skip`; the tar lies on disk meanwhile, a picture in memory until it is used."""
        where = f"{self.store.uri}/{self.info.key}"
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            path = Path(folder) / "part.tar"
            self.store.download(self.info.key, path)
            try:
                with tarfile.open(path, "r:") as tar:
                    for number, (key, members) in enumerate(_groups(tar)):
                        if number >= skip:
                            yield _sample(tar, members, self.data, f"{where}/{key}")
            except tarfile.TarError as error:
                raise TrainerError(
                    ExitCode.DATA_INVALID,
                    f"{where} is no whole, uncompressed tar: {error}. Write it anew, or fetch it again; "
                    "of tars that were strung together make one with `tar --concatenate`",
                ) from error


def _groups(tar: tarfile.TarFile) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Yield each sample's key and its members by extension; neighbours with the same key belong together.

    Raises tarfile.ReadError where the tar is damaged or cut.
    """
    key, members = "", dict[str, tarfile.TarInfo]()
    for member in tar:
        if not member.isreg():
            continue
        folder, slash, name = member.name.rpartition("/")
        stem, _, extension = name.partition(".")
        if not stem:
            continue  # .DS_Store and the like
        if folder + slash + stem != key and members:
            yield key, members
            members = {}
        key = folder + slash + stem
        members[extension.lower()] = member
    _require_end(tar)
    if members:
        yield key, members


def _require_end(tar: tarfile.TarFile) -> None:
    """Raise tarfile.ReadError unless an end of archive follows the last member: zeros to the end of the file.

    `TarFile.next` ends alike at the end and at a header that is damaged or missing. POSIX asks for two blocks of zeros;
    GNU tar and `tarfile` (webdataset's TarWriter) fill up to 20. One is enough: nothing is lost before it.
    """
    file = tar.fileobj
    if file is None:
        raise tarfile.ReadError("the file is closed")
    file.seek(tar.offset)
    rest = 0
    while piece := file.read(_READ_BYTES):
        if piece.strip(tarfile.NUL):
            place = tar.offset + rest + len(piece) - len(piece.lstrip(tarfile.NUL))
            raise tarfile.ReadError(f"no member and no end at byte {tar.offset} (first byte that is not zero: {place})")
        rest += len(piece)
    if rest < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it breaks off at byte {tar.offset + rest}, before its end (512 zeros)")


def _sample(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], data: Data, where: str) -> SourceSample:
    try:
        caption = _caption(tar, members, data, where)
        raw = _read(tar, _picture(members, where), where)
    except BrokenPictureError as error:
        return broken_sample(where, str(error))
    return SourceSample(where, caption, lambda: raw)


def _picture(members: Mapping[str, tarfile.TarInfo], where: str) -> tarfile.TarInfo:
    for extension in _PICTURES:
        if extension in members:
            return members[extension]
    raise BrokenPictureError(f"{where} has no picture ({', '.join(_PICTURES)}): {', '.join(members)}")


def _caption(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], data: Data, where: str) -> str:
    if "txt" in members:
        try:
            return _read(tar, members["txt"], where).decode().strip()
        except UnicodeDecodeError as error:
            raise BrokenPictureError(f"{where}.txt is no UTF-8 text: {error}") from error
    if "json" in members:
        row = row_of(_read(tar, members["json"], where), f"{where}.json")
        return text_of(row, data.caption_field, f"{where}.json", "captionField")
    raise BrokenPictureError(f"{where} has no caption (txt, json): {', '.join(members)}")


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo, where: str) -> bytes:
    if member.size > _MAXIMUM_MEMBER_BYTES:
        raise BrokenPictureError(f"{where}: {member.name} has {member.size} bytes, at most {_MAXIMUM_MEMBER_BYTES}")
    file = tar.extractfile(member)
    return b"" if file is None else file.read()

"""The directory at the end of a zip archive as torch writes it: uncompressed members, no two of which share a byte.

Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT sections 4.3.7 to 4.3.16 and 4.5.3 (zip64). torch
writes zip64 end records always, and zip64 sizes from 4 GiB on. All else that the format allows is refused: encryption,
compression, comments, several disks.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_checkpoint.headers.bounded_json import SHOWN
from t2i_checkpoint.headers.faults import HeaderError, HeaderFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from t2i_checkpoint.headers.ranges import RangedObject

MAX_MEMBERS = 24_000
MAX_DIRECTORY_BYTES = 4 * 1024 * 1024
MAX_NAME_BYTES = 512
LOCAL_HEADER_BYTES = 30
PADDING_BYTES = 128  # torch pads a member's local header, so that its data begin at a multiple of 64
_LEAST_TAIL_BYTES = 4096

_END = struct.Struct("<4s4H2IH")
_END_SIGNATURE = b"PK\x05\x06"
_LOCATOR = struct.Struct("<4sIQI")
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_END64 = struct.Struct("<4sQ2H2I4Q")
_END64_SIGNATURE = b"PK\x06\x06"
_ENTRY = struct.Struct("<4s6H3I5H2I")
_ENTRY_SIGNATURE = b"PK\x01\x02"
_LOCAL = struct.Struct("<4s5H3I2H")
_LOCAL_SIGNATURE = b"PK\x03\x04"
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_ZIP64_EXTRA = 1
_FULL = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive: its name, where its local header begins, and its bytes (stored as they are)."""

    name: str
    offset: int
    size: int

    @property
    def least_end(self) -> int:
        """Where the member ends at the earliest; the local header's extra field may move it."""
        return self.offset + LOCAL_HEADER_BYTES + len(self.name.encode()) + self.size


def read_directory(file: RangedObject, *, expected_bytes: int) -> dict[str, Member] | None:
    """Return name -> member in file order, or None where the file does not end as a zip archive.

    One read where the directory is no longer than `expected_bytes`, two otherwise. Raises HeaderError.
    """
    size = file.info.size
    if size < _END.size:
        return None
    tail = min(size, max(expected_bytes, _LEAST_TAIL_BYTES))
    end = file.read(size - tail, tail)
    if not end[-_END.size :].startswith(_END_SIGNATURE):
        follows = 0 <= end.rfind(_END_SIGNATURE) < len(end) - _END.size
        if follows and file.read(0, 4) == _LOCAL_SIGNATURE:
            raise HeaderError(HeaderFault.ZIP_INVALID, "bytes follow the zip archive's end record")
        return None
    count, length, offset, directory_end = _end_record(end, size)
    if offset + length != directory_end:
        detail = f"the directory claims bytes {offset}..{offset + length}, its end record is at {directory_end}"
        raise HeaderError(HeaderFault.ZIP_SIZE_DIFFERS, detail)
    if length > MAX_DIRECTORY_BYTES or count > MAX_MEMBERS:
        detail = f"a directory of {count} members in {length} bytes; at most {MAX_MEMBERS} are read"
        raise HeaderError(HeaderFault.HEADER_TOO_LARGE, detail)
    raw = file.read_before(offset, length, known_from=size - tail)
    return _checked(list(_entries(raw, count)), offset)


def parse_local_header(raw: bytes, member: Member) -> int:
    """Return the length of the local header that `raw` begins with; HeaderError where it is not `member`'s."""
    if len(raw) < LOCAL_HEADER_BYTES:
        raise HeaderError(HeaderFault.HEADER_TRUNCATED, f"{_shown(member.name)}: its local header is cut short")
    signature, _, flags, method, *_, name_length, extra_length = _LOCAL.unpack_from(raw)
    name = raw[LOCAL_HEADER_BYTES : LOCAL_HEADER_BYTES + name_length]
    if signature != _LOCAL_SIGNATURE or name != member.name.encode():
        raise HeaderError(HeaderFault.ZIP_INVALID, f"{_shown(member.name)}: its local header is another's")
    _refuse_packed(member.name, flags, method)
    return LOCAL_HEADER_BYTES + int(name_length) + int(extra_length)


def _end_record(tail: bytes, file_size: int) -> tuple[int, int, int, int]:
    """Return count, length and offset of the directory, and where it must end."""
    _, disk, first_disk, here, count, length, offset, comment = _END.unpack_from(tail, len(tail) - _END.size)
    at = file_size - _END.size
    locator_at = len(tail) - _END.size - _LOCATOR.size
    if locator_at >= 0 and tail.startswith(_LOCATOR_SIGNATURE, locator_at):
        _, first_disk64, at64, disks = _LOCATOR.unpack_from(tail, locator_at)
        within = at64 - (file_size - len(tail))
        if within != locator_at - _END64.size or not tail.startswith(_END64_SIGNATURE, max(within, 0)):
            raise HeaderError(HeaderFault.ZIP_INVALID, f"the zip64 end record is not where its locator says: {at64}")
        record = _END64.unpack_from(tail, within)
        narrow = (count, length, offset)
        disk, first_disk, here, count, length, offset = record[4:]
        full = (0xFFFF, _FULL, _FULL)
        agree = all(old in (new, mark) for old, new, mark in zip(narrow, (count, length, offset), full, strict=True))
        if not agree or first_disk64 or disks != 1:
            raise HeaderError(HeaderFault.ZIP_INVALID, "the two end records disagree")
        at = at64
    if disk or first_disk or here != count or comment:
        raise HeaderError(HeaderFault.ZIP_INVALID, "a zip archive of several disks, or with a comment")
    return count, length, offset, at


def _entries(raw: bytes, count: int) -> Iterator[Member]:
    at = 0
    for _ in range(count):
        if len(raw) - at < _ENTRY.size or not raw.startswith(_ENTRY_SIGNATURE, at):
            raise HeaderError(HeaderFault.ZIP_INVALID, f"the directory breaks off at byte {at} of {len(raw)}")
        entry = _ENTRY.unpack_from(raw, at)
        flags, method = entry[3:5]
        packed, size, name_length, extra_length, comment_length, disk = entry[8:14]
        at += _ENTRY.size
        variable = raw[at : at + name_length + extra_length]
        at += name_length + extra_length + comment_length
        if at > len(raw) or not 0 < name_length <= MAX_NAME_BYTES or disk:
            raise HeaderError(HeaderFault.ZIP_INVALID, f"a directory entry at byte {at} cannot be right")
        name = _name(variable[:name_length])
        _refuse_packed(name, flags, method)
        packed, size, offset = _wide((packed, size, entry[16]), variable[name_length:], name)
        if packed != size:
            detail = f"{_shown(name)} has {size} bytes in {packed} stored ones"
            raise HeaderError(HeaderFault.ZIP_SIZE_DIFFERS, detail)
        yield Member(name, offset, size)
    if at != len(raw):
        raise HeaderError(HeaderFault.ZIP_INVALID, f"{len(raw) - at} bytes follow the directory's entries")


def _checked(members: list[Member], directory_offset: int) -> dict[str, Member]:
    members.sort(key=lambda member: (member.offset, member.least_end))
    position = 0
    for member in members:
        if member.offset < position:
            raise HeaderError(HeaderFault.ZIP_OVERLAPPING, f"{_shown(member.name)} lies over the member before it")
        position = member.least_end
    if position > directory_offset:
        detail = f"{_shown(members[-1].name)} reaches to byte {position}, beyond the members' {directory_offset}"
        raise HeaderError(HeaderFault.ZIP_SIZE_DIFFERS, detail)
    by_name = {member.name: member for member in members}
    if len(by_name) != len(members):
        raise HeaderError(HeaderFault.DUPLICATE_KEY, "the archive has two members of one name")
    return by_name


def _wide(fields: tuple[int, int, int], extra: bytes, name: str) -> tuple[int, int, int]:
    """Replace 32-bit fields that say "see the zip64 extra field" (packed size, size, offset)."""
    if _FULL not in fields:
        return fields
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64_EXTRA:
            wide = extra[at + 4 : at + 4 + length]
            # The format orders size before packed size, and leaves out those that fit in 32 bits.
            packed, size, offset = fields
            needed = [field == _FULL for field in (size, packed, offset)]
            if len(wide) < 8 * sum(needed) or at + 4 + length > len(extra):
                break
            values = iter(struct.unpack_from(f"<{sum(needed)}Q", wide))
            size, packed, offset = (next(values) if field == _FULL else field for field in (size, packed, offset))
            return packed, size, offset
        at += 4 + length
    raise HeaderError(HeaderFault.ZIP_INVALID, f"{_shown(name)}: its zip64 field is missing or short")


def _refuse_packed(name: str, flags: int, method: int) -> None:
    if flags & _ENCRYPTED:
        raise HeaderError(HeaderFault.ZIP_ENCRYPTED, f"{_shown(name)} is encrypted")
    if method:
        detail = f"{_shown(name)} is compressed (method {method}); torch never does. Unpack and save it again"
        raise HeaderError(HeaderFault.ZIP_COMPRESSED, detail)


def _name(raw: bytes) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise HeaderError(HeaderFault.ZIP_INVALID, "a member's name is not UTF-8") from None
    if not name.isprintable():
        raise HeaderError(HeaderFault.ZIP_INVALID, f"a member's name has control characters: {_shown(name)}")
    return name


def _shown(name: str) -> str:
    return repr(name[:SHOWN])

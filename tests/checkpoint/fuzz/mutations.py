"""Damage to real files: at random, and where their structure says that it hurts; the same again from the same seed."""

from __future__ import annotations

import copy
import functools
import io
import itertools
import json
import pickletools
import random
import struct
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
TOKENS = (
    *(
        b"cos\nsystem\n",
        b"cbuiltins\neval\n",
        b"ctorch\nSize\n",
        b"(",
        b")R",
        b"}",
        b"]",
        b"q\x00",
        b"h\x00",
        b"Q",
        b"b",
    ),
    *(
        b"\x81",
        b"\x93",
        b"\x85",
        b"\x86",
        b"t.",
        b"0",
        b"2",
        b"\x8a\x09" + b"\xff" * 9,
        b"X\xff\xff\xff\x7f",
        b"P0\n",
        b".",
    ),
    *(b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"\x00" * 8, b"\xff" * 8),
    *(b"[", b"{", b'"', b"null", b"-1", b"1e999", b"NaN", b'"\\ud800"', b"9" * 30, b",", b'":', "\U0001f600".encode()),
)
JSON_KINDS = frozenset({"index", "manifest", "intent", "archive_manifest"})
STRANGE_NAMES = (
    "",
    "__metadata__",
    "weight_map",
    "a" * 5000,
    "\x00",
    "../x",
    "\U0001f600",
    "version",
    "dtype",
    "shape",
)
STRANGE_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**70, -(2**63), 1.5, 1e308, "", "a" * 5000, "\x00"),
    *(
        "../../x",
        "archive/x/y",
        "F32",
        "BF16",
        "F4",
        [],
        {},
        [[]],
        {"": {}},
        [1] * 100,
        [2**62] * 8,
        [0],
        [0, 0],
        [0, 8],
    ),
    *("checkpoints/step-00005000-w1/x", "2026-01-02T03:04:05Z", "9999-99-99", "ab" * 32, "NaN", "model.safetensors"),
)
Case = tuple[str, bytes]


class Mutations:
    """Damages real files, at random and where it hurts; all of it follows from one seed."""

    def __init__(self, seeds: dict[str, list[bytes]], seed: int) -> None:
        self._seeds = seeds
        self._kinds = sorted(seeds)
        self._random = random.Random(seed)  # noqa: S311  # repeatable, not secret

    def cases(self, count: int) -> Iterator[Case]:
        """Yield `count` cases over all formats in turn."""
        for number in range(count):
            kind = self._kinds[number % len(self._kinds)]
            yield kind, self._case(kind)

    def _case(self, kind: str) -> bytes:
        raw = self._random.choice(self._seeds[kind])
        if kind == "torch_zip" and self._random.random() < 0.7:
            return self._zip_around(raw)
        if kind == "safetensors" and self._random.random() < 0.7:
            return self._json_inside(raw)
        return self._damaged(raw, kind)

    def _damaged(self, raw: bytes, kind: str) -> bytes:
        """Damage bytes, or half of the time the structure that they are: JSON values, pickle operations."""
        if self._random.randrange(2):
            if kind in ("pickle", "dcp"):
                return self._operations(raw)
            if kind in JSON_KINDS:
                return self._values(raw)
        damaged = bytearray(raw)
        for _ in range(self._random.choice((1, 1, 1, 2, 3, 8))):
            self._damage(damaged, kind)
        return bytes(damaged)

    def _damage(self, raw: bytearray, kind: str) -> None:
        at = self._random.randrange(len(raw) + 1)
        how = self._random.choice(
            (self._byte, self._bit, self._number, self._text, self._cut, self._token, self._repeat)
        )
        if self._random.randrange(6):
            how(raw, at)
        else:
            self._splice(raw, at, self._random.choice(self._seeds[kind]))

    def _byte(self, raw: bytearray, at: int) -> None:
        raw[at : at + 1] = bytes((self._random.randrange(256),))

    def _bit(self, raw: bytearray, at: int) -> None:
        if at < len(raw):
            raw[at] ^= 1 << self._random.randrange(8)

    def _number(self, raw: bytearray, at: int) -> None:
        width = self._random.choice((1, 2, 4, 8))
        value = self._random.choice(INTERESTING) & (256**width - 1)
        raw[at : at + width] = value.to_bytes(width, self._random.choice(("little", "big")))

    def _text(self, raw: bytearray, at: int) -> None:
        number = self._random.choice(INTERESTING) - self._random.randrange(3)
        raw[at : at + self._random.randrange(4)] = str(number).encode()

    def _cut(self, raw: bytearray, at: int) -> None:
        del raw[at : at + self._random.choice((1, 1, 2, 4, 16, 100, len(raw)))]

    def _token(self, raw: bytearray, at: int) -> None:
        raw[at:at] = self._random.choice(TOKENS)

    def _repeat(self, raw: bytearray, at: int) -> None:
        raw[at:at] = raw[at : at + self._random.choice((1, 8, 64, 512))] * self._random.choice((1, 2, 30))

    def _splice(self, raw: bytearray, at: int, other: bytes) -> None:
        start = self._random.randrange(len(other))
        raw[at : at + self._random.randrange(64)] = other[start : start + self._random.randrange(64)]

    def _zip_around(self, raw: bytes) -> bytes:
        """Damage `data.pkl` and pack it properly, so that the pickle machine is reached."""
        source = zipfile.ZipFile(io.BytesIO(raw))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as target:
            for info in source.infolist():
                content = source.read(info)
                target.writestr(info, self._damaged(content, "pickle") if "pkl" in info.filename else content)
        return buffer.getvalue()

    def _json_inside(self, raw: bytes) -> bytes:
        """Damage the JSON and tell its true length, so that its fields are reached."""
        length = int.from_bytes(raw[:8], "little")
        table = self._damaged(raw[8 : 8 + length], "index")
        return struct.pack("<Q", len(table)) + table + raw[8 + length :]

    def _values(self, raw: bytes) -> bytes:
        """Put strange values where JSON has others, or remove or double some."""
        document = json.loads(raw)
        for _ in range(self._random.choice((1, 1, 2))):
            holder = document
            while True:
                places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
                if not places:
                    break
                place = self._random.choice(places)
                if isinstance(holder[place], dict | list) and self._random.randrange(4):
                    holder = holder[place]
                    continue
                self._replace(holder, place)
                break
        return json.dumps(document).encode()

    def _replace(self, holder: Any, place: Any) -> None:
        match self._random.randrange(4):
            case 0:
                del holder[place]
            case 1 if isinstance(holder, dict):
                holder[self._random.choice(STRANGE_NAMES)] = holder[place]
            case _:
                holder[place] = copy.deepcopy(self._random.choice(STRANGE_VALUES))

    def _operations(self, raw: bytes) -> bytes:
        """Remove, double, insert or exchange whole operations of a pickle."""
        operations = list(split(raw))
        for _ in range(self._random.choice((1, 1, 2, 4))):
            at = self._random.randrange(len(operations))
            match self._random.randrange(5):
                case 0:
                    del operations[at : at + self._random.choice((1, 1, 2, 5))]
                case 1:
                    operations[at:at] = operations[at : at + self._random.choice((1, 3, 20))]
                case 2:
                    operations.insert(at, self._random.choice(TOKENS))
                case 3:
                    operations.insert(at, self._random.choice(split(self._random.choice(self._seeds["pickle"]))))
                case 4:
                    operations[at] = b"J" + struct.pack("<i", self._random.choice((-1, 0, 1, 2, 7, 2**31 - 1)))
            if not operations:
                break
        return b"".join(operations)


@functools.cache
def split(raw: bytes) -> tuple[bytes, ...]:
    """Return a pickle's operations, each with its argument."""
    starts = [start for _, _, start in pickletools.genops(raw) if start is not None]
    return tuple(raw[start:end] for start, end in itertools.pairwise([*starts, len(raw)]))

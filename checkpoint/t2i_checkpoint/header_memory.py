"""What one survey has parsed already: the checkpoints of a run have byte-equal headers, and parsing is what costs time.

Every header is still read; only equal bytes are not checked and taken apart again.
"""

from __future__ import annotations

import hashlib
import threading
from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar

from t2i_checkpoint.describe import model_phrase
from t2i_checkpoint.headers.safetensors import LENGTH_BYTES, MAX_HEADER_BYTES, header_length, parse_header

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.headers.safetensors import SafetensorsHeader
    from t2i_checkpoint.metered_reads import MeteredReads
    from t2i_checkpoint.store import ObjectInfo

_MOST = 8  # a prefix rarely holds more than weights and optimizer of two or three models
_MOST_TREES = 2  # each is a few megabytes

_V = TypeVar("_V")


class HeaderMemory:
    """Remembers the last few headers and phrases; for threads, which at worst do some work twice."""

    def __init__(self) -> None:
        self.looks_at_optimizers = True
        self._headers: dict[Hashable, SafetensorsHeader] = {}
        self._trees: dict[Hashable, Any] = {}
        self._one_tree = threading.Lock()
        self._phrases: dict[Architecture, str] = {}

    def without_optimizers(self) -> HeaderMemory:
        """Return the same memory for checkpoints whose foreign optimizer state need not be described."""
        brief = copy(self)
        brief.looks_at_optimizers = False
        return brief

    def read_header(self, reads: MeteredReads, info: ObjectInfo, *, expected_bytes: int) -> SafetensorsHeader:
        """Read as `headers.safetensors.read_header` does; the places in it may be those of an equal, earlier file."""
        first = reads.read(info.key, 0, LENGTH_BYTES + min(max(expected_bytes, 0), MAX_HEADER_BYTES), etag=info.etag)
        length = header_length(first[:LENGTH_BYTES], file_size=info.size)
        raw = first[LENGTH_BYTES : LENGTH_BYTES + length]
        if len(raw) < length:
            raw += reads.read(info.key, LENGTH_BYTES + len(raw), length - len(raw), etag=info.etag)
        known = (hashlib.sha256(raw).digest(), length, info.size)
        header = self._headers.get(known)
        if header is None:
            header = parse_header(raw, length=length, file_size=info.size, key=info.key, etag=info.etag)
            _remember(self._headers, known, header)
        return header

    def tree(self, known: Hashable, make: Callable[[], Any]) -> Any:
        """Return what `make` gave for an equal pickle, for `headers.torch_zip.read_torch_zip`.

        One at a time: Python's lock lets no more be parsed at once anyway, and a hostile one may take 64 MB.
        """
        with self._one_tree:
            tree = self._trees.get(known)
            if tree is None:
                tree = make()
                _remember(self._trees, known, tree, most=_MOST_TREES)
            return tree

    def phrase(self, architecture: Architecture) -> str:
        """Return `model_phrase(architecture)`."""
        phrase = self._phrases.get(architecture)
        if phrase is None:
            phrase = model_phrase(architecture)
            _remember(self._phrases, architecture, phrase)
        return phrase


_K = TypeVar("_K", bound="Hashable")


def _remember(known: dict[_K, _V], key: _K, value: _V, most: int = _MOST) -> None:
    known[key] = value
    while len(known) > most:
        known.pop(next(iter(known)), None)

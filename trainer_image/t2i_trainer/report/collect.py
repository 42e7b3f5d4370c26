"""Everything that a report page tells, read from a run's bucket: complete over any number of restarts.

Nothing but the store is asked, so a page can be made again by anyone who may read it. What cannot be read is said on
the page instead of ending it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from t2i_checkpoint import layout
from t2i_checkpoint.archive_documents import ArchiveError
from t2i_checkpoint.archive_list import list_archives
from t2i_checkpoint.headers.bounded_json import parse_object
from t2i_checkpoint.headers.faults import HeaderError
from t2i_checkpoint.inspect import survey_location
from t2i_checkpoint.listing import list_bounded
from t2i_checkpoint.store import StoreError, read_blocks
from t2i_trainer.report.facts import ReportFacts, SampleGrid
from t2i_trainer.report.history import History, read_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from t2i_checkpoint.store import ObjectInfo, Store
    from t2i_trainer.report.history import Newer

SHOWN_GRIDS = 24
MAXIMUM_PREVIEW_BYTES = 256 * 1024
_MAXIMUM_PROMPTS_BYTES = 256 * 1024
_MAXIMUM_PROMPTS = 64
_MAXIMUM_LINE_BYTES = 64 * 1024
_WEBP = (b"RIFF", b"WEBP")

T = TypeVar("T")


@dataclass
class Collector:
    """Reads part by part; what one part meets does not keep the others from the page."""

    store: Store
    problems: list[str] = field(default_factory=list)

    def collect(self, now: datetime, newer: Newer | None = None) -> ReportFacts:
        """Return what the page tells."""
        history = self._part(lambda: read_history(_rows(self.store), newer), History())
        nothing: tuple[tuple[SampleGrid, ...], int] = ((), 0)
        grids, left_out = self._part(lambda: self._grids(history.began_at), nothing)
        return ReportFacts(
            uri=self.store.uri,
            made_at=now,
            history=history,
            grids=grids,
            grids_left_out=left_out,
            checkpoints=self._part(lambda: survey_location(self.store, None).judgements, ()),
            archives=self._part(lambda: list_archives(self.store), ()),
            problems=tuple(self.problems),
        )

    def _part(self, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except (StoreError, ArchiveError) as error:
            self.problems.append(str(error))
            return otherwise

    def _grids(self, since: datetime | None) -> tuple[tuple[SampleGrid, ...], int]:
        listed = list_bounded(self.store, layout.SAMPLES)
        found = {info.key: info for info in listed if since is None or info.modified_at >= since}
        folders = sorted({key.rpartition("/")[0] for key in found if key.endswith(f"/{layout.GRID}")})
        steps = {step: folder for folder in folders if (step := layout.parse_sample_folder(folder)) is not None}
        shown = spread(sorted(steps), SHOWN_GRIDS)
        return tuple(self._grid(step, steps[step], found) for step in shown), len(steps) - len(shown)

    def _grid(self, step: int, folder: str, found: dict[str, ObjectInfo]) -> SampleGrid:
        preview = self._small(found.get(f"{folder}/{layout.PREVIEW}"), MAXIMUM_PREVIEW_BYTES)
        if preview is not None and (preview[:4], preview[8:12]) != _WEBP:
            preview = None
        asked = self._small(found.get(f"{folder}/{layout.PROMPTS}"), _MAXIMUM_PROMPTS_BYTES)
        # Relative to report/index.html: right on a disk, behind a web server and in a bucket that serves files.
        return SampleGrid(step, f"../{folder}/{layout.GRID}", preview, _prompts(asked))

    def _small(self, info: ObjectInfo | None, most: int) -> bytes | None:
        if info is None or info.size > most:
            return None
        return self._part(lambda: self.store.read(info.key, 0, most), None)


def spread(steps: Sequence[int], most: int) -> tuple[int, ...]:
    """Return at most `most` of the steps, first and last among them, the others evenly between."""
    if len(steps) <= most:
        return tuple(steps)
    return tuple(steps[round(place * (len(steps) - 1) / (most - 1))] for place in range(most))


def _rows(store: Store) -> Iterator[bytes]:
    info = store.head(layout.METRICS)
    if info is not None:
        yield from _lines(read_blocks(store, info))


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines of bounded length from blocks of any; a longer one is dropped."""
    rest = b""
    for block in blocks:
        *whole, rest = (rest + block).split(b"\n")
        yield from (line for line in whole if len(line) <= _MAXIMUM_LINE_BYTES)
        if len(rest) > _MAXIMUM_LINE_BYTES:
            rest = b"x" * (_MAXIMUM_LINE_BYTES + 1)  # still too long, whatever follows
    if rest:
        yield rest


def _prompts(raw: bytes | None) -> tuple[str, ...]:
    if raw is None:
        return ()
    try:
        given = parse_object(raw).get("prompts")
    except HeaderError:
        return ()
    texts = given[:_MAXIMUM_PROMPTS] if isinstance(given, list) else []
    return tuple(text for text in texts if isinstance(text, str))

"""Which stored averages are of one past, and which are worth keeping. Pure; `ema_snapshots.py` stores and finds them.

A run may leave averages that are not of its own past: of steps that it went back from (`Manifest.rolled_back`), or of
an attempt after which a later one began again before them. Combined with others they would give a model that no run
ever passed.
"""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from t2i_checkpoint.manifest import Count, ManifestFile, Sha256, StepSpan
from t2i_checkpoint.power_average import width_of_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from t2i_checkpoint.manifest import Manifest

# Profiles are as wide as the run is long, so snapshots may lie further apart the later they are: 53 of them between 1 %
# and 100 % of a run give widths of 0.05 to 0.25 back within 1.3 % (from profiles of 0.05 and 0.10).
SPACING: Final = 1.05
_MOST_FILES = 16


class Lineage(NamedTuple):
    """What snapshots that are combined must have in common: model, meaning and run."""

    architecture_fingerprint: str
    prediction_type: str
    noise_schedule: str
    latent_scale: float
    seed: int
    global_batch_size: int


class SnapshotDocument(BaseModel):
    """`SNAPSHOT.json`: which averages lie beside it, and of which run and step they are.

    `created_at` and `rolled_back` are those of the checkpoint that they were part of.
    """

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    format: Literal["t2i.dev/ema-snapshot"] = "t2i.dev/ema-snapshot"
    version: Literal[1] = 1
    step: Count
    created_at: AwareDatetime
    architecture_fingerprint: Sha256
    prediction_type: str
    noise_schedule: str
    latent_scale: float
    seed: int
    global_batch_size: Count
    rolled_back: Annotated[tuple[StepSpan, ...], Field(max_length=1000)] | None = None
    files: tuple[ManifestFile, ...] = Field(max_length=_MOST_FILES)

    @property
    def lineage(self) -> Lineage:
        """What it must have in common with others."""
        return Lineage(*(getattr(self, field) for field in Lineage._fields))

    def to_json(self) -> bytes:
        """Serialise: stable, readable, camelCase."""
        return (json.dumps(self.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True) + "\n").encode()


def document_of(manifest: Manifest) -> SnapshotDocument:
    """Return what the snapshot of a checkpoint would say; `files` is empty where it has no averages."""
    files = [file for file in manifest.files if width_of_file(file.path) is not None]
    return SnapshotDocument(
        step=manifest.step,
        created_at=manifest.created_at.astimezone(UTC),
        rolled_back=manifest.rolled_back,
        files=tuple(files[:_MOST_FILES]),
        **{field: getattr(manifest, field) for field in Lineage._fields},
    )


def is_on_the_way(earlier: SnapshotDocument, later: SnapshotDocument) -> bool:
    """Whether the steps of the earlier one are steps of the later one's run that it did not go back from.

    What was stored at the very step of a going back, after it, has that in its own record. What has no record, of an
    older version, is believed to be: it was, but for the few runs that ever went back.
    """
    known = tuple(span for span in later.rolled_back or () if span.first <= earlier.step)
    went = known if earlier.rolled_back is None else earlier.rolled_back
    return earlier.lineage == later.lineage and earlier.step <= later.step and went == known


def way_to_the_newest(documents: Sequence[SnapshotDocument]) -> tuple[int, ...]:
    """Return the places of those that led to the one that was taken last, by rising step.

    Where a step was taken after a later one, an attempt began again before it: the later one then is of a past that was
    left. Of two that were taken at once, the second counts.
    """
    if not documents:
        return ()
    newest = max(documents, key=lambda each: each.created_at)
    way: list[int] = []
    for place in sorted(range(len(documents)), key=lambda each: documents[each].created_at):
        if not is_on_the_way(documents[place], newest):
            continue
        while way and documents[way[-1]].step >= documents[place].step:
            way.pop()
        way.append(place)
    return tuple(way)


def may_be_near(step: int, wanted: int) -> bool:
    """Whether a snapshot of `step` can make one of `wanted` steps superfluous."""
    return step < wanted < SPACING * step


def is_due(taken: SnapshotDocument, known: Iterable[SnapshotDocument]) -> bool:
    """Whether averages are to be kept beside those that are: none of hardly fewer steps of the same past is there."""
    return taken.step > 0 and not any(
        may_be_near(each.step, taken.step) and is_on_the_way(each, taken) for each in known
    )

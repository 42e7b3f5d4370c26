"""What a report page tells, gathered and frozen: everything between the bucket and the HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from t2i_checkpoint.archive_list import ArchiveSummary
    from t2i_checkpoint.inspect import Judgement
    from t2i_checkpoint.manifest import InitialWeightsFacts
    from t2i_trainer.report.history import History


@dataclass(frozen=True)
class SampleGrid:
    """The pictures of one moment; `href` is relative to the page, `preview` a small WebP, `prompts` as in the grid."""

    step: int
    href: str
    preview: bytes | None = None
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportFacts:
    """A run as its bucket shows it; `problems` name what could not be read."""

    uri: str
    made_at: datetime
    history: History
    grids: tuple[SampleGrid, ...] = ()
    grids_left_out: int = 0
    checkpoints: tuple[Judgement, ...] = ()
    archives: tuple[ArchiveSummary, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How to speak of the run: the last part of where it lies."""
        return self.uri.rstrip("/").rpartition("/")[2] or self.uri

    @property
    def is_empty(self) -> bool:
        """Whether nothing of a run lies there, and nothing is in the way of seeing it."""
        return not (self.history.steps or self.grids or self.checkpoints or self.archives or self.problems)

    @property
    def initial_weights(self) -> InitialWeightsFacts | None:
        """What the run began with at step 0, as its newest checkpoint says; None with random weights."""
        manifests = (each.manifest for each in self.checkpoints if each.manifest is not None)
        return next((manifest.initial_weights for manifest in manifests), None)

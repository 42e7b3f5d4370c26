"""A report page from a bucket into the bucket: the steps that the trainer and `t2i report` share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from t2i_checkpoint import layout
from t2i_trainer.report.collect import Collector
from t2i_trainer.report.page import render

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store
    from t2i_trainer.report.facts import ReportFacts
    from t2i_trainer.report.history import Newer


def gather(store: Store, newer: Newer | None = None) -> ReportFacts:
    """Read what the store holds of a run now."""
    return Collector(store).collect(datetime.now(UTC), newer)


def encode(facts: ReportFacts) -> bytes:
    """Return the page as it is stored; half a surrogate pair, which JSON can spell, becomes a question mark."""
    return render(facts).encode("utf-8", "replace")


def write(store: Store, facts: ReportFacts) -> str:
    """Write the page to `report/index.html`; returns its URI. Raises StoreError."""
    store.put(layout.REPORT, encode(facts))
    return f"{store.uri}/{layout.REPORT}"

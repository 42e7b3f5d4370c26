"""Rank 0's report to the status: what `kubectl get` shows, and when the step counter last moved."""

from datetime import datetime, timedelta

from t2i_api.progress import Progress
from t2i_api.status import ProgressStatus
from t2i_operator.observed import AttemptFacts

_READABLE = 1e6
_UNIT = 1000
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def progress_status(
    report: Progress, old: ProgressStatus | None, now: datetime, *, began_at: int | None = None
) -> ProgressStatus:
    """Return the new progress; a report without a loss keeps the last one that was known.

    A trainer counts from 0 until it has loaded the checkpoint of step `began_at`: that step is what is shown then.
    """
    step = max(report.step, began_at or 0)
    advanced = old is None or old.advanced_at is None or step != old.step
    loss = report.loss if report.loss is not None else (old.loss if old else None)
    smoothed = report.loss_smoothed if report.loss_smoothed is not None else (old.loss_smoothed if old else None)
    return ProgressStatus(
        step=step,
        target_steps=report.target_steps,
        percentage=percentage(step, report.target_steps),
        loss=loss,
        loss_smoothed=smoothed,
        loss_text="" if smoothed is None else f"{smoothed:.4f}" if abs(smoothed) < _READABLE else f"{smoothed:.3g}",
        images_per_second=None if report.images_per_second is None else round(report.images_per_second, 2),
        eta=readable(report.eta_seconds),
        last_checkpoint=report.last_checkpoint or (old.last_checkpoint if old else None),
        last_checkpoint_step=_known(report.last_checkpoint_step, old.last_checkpoint_step if old else None),
        last_checkpoint_at=report.last_checkpoint_at or (old.last_checkpoint_at if old else None),
        last_samples=report.last_samples or (old.last_samples if old else None),
        findings=old.findings if old else [],
        advanced_at=now if advanced or old is None else old.advanced_at,
        updated_at=report.updated_at.replace(microsecond=0),
    )


def percentage(step: int, steps: int) -> str:
    """Return the PROGRESS column."""
    return f"{min(100, step * 100 // steps)}%"


def last_report(facts: AttemptFacts, polled: Progress | None) -> Progress | None:
    """Return the newest report of an attempt: the termination message of rank 0's pod, else what was polled."""
    for pod in facts.pods:
        if pod.index == 0 and pod.termination is not None and pod.termination.progress is not None:
            return pod.termination.progress
    return polled if polled is not None and polled.attempt == facts.number else None


def readable(seconds: float | None) -> str:
    """Return a duration as people say it: 42s, 3m12s, 5h07m, 2d03h; empty when unknown."""
    if seconds is None:
        return ""
    whole = int(timedelta(seconds=max(0.0, min(seconds, 1e9))).total_seconds())
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02d}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02d}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02d}h"


def readable_bytes(count: float) -> str:
    """Return a size as people say it, in powers of 1000: 512 B, 4.7 kB, 13.8 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < _UNIT:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= _UNIT
    return f"{count:.1f} TB"


def _known(new: int | None, old: int | None) -> int | None:
    return new if new is not None else old

"""A report of rank 0 into the status: its numbers, and what the run noticed about itself."""

from t2i_api.progress import Progress
from t2i_api.status import AttemptStatus
from t2i_operator.decide.draft import Draft
from t2i_operator.decide.expectations import show_findings
from t2i_operator.decide.progress import progress_status


def show_report(draft: Draft, attempt: AttemptStatus, report: Progress) -> None:
    """Take it into the status; a trainer counts from 0 until it has loaded what it resumes."""
    old, began_at = draft.status.progress, attempt.resumed_from_step
    draft.update(progress=progress_status(report, old, draft.now, began_at=began_at))
    show_findings(draft, report, old.findings if old is not None else [], began_at=began_at)

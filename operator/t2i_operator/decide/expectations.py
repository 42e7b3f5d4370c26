"""What a run notices about itself, shown: condition `AsExpected`, the findings in the status, an event for each change.

It only ever informs: whoever asked for loss bands is told that a run left them, and nothing is stopped for it.
"""

from t2i_api.conditions import ConditionType, ExpectationReason
from t2i_api.findings import Finding, FindingName, Severity, remember
from t2i_api.progress import Progress
from t2i_api.status import Condition, ConditionStatus
from t2i_operator.decide.draft import Draft
from t2i_operator.decide.reasons import EventReason

_NOT_DUE = "no band of spec.expectations is due at this step"


def show_findings(draft: Draft, report: Progress, known: list[Finding], *, began_at: int | None) -> None:
    """Show what a report says beyond its numbers; `known` is what earlier reports and attempts said."""
    findings = known
    for finding in report.findings:
        if all(each.name != finding.name for each in known):
            draft.event(EventReason.FINDING, f"{finding.name} at step {finding.step}: {finding.sentence}", warning=True)
        findings = remember(findings, finding)
    if draft.status.progress is not None:
        draft.update(progress=draft.status.progress.model_copy(update={"findings": findings}))
    judged = _judge(draft, report, began_at)
    if judged is not None:
        _say(draft, *judged)


def _judge(draft: Draft, report: Progress, began_at: int | None) -> tuple[ConditionStatus, str, str] | None:
    """Return status, reason and message; None: nothing is known beyond what was said before."""
    error = next(
        (
            finding
            for finding in report.findings
            if finding.severity is Severity.ERROR and finding.name != FindingName.OUTSIDE_EXPECTATIONS
        ),
        None,
    )
    if report.as_expected is False:
        return "False", ExpectationReason.OUTSIDE_EXPECTATIONS, report.expectation or "the loss left its band"
    if error is not None:
        return "False", error.name, f"step {error.step}: {error.sentence}"
    if report.as_expected:
        return "True", ExpectationReason.WITHIN_EXPECTATIONS, report.expectation or "the loss lies within its band"
    asked = draft.observed.job.spec.expectations
    loads = report.step <= (began_at or 0)
    if (asked.preset is None and not asked.bands) or (loads and _told(draft) is not None):
        return None
    return "Unknown", ExpectationReason.NO_BAND_DUE, _NOT_DUE


def _say(draft: Draft, status: ConditionStatus, reason: str, message: str) -> None:
    old = _told(draft)
    if status == "False" and (old is None or old.status != "False" or old.reason != reason):
        draft.event(EventReason.NOT_AS_EXPECTED, message, warning=True)
    elif status == "True" and old is not None and old.status == "False":
        draft.event(EventReason.AS_EXPECTED_AGAIN, message)
    draft.condition(ConditionType.AS_EXPECTED, status, reason, message)


def _told(draft: Draft) -> Condition | None:
    return draft.status.condition(ConditionType.AS_EXPECTED)

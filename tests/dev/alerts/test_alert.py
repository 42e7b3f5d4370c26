"""An alert's threshold stands where the chart can find it."""

import pytest

from t2i_api.conditions import State
from t2i_dev.alerts.alert import Alert, Severity, Threshold, in_state

TWO = Threshold(value=2, meaning="things")


def alert(expression: str, threshold: Threshold | None) -> Alert:
    return Alert(
        name="T2IExample",
        expression=expression,
        threshold=threshold,
        lasting="5m",
        severity=Severity.WARNING,
        summary="example",
        description="An example.",
        about_job=False,
    )


def test_a_threshold_ends_its_line() -> None:
    assert alert("up\n  > $threshold\nand on () vector(1)", TWO).threshold == TWO


@pytest.mark.parametrize(
    ("expression", "threshold"),
    [("up > $threshold and up", TWO), ("up", TWO), ("up\n  > $threshold", None)],
    ids=["in the middle of a line", "not used", "not given"],
)
def test_any_other_place_is_refused(expression: str, threshold: Threshold | None) -> None:
    with pytest.raises(ValueError, match="T2IExample"):
        alert(expression, threshold)


def test_the_state_of_a_job_is_the_reason_of_its_summary_condition() -> None:
    assert (
        in_state(State.QUEUED, State.STARTING)
        == 'max by (job_namespace, job_name) (t2i_job_condition{condition="Succeeded", reason=~"Queued|Starting"})'
    )
    assert 'reason="Queued"' in in_state(State.QUEUED)

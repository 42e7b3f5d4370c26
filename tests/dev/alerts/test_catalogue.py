"""All alerts together: the sixteen that were asked for, named alike, each said in words that reach people whole."""

import re

from t2i_dev.alerts.alert import JOB
from t2i_dev.alerts.catalogue import ALL_ALERTS

ASKED_FOR = {
    "T2ITrainingStalled",
    "T2ILossNotFinite",
    "T2ILossDiverging",
    "T2IExpectationMissed",
    "T2ICheckpointTooOld",
    "T2ISaveFailing",
    "T2IArchiveFailing",
    "T2IIncompatibleCheckpoint",
    "T2IRestartLoop",
    "T2IPendingTooLong",
    "T2IDataStarved",
    "T2IGPUIdle",
    "T2IOperatorDown",
    "T2IReconcileErrors",
    "T2IOperatorStuck",
    "T2ITargetDown",
}
LONGEST_SUMMARY = 120  # what fits into the subject of a mail, the job's name not counted


def test_they_are_those_that_were_asked_for() -> None:
    assert {alert.name for alert in ALL_ALERTS} == ASKED_FOR
    assert len(ALL_ALERTS) == len(ASKED_FOR)


def test_an_alert_about_a_job_says_which() -> None:
    for alert in ALL_ALERTS:
        assert alert.summary.startswith(JOB) is alert.about_job, alert.name
        assert "{{" not in alert.description, alert.name
        assert len(re.sub(r"{{.*?}}", "", alert.summary)) <= LONGEST_SUMMARY, alert.name


def test_every_duration_is_a_whole_number_of_minutes() -> None:
    # Rules are evaluated each half or whole minute: less would depend on chance.
    assert [alert.name for alert in ALL_ALERTS if not re.fullmatch(r"\d+m", alert.lasting)] == []

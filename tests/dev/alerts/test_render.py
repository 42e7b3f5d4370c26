"""The rule files in the chart: current, and as Prometheus wants them."""

from t2i_dev.alerts.alert import OPERATOR_SCOPE, THRESHOLD_MARK
from t2i_dev.alerts.catalogue import ALL_ALERTS
from t2i_dev.alerts.render import RULES, expression_of, rule, rule_files
from t2i_dev.promtool import check_rules


def test_the_files_in_the_chart_are_current() -> None:
    assert {path: path.read_text() for path in RULES.glob("*.yaml")} == rule_files(), "make alerts"


def test_prometheus_finds_nothing_to_complain_about() -> None:
    assert check_rules(sorted(RULES.glob("*.yaml"))) == ""


def test_a_threshold_is_marked_for_the_chart() -> None:
    for alert in ALL_ALERTS:
        marked = [line for line in expression_of(alert).splitlines() if line.endswith(THRESHOLD_MARK)]
        assert bool(marked) is (alert.threshold is not None), alert.name
        for line in marked:
            assert alert.threshold is not None
            assert line.split()[-3] == f"{alert.threshold.value:g}", alert.name


def test_alerts_about_the_operator_can_be_scoped_and_those_about_jobs_are_routed_by_namespace() -> None:
    for alert in ALL_ALERTS:
        assert (OPERATOR_SCOPE in alert.expression) is not alert.about_job, alert.name
        assert ("namespace" in rule(alert)["labels"]) is alert.about_job, alert.name

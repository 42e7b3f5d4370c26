"""The PrometheusRule that Helm makes of the rule files: switches, thresholds, labels, and what it leaves as it is."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from t2i_dev.alerts.alert import OPERATOR_SCOPE
from t2i_dev.alerts.catalogue import ALL_ALERTS
from t2i_dev.alerts.render import rule
from t2i_dev.promtool import check_rules

NAMESPACE = "t2i-system"
Rendered = list[dict[str, Any]]
Render = Callable[..., Rendered]
Rules = dict[str, dict[str, Any]]


def rule_object(documents: Rendered) -> dict[str, Any]:
    (found,) = (document for document in documents if document["kind"] == "PrometheusRule")
    return found


def rules_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in document["spec"]["groups"]:
        yield from group["rules"]


@pytest.fixture(scope="module")
def rendered(render: Render) -> Callable[..., Rules]:
    """Rules by name, with settings as `--set` takes them."""

    def with_settings(*settings: str) -> Rules:
        return {each["alert"]: each for each in rules_of(rule_object(render("alerts.render=Always", *settings)))}

    return with_settings


def test_by_default_they_are_the_plain_files_rules_for_this_release(rendered: Callable[..., Rules]) -> None:
    rules = rendered()

    assert set(rules) == {alert.name for alert in ALL_ALERTS}
    for alert in ALL_ALERTS:
        plain = rule(alert)
        plain["expr"] = plain["expr"].replace(OPERATOR_SCOPE, f'namespace="{NAMESPACE}"')
        plain["labels"] = {"namespace": NAMESPACE, **plain["labels"]}
        assert rules[alert.name] == plain, alert.name


def test_the_values_say_what_the_alerts_say(chart: Path) -> None:
    values = yaml.safe_load((chart / "values.yaml").read_text())["alerts"]

    for alert in ALL_ALERTS:
        expected = {"enabled": True, "severity": str(alert.severity), "for": alert.lasting}
        if alert.threshold is not None:
            expected |= {"threshold": alert.threshold.value}
        assert values[alert.name] == expected, alert.name


def test_prometheus_takes_what_is_rendered(render: Render, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(json.dumps(rule_object(render("alerts.render=Always"))["spec"]))

    assert check_rules([path]) == ""


def test_each_alert_can_be_switched_off(rendered: Callable[..., Rules], render: Render) -> None:
    off = {alert.name: f"alerts.{alert.name}.enabled=false" for alert in ALL_ALERTS}
    halves = set(list(off)[::2]), set(list(off)[1::2])

    for silenced, others in (halves, halves[::-1]):
        assert set(rendered(*(off[name] for name in silenced))) == others
    assert rule_object(render("alerts.render=Always", *off.values()))["spec"]["groups"] == []


def test_every_threshold_reaches_its_expression_and_nothing_else_changes(rendered: Callable[..., Rules]) -> None:
    before = rendered()
    after = rendered(*(f"alerts.{alert.name}.threshold=123.5" for alert in ALL_ALERTS if alert.threshold is not None))

    for alert in ALL_ALERTS:
        expression = before[alert.name]["expr"]
        if alert.threshold is not None:
            expression = expression.replace(f" {alert.threshold.value:g} # threshold", " 123.5 # threshold")
            assert expression != before[alert.name]["expr"]
        assert after[alert.name]["expr"] == expression


def test_duration_severity_labels_and_runbooks_are_the_users(rendered: Callable[..., Rules], render: Render) -> None:
    chosen = ("alerts.T2ITargetDown.for=1h", "alerts.T2ITargetDown.severity=info", "alerts.alertLabels.team=research")
    found = rendered(*chosen, "alerts.runbooks=https://wiki.example.com/t2i/")["T2ITargetDown"]

    assert (found["for"], found["labels"]["severity"], found["labels"]["team"]) == ("1h", "info", "research")
    assert found["annotations"]["runbook_url"] == "https://wiki.example.com/t2i/T2ITargetDown.md"
    labelled = rule_object(render("alerts.render=Always", "alerts.ruleLabels.release=stack"))
    assert labelled["metadata"]["labels"]["release"] == "stack"


def test_it_is_rendered_where_the_cluster_knows_the_kind(render: Render) -> None:
    known = ("--api-versions=monitoring.coreos.com/v1/PrometheusRule",)
    cases = [((), (), False), ((), known, True), (("alerts.render=Never",), known, False)]

    for settings, flags, expected in cases:
        kinds = {document["kind"] for document in render(*settings, flags=flags)}
        assert ("PrometheusRule" in kinds) is expected


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"T2ITrainingStaled": {"enabled": False}}, "T2ITrainingStaled"),
        ({"T2ITargetDown": {"threshold": 1}}, "threshold"),
        ({"T2IDataStarved": {"threshold": "a third"}}, "threshold"),
        ({"T2IDataStarved": {"for": "15"}}, "for"),
        ({"T2IDataStarved": {"enable": False}}, "enable"),
        ({"render": "yes"}, "render"),
        ({"runbooks": "docs/runbooks"}, "runbooks"),
    ],
    ids=json.dumps,
)
def test_a_wrong_value_is_refused_by_name(helm: Any, chart: Path, values: dict[str, Any], named: str) -> None:
    result = helm("template", "t2i-operator", str(chart), "--values=-", stdin=json.dumps({"alerts": values}))

    assert result.returncode != 0
    assert named in result.stderr

"""Alerts as Prometheus rule files in the chart: for `rule_files:` as they are, for PrometheusRule through a template.

Format: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from t2i_dev.alerts.alert import RUNBOOKS, THRESHOLD, THRESHOLD_MARK, Alert
from t2i_dev.alerts.catalogue import GROUPS
from t2i_dev.paths import repository_root

RULES: Final = repository_root() / "charts" / "t2i-operator" / "rules"
_HEAD: Final = "# Written by `make alerts` from dev/t2i_dev/alerts; change it there.\n"


class _Text(yaml.SafeDumper):
    """Writes a PromQL expression of several lines as such."""


def _represent(dumper: _Text, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Text.add_representer(str, _represent)


def expression_of(alert: Alert) -> str:
    """Return the PromQL with the default threshold in its place, marked for the chart."""
    if alert.threshold is None:
        return alert.expression
    return alert.expression.replace(THRESHOLD, f"{alert.threshold.value:g} {THRESHOLD_MARK}")


def rule(alert: Alert) -> dict[str, Any]:
    """Return one alert as Prometheus writes it."""
    labels = {"severity": str(alert.severity)}
    if alert.about_job:
        # Alertmanagers often route by it.
        labels["namespace"] = "{{ $labels.job_namespace }}"
    return {
        "alert": alert.name,
        "expr": expression_of(alert),
        "for": alert.lasting,
        "labels": labels,
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{RUNBOOKS}/{alert.name}.md",
        },
    }


def rule_file(group: str, alerts: Sequence[Alert]) -> str:
    """Return the text of a rule file with one group."""
    document = {"groups": [{"name": group, "rules": [rule(alert) for alert in alerts]}]}
    return _HEAD + yaml.dump(document, Dumper=_Text, sort_keys=False, width=1000, allow_unicode=True)


def rule_files() -> dict[Path, str]:
    """Return every rule file: path and text."""
    return {RULES / f"{group}.yaml": rule_file(group, alerts) for group, alerts in GROUPS.items()}


def main() -> None:
    """Write them (make alerts)."""
    RULES.mkdir(exist_ok=True)
    for path, text in rule_files().items():
        path.write_text(text)
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()

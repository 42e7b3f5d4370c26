"""What alerts do with made-up series, tried by Prometheus' own `promtool test rules`.

Format: https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A few for minutes of samples; more on a machine with other things to do.
SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Firing:
    """One alert as it reaches Alertmanager."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Series by selector, in promtool's notation of one sample a minute (`0+1x30`); looked at after `at`."""

    name: str
    series: Mapping[str, str]
    at: str
    firing: Sequence[Firing] = field(default=())


def try_rules(rule_files: Sequence[Path], alert: str, cases: Sequence[Case], directory: Path) -> str:
    """Return in which cases this alert does something else than they say; empty if it does just that.

    Other alerts of the files are not looked at. `directory` takes the test file.
    """
    tests = [
        {
            "name": case.name,
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
            "alert_rule_test": [{"eval_time": case.at, "alertname": alert, "exp_alerts": _expected(case)}],
        }
        for case in cases
    ]
    document = {"rule_files": [str(path) for path in rule_files], "evaluation_interval": "1m", "tests": tests}
    path = directory / "test.yaml"
    path.write_text(json.dumps(document))  # JSON is YAML
    result = subprocess.run(
        ["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False, timeout=SECONDS
    )
    return "" if result.returncode == 0 else result.stdout + result.stderr


def _expected(case: Case) -> list[dict[str, Any]]:
    return [{"exp_labels": dict(each.labels), "exp_annotations": dict(each.annotations)} for each in case.firing]


def check_rules(rule_files: Sequence[Path]) -> str:
    """Return what Prometheus objects to in these files; empty if nothing."""
    command = ["promtool", "check", "rules", "--lint=all", "--lint-fatal", *map(str, rule_files)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    return "" if result.returncode == 0 else result.stdout + result.stderr

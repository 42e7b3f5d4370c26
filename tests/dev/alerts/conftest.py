"""An alert against stories of made-up series: as `make alerts` wrote it, by the real promtool."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from t2i_dev.alerts.alert import RUNBOOKS, Alert
from t2i_dev.alerts.render import rule_files
from t2i_dev.promtool import Case, Firing, try_rules

Series = Mapping[str, str]
# By what happens in it: the series, when to look, and the summary that reaches people.
Fires = Mapping[str, tuple[Series, str, str]]
Quiet = Mapping[str, tuple[Series, str]]
Behaves = Callable[[Alert, Fires, Quiet], None]


def sent(alert: Alert, summary: str) -> Firing:
    """The alert about the job team/emoji, or about the operator."""
    labels = {"severity": str(alert.severity)}
    if alert.about_job:
        labels |= {"job_namespace": "team", "job_name": "emoji", "namespace": "team"}
    words = {"summary": summary, "description": alert.description, "runbook_url": f"{RUNBOOKS}/{alert.name}.md"}
    return Firing(labels=labels, annotations=words)


def _metric(series: str) -> str:
    return series.partition("{")[0]


@pytest.fixture
def behaves(tmp_path: Path) -> Behaves:
    """Require an alert, with its summary, in every story of `fires`, and none in those of `quiet`."""

    def check(alert: Alert, fires: Fires, quiet: Quiet) -> None:
        assert fires
        # A story without the series that the alert looks at is quiet for nothing: one at least must have all of them.
        told = [set(map(_metric, series)) for series, *_ in fires.values()]
        assert any(names and names <= set(map(_metric, series)) for names in told for series, _ in quiet.values())
        cases = [
            Case(name=name, series=series, at=at, firing=[sent(alert, summary)])
            for name, (series, at, summary) in fires.items()
        ]
        cases += [Case(name=name, series=series, at=at) for name, (series, at) in quiet.items()]
        group = [path for path, text in rule_files().items() if f"alert: {alert.name}\n" in text]
        assert try_rules(group, alert.name, cases, tmp_path) == ""

    return check

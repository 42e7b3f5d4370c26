"""promtool is asked in its own words, and what it objects to comes back."""

from pathlib import Path

import pytest

from t2i_dev.promtool import Case, Firing, check_rules, try_rules

RULES = """
groups:
  - name: example
    rules:
      - {alert: Down, expr: "up == 0", for: 5m, labels: {severity: warning}, annotations: {summary: "it is down"}}
"""
DOWN = {'up{pod="a"}': "1x3 0x20"}
FIRING = Firing(labels={"severity": "warning", "pod": "a"}, annotations={"summary": "it is down"})


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


def test_what_a_case_says_is_held_against_the_rules(rules: Path, tmp_path: Path) -> None:
    before = Case(name="not yet", series=DOWN, at="8m")
    after = Case(name="down for five minutes", series=DOWN, at="10m", firing=[FIRING])

    assert try_rules([rules], "Down", [before, after], tmp_path) == ""


@pytest.mark.parametrize(
    "wrong",
    [
        Case(name="too soon", series=DOWN, at="8m", firing=[FIRING]),
        Case(name="not silent", series=DOWN, at="10m"),
        Case(name="other words", series=DOWN, at="10m", firing=[Firing(labels=FIRING.labels, annotations={})]),
    ],
    ids=lambda case: case.name,
)
def test_a_case_that_does_not_hold_is_told_by_its_name(rules: Path, tmp_path: Path, wrong: Case) -> None:
    assert wrong.name in try_rules([rules], "Down", [wrong], tmp_path)


def test_rules_that_are_none_are_refused(rules: Path) -> None:
    rules.write_text(RULES.replace("up == 0", "up =="))

    assert "parse error" in check_rules([rules])

"""The runbook pages: one an alert, four headings each, and nothing in them that does not exist.

Their commands run in tests/end_to_end/story/test_monitoring_pages.py.
"""

import re
from pathlib import Path

import pytest

from t2i_dev.alerts.alert import Alert
from t2i_dev.alerts.catalogue import ALL_ALERTS
from t2i_dev.alerts.runbook import HEADINGS, head_of, row_of
from t2i_dev.paths import repository_root

PAGES = repository_root() / "docs" / "runbooks"


def page_of(alert: Alert) -> str:
    return (PAGES / f"{alert.name}.md").read_text()


def test_there_is_a_page_for_every_alert_and_none_besides() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {alert.name for alert in ALL_ALERTS} | {"README"}


@pytest.mark.parametrize("alert", ALL_ALERTS, ids=lambda alert: alert.name)
def test_a_page_tells_what_the_alert_is_and_has_the_four_headings(alert: Alert) -> None:
    title, _, head, *rest = page_of(alert).splitlines()
    assert (title, head) == (f"# {alert.name}", head_of(alert))
    assert tuple(line.removeprefix("## ") for line in rest if line.startswith("#")) == HEADINGS
    for section in re.split(r"^## \w+\n", page_of(alert), flags=re.MULTILINE)[1:]:
        assert section.strip()


@pytest.mark.parametrize("alert", ALL_ALERTS, ids=lambda alert: alert.name)
def test_only_mitigation_changes_anything(alert: Alert) -> None:
    looking = page_of(alert).partition("## Mitigation")[0]
    assert "```console" in looking
    assert not re.search(r"kubectl\b.* (patch|apply|delete|rollout|scale|edit|annotate|cordon|drain) ", looking)


def test_the_list_is_current() -> None:
    rows = [line for line in (PAGES / "README.md").read_text().splitlines() if line.startswith("| [")]
    assert rows == [row_of(alert) for alert in ALL_ALERTS]


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.md")), ids=lambda path: path.stem)
def test_its_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        assert (PAGES / target).exists(), target

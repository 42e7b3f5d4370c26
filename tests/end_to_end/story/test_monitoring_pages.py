"""The commands of docs/monitoring.md and of the runbooks that need pods; the others run in tests/dev/alerts.

Those that ask a trainer's pod were run while the story's second job trained; those about the operator run now.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from t2i_dev.alerts.catalogue import ALL_ALERTS
from t2i_dev.pages import Reader, about_job, blocks_of
from t2i_dev.paths import repository_root
from t2i_dev.processes import wait_until

pytestmark = pytest.mark.end_to_end

DOCS = repository_root() / "docs"
PAGES = [DOCS / "monitoring.md", *(DOCS / "runbooks" / f"{alert.name}.md" for alert in ALL_ALERTS)]
OPERATORS = re.compile(r"deployment/t2i-operator|helm upgrade|serviceaccount:t2i-system")


def test_a_training_pod_told_its_step_through_the_api_server(story: Any) -> None:
    assert {result.returncode for result in story.asked_while_training} == {0}, story.asked_while_training
    for result in story.asked_while_training:
        assert re.search(r"^t2i_trainer_step \d", result.stdout, re.MULTILINE)


def test_what_the_pages_do_with_the_operator_works(story: Any, tmp_path: Path) -> None:
    environment = story.environment
    (tmp_path / "charts").symlink_to(repository_root() / "charts")
    job = story.undisturbed
    reader = Reader(environment.cluster, tmp_path, about_job(job.namespace, job.name, environment.prometheus.url))
    chosen = {block.commands: block for page in PAGES for block in blocks_of(page) if OPERATORS.search(block.commands)}

    said = reader.follow(list(chosen.values()))

    # The story's other tests ask the same Prometheus: the new operator's series must be there, the old one's gone.
    known = f't2i_job_last_loss{{job_name="{job.name}"}} and on () (t2i_operator_leader == 1)'
    wait_until(lambda: len(environment.prometheus.query(known)) == 1, "the new operator's series", timeout_seconds=60)
    # Two pages restart the operator by the same commands, which are run once.
    assert "successfully rolled out" in said["T2IOperatorDown"] + said["T2IOperatorStuck"]
    assert "has been upgraded" in said["monitoring"]


def test_the_alerts_rules_are_well_on_what_was_scraped(story: Any) -> None:
    rules = story.environment.prometheus.rules()

    assert [f"{rule.name}: {rule.last_error}" for rule in rules if rule.last_error] == []
    assert {rule.name for rule in rules} == {alert.name for alert in ALL_ALERTS}
    fired = story.environment.prometheus.query('max_over_time(ALERTS{alertstate="firing"}[1h])')
    assert "T2IIncompatibleCheckpoint" in {series.labels["alertname"] for series in fired}

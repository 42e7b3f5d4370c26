"""Every rule runs on data of a real run, and those fire whose trouble that run had (t2i_dev.dashboards.recording)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from t2i_dev.dashboards.recording import tape
from t2i_dev.paths import repository_root
from t2i_dev.prometheus import Series

RULES = repository_root() / "charts" / "t2i-operator" / "rules"


def expressions() -> dict[str, str]:
    """Alert -> its query."""
    documents = [yaml.safe_load(path.read_text()) for path in sorted(RULES.glob("*.yaml"))]
    return {rule["alert"]: rule["expr"] for each in documents for group in each["groups"] for rule in group["rules"]}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Series]]]:
    """What each rule's query returns over the time of the recording."""
    facts = tape.read_facts()
    folder: Path = tmp_path_factory.mktemp("replay")
    with tape.replayed(folder) as server:
        yield {
            alert: server.query_range(expr, start=facts.begin, end=facts.end, step_seconds=5)
            for alert, expr in expressions().items()
        }


def jobs(series: list[Series]) -> set[str]:
    return {each.labels["job_name"] for each in series}


def test_every_rule_can_be_asked(found: dict[str, list[Series]]) -> None:
    assert set(found) == set(expressions())
    assert len(found) >= 16


def test_the_loss_that_was_not_finite_is_told_of_that_job_alone(found: dict[str, list[Series]]) -> None:
    assert jobs(found["T2ILossNotFinite"]) == {tape.read_facts().hot}


def test_the_checkpoint_that_did_not_fit_is_told(found: dict[str, list[Series]]) -> None:
    assert jobs(found["T2IIncompatibleCheckpoint"]) == {tape.read_facts().story}


@pytest.mark.parametrize("alert", ["T2ISaveFailing", "T2IArchiveFailing", "T2IGPUIdle", "T2IOperatorStuck"])
def test_trouble_that_the_run_had_not_is_not_told(found: dict[str, list[Series]], alert: str) -> None:
    assert found[alert] == []

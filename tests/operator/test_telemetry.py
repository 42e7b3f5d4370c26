"""What the operator says of its own work: every metric of the list and no other, counted where it happens."""

import time

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from t2i_api.metrics import OPERATOR_METRICS, operator
from t2i_api.metrics.labels import Outcome, Verb
from t2i_checkpoint.store import StoreRequest
from t2i_operator.cache import JobCache, JobKey
from t2i_operator.cluster import ApiRequest
from t2i_operator.telemetry import Telemetry
from t2i_operator.workqueue import WorkQueue

KEY = JobKey("team", "emoji")


@pytest.fixture
def queue() -> WorkQueue[JobKey]:
    return WorkQueue()


@pytest.fixture
def telemetry(queue: WorkQueue[JobKey]) -> Telemetry:
    telemetry = Telemetry()
    telemetry.show(JobCache(lambda _key: None), queue, leading=lambda: True)
    return telemetry


def scrape(telemetry: Telemetry) -> str:
    return generate_latest(telemetry.registry).decode()


def value(telemetry: Telemetry, name: str) -> float:
    (line,) = (line for line in scrape(telemetry).splitlines() if line.startswith(f"{name} "))
    return float(line.rpartition(" ")[2])


def test_every_metric_of_the_list_is_exported_and_no_other(telemetry: Telemetry) -> None:
    exported = {family.name: family for family in text_string_to_metric_families(scrape(telemetry))}
    # The process leaves out the times of creation; there is no taking them out here.
    names = {name for name in exported if not name.endswith("_created")}
    assert names == {metric.family for metric in OPERATOR_METRICS}
    for metric in OPERATOR_METRICS:
        assert (exported[metric.family].type, exported[metric.family].documentation) == (
            metric.type.value,
            metric.help,
        )


def test_work_is_counted_by_what_came_of_it(telemetry: Telemetry) -> None:
    telemetry.reconciled(Outcome.CONFLICT, 0.02)
    telemetry.status_refused()
    telemetry.waited(0.2)
    telemetry.polled(True)
    telemetry.polled(False)
    telemetry.looked(2.0, succeeded=True)
    telemetry.archived(4096, 3, succeeded=True)
    telemetry.archived(9999, 9, succeeded=False)
    text = scrape(telemetry)
    for line in (
        't2i_operator_reconciles_total{outcome="conflict"} 1.0',
        't2i_operator_reconcile_seconds_bucket{le="0.025"} 1.0',
        "t2i_operator_status_refusals_total 1.0",
        't2i_operator_queue_wait_seconds_bucket{le="0.5"} 1.0',
        't2i_operator_progress_polls_total{result="success"} 1.0',
        't2i_operator_progress_polls_total{result="failure"} 1.0',
        't2i_operator_preflights_total{result="success"} 1.0',
        "t2i_operator_preflight_seconds_sum 2.0",
        't2i_operator_archives_total{result="failure"} 1.0',
        "t2i_operator_archived_bytes_total 4096.0",
        "t2i_operator_archived_objects_total 3.0",
    ):
        assert line in text


def test_requests_are_counted_by_what_was_asked_and_answered(telemetry: Telemetry) -> None:
    telemetry.asked_api(ApiRequest(verb=Verb.UPDATE, resource="jobs", code="409", seconds=0.2))
    telemetry.asked_store(StoreRequest(operation="GetObject", code="none", seconds=3.0))
    text = scrape(telemetry)
    assert 't2i_operator_api_requests_total{code="409",resource="jobs",verb="update"} 1.0' in text
    assert 't2i_operator_api_request_seconds_bucket{le="0.25",verb="update"} 1.0' in text
    assert 't2i_operator_store_requests_total{code="none",operation="GetObject"} 1.0' in text
    assert 't2i_operator_store_request_seconds_bucket{le="5.0",operation="GetObject"} 1.0' in text


@pytest.mark.parametrize(
    "series",
    [
        *(f't2i_operator_reconciles_total{{outcome="{outcome}"}}' for outcome in Outcome),
        't2i_operator_archives_total{result="failure"}',
        't2i_operator_preflights_total{result="failure"}',
        't2i_operator_progress_polls_total{result="failure"}',
    ],
)
def test_what_rules_count_is_there_before_the_first_event(telemetry: Telemetry, series: str) -> None:
    """A counter that appears with its first event shows no increase."""
    assert f"\n{series} 0.0\n" in scrape(telemetry)


async def test_the_queue_is_told_by_depth_and_by_since_when(telemetry: Telemetry, queue: WorkQueue[JobKey]) -> None:
    assert f"\n{operator.QUEUE_OLDEST.name} " not in scrape(telemetry)
    before = time.time()
    queue.add(KEY)
    assert value(telemetry, operator.QUEUE_DEPTH.name) == 1
    assert before - 1 <= value(telemetry, operator.QUEUE_OLDEST.name) <= time.time() + 1
    assert value(telemetry, operator.LEADER.name) == 1
    assert value(telemetry, operator.FAILING.name) == 0
    assert f"\n{operator.WORKING_OLDEST.name} " not in scrape(telemetry)

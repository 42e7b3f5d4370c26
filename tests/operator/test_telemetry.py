"""Metrics over live state: every series of a job comes from its object, survives the operator, and vanishes with it."""

from typing import Any

from prometheus_client.exposition import generate_latest

from t2i_api import metrics
from t2i_operator.cache import JobCache
from t2i_operator.cluster import ConflictError
from t2i_operator.telemetry import Telemetry, outcome_of

JOB: dict[str, Any] = {
    "metadata": {"namespace": "team", "name": "emoji", "uid": "u1", "resourceVersion": "1"},
    "status": {
        "conditions": [
            {
                "type": "Succeeded",
                "status": "True",
                "reason": "Completed",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
        "attempt": {"number": 3},
        "checkpoint": {"verdict": "foreign"},
        "archive": {"location": "archive/x", "bytesDone": 4096},
        "restarts": {
            "total": 4,
            "recent": [
                {"attempt": 1, "cause": "PodKilled", "at": "2026-01-01T00:00:00Z"},
                {"attempt": 2, "cause": "PodKilled", "at": "2026-01-01T00:00:00Z"},
                {"attempt": 3, "cause": "Stalled", "at": "2026-01-01T00:00:00Z"},
            ],
        },
        "progress": {
            "step": 50,
            "targetSteps": 200,
            "loss": 0.25,
            "lastCheckpointAt": "1970-01-01T00:01:00Z",
            "findings": [{"name": "LatentScale", "severity": "Error", "step": 1, "sentence": "wrong"}],
        },
    },
}
WHO = 'job_name="emoji",job_namespace="team"'


def scrape(cache: JobCache) -> str:
    telemetry = Telemetry.create(cache, queue_depth=lambda: 5, leading=lambda: True)
    telemetry.reconciles.labels("ok").inc()
    return generate_latest(telemetry.registry).decode()


def test_a_finished_job_still_shows_its_last_loss() -> None:
    cache = JobCache(lambda _key: None)
    cache.put(JOB)
    text = scrape(cache)
    for line in (
        f"t2i_job_last_loss{{{WHO}}} 0.25",
        f"t2i_job_progress_ratio{{{WHO}}} 0.25",
        f"t2i_job_step{{{WHO}}} 50.0",
        f"""t2i_job_finding{{finding="LatentScale",{WHO},severity="Error"}} 1.0""",
        f"t2i_job_attempt{{{WHO}}} 3.0",
        f"t2i_job_archived_bytes{{{WHO}}} 4096.0",
        f"t2i_job_checkpoint_timestamp_seconds{{{WHO}}} 60.0",
        f"""t2i_job_checkpoint_verdict{{{WHO},verdict="foreign"}} 1.0""",
        f"""t2i_job_checkpoint_verdict{{{WHO},verdict="identical"}} 0.0""",
        """t2i_job_restarts{cause="PodKilled",job_name="emoji",job_namespace="team"} 2.0""",
        """t2i_job_restarts{cause="Stalled",job_name="emoji",job_namespace="team"} 1.0""",
        """t2i_job_restarts{cause="Earlier",job_name="emoji",job_namespace="team"} 1.0""",
        "t2i_operator_queue_depth 5.0",
        "t2i_operator_leader 1.0",
        't2i_operator_reconciles_total{outcome="ok"} 1.0',
    ):
        assert line in text
    succeeded = 't2i_job_condition{condition="Succeeded",job_name="emoji",job_namespace="team",'
    assert succeeded + 'reason="Completed",status="True"} 1.0' in text


def test_series_vanish_with_the_object() -> None:
    cache = JobCache(lambda _key: None)
    cache.put(JOB)
    cache.drop(JOB)
    assert "emoji" not in scrape(cache)


def test_every_promised_metric_is_exported_and_no_other() -> None:
    cache = JobCache(lambda _key: None)
    cache.put(JOB)
    exported = {line.split()[2] for line in scrape(cache).splitlines() if line.startswith("# HELP ")}
    exported = {name for name in exported if not name.endswith("_created")}
    assert exported <= {metric.name for metric in metrics.OPERATOR_METRICS}


def test_an_unreadable_status_hides_only_its_own_job() -> None:
    cache = JobCache(lambda _key: None)
    cache.put(JOB)
    cache.put({"metadata": {**JOB["metadata"], "name": "odd"}, "status": {"progress": {"step": "many"}}})
    text = scrape(cache)
    assert f"t2i_job_last_loss{{{WHO}}} 0.25" in text
    assert "odd" not in text


def test_failures_are_counted_by_what_they_mean() -> None:
    assert outcome_of(ConflictError("x")) == "conflict"
    assert outcome_of(ValueError("x")) == "value"

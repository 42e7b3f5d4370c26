"""Every series of a job comes from its object, survives the operator, and vanishes with it."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from t2i_api.conditions import ConditionType
from t2i_api.metrics import JOB_METRICS
from t2i_api.status import JobStatus, RestartStatus
from t2i_operator.cache import JobCache
from t2i_operator.job_series import JobSeries, restarts_by_cause

AT = "2026-01-01T00:00:00Z"
JOB: dict[str, Any] = {
    "metadata": {
        "namespace": "team",
        "name": "emoji",
        "uid": "u1",
        "resourceVersion": "1",
        "creationTimestamp": "1970-01-01T00:00:10Z",
    },
    "spec": {"model": {"unet": {"preset": "tiny"}}, "checkpoint": {"uri": "s3://bucket/emoji"}},
    "status": {
        "gpus": 16,
        "conditions": [{"type": "Succeeded", "status": "True", "reason": "Completed", "lastTransitionTime": AT}],
        "attempt": {"number": 3, "startedAt": "1970-01-01T00:00:20Z", "runningSince": "1970-01-01T00:00:30Z"},
        "checkpoint": {"verdict": "foreign"},
        "archive": {
            "location": "archive/x",
            "bytes": 8192,
            "bytesDone": 4096,
            "objects": 7,
            "completedAt": "1970-01-01T00:00:40Z",
        },
        "restarts": {
            "total": 4,
            "recent": [
                {"attempt": 1, "cause": "PodKilled", "at": AT},
                {"attempt": 2, "cause": "PodKilled", "at": AT},
                {"attempt": 3, "cause": "Stalled", "at": AT},
            ],
        },
        "progress": {
            "step": 50,
            "targetSteps": 200,
            "loss": 0.25,
            "lossSmoothed": 0.5,
            "imagesPerSecond": 12.5,
            "lastCheckpointStep": 40,
            "lastCheckpointAt": "1970-01-01T00:01:00Z",
            "advancedAt": "1970-01-01T00:02:00Z",
            "findings": [{"name": "LatentScale", "severity": "Error", "step": 1, "sentence": "wrong"}],
        },
    },
}
WHO = {"job_namespace": "team", "job_name": "emoji"}


def version(number: int, **changes: Any) -> dict[str, Any]:
    """The job at another version, with parts of its status replaced."""
    raw = copy.deepcopy(JOB)
    raw["metadata"]["resourceVersion"] = str(number)
    raw["status"].update(changes)
    return raw


def scrape(series: JobSeries) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample: its name and its label values after the job's own -> its value."""
    registry = CollectorRegistry()
    registry.register(series)
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            own = tuple(value for name, value in sorted(sample.labels.items()) if name not in WHO)
            assert (sample.name, own) not in found
            found[sample.name, own] = sample.value
    return found


def test_a_finished_job_still_shows_everything_that_was_known_last() -> None:
    cache = JobCache(lambda _key: None)
    cache.put(JOB)
    assert scrape(JobSeries(cache)) == {
        ("t2i_job_info", ("s3://bucket/emoji", "tiny")): 1,
        ("t2i_job_created_timestamp_seconds", ()): 10,
        ("t2i_job_gpus", ()): 16,
        ("t2i_job_condition", ("Succeeded", "Completed", "True")): 1,
        ("t2i_job_attempt", ()): 3,
        ("t2i_job_attempt_started_timestamp_seconds", ()): 20,
        ("t2i_job_running_since_timestamp_seconds", ()): 30,
        ("t2i_job_restarts", ("PodKilled",)): 2,
        ("t2i_job_restarts", ("Stalled",)): 1,
        ("t2i_job_restarts", ("Earlier",)): 1,
        ("t2i_job_checkpoint_verdict", ("foreign",)): 1,
        ("t2i_job_archive_bytes", ()): 8192,
        ("t2i_job_archived_bytes", ()): 4096,
        ("t2i_job_archive_objects", ()): 7,
        ("t2i_job_archive_timestamp_seconds", ()): 40,
        ("t2i_job_step", ()): 50,
        ("t2i_job_target_steps", ()): 200,
        ("t2i_job_progress_ratio", ()): 0.25,
        ("t2i_job_step_timestamp_seconds", ()): 120,
        ("t2i_job_last_loss", ()): 0.25,
        ("t2i_job_last_loss_smoothed", ()): 0.5,
        ("t2i_job_last_images_per_second", ()): 12.5,
        ("t2i_job_checkpoint_step", ()): 40,
        ("t2i_job_checkpoint_timestamp_seconds", ()): 60,
        ("t2i_job_finding", ("LatentScale", "Error")): 1,
    }


def test_the_example_above_shows_every_metric_of_the_list() -> None:
    cache = JobCache(lambda _key: None)
    cache.put(JOB)
    assert {name for name, _ in scrape(JobSeries(cache))} == {metric.name for metric in JOB_METRICS}


def test_a_job_that_nothing_is_known_of_yet_has_few_series() -> None:
    cache = JobCache(lambda _key: None)
    cache.put({"metadata": JOB["metadata"], "spec": {"model": {"unet": {"config": {}}}}})
    assert scrape(JobSeries(cache)) == {
        ("t2i_job_info", ("", "custom")): 1,
        ("t2i_job_created_timestamp_seconds", ()): 10,
        ("t2i_job_gpus", ()): 0,
        ("t2i_job_attempt", ()): 0,
    }


def test_series_follow_the_object_and_vanish_with_it() -> None:
    cache = JobCache(lambda _key: None)
    series = JobSeries(cache)
    cache.put(JOB)
    assert scrape(series)["t2i_job_step", ()] == 50
    cache.put(version(2, progress={"step": 60, "targetSteps": 200}, conditions=[]))
    changed = scrape(series)
    assert changed["t2i_job_step", ()] == 60
    assert not [name for name, _ in changed if name in {"t2i_job_condition", "t2i_job_last_loss"}]
    cache.drop(JOB)
    assert scrape(series) == {}


def test_another_job_of_the_same_name_has_none_of_the_old_ones_values() -> None:
    cache = JobCache(lambda _key: None)
    series = JobSeries(cache)
    cache.put(JOB)
    scrape(series)
    cache.drop(JOB)
    anew = {"metadata": {**JOB["metadata"], "uid": "u2"}}
    cache.put(anew)
    assert ("t2i_job_step", ()) not in scrape(series)


def test_an_unreadable_status_hides_only_itself() -> None:
    cache = JobCache(lambda _key: None)
    cache.put(JOB)
    cache.put({"metadata": {**JOB["metadata"], "name": "odd"}, "status": {"progress": {"step": "many"}}})
    registry = CollectorRegistry()
    registry.register(JobSeries(cache))
    text = generate_latest(registry).decode()
    assert 't2i_job_last_loss{job_name="emoji",job_namespace="team"} 0.25' in text
    assert 't2i_job_info{checkpoint_uri="",job_name="odd",job_namespace="team",unet="custom"} 1.0' in text
    assert 't2i_job_step{job_name="odd"' not in text


def test_odd_objects_do_not_end_a_scrape() -> None:
    cache = JobCache(lambda _key: None)
    cache.put({"metadata": JOB["metadata"], "spec": {"model": None, "checkpoint": "s3://"}, "status": None})
    assert scrape(JobSeries(cache))["t2i_job_info", ("", "custom")] == 1


@given(
    st.lists(st.sampled_from(["PodKilled", "Stalled", "Disrupted"]), max_size=64), st.integers(min_value=0, max_value=9)
)
def test_restarts_by_cause_add_up_to_all_restarts(causes: list[str], forgotten: int) -> None:
    recent = [{"attempt": 1, "cause": cause, "at": AT} for cause in causes]
    restarts = RestartStatus.model_validate({"total": len(causes) + forgotten, "recent": recent})
    assert sum(restarts_by_cause(JobStatus(restarts=restarts)).values()) == len(causes) + forgotten


def test_every_condition_that_a_job_can_have_is_a_value_of_the_label() -> None:
    (metric,) = (each for each in JOB_METRICS if each.name == "t2i_job_condition")
    assert metric.labels[2].values == tuple(ConditionType)

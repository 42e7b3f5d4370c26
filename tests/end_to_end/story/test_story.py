"""The story of DESIGN section 1, held against the cluster and the bucket after it was told."""

import hashlib
import json
import re
from typing import Any

import pytest

from t2i_api.attempt import GPU_RESOURCE
from t2i_checkpoint.layout import ARCHIVE
from t2i_checkpoint.manifest import read_manifest
from t2i_dev.demo import acts

pytestmark = pytest.mark.end_to_end


def _keys(story: Any, prefix: str) -> list[str]:
    return [info.key for info in story.environment.store(story.uri).list(prefix)]


def test_the_old_checkpoints_are_judged_foreign_with_the_differing_names(story: Any) -> None:
    verdict = story.judged.verdict
    assert verdict.verdict == "foreign"
    assert any("in_layers" in name or "out_layers" in name for name in verdict.first_unexpected)
    assert any("resnets" in name or "conv_in" in name for name in verdict.first_missing)
    assert verdict.explanation


def test_the_old_checkpoints_are_archived_with_every_byte_equal(story: Any) -> None:
    location = story.judged.archive.location
    assert re.fullmatch(rf"{ARCHIVE}\d{{8}}T\d{{6}}Z-custom-unet", location)
    store = story.environment.store(story.uri)
    for path, digest in story.judged.old.items():
        assert hashlib.sha256(store.read(f"{location}/{path}")).hexdigest() == digest


def test_the_old_checkpoints_are_gone_from_the_source(story: Any) -> None:
    remaining = set(_keys(story, "checkpoints/"))
    assert not remaining & set(story.judged.old)


def test_events_tell_verdict_archive_and_restart(story: Any) -> None:
    told = [(event["reason"], event["message"]) for event in story.view.events()]
    for reason, words in (
        ("CheckpointJudged", "custom-unet"),
        ("CheckpointJudged", "in_layers"),
        ("Archived", "custom-unet"),
        ("AttemptStarted", "starting at step 0"),
        ("AttemptEnded", "SIGKILL"),
        ("AttemptStarted", "resuming exactly at step"),
        ("Completed", "trained"),
    ):
        assert any(reason == said and words in message for said, message in told), (reason, words, told)


def test_training_starts_at_step_zero_and_resumes_at_the_last_committed_step(story: Any) -> None:
    rows = acts.read_metrics(story.environment, story.uri)
    assert rows[0].step == 1
    assert rows[0].attempt == 1
    assert story.resumed.attempt.number == 2
    resumed_at = story.resumed.attempt.resumed_from_step
    assert resumed_at is not None
    assert resumed_at >= story.killed.committed_step
    assert {row.attempt for row in rows if row.step > resumed_at} == {2}
    assert {row.attempt for row in rows if row.step <= resumed_at} == {1}


def test_the_losses_equal_those_of_an_undisturbed_run_bit_for_bit(story: Any) -> None:
    disturbed = acts.read_metrics(story.environment, story.uri)
    undisturbed = acts.read_metrics(story.environment, story.undisturbed_uri)
    assert len(disturbed) == story.plan.job.spec.training.steps
    assert acts.first_difference(disturbed, undisturbed) is None
    assert {row.attempt for row in undisturbed} == {1}


def test_the_operator_was_killed_ten_times_and_nothing_changed(story: Any) -> None:
    assert story.operator_kills == 10
    assert story.kills_before_the_end >= 5, "the story was over too soon to be disturbed"
    assert story.end.restarts.total == 1
    assert story.end.attempt.number == 2


def test_it_ends_succeeded(story: Any) -> None:
    condition = story.end.condition("Succeeded")
    assert (condition.status, condition.reason) == ("True", "Completed")
    story.environment.cluster.kubectl("wait", "--for=condition=Succeeded", f"dtj/{story.view.name}", "--timeout=1s")
    assert story.end.progress.step == story.plan.job.spec.training.steps
    assert story.end.progress.percentage == "100%"


def test_two_pods_trained_one_model_on_different_noise(story: Any) -> None:
    store = story.environment.store(story.uri)
    folder = f"checkpoints/{story.end.progress.last_checkpoint}"
    manifest = read_manifest(store, folder)
    assert manifest is not None
    ranks = manifest.ranks
    assert len(ranks) == story.plan.job.spec.workers.world_size == 2
    assert len({rank.weights_sha256 for rank in ranks}) == 1
    assert len({rank.noise_sha256 for rank in ranks}) == 2


def test_prometheus_has_the_loss_curve_and_the_last_loss_outlives_the_pods(story: Any) -> None:
    prometheus = story.environment.prometheus
    curve = prometheus.query_range(
        f'max by (job_name) (t2i_trainer_loss{{pod=~"{story.view.name}-.*"}})',
        start=story.started_at,
        end=story.ended_at,
    )
    values = [value for series in curve for _, value in series.samples]
    losses = {row.loss for row in acts.read_metrics(story.environment, story.uri)}
    assert len(set(values)) >= 3
    assert set(values) & losses
    last = prometheus.query(f't2i_job_last_loss{{job_name="{story.view.name}"}}')
    assert [round(series.last, 6) for series in last] == [round(story.end.progress.loss, 6)]


def _audit_events(story: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in story.environment.cluster.audit_log.read_text().splitlines()]


def test_nothing_asks_for_a_gpu_before_the_verdict_is_in_status(story: Any) -> None:
    events = _audit_events(story)
    verdict_at = next(
        index
        for index, event in enumerate(events)
        if event.get("objectRef", {}).get("subresource") == "status"
        and event["objectRef"].get("name") == story.view.name
        and '"verdict"' in json.dumps(event.get("requestObject", {}))
    )
    asking = [
        index
        for index, event in enumerate(events)
        if event["verb"] in {"create", "patch", "update"}
        and event.get("objectRef", {}).get("resource") in {"jobs", "pods"}
        and GPU_RESOURCE in json.dumps(event.get("requestObject", {}))
    ]
    assert asking
    assert min(asking) > verdict_at


def test_sample_grids_lie_in_the_bucket(story: Any) -> None:
    grids = [key for key in _keys(story, "samples/") if key.endswith("grid.png")]
    assert grids
    assert story.environment.store(story.uri).read(grids[-1]).startswith(b"\x89PNG")

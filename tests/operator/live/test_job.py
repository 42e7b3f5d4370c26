"""The story of a job, driven by the operator process on the real API server and the real bucket."""

import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from t2i_api.metrics import OPERATOR_METRICS
from t2i_api.progress import ExitCode, Progress, TerminationMessage, TrainerPhase

pytestmark = pytest.mark.cluster


def last_words(code: ExitCode, *, step: int) -> str:
    """What rank 0 leaves in its termination log."""
    progress = Progress.model_validate(
        {
            "attempt": 1,
            "worldSize": 1,
            "phase": TrainerPhase.FINISHED,
            "step": step,
            "targetSteps": 100,
            "loss": 0.125,
            "lossSmoothed": 0.25,
            "asExpected": False,
            "expectation": "smoothed loss 0.25 is above 0.1",
            "findings": [{"name": "LatentScale", "severity": "Warning", "step": 3, "sentence": "too small"}],
            "updatedAt": "2026-01-01T00:00:00Z",
        }
    )
    return TerminationMessage(exit_code=code, reason="Done", message="said", progress=progress).to_log()


def events(place: Any) -> dict[str, str]:
    """Reason to message of the job's events."""
    return {item["reason"]: item["note"] for item in place.objects("events") if item["regarding"]["name"] == "emoji"}


def audited(place: Any) -> list[dict[str, Any]]:
    """What the API server did in this namespace, in order, failures left out."""
    lines = (json.loads(line) for line in place.cluster.audit_log.read_text().splitlines() if line)
    return [
        line
        for line in lines
        if line.get("objectRef", {}).get("namespace") == place.namespace
        and line.get("responseStatus", {}).get("code", 500) < 300
    ]


def test_a_foreign_checkpoint_is_judged_and_archived_before_anything_asks_for_a_gpu(place: Any) -> None:
    place.put_old_checkpoint("checkpoint-4000")
    place.put_old_checkpoint("checkpoint-5000")
    before = place.store.read("checkpoint-5000/model.safetensors")
    place.operator.start()
    place.apply()
    pod = place.pod(1)

    status = place.status()
    assert status["checkpoint"]["verdict"] == "foreign"
    assert status["checkpoint"]["firstUnexpected"][0] == "in_layers.0.weight"
    assert status["archive"]["checkpoints"] == 2
    assert status["attempt"] == {"number": 1, "startedAt": status["attempt"]["startedAt"]}
    location = status["archive"]["location"]
    assert location.endswith("-custom-unet")
    assert place.store.read(f"{location}/checkpoint-5000/model.safetensors") == before
    assert [key for key in place.bucket() if not key.startswith("archive/")] == []

    owner = place.objects("job.batch")[0]["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("DiffusionTrainingJob", "emoji")
    told = events(place)
    assert "foreign" in told["CheckpointJudged"]
    assert location in told["Archived"]
    assert "step 0" in told["AttemptStarted"]

    place.set_pod(pod, "Succeeded", code=0, message=last_words(ExitCode.SUCCEEDED, step=100))
    place.reaches("Completed")
    done = place.status()["progress"]
    assert (done["step"], done["percentage"], done["loss"], done["lossText"]) == (100, "100%", 0.125, "0.2500")
    place.kubectl("wait", "--for=condition=Succeeded", "dtj/emoji", "--timeout=5s")
    expected = place.condition("AsExpected")
    assert (expected["status"], expected["reason"]) == ("False", "OutsideExpectations")
    assert [finding["name"] for finding in done["findings"]] == ["LatentScale"]
    told = events(place)
    assert "above 0.1" in told["NotAsExpected"]
    assert told["Finding"] == "LatentScale at step 3: too small"
    text = place.operator.get("/metrics")
    assert {family.name for family in text_string_to_metric_families(text)} == {
        metric.family for metric in OPERATOR_METRICS
    }
    for series in (
        't2i_job_last_loss{job_name="emoji"',
        't2i_operator_archives_total{result="success"} 1.0',
        't2i_operator_preflights_total{result="success"}',
        't2i_operator_api_requests_total{code="201",resource="jobs",verb="create"} 1.0',
        't2i_operator_store_requests_total{code="200",operation="CopyObject"}',
    ):
        assert series in text


def test_the_verdict_is_in_the_status_before_the_job_is_created(place: Any) -> None:
    place.put_old_checkpoint()
    place.operator.start()
    place.apply()
    place.pod(1)
    verdict = number = created = None
    for position, line in enumerate(audited(place)):
        reference = line["objectRef"]
        if reference["resource"] == "diffusiontrainingjobs" and reference.get("subresource") == "status":
            status = line["requestObject"]["status"]
            verdict = position if verdict is None and status.get("checkpoint", {}).get("verdict") else verdict
            number = position if number is None and status.get("attempt", {}).get("number") == 1 else number
        if reference["resource"] == "jobs" and line["verb"] == "create":
            created = position
    assert verdict is not None
    assert number is not None
    assert created is not None
    assert verdict < number < created


def test_the_operator_leaves_no_trace_of_its_framework_on_the_object(place: Any) -> None:
    place.operator.start()
    place.apply()
    place.pod(1)
    written = [line for line in audited(place) if line["objectRef"]["resource"] == "diffusiontrainingjobs"]
    ours = [line for line in written if line["verb"] in {"patch", "update"} and "requestObject" in line]
    assert {line["objectRef"].get("subresource") for line in ours if line["userAgent"].startswith("t2i")} == {"status"}
    metadata = place.get("dtj", "emoji")["metadata"]
    assert "finalizers" not in metadata
    assert set(metadata.get("annotations", {})) <= {"kubectl.kubernetes.io/last-applied-configuration"}


def test_a_killed_pod_leads_to_the_next_attempt_and_a_bad_configuration_to_none(place: Any) -> None:
    place.operator.start()
    place.apply()
    place.set_pod(place.pod(1), "Running")
    place.reaches("Training")
    place.set_pod(place.pod(1), "Failed", code=137)
    second = place.pod(2)
    status = place.status()
    assert status["restarts"]["total"] == 1
    assert status["restarts"]["recent"][0]["cause"] == "PodKilled"
    place.set_pod(second, "Failed", code=ExitCode.BAD_CONFIGURATION)
    place.reaches("BadConfiguration")
    assert place.condition("Succeeded")["status"] == "False"


def test_suspend_stops_the_pods_and_keeps_the_job_until_it_goes_on(place: Any) -> None:
    place.operator.start()
    place.apply()
    place.set_pod(place.pod(1), "Running")
    place.reaches("Training")
    place.apply(suspend=True)
    place.reaches("Suspended")
    assert place.objects("pods") == []
    assert place.objects("job.batch") == []
    assert place.condition("Suspended")["status"] == "True"
    place.apply(suspend=False)
    place.pod(2)


def test_deleting_the_job_removes_its_children_and_its_series_but_nothing_in_the_bucket(place: Any) -> None:
    place.put_old_checkpoint()
    place.operator.start()
    place.apply()
    place.pod(1)
    keys = place.bucket()
    assert 'job_name="emoji"' in place.operator.get("/metrics")
    place.kubectl("delete", "dtj", "emoji", "--cascade=foreground")
    assert place.objects("job.batch") == []
    assert place.objects("pods") == []
    assert place.bucket() == keys
    assert 'job_name="emoji"' not in place.operator.get("/metrics")


@pytest.mark.parametrize(
    ("secret", "reason", "words"),
    [
        (None, "CredentialsMissing", "name a Secret"),
        ({"name": "absent"}, "CredentialsMissing", "create secret generic absent"),
    ],
)
def test_missing_credentials_block_the_job_and_name_the_way_out(
    place: Any, secret: dict[str, str] | None, reason: str, words: str
) -> None:
    place.operator.start()
    checkpoint = {"uri": f"s3://t2i/{place.prefix}", "endpoint": place.cluster.s3.endpoint, "everySteps": 10}
    if secret is not None:
        checkpoint["credentialsSecretRef"] = secret
    place.apply(checkpoint=checkpoint)
    place.reaches("Blocked")
    condition = place.condition("CheckpointCompatible")
    assert condition["reason"] == reason
    assert words in condition["message"]
    assert place.objects("job.batch") == []

"""One attempt is one headless Service and one Indexed Job, owned by the custom resource."""

from collections.abc import Callable
from typing import Any

import pytest

from t2i_api.job import DiffusionTrainingJob
from t2i_operator.build import Beginning, TrainerDefaults, children

JobWith = Callable[..., DiffusionTrainingJob]


def at(document: dict[str, Any], path: str) -> Any:
    """Follow a dotted path."""
    place: Any = document
    for part in path.split("."):
        place = place[int(part)] if isinstance(place, list) else place[part]
    return place


@pytest.fixture
def built(job_with: JobWith) -> dict[str, dict[str, Any]]:
    made = children(
        job_with(),
        attempt=3,
        beginning=Beginning(resume_from="step-00000010-w"),
        defaults=TrainerDefaults(image="trainer:1"),
    )
    return {child["kind"]: child for child in made}


def test_the_job_that_asks_for_gpus_is_created_last(job_with: JobWith) -> None:
    made = children(job_with(), attempt=1, beginning=Beginning(), defaults=TrainerDefaults(image="trainer:1"))
    assert [child["kind"] for child in made] == ["Service", "ConfigMap", "Job"]


@pytest.mark.parametrize("kind", ["Service", "ConfigMap", "Job"])
def test_every_child_carries_name_labels_and_owner(built: dict[str, dict[str, Any]], kind: str) -> None:
    metadata = built[kind]["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("emoji-3", "team")
    assert metadata["labels"]["training.t2i.dev/job-name"] == "emoji"
    assert metadata["labels"]["training.t2i.dev/attempt"] == "3"
    (owner,) = metadata["ownerReferences"]
    assert owner == {
        "apiVersion": "training.t2i.dev/v1alpha1",
        "kind": "DiffusionTrainingJob",
        "name": "emoji",
        "uid": "0d1f3a5c-0000-4000-8000-000000000001",
        "controller": True,
        "blockOwnerDeletion": True,
    }


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("spec.completionMode", "Indexed"),
        ("spec.completions", 2),
        ("spec.parallelism", 2),
        ("spec.backoffLimit", 0),
        ("spec.podReplacementPolicy", "Failed"),
        ("spec.podFailurePolicy.rules.0.action", "FailJob"),
        ("spec.podFailurePolicy.rules.0.onPodConditions.0.type", "DisruptionTarget"),
        ("spec.podFailurePolicy.rules.1.onExitCodes", {"containerName": "trainer", "operator": "NotIn", "values": [0]}),
        ("spec.template.spec.restartPolicy", "Never"),
        ("spec.template.spec.subdomain", "emoji-3"),
    ],
)
def test_the_end_of_one_pod_is_the_end_of_the_attempt(
    built: dict[str, dict[str, Any]], path: str, expected: object
) -> None:
    assert at(built["Job"], path) == expected
    assert "ttlSecondsAfterFinished" not in built["Job"]["spec"]


def test_pods_find_each_other_before_they_are_ready(built: dict[str, dict[str, Any]]) -> None:
    spec = built["Service"]["spec"]
    assert spec["clusterIP"] == "None"
    assert spec["publishNotReadyAddresses"] is True
    assert spec["selector"].items() <= built["Job"]["spec"]["template"]["metadata"]["labels"].items()
    assert {port["name"]: port["port"] for port in spec["ports"]} == {"rendezvous": 29500, "metrics": 9400}

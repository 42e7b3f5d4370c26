"""Pods are restricted by default and changed only where the spec offers it."""

from collections.abc import Callable
from typing import Any

import pytest

from t2i_api.job import DiffusionTrainingJob
from t2i_api.status import InitialWeightsStatus, VerdictKind
from t2i_operator.build import Beginning, TrainerDefaults
from t2i_operator.build.pods import pod_template

JobWith = Callable[..., DiffusionTrainingJob]


@pytest.fixture
def template_with(job_with: JobWith) -> Callable[..., dict[str, Any]]:
    """Build the pod template of a job with some fields changed."""
    defaults = TrainerDefaults(image="default:1", linger_seconds=30)
    return lambda changes=None, **begins: pod_template(job_with(changes), 1, Beginning(**begins), defaults)


def environment(template: dict[str, Any]) -> dict[str, Any]:
    entries = template["spec"]["containers"][0]["env"]
    assert len({entry["name"] for entry in entries}) == len(entries), "a variable is set twice"
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def test_pods_are_restricted(template_with: Callable[..., dict[str, Any]]) -> None:
    spec = template_with()["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_workload_identity_needs_no_token_of_the_api_server(template_with: Callable[..., dict[str, Any]]) -> None:
    spec = template_with({"spec.workers.template.serviceAccountName": "trainer"})["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("trainer", False)


def test_the_file_system_is_writable_where_the_trainer_writes(template_with: Callable[..., dict[str, Any]]) -> None:
    spec = template_with({"spec.workers.template.resources": {"sharedMemory": "2Gi"}})["spec"]
    mounts = {mount["mountPath"]: mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes[mounts["/scratch"]]["emptyDir"] == {}
    assert volumes[mounts["/dev/shm"]]["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}  # noqa: S108
    assert volumes[mounts["/etc/t2i"]]["configMap"] == {"name": "emoji-1"}


def test_the_rendezvous_is_pod_zero(template_with: Callable[..., dict[str, Any]]) -> None:
    found = environment(template_with())
    assert (found["MASTER_ADDR"], found["MASTER_PORT"]) == ("emoji-1-0.emoji-1", "29500")
    assert found["HOME"] == "/scratch"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}}),
        (
            {"spec.workers": {"count": 1, "gpusPerWorker": 8}},
            {"requests": {"nvidia.com/gpu": "8"}, "limits": {"nvidia.com/gpu": "8"}},
        ),
        ({"spec.workers": {"count": 1, "gpusPerWorker": 0}}, {}),
        (
            {"spec.workers": {"gpusPerWorker": 0, "template": {"resources": {"cpu": "500m", "memory": "2Gi"}}}},
            {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
        ),
    ],
)
def test_resources(template_with: Callable[..., dict[str, Any]], changes: dict[str, Any], expected: object) -> None:
    assert template_with(changes)["spec"]["containers"][0]["resources"] == expected


def test_credentials_come_from_the_secret_and_never_as_text(template_with: Callable[..., dict[str, Any]]) -> None:
    found = environment(template_with({"spec.checkpoint.credentialsSecretRef": {"name": "bucket"}}))
    for name, optional in (("AWS_ACCESS_KEY_ID", False), ("AWS_SECRET_ACCESS_KEY", False), ("AWS_SESSION_TOKEN", True)):
        assert found[name] == {"secretKeyRef": {"name": "bucket", "key": name, "optional": optional}}
    assert not [name for name in environment(template_with()) if name.startswith("AWS_")]


def test_another_stores_credentials_come_from_its_own_secret_beside_the_buckets(
    template_with: Callable[..., dict[str, Any]],
) -> None:
    bucket = {"spec.checkpoint.credentialsSecretRef": {"name": "bucket"}}
    weights = InitialWeightsStatus(uri="s3://models/sd15", verdict=VerdictKind.RENAMED)
    assert not [name for name in environment(template_with(bucket, initial_weights=weights)) if "INITIAL" in name]
    named = weights.model_copy(update={"credentials_secret": "models"})
    found = environment(template_with(bucket, initial_weights=named))
    assert found["AWS_ACCESS_KEY_ID"]["secretKeyRef"]["name"] == "bucket"
    for name, optional in (("AWS_ACCESS_KEY_ID", False), ("AWS_SECRET_ACCESS_KEY", False), ("AWS_SESSION_TOKEN", True)):
        reference = {"name": "models", "key": name, "optional": optional}
        assert found[f"T2I_INITIAL_WEIGHTS_{name}"] == {"secretKeyRef": reference}


def test_a_job_may_say_how_long_its_pods_stay_to_be_scraped(template_with: Callable[..., dict[str, Any]]) -> None:
    assert environment(template_with())["T2I_LINGER_SECONDS"] == "30"
    own = {"spec.workers.template.env": [{"name": "T2I_LINGER_SECONDS", "value": "0"}]}
    assert environment(template_with(own))["T2I_LINGER_SECONDS"] == "0"


def test_a_pod_that_waits_for_a_scrape_never_looks_stalled(template_with: Callable[..., dict[str, Any]]) -> None:
    assert environment(template_with({"spec.failurePolicy.stallSeconds": 40}))["T2I_LINGER_SECONDS"] == "20"


def test_without_scrapes_nobody_is_waited_for(job_with: JobWith) -> None:
    template = pod_template(job_with(), 1, Beginning(), TrainerDefaults(image="default:1"))
    assert "T2I_LINGER_SECONDS" not in environment(template)


def test_ours_win_over_the_users(template_with: Callable[..., dict[str, Any]]) -> None:
    template = template_with(
        {
            "spec.workers.template.labels": {"training.t2i.dev/attempt": "99", "team": "vision"},
            "spec.workers.template.annotations": {"prometheus.io/port": "1", "owner": "ada"},
            "spec.workers.template.env": [{"name": "HOME", "value": "/root"}, {"name": "NCCL_DEBUG", "value": "INFO"}],
        },
        resume_from="step-00000010-w",
    )
    assert template["metadata"]["labels"]["training.t2i.dev/attempt"] == "1"
    assert template["metadata"]["labels"]["team"] == "vision"
    annotations = template["metadata"]["annotations"]
    assert (annotations["prometheus.io/scrape"], annotations["prometheus.io/port"], annotations["owner"]) == (
        "true",
        "9400",
        "ada",
    )
    assert annotations["training.t2i.dev/resumed-from"] == "step-00000010-w"
    assert environment(template)["NCCL_DEBUG"] == "INFO"
    assert environment(template)["HOME"] == "/scratch"


@pytest.mark.parametrize(
    ("field", "value", "key"),
    [
        ("nodeSelector", {"gpu": "h100"}, "nodeSelector"),
        ("tolerations", [{"key": "nvidia.com/gpu", "operator": "Exists"}], "tolerations"),
        ("priorityClassName", "research", "priorityClassName"),
        ("imagePullSecrets", [{"name": "registry"}], "imagePullSecrets"),
        ("terminationGracePeriodSeconds", 300, "terminationGracePeriodSeconds"),
    ],
)
def test_the_template_places_pods(
    template_with: Callable[..., dict[str, Any]], field: str, value: object, key: str
) -> None:
    assert template_with({f"spec.workers.template.{field}": value})["spec"][key] == value


def test_a_claim_keeps_what_outlives_a_pod(template_with: Callable[..., dict[str, Any]]) -> None:
    without = template_with()
    assert "T2I_CACHE_DIRECTORY" not in environment(without)
    assert "cache" not in {volume["name"] for volume in without["spec"]["volumes"]}
    template = template_with({"spec.workers.template.cacheClaim": "t2i-cache"})
    assert {"name": "cache", "persistentVolumeClaim": {"claimName": "t2i-cache"}} in template["spec"]["volumes"]
    (container,) = template["spec"]["containers"]
    assert {"name": "cache", "mountPath": "/cache"} in container["volumeMounts"]
    assert environment(template)["T2I_CACHE_DIRECTORY"] == "/cache"


def test_claims_that_hold_sources_are_mounted_read_only(template_with: Callable[..., dict[str, Any]]) -> None:
    long = "a" * 100 + ".shards"
    spec = template_with({"spec.workers.template": {"cacheClaim": "t2i-cache", "sourceClaims": ["laion", long]}})[
        "spec"
    ]
    volumes = {volume["name"]: volume.get("persistentVolumeClaim") for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    for claim in ("laion", long):
        mount = mounts[f"/claims/{claim}"]
        assert mount["readOnly"] is True
        assert volumes[mount["name"]] == {"claimName": claim, "readOnly": True}
        assert len(mount["name"]) <= 63, "a volume's name is a DNS label, shorter than a claim's may be"
    assert "readOnly" not in mounts["/cache"]


def test_the_image_of_the_job_wins_over_the_operators(template_with: Callable[..., dict[str, Any]]) -> None:
    assert template_with()["spec"]["containers"][0]["image"] == "default:1"
    assert template_with({"spec.workers.image": "mine:2"})["spec"]["containers"][0]["image"] == "mine:2"


def test_the_termination_message_is_the_file_that_the_trainer_writes(
    template_with: Callable[..., dict[str, Any]],
) -> None:
    container = template_with()["spec"]["containers"][0]
    assert (container["terminationMessagePath"], container["terminationMessagePolicy"]) == (
        "/dev/termination-log",
        "File",
    )
    assert {port["name"]: port["containerPort"] for port in container["ports"]}["metrics"] == 9400

from pathlib import Path
from typing import Any

import pytest

from t2i_dev.process_node.addresses import AddressBook
from t2i_dev.process_node.environment import MissingReferenceError, environment_of, expand, fields_of
from t2i_dev.process_node.path_view import PathView
from t2i_dev.process_node.programs import UnknownImageError, command_of, repository_name
from t2i_dev.process_node.status import ContainerReport, pod_status

SHARED = "/dev/shm"  # noqa: S108  # a path in a container
POD: dict[str, Any] = {
    "metadata": {"name": "emoji-1-0-x7", "namespace": "team", "uid": "u", "labels": {"app": "t2i"}},
    "spec": {"hostname": "emoji-1-0", "subdomain": "emoji-1", "nodeName": "n"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/etc/t2i/job.yaml", "/pods/u/etc/job.yaml"),
        ("--job=/etc/t2i", "--job=/pods/u/etc"),
        ("/scratch:/etc/t2i", "/pods/u/scratch:/pods/u/etc"),
        ("/etc/t2i/deep/x", "/pods/u/deep/x"),
        ("/etc/t2ix", "/etc/t2ix"),
        ("/other/etc/t2i", "/other/etc/t2i"),
        (SHARED + "/a", SHARED + "/a"),
        ("tcp://emoji-1-0.emoji-1:29500", "tcp://127.88.0.1:29500"),
        ("my-emoji-1-0.emoji-1", "my-emoji-1-0.emoji-1"),
    ],
)
def test_paths_and_pod_names_in_texts_point_to_this_pod(text: str, expected: str) -> None:
    paths = {
        "/etc/t2i": Path("/pods/u/etc"),
        "/etc/t2i/deep": Path("/pods/u/deep"),
        "/scratch": Path("/pods/u/scratch"),
        SHARED: Path("/pods/u/shm"),
    }
    assert PathView(paths, {"emoji-1-0.emoji-1": "127.88.0.1"}).rewrite(text) == expected


def test_a_peer_has_its_address_before_its_pod_exists() -> None:
    book = AddressBook(one_for_all=False)
    names = book.names(POD)
    assert names["emoji-1-0.emoji-1"] == book.address("team/emoji-1-0")
    assert names["emoji-1-1.emoji-1"] == book.address("team/emoji-1-1") != book.address("team/emoji-1-0")
    assert names["emoji-1-1.emoji-1.team.svc.cluster.local"] == book.address("team/emoji-1-1")


def test_where_there_is_one_loopback_address_every_pod_has_it() -> None:
    assert AddressBook(one_for_all=True).address("a/b") == "127.0.0.1"


@pytest.mark.parametrize(
    ("image", "name"),
    [("t2i-trainer:1", "t2i-trainer"), ("host:5000/a/b@sha256:00", "b"), ("host:5000/a/b:1@sha256:00", "b")],
)
def test_an_image_is_known_by_its_last_name(image: str, name: str) -> None:
    assert repository_name(image) == name


def test_command_and_arguments_replace_the_images_as_in_kubernetes() -> None:
    assert command_of({"image": "x", "command": ["sh", "-c"], "args": ["true"]}, "a") == ["sh", "-c", "true"]
    known = command_of({"image": "localhost/t2i-trainer:0.1", "args": ["--processes", "2"]}, "127.88.0.1")
    assert known[:3] == ["t2i-trainer", "--address", "127.88.0.1"]
    assert known[-2:] == ["--processes", "2"]


def test_an_image_without_a_program_here_is_named_with_those_that_have_one() -> None:
    with pytest.raises(UnknownImageError, match="busybox: the process node runs t2i-operator, t2i-trainer"):
        command_of({"image": "busybox"}, "a")


def test_the_environment_comes_from_values_fields_config_maps_and_secrets() -> None:
    objects = {
        ("configmaps", "c"): {"data": {"A": "from config"}},
        ("secrets", "s"): {"data": {"K": "c2VjcmV0"}},
    }
    container = {
        "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "P_"}],
        "env": [
            {"name": "PLAIN", "value": "v"},
            {"name": "REFERENCE", "value": "$(PLAIN)-$(P_A)-$(NONE)-$$"},
            {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "K"}}},
            {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "s", "key": "none", "optional": True}}},
        ],
    }
    found = environment_of(container, fields_of(POD, "127.88.0.1"), lambda kind, name: objects.get((kind, name)))
    assert found == {
        "P_A": "from config",
        "PLAIN": "v",
        "REFERENCE": "v-from config-$(NONE)-$",
        "NAMESPACE": "team",
        "LABEL": "t2i",
        "SECRET": "secret",
    }


def test_a_missing_secret_is_named() -> None:
    container = {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "K"}}}]}
    with pytest.raises(MissingReferenceError, match="secrets 'gone' not found"):
        environment_of(container, {}, lambda _kind, _name: None)


def test_two_dollars_are_one() -> None:
    assert expand("$$(A)", {"A": "x"}) == "$(A)"


def report(**state: Any) -> ContainerReport:
    return ContainerReport("c", "image", state, ready="running" in state, restarts=0)


@pytest.mark.parametrize(
    ("reports", "restarts", "phase"),
    [
        ([report(running={})], False, "Running"),
        ([report(waiting={})], False, "Pending"),
        ([report(terminated={"exitCode": 0})], False, "Succeeded"),
        ([report(terminated={"exitCode": 0}), report(terminated={"exitCode": 3})], False, "Failed"),
        ([report(terminated={"exitCode": 0}), report(running={})], False, "Running"),
        ([report(terminated={"exitCode": 3})], True, "Running"),
    ],
)
def test_the_phase_follows_from_the_containers(reports: list[ContainerReport], restarts: bool, phase: str) -> None:  # noqa: FBT001  # a row of the table
    status = pod_status(reports, address="127.88.0.1", started_at="2026-11-25T00:00:00Z", restarts=restarts)
    assert status["phase"] == phase

"""The Helm chart: what it renders, what it refuses, and what its rights really allow, by Helm and a real API server."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tenacity
import yaml

from t2i_dev.cluster import LocalCluster
from t2i_dev.errors import ComponentFailedError
from t2i_dev.tools import HELM

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "t2i-operator"
CRD = "training.t2i.dev_diffusiontrainingjobs.yaml"
NAMESPACE = "t2i-system"

Rendered = list[dict[str, Any]]
Render = Callable[..., Rendered]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HELM.directory / "helm"), *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def render() -> Render:
    """Render the chart with values as `--set` takes them."""

    def rendered(*values: str) -> Rendered:
        settings = [f"--set={value}" for value in values]
        result = helm("template", "t2i-operator", str(CHART), f"--namespace={NAMESPACE}", *settings)
        assert result.returncode == 0, result.stderr
        return [document for document in yaml.safe_load_all(result.stdout) if document]

    return rendered


def of_kind(documents: Rendered, kind: str) -> Rendered:
    return [document for document in documents if document["kind"] == kind]


def pod_of(documents: Rendered) -> dict[str, Any]:
    (deployment,) = of_kind(documents, "Deployment")
    template: dict[str, Any] = deployment["spec"]["template"]
    return template


def environment_of(documents: Rendered) -> dict[str, str]:
    (container,) = pod_of(documents)["spec"]["containers"]
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


def test_helm_finds_nothing_to_complain_about() -> None:
    result = helm("lint", "--strict", str(CHART))

    assert result.returncode == 0, result.stdout + result.stderr


def test_the_crd_in_the_chart_is_the_one_rendered_from_the_models() -> None:
    assert (CHART / "files" / CRD).read_bytes() == (REPOSITORY / "crds" / CRD).read_bytes(), (
        f"copy crds/{CRD} to charts/t2i-operator/files/"
    )


def test_the_crd_stays_when_the_chart_is_uninstalled(render: Render) -> None:
    (crd,) = of_kind(render(), "CustomResourceDefinition")
    (let_go,) = of_kind(render("crds.keep=false"), "CustomResourceDefinition")

    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert "helm.sh/resource-policy" not in let_go["metadata"].get("annotations", {})
    assert not of_kind(render("crds.enabled=false"), "CustomResourceDefinition")


def test_the_crd_is_rendered_unchanged_but_for_labels_and_annotations(render: Render) -> None:
    (crd,) = of_kind(render(), "CustomResourceDefinition")
    source = yaml.safe_load((REPOSITORY / "crds" / CRD).read_text())

    assert crd["spec"] == source["spec"]
    assert crd["metadata"]["name"] == source["metadata"]["name"]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("imgae.tag=1", "imgae"),
        ("image.tga=1", "tga"),
        ("storage.credentialsNamespaces={default}", "credentialsNamespaces"),
        ("storage.credentialNamespaces={Team_A}", "Team_A"),
        ("lease.durationSeconds=1", "durationSeconds"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
    ],
)
def test_a_wrong_value_is_refused_by_name(value: str, named: str) -> None:
    result = helm("template", "t2i-operator", str(CHART), f"--set={value}")

    assert result.returncode != 0
    assert named in result.stderr


def test_every_value_is_described_in_the_schema_and_the_other_way_round() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    implied = {"global", "nameOverride", "fullnameOverride"}

    assert set(values) == set(schema["properties"]) - implied
    for name, value in values.items():
        if isinstance(value, dict) and (described := schema["properties"][name].get("properties")):
            assert set(value) == set(described), name


def test_the_pod_meets_the_restricted_pod_security_standard(render: Render) -> None:
    pod = pod_of(render())["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_no_right_is_a_wildcard_and_no_secret_is_readable_by_default(render: Render) -> None:
    for values in ((), ("namespaces={a,b}",), ("storage.credentialNamespaces={default}",)):
        documents = render(*values)
        rules = [
            (role, rule)
            for kind in ("Role", "ClusterRole")
            for role in of_kind(documents, kind)
            for rule in role["rules"]
        ]
        assert rules
        for role, rule in rules:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            if "secrets" in rule["resources"]:
                assert (role["kind"], role["metadata"]["namespace"], rule["verbs"]) == ("Role", "default", ["get"])
    assert not [rule for role in of_kind(render(), "Role") for rule in role["rules"] if "secrets" in rule["resources"]]


def test_namespaces_replace_cluster_wide_rights(render: Render) -> None:
    documents = render("namespaces={a,b}")

    assert not of_kind(documents, "ClusterRole")
    assert {role["metadata"]["namespace"] for role in of_kind(documents, "Role")} == {"a", "b", NAMESPACE}
    assert environment_of(documents)["T2I_NAMESPACE"] == "a,b"
    assert "T2I_NAMESPACE" not in environment_of(render())


def test_one_operator_at_a_time_found_by_prometheus_and_people(render: Render) -> None:
    documents = render("image.repository=localhost/t2i-operator", "image.tag=dev", "trainerImage.tag=dev")
    (deployment,) = of_kind(documents, "Deployment")
    pod = pod_of(documents)

    assert deployment["metadata"]["name"] == "t2i-operator"
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "t2i-operator"
    assert pod["metadata"]["annotations"]["prometheus.io/scrape"] == "true"
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == "8080"
    assert pod["spec"]["containers"][0]["image"] == "localhost/t2i-operator:dev"


def test_the_environment_is_what_the_operator_understands(render: Render) -> None:
    pytest.importorskip("kopf")
    from t2i_operator.settings import parse  # noqa: PLC0415  # after the check that the extra is installed

    chosen = ("namespaces={a,b}", "trainerImage.tag=v7", "workers=3", "storage.workers=2", "lease.durationSeconds=20")
    environment = environment_of(render(*chosen, "storage.ambientCredentials=true"))
    settings = parse([], {**environment, "POD_NAME": "pod-1", "POD_NAMESPACE": NAMESPACE})

    assert settings.namespaces == ("a", "b")
    assert settings.trainer_image.endswith(":v7")
    assert (settings.workers, settings.storage_workers) == (3, 2)
    assert (settings.lease_namespace, settings.lease_name, settings.identity) == (NAMESPACE, "t2i-operator", "pod-1")
    assert (settings.metrics_port, settings.lease_seconds, settings.ambient_credentials) == (8080, 20, True)


@pytest.mark.cluster
def test_the_api_server_takes_it_and_grants_what_the_operator_needs_and_no_more(control_plane: LocalCluster) -> None:
    control_plane.kubectl("create", "namespace", "chart-credentials")
    control_plane.kubectl("apply", "--server-side", "-f", str(CHART / "files"))
    installed = helm(
        "upgrade",
        "--install",
        "t2i-operator",
        str(CHART),
        f"--kubeconfig={control_plane.kubeconfig}",
        "--namespace=chart-test",
        "--create-namespace",
        "--set=storage.credentialNamespaces={chart-credentials}",
        "--set=crds.enabled=false",  # other tests apply it with kubectl; the end-to-end test installs it with Helm
    )
    assert installed.returncode == 0, installed.stderr
    account = "--as=system:serviceaccount:chart-test:t2i-operator"

    def may(verb: str, resource: str, namespace: str = "default", *more: str) -> bool:
        try:
            answer = control_plane.kubectl("auth", "can-i", verb, resource, f"--namespace={namespace}", account, *more)
        except ComponentFailedError:
            return False  # kubectl's exit status for "no"
        return answer.strip().endswith("yes")

    needed = [
        ("watch", "diffusiontrainingjobs.training.t2i.dev"),
        ("create", "jobs.batch"),
        ("create", "services"),
        ("create", "configmaps"),
        ("delete", "jobs.batch"),
        ("list", "pods"),
        ("create", "events.events.k8s.io"),
    ]
    refused = [
        ("update", "diffusiontrainingjobs.training.t2i.dev"),
        ("create", "pods"),
        ("get", "secrets"),
        ("list", "nodes"),
        ("get", "leases.coordination.k8s.io"),
        ("create", "clusterroles.rbac.authorization.k8s.io"),
    ]
    # Roles reach the authorizer a moment after they are written.
    tenacity.Retrying(stop=tenacity.stop_after_delay(20), retry=tenacity.retry_if_result(lambda yes: not yes))(
        may, *needed[0]
    )
    assert [right for right in needed if not may(*right)] == []
    assert [right for right in refused if may(*right)] == []
    assert may("update", "diffusiontrainingjobs.training.t2i.dev", "default", "--subresource=status")
    assert may("get", "secrets", "chart-credentials")
    assert not may("list", "secrets", "chart-credentials")
    assert may("update", "leases.coordination.k8s.io/t2i-operator", "chart-test")
    assert not may("update", "leases.coordination.k8s.io/another", "chart-test")


@pytest.mark.cluster
def test_the_pod_is_admitted_where_only_restricted_pods_are(control_plane: LocalCluster, render: Render) -> None:
    control_plane.kubectl("create", "namespace", "chart-restricted")
    control_plane.kubectl("label", "namespace", "chart-restricted", "pod-security.kubernetes.io/enforce=restricted")
    template = pod_of(render("serviceAccount.create=false"))
    template["spec"]["serviceAccountName"] = "default"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "operator", "namespace": "chart-restricted", "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    }

    said = control_plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))

    assert "created" in said

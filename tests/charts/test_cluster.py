"""The chart on a real API server: taken as valid, its rights asked of the real authorizer, its life from end to end."""

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from t2i_dev.cluster import LocalCluster
from t2i_dev.paths import repository_root
from t2i_dev.tools import HELM, HELM3, Tool

pytestmark = pytest.mark.cluster

PREVIOUS = Path(__file__).parent / "previous" / "t2i-operator-0.1.0.tgz"
VALUE_SETS = sorted((repository_root() / "charts" / "t2i-operator" / "ci").glob("*-values.yaml"))
CRD = "diffusiontrainingjobs.training.t2i.dev"
JOBS = "training.t2i.dev/diffusiontrainingjobs"
LARGEST_RELEASE = 512 * 1024  # half of what a Secret takes

Render = Callable[..., list[dict[str, Any]]]


def fields(crd: dict[str, Any]) -> set[str]:
    """Return the path of every field of the schema."""

    def below(schema: dict[str, Any], path: str) -> Iterator[str]:
        for name, each in schema.get("properties", {}).items():
            yield f"{path}.{name}"
            yield from below(each, f"{path}.{name}")
        if isinstance(schema.get("items"), dict):
            yield from below(schema["items"], f"{path}[]")

    (version,) = crd["spec"]["versions"]
    return set(below(version["schema"]["openAPIV3Schema"], ""))


def apply(cluster: LocalCluster, *documents: dict[str, Any], flags: tuple[str, ...] = ()) -> str:
    return cluster.kubectl("apply", "-f", "-", *flags, stdin=yaml.safe_dump_all(documents))


# Not of the module: pytest comes back to it with the other Helm.
@pytest.fixture(scope="session")
def monitoring(control_plane: LocalCluster, monitoring_crds: Path) -> None:
    """The kinds of the Prometheus Operator, known to the API server."""
    control_plane.kubectl("create", "-f", str(monitoring_crds))
    names = [each["metadata"]["name"] for each in yaml.load_all(monitoring_crds.read_text(), yaml.CSafeLoader)]
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", *(f"crd/{name}" for name in names))


@pytest.mark.usefixtures("monitoring")
def test_the_api_server_takes_every_value_set_strictly(control_plane: LocalCluster, render: Render) -> None:
    for namespace in ("a", "b", "monitoring", "t2i-system"):
        apply(control_plane, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    documents = []
    for path in VALUE_SETS:
        rendered = render(values=yaml.safe_load(path.read_text()))
        kinds = {"Pod"} | (set() if path.stem == "defaults-values" else {"CustomResourceDefinition"})
        documents += [each for each in rendered if each["kind"] not in kinds]
    said = apply(control_plane, *documents, flags=("--dry-run=server", "--validate=strict"))

    assert len(said.splitlines()) == len(documents)
    assert {"servicemonitor.monitoring.coreos.com/t2i-operator", "poddisruptionbudget.policy/t2i-operator"} <= {
        line.split()[0] for line in said.splitlines()
    }


def test_its_pods_are_admitted_where_only_restricted_pods_are(control_plane: LocalCluster, render: Render) -> None:
    name = f"restricted-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply(control_plane, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    pods = []
    for path in VALUE_SETS:
        rendered = render(values=yaml.safe_load(path.read_text()))
        (template,) = (each["spec"]["template"] for each in rendered if each["kind"] == "Deployment")
        (test,) = (each for each in rendered if each["kind"] == "Pod")
        for kind, pod in (("operator", template), ("test", test)):
            metadata = {"name": f"{kind}-{path.stem}", "namespace": name, "labels": pod["metadata"]["labels"]}
            spec = pod["spec"] | {"serviceAccountName": "default"}
            pods.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    said = control_plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(pods))

    assert said.count("created") == len(pods)


def test_it_lives_through_upgrade_rollback_and_uninstall_and_jobs_outlive_it(
    installed: Any, team: str, chart: Path, eventually: Callable[..., Any]
) -> None:
    cluster = installed.cluster

    def uid() -> str:
        return str(installed.get("diffusiontrainingjob", "emoji", namespace=team)["metadata"]["uid"])

    def spec() -> dict[str, Any]:
        found: dict[str, Any] = installed.get("deployment", installed.release)["spec"]
        return found

    installed.install("workers=3", chart=PREVIOUS)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", f"crd/{CRD}")
    eventually(
        lambda: apply(cluster, installed.job(team, "emoji", credentialsSecretRef={"name": "bucket"})),
        "the job is taken",
    )
    before = uid()

    # The values of the release are kept, new ones come in, and the CRD follows the chart.
    installed.install("replicas=2", "--reset-then-reuse-values")
    assert spec()["replicas"] == 2
    assert spec()["strategy"]["type"] == "RollingUpdate"
    environment = {each["name"]: each.get("value") for each in spec()["template"]["spec"]["containers"][0]["env"]}
    assert environment["T2I_WORKERS"] == "3"
    wanted = yaml.load(next((chart / "files").glob("*.yaml")).read_text(), yaml.CSafeLoader)
    assert fields(installed.get("crd", CRD)) == fields(wanted)
    assert installed.get("crd", CRD)["metadata"]["labels"]["helm.sh/chart"] == "t2i-operator-0.2.0"
    assert len(installed.get("pdb")["items"]) == 1
    # A release is one Secret, whose bytes may be a mebibyte at most: CRD and dashboards go twice into it, compressed.
    stored = installed.get("secret", f"sh.helm.release.v1.{installed.release}.v2")["data"]["release"]
    assert len(base64.b64decode(stored)) < LARGEST_RELEASE

    installed.run("rollback", installed.release, "1")
    assert (spec()["replicas"], spec()["strategy"]) == (1, {"type": "Recreate"})
    assert not installed.get("pdb")["items"]
    assert installed.get("crd", CRD)["metadata"]["labels"]["helm.sh/chart"] == "t2i-operator-0.1.0"
    assert uid() == before

    installed.install("--reset-then-reuse-values")
    history = json.loads(installed.run("history", installed.release, "--output=json"))
    assert [each["status"] for each in history] == ["superseded", "superseded", "superseded", "deployed"]

    installed.run("uninstall", installed.release)
    assert uid() == before
    label = f"app.kubernetes.io/instance={installed.release},app.kubernetes.io/managed-by=Helm"
    left = cluster.kubectl("get", "all,pdb,sa,role,rolebinding", "-n", installed.namespace, "-l", label, "-o", "name")
    assert left.strip() == ""

    # The CRD that was left is its own: it needs no permission to take it over.
    installed.install(take_ownership=False)
    assert uid() == before
    assert installed.get("crd", CRD)["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_a_definition_that_kubectl_applied_is_handed_over(installed: Any) -> None:
    crds = str(repository_root() / "crds")
    installed.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", crds)
    major = installed.run("version", "--template={{.Version}}")[1]

    installed.install(*(["--force-conflicts"] if major == "4" else []))

    metadata = installed.get("crd", CRD)["metadata"]
    assert metadata["annotations"]["meta.helm.sh/release-namespace"] == installed.namespace
    # Helm 3 leaves kubectl among its managers: the next test begins without it.
    installed.cluster.kubectl("delete", "crd", CRD)


@pytest.mark.parametrize("helm", [HELM], indirect=True, ids=["to-helm"])
def test_helm_4_upgrades_and_removes_what_helm_3_installed(installed: Any, helm_of: Callable[[Tool], Any]) -> None:
    before = replace(installed, helm=helm_of(HELM3))
    before.install("workers=3", "crds.enabled=false", chart=PREVIOUS)

    installed.install("replicas=2", "--reset-then-reuse-values")

    spec = installed.get("deployment", installed.release)["spec"]
    environment = {each["name"]: each.get("value") for each in spec["template"]["spec"]["containers"][0]["env"]}
    assert (spec["replicas"], spec["strategy"]["type"], environment["T2I_WORKERS"]) == (2, "RollingUpdate", "3")
    installed.run("uninstall", installed.release)
    assert not installed.get("deployment")["items"]


def test_cluster_wide_it_may_do_what_it_needs_and_no_more(
    installed: Any, team: str, eventually: Callable[..., Any]
) -> None:
    installed.install(f"storage.credentialNamespaces={{{team}}}")
    needed = [
        ("watch", JOBS, {}),
        ("update", f"{JOBS}/status", {"namespace": team}),
        *(("create", each, {"namespace": team}) for each in ("batch/jobs", "/services", "/configmaps")),
        ("delete", "batch/jobs", {"namespace": team}),
        ("list", "/pods", {}),
        ("create", "events.k8s.io/events", {"namespace": team}),
        ("get", "/secrets", {"namespace": team, "name": "bucket"}),
        ("update", "coordination.k8s.io/leases", {"namespace": installed.namespace, "name": installed.release}),
    ]
    refused = [
        ("update", JOBS, {"namespace": team}),
        ("create", "/pods", {"namespace": team}),
        ("get", "/pods/exec", {"namespace": team}),
        ("get", "/secrets", {}),
        ("get", "/secrets", {"namespace": installed.namespace, "name": "sh.helm.release.v1.t2i-operator.v1"}),
        ("list", "/secrets", {"namespace": team}),
        ("watch", "/secrets", {"namespace": team}),
        ("list", "/nodes", {}),
        ("update", "coordination.k8s.io/leases", {"namespace": installed.namespace, "name": "another"}),
        ("create", "rbac.authorization.k8s.io/clusterroles", {}),
    ]
    eventually(lambda: installed.may(*needed[0][:2]), "the roles reach the authorizer")
    assert set(installed.allowed(needed).values()) == {True}, installed.allowed(needed)
    assert set(installed.allowed(refused).values()) == {False}, installed.allowed(refused)


def test_who_may_view_edit_or_administer_a_namespace_may_the_same_with_its_jobs(
    installed: Any, team: str, eventually: Callable[..., Any]
) -> None:
    installed.install("crds.enabled=false")
    for role in ("view", "edit", "admin"):
        flags = (f"--clusterrole={role}", f"--user={role}er", f"--namespace={team}")
        installed.cluster.kubectl("create", "rolebinding", role, *flags)
    eventually(lambda: installed.may("delete", JOBS, user="adminer", namespace=team), "roles are aggregated")

    verbs = ("get", "create", "patch", "delete", "deletecollection")
    allowed = {
        user: [*installed.allowed([(verb, JOBS, {"namespace": team}) for verb in verbs], user=user).values()]
        for user in ("viewer", "editer", "adminer")
    }

    assert allowed == {
        "viewer": [True, False, False, False, False],
        "editer": [True, True, True, True, False],
        "adminer": [True, True, True, True, True],
    }
    assert not installed.may("get", JOBS, user="adminer", namespace="default")
    assert not installed.may("update", f"{JOBS}/status", user="adminer", namespace=team)

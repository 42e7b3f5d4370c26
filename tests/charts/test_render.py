"""What Helm makes of the chart: a table of value sets, and what must hold in every one of them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from t2i_api.job import DiffusionTrainingJob
from t2i_dev.paths import repository_root
from t2i_operator.build import Beginning, TrainerDefaults, children
from t2i_operator.settings import parse

CRD = "training.t2i.dev_diffusiontrainingjobs.yaml"
EXAMPLES = "artifacthub.io/crdsExamples"
NAMESPACE = "t2i-system"
VALUE_SETS = sorted((repository_root() / "charts" / "t2i-operator" / "ci").glob("*-values.yaml"))
RESTRICTED_POD = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}

Rendered = list[dict[str, Any]]
Render = Callable[..., Rendered]


def of_kind(documents: Rendered, kind: str) -> Rendered:
    return [document for document in documents if document["kind"] == kind]


def deployment_of(documents: Rendered) -> dict[str, Any]:
    (deployment,) = of_kind(documents, "Deployment")
    return deployment


def pod_of(documents: Rendered) -> dict[str, Any]:
    template: dict[str, Any] = deployment_of(documents)["spec"]["template"]
    return template


def environment_of(documents: Rendered) -> dict[str, str]:
    (container,) = pod_of(documents)["spec"]["containers"]
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


def rules_of(documents: Rendered) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for role in (*of_kind(documents, "Role"), *of_kind(documents, "ClusterRole")):
        for rule in role["rules"]:
            yield role, rule


@pytest.fixture(params=VALUE_SETS, ids=lambda path: path.stem.removesuffix("-values"))
def value_set(request: pytest.FixtureRequest) -> dict[str, Any]:
    path: Path = request.param
    values: dict[str, Any] = yaml.safe_load(path.read_text())
    return values


def test_what_holds_for_every_value_set(render: Render, value_set: dict[str, Any]) -> None:
    documents = render(values=value_set)
    ours = [each for each in documents if each["kind"] != "ConfigMap"]

    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    assert [
        each for each in documents if not each["metadata"].get("namespace") and each["kind"] not in cluster_wide
    ] == []
    assert {each["metadata"]["labels"]["app.kubernetes.io/instance"] for each in ours} == {"t2i-operator"}
    pods = [pod_of(documents), *of_kind(documents, "Pod")]
    assert len(pods) == 2
    for pod in pods:
        (container,) = pod["spec"]["containers"]
        assert pod["spec"]["securityContext"] == RESTRICTED_POD
        assert container["securityContext"] == RESTRICTED_CONTAINER
        assert container["resources"]["limits"]["memory"]
    (service,) = of_kind(documents, "Service")
    labels = pod_of(documents)["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= labels
    assert deployment_of(documents)["spec"]["selector"]["matchLabels"].items() <= labels
    assert not service["spec"]["selector"].items() <= of_kind(documents, "Pod")[0]["metadata"]["labels"].items()
    for _, rule in rules_of(documents):
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
    # The operator understands what it is told.
    settings = parse([], {**environment_of(documents), "POD_NAME": "pod-1", "POD_NAMESPACE": NAMESPACE})
    assert settings.namespaces == tuple(value_set.get("watchNamespaces", ()))
    assert len(settings.storage_allow) == len(value_set.get("storage", {}).get("allow", ()))


def test_secrets_are_readable_only_where_values_say_so(render: Render) -> None:
    def granted(*settings: str) -> list[tuple[str, list[str], list[str] | None]]:
        return [
            (role["metadata"].get("namespace", "everywhere"), rule["verbs"], rule.get("resourceNames"))
            for role, rule in rules_of(render(*settings))
            if "secrets" in rule["resources"]
        ]

    assert granted() == []
    assert granted("storage.credentialNamespaces={a,b}") == [("a", ["get"], None), ("b", ["get"], None)]
    assert granted("storage.credentialSecrets.a={x,y}") == [("a", ["get"], ["x", "y"])]
    # Both: the wider one holds.
    assert granted("storage.credentialSecrets.a={x}", "storage.credentialNamespaces={a}") == [("a", ["get"], None)]


def test_the_crd_in_the_chart_is_the_one_rendered_from_the_models(chart: Path) -> None:
    assert (chart / "files" / CRD).read_bytes() == (repository_root() / "crds" / CRD).read_bytes(), "make crds"


def test_the_crd_is_rendered_unchanged_and_stays_at_uninstall_unless_told_otherwise(render: Render) -> None:
    (crd,) = of_kind(render(), "CustomResourceDefinition")
    (let_go,) = of_kind(render("crds.keep=false"), "CustomResourceDefinition")
    source = yaml.safe_load((repository_root() / "crds" / CRD).read_text())

    assert crd["spec"] == source["spec"]
    assert crd["metadata"]["name"] == source["metadata"]["name"]
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "annotations" not in let_go["metadata"]
    assert not of_kind(render("crds.enabled=false"), "CustomResourceDefinition")


def test_named_namespaces_replace_every_cluster_wide_right(render: Render) -> None:
    everywhere, named = render(), render("watchNamespaces={a,b}")

    assert len(of_kind(everywhere, "ClusterRoleBinding")) == 1
    assert not of_kind(named, "ClusterRoleBinding")
    # What is left are users' roles, which nobody is bound to.
    assert all("-jobs-" in role["metadata"]["name"] for role in of_kind(named, "ClusterRole"))
    assert not of_kind(render("watchNamespaces={a,b}", "userRoles.create=false"), "ClusterRole")
    assert {role["metadata"]["namespace"] for role in of_kind(named, "RoleBinding")} == {"a", "b", NAMESPACE}
    assert environment_of(named)["T2I_NAMESPACE"] == "a,b"
    assert "T2I_NAMESPACE" not in environment_of(everywhere)


def test_several_replicas_roll_spread_and_have_a_budget(render: Render) -> None:
    one, two = render(), render("replicas=2")

    assert deployment_of(one)["spec"]["strategy"] == {"type": "Recreate"}
    assert deployment_of(two)["spec"]["strategy"]["type"] == "RollingUpdate"
    assert not of_kind(one, "PodDisruptionBudget")
    assert not of_kind(render("replicas=2", "podDisruptionBudget.enabled=false"), "PodDisruptionBudget")
    (budget,) = of_kind(two, "PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"].items() <= pod_of(two)["metadata"]["labels"].items()
    (spread,) = pod_of(two)["spec"]["topologySpreadConstraints"]
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
    assert "topologySpreadConstraints" not in pod_of(one)["spec"]


DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("settings", "operator", "trainer"),
    [
        ((), "ghcr.io/t2i-operator/t2i-operator:0.1.0", "ghcr.io/t2i-operator/t2i-trainer:0.1.0"),
        (
            ("image.tag=v2", f"image.digest={DIGEST}", f"trainerImage.digest={DIGEST}"),
            f"ghcr.io/t2i-operator/t2i-operator:v2@{DIGEST}",
            f"ghcr.io/t2i-operator/t2i-trainer@{DIGEST}",
        ),
        (
            ("global.imageRegistry=mirror.example.com:5000/proxy/",),
            "mirror.example.com:5000/proxy/t2i-operator/t2i-operator:0.1.0",
            "mirror.example.com:5000/proxy/t2i-operator/t2i-trainer:0.1.0",
        ),
        (
            ("global.imageRegistry=mirror", "image.repository=localhost/a", "trainerImage.repository=team/b"),
            "mirror/a:0.1.0",
            "mirror/team/b:0.1.0",
        ),
    ],
    ids=["defaults", "digests", "mirror", "mirror-of-others"],
)
def test_where_both_images_come_from(render: Render, settings: tuple[str, ...], operator: str, trainer: str) -> None:
    documents = render(*settings)
    images = {pod["spec"]["containers"][0]["image"] for pod in (pod_of(documents), *of_kind(documents, "Pod"))}

    assert images == {operator}
    assert environment_of(documents)["T2I_TRAINER_IMAGE"] == trainer


def test_monitors_appear_where_the_cluster_knows_them_or_when_told(render: Render) -> None:
    known = ("--api-versions=monitoring.coreos.com/v1/PodMonitor",)

    def monitors(*settings: str, flags: tuple[str, ...] = ()) -> list[str]:
        return sorted(each["kind"] for each in render(*settings, flags=flags) if each["kind"].endswith("Monitor"))

    both = ["PodMonitor", "ServiceMonitor"]
    assert monitors() == []
    assert monitors(flags=known) == both
    assert monitors("metrics.monitors=Always") == both
    assert monitors("metrics.monitors=Never", flags=known) == []


def test_the_operator_knows_how_often_it_is_scraped_and_whether_at_all(render: Render) -> None:
    def told(*settings: str) -> str:
        return environment_of(render("metrics.interval=1m30s", *settings))["T2I_SCRAPE_INTERVAL"]

    assert told() == "1m30s"
    assert told("metrics.scrapeAnnotations=false") == "0"
    assert told("metrics.scrapeAnnotations=false", "metrics.monitors=Always") == "1m30s"


def test_prometheus_finds_operator_and_trainers_and_joins_their_series(render: Render) -> None:
    documents = render("metrics.monitors=Always", "watchNamespaces={a}", "metrics.monitorLabels.release=stack")
    (service_monitor,) = of_kind(documents, "ServiceMonitor")
    (pod_monitor,) = of_kind(documents, "PodMonitor")
    (service,) = of_kind(documents, "Service")

    assert service_monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = service_monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["honorLabels"]) == (service["spec"]["ports"][0]["name"], True)
    assert pod_monitor["spec"]["namespaceSelector"] == {"matchNames": ["a"]}
    (trainers,) = pod_monitor["spec"]["podMetricsEndpoints"]
    assert trainers["port"] == "metrics"
    assert {each["targetLabel"] for each in trainers["relabelings"]} >= {"job_namespace", "job_name"}
    assert service_monitor["metadata"]["labels"]["release"] == pod_monitor["metadata"]["labels"]["release"] == "stack"
    assert pod_of(documents)["metadata"]["annotations"]["prometheus.io/port"] == "8080"


def test_dashboards_come_as_they_are_where_the_sidecar_of_grafana_looks(chart: Path, render: Render) -> None:
    files = {path.name: path.read_text() for path in (chart / "dashboards").glob("*.json")}

    def dashboards(*settings: str) -> Rendered:
        return [each for each in of_kind(render(*settings), "ConfigMap") if "-dashboard-" in each["metadata"]["name"]]

    found = dashboards()
    assert len(found) == len(files) >= 2
    contents = {name: text for each in found for name, text in each["data"].items()}
    assert {name: json.loads(text) for name, text in contents.items()} == {
        name: json.loads(text) for name, text in files.items()
    }
    assert {each["metadata"]["labels"]["grafana_dashboard"] for each in found} == {"1"}
    assert {each["metadata"]["namespace"] for each in found} == {NAMESPACE}
    assert not any("annotations" in each["metadata"] for each in found)
    assert not dashboards("dashboards.create=false")
    moved = dashboards("dashboards.namespace=grafana", "dashboards.folder=Training runs", "dashboards.labels.team=ml")
    assert {each["metadata"]["namespace"] for each in moved} == {"grafana"}
    assert {each["metadata"]["labels"]["team"] for each in moved} == {"ml"}
    assert {json.dumps(each["metadata"]["annotations"]) for each in moved} == {'{"grafana_folder": "Training runs"}'}


def test_the_network_policy_lets_in_scrapers_and_helm_test_alone(render: Render) -> None:
    assert not of_kind(render(), "NetworkPolicy")
    chosen = "networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus"
    documents = render("networkPolicy.enabled=true", chosen)
    (policy,) = of_kind(documents, "NetworkPolicy")
    (ingress,) = policy["spec"]["ingress"]

    assert ingress["ports"] == [{"port": "http", "protocol": "TCP"}]
    scraper, test = ingress["from"]
    assert scraper == {"podSelector": {"matchLabels": {"app": "prometheus"}}}
    (pod,) = of_kind(documents, "Pod")
    assert test["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert policy["spec"]["egress"] == [{}]


def test_trainers_are_reached_by_each_other_by_scrapers_and_by_the_operator(chart: Path, render: Render) -> None:
    chosen = "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=monitoring"
    assert len(of_kind(render("networkPolicy.enabled=true", chosen), "NetworkPolicy")) == 1
    documents = render("networkPolicy.enabled=true", chosen, "watchNamespaces={a,b}")
    _, *policies = of_kind(documents, "NetworkPolicy")

    assert [each["metadata"]["namespace"] for each in policies] == ["a", "b"]
    spec = policies[0]["spec"]
    # As every pod of a job is labelled, and its port named.
    (example,) = yaml.safe_load(yaml.safe_load((chart / "Chart.yaml").read_text())["annotations"][EXAMPLES])
    job = DiffusionTrainingJob.model_validate_json(json.dumps(example))
    *_, batch_job = children(job, attempt=1, beginning=Beginning(), defaults=TrainerDefaults(image="trainer"))
    pod = batch_job["spec"]["template"]
    (expression,) = spec["podSelector"]["matchExpressions"]
    assert expression == {"key": expression["key"], "operator": "Exists"}
    assert expression["key"] in pod["metadata"]["labels"]
    siblings, metrics = spec["ingress"]
    assert siblings == {"from": [{"podSelector": spec["podSelector"]}]}
    assert metrics["ports"] == [{"port": "metrics", "protocol": "TCP"}]
    assert "metrics" in [port["name"] for port in pod["spec"]["containers"][0]["ports"]]
    scraper, operator = metrics["from"]
    assert scraper == {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}
    assert operator["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": NAMESPACE}
    assert operator["podSelector"]["matchLabels"].items() <= pod_of(documents)["metadata"]["labels"].items()
    assert spec["policyTypes"] == ["Ingress"]


def test_the_environment_is_what_the_operator_understands(render: Render) -> None:
    chosen = (
        "watchNamespaces={a,b}",
        "trainerImage.tag=v7",
        "workers=3",
        "storage.workers=2",
        "lease.durationSeconds=20",
        "metrics.interval=30s",
    )
    environment = environment_of(render(*chosen, "storage.ambientCredentials=true"))
    settings = parse([], {**environment, "POD_NAME": "pod-1", "POD_NAMESPACE": NAMESPACE})

    assert settings.trainer_image.endswith(":v7")
    assert (settings.workers, settings.storage_workers, settings.scrape_interval) == (3, 2, 30)
    assert (settings.lease_namespace, settings.lease_name, settings.identity) == (NAMESPACE, "t2i-operator", "pod-1")
    assert (settings.metrics_port, settings.lease_seconds, settings.ambient_credentials) == (8080, 20, True)


def test_extra_objects_are_rendered_as_yaml_and_as_text(chart: Path, render: Render) -> None:
    values = yaml.safe_load((chart / "ci" / "extra-objects-values.yaml").read_text())

    as_yaml, as_text = of_kind(render("dashboards.create=false", values=values), "ConfigMap")

    assert (as_yaml["metadata"]["name"], as_yaml["data"]) == ("t2i-operator-extra", {"port": "8080"})
    assert as_text["metadata"]["name"] == "t2i-operator-text"


def test_the_hub_is_told_the_truth(chart: Path, render: Render) -> None:
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    told = {name.removeprefix("artifacthub.io/"): yaml.safe_load(text) for name, text in about["annotations"].items()}
    (crd,) = of_kind(render(), "CustomResourceDefinition")
    documents = render()

    assert {each["image"] for each in told["images"]} == {
        pod_of(documents)["spec"]["containers"][0]["image"],
        environment_of(documents)["T2I_TRAINER_IMAGE"],
    }
    assert [each["name"] for each in told["crds"]] == [crd["metadata"]["name"]]
    for example in told["crdsExamples"]:
        DiffusionTrainingJob.model_validate_json(json.dumps(example))

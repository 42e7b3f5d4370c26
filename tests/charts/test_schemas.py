"""kubeconform on what the chart renders and the examples hold, with the API server's own OpenAPI as schemas.

The API server judges the same objects in test_cluster.py. kubeconform is what people run where they have no cluster,
and it sees the text that Helm prints: a key that stands there twice, for example.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from t2i_dev.cluster import LocalCluster
from t2i_dev.json_schemas import defined, served, write_json_schemas
from t2i_dev.paths import repository_root
from t2i_dev.tools import KUBECONFORM, program

pytestmark = pytest.mark.cluster

VALUE_SETS = sorted((repository_root() / "charts" / "t2i-operator" / "ci").glob("*-values.yaml"))
SERVED = (
    "v1",
    "apps/v1",
    "policy/v1",
    "networking.k8s.io/v1",
    "rbac.authorization.k8s.io/v1",
    "apiextensions.k8s.io/v1",
)

Conform = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def conform(control_plane: LocalCluster, monitoring_crds: Path, tmp_path_factory: pytest.TempPathFactory) -> Conform:
    """Check a stream of documents; returns kubeconform's report."""
    files = (monitoring_crds, *(repository_root() / "crds").glob("*.yaml"))
    crds = (crd for file in files for crd in yaml.load_all(file.read_text(), yaml.CSafeLoader))
    documents = [*(served(control_plane.client, each) for each in SERVED), *map(defined, crds)]
    location = write_json_schemas(documents, tmp_path_factory.mktemp("schemas"))
    command = [str(program(KUBECONFORM)), "-strict", "-summary", "-output=json", f"-schema-location={location}"]

    def report(text: str) -> dict[str, Any]:
        result = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
        answer: dict[str, Any] = json.loads(result.stdout)
        assert (result.returncode == 0) == (not answer["resources"]), result.stderr
        return answer

    return report


def test_what_helm_prints_conforms_in_every_value_set(
    conform: Conform, template: Callable[..., str], render: Callable[..., list[dict[str, Any]]]
) -> None:
    for path in VALUE_SETS:
        values = yaml.safe_load(path.read_text())
        report = conform(template(values=values))
        assert report["resources"] == [], path.stem
        counted = {"valid": len(render(values=values)), "invalid": 0, "errors": 0, "skipped": 0}
        assert report["summary"] == counted, path.stem


def test_the_examples_conform(conform: Conform) -> None:
    for path in sorted((repository_root() / "examples").glob("*.yaml")):
        report = conform(path.read_text())
        assert report["resources"] == [], path.name
        assert report["summary"]["valid"] > 0, path.name


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("Deployment", "replicas: 1", "replicas: one"),
        ("Deployment", "replicas: 1", "replcas: 1"),
        ("Deployment", "replicas: 1", "replicas: 1\n  replicas: 1"),
        ("Service", "  ports:", "  prots:"),
        ("Role", "rules:", "rule:"),
        ("NetworkPolicy", "podSelector:", "podSelectors:"),
        ("PodMonitor", "podMetricsEndpoints:", "endpoints:"),
        ("ServiceMonitor", "honorLabels: true", "honorLabels: maybe"),
        ("CustomResourceDefinition", "scope: Namespaced", "scpe: Namespaced"),
    ],
)
def test_a_mistake_of_each_kind_is_found(
    conform: Conform, template: Callable[..., str], kind: str, right: str, wrong: str
) -> None:
    everything = template("metrics.monitors=Always", "networkPolicy.enabled=true")
    text = next(each for each in everything.split("\n---\n") if f"\nkind: {kind}\n" in f"\n{each}")
    assert conform(text)["summary"]["valid"] == 1
    assert right in text

    (found,) = conform(text.replace(right, wrong, 1))["resources"]

    assert found["kind"] == kind or "already set" in found["msg"], found

"""values.yaml, its schema and the README: every value known to all three, and no typo gets through."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from t2i_dev.chart_readme import document, readme

Helm = Callable[..., subprocess.CompletedProcess[str]]
RENAMED = {"namespaces"}
DIGEST = "sha256:" + "a" * 64


@pytest.fixture(scope="session")
def refused(helm: Helm, chart: Path) -> Callable[[dict[str, Any]], str]:
    """Render with these values; returns why that is refused."""

    def why(values: dict[str, Any]) -> str:
        result = helm("template", "t2i-operator", str(chart), "--values=-", stdin=json.dumps(values))
        assert result.returncode != 0, values
        return result.stderr

    return why


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"imgae": {"tag": "1"}}, "imgae"),
        ({"image": {"tga": "1"}}, "tga"),
        ({"image": {"digest": "sha256:abc"}}, "digest"),
        ({"image": {"repository": f"ghcr.io/x/y@{DIGEST}"}}, "repository"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"trainerImage": {"pullPolicy": "Always"}}, "pullPolicy"),
        ({"global": {"imageRegistery": "x"}}, "imageRegistery"),
        ({"global": {"imageRegistry": "https://x"}}, "imageRegistry"),
        ({"imagePullSecrets": ["registry"]}, "imagePullSecrets"),
        ({"namespaces": ["team-a"]}, "watchNamespaces={team-a}"),
        ({"watchNamespaces": ["Team_A"]}, "Team_A"),
        ({"storage": {"credentialsNamespaces": ["default"]}}, "credentialsNamespaces"),
        ({"storage": {"credentialSecrets": {"a": []}}}, "credentialSecrets"),
        ({"storage": {"credentialSecrets": {"A_": ["x"]}}}, "A_"),
        ({"storage": {"allow": [{"namespaces": ["a"], "locations": ["s3://b"]}]}}, "endpoints"),
        ({"storage": {"allow": [{"namespaces": ["a"], "endpoints": [""], "locations": ["b"]}]}}, "locations"),
        ({"storage": {"allow": [{"namespaces": ["a"], "endpoints": ["x"], "locations": ["s3://b"]}]}}, "endpoints"),
        ({"crds": {"enable": True}}, "enable"),
        ({"crds": {"keep": "yes"}}, "keep"),
        ({"userRoles": {"creat": True}}, "creat"),
        ({"serviceAccount": {"annotation": {}}}, "annotation"),
        ({"replicas": "two"}, "replicas"),
        ({"podDisruptionBudget": {"minAvailable": 1}}, "minAvailable"),
        ({"lease": {"durationSeconds": 1}}, "durationSeconds"),
        ({"metrics": {"monitors": True}}, "monitors"),
        ({"metrics": {"interval": "15"}}, "interval"),
        ({"networkPolicy": {"from": []}}, "from"),
        ({"networkPolicy": {"metricsFrom": [{"podSelektor": {}}]}}, "podSelektor"),
        ({"resources": {"limit": {}}}, "limit"),
        ({"tolerations": [{"kee": "x"}]}, "kee"),
        ({"affinity": {"podAffinities": {}}}, "podAffinities"),
        ({"topologySpreadConstraints": [{"topologyKey": "zone"}]}, "maxSkew"),
        ({"env": [{"nam": "x"}]}, "nam"),
        ({"volumes": [{"name": "tmp", "emptyDir": {}}]}, "volumes"),
        ({"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}, "hostPath"),
        ({"extraObjects": [{"kind": "ConfigMap"}]}, "extraObjects"),
        ({"alerts": {"T2IGPUIdle": None}}, "T2IGPUIdle"),  # null takes the key away; enabled: false is the switch
    ],
    ids=json.dumps,
)
def test_a_wrong_value_is_refused_by_name(refused: Callable[[dict[str, Any]], str], values: Any, named: str) -> None:
    assert named in refused(values)


def test_a_parent_chart_may_put_anything_into_global(helm: Helm, chart: Path, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    (parent / "charts").mkdir(parents=True)
    (parent / "charts" / "t2i-operator").symlink_to(chart)
    (parent / "Chart.yaml").write_text("apiVersion: v2\nname: parent\nversion: 1.0.0\n")
    (parent / "values.yaml").write_text("global: {storageClass: fast, imageRegistry: mirror.example.com}\n")

    result = helm("template", "release", str(parent))

    assert result.returncode == 0, result.stderr
    assert "mirror.example.com/t2i-operator/t2i-operator:" in result.stdout


def leaves(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every path at which values and schema do not know the same names."""
    described = schema.get("properties")
    if described is None or not values or path == ".resources":
        return
    for name in set(values) ^ (set(described) - (RENAMED if not path else set())):
        yield f"{path}.{name}", "in the values" if name in values else "in the schema"
    for name in set(values) & set(described):
        if isinstance(values[name], dict):
            yield from leaves(values[name], described[name], f"{path}.{name}")


def closed(schema: Any, path: str = "") -> Iterator[str]:
    """Yield every object of the schema that names properties and lets others in."""
    if isinstance(schema, list):
        for each in schema:
            yield from closed(each, path)
    elif isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and schema.get("additionalProperties") is not False:
            yield path
        for name, each in schema.items():
            yield from closed(each, f"{path}/{name}")


def test_values_and_schema_know_the_same_names(chart: Path) -> None:
    values = yaml.safe_load((chart / "values.yaml").read_text())
    schema = json.loads((chart / "values.schema.json").read_text())

    assert list(leaves(values, schema)) == []


def test_the_schema_lets_no_unknown_name_in(chart: Path) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())

    # Unknown names in global are refused by a template; a whole Kubernetes object is the API server's to judge.
    assert list(closed(schema)) == ["/properties/global", "/properties/extraObjects/items/anyOf"]


def test_every_value_has_its_comment_and_the_readme_is_current(chart: Path) -> None:
    described = document((chart / "values.yaml").read_text())

    assert [value.path for value in described if not value.text] == []
    assert (chart / "README.md").read_text() == readme(chart), "make chart-readme"

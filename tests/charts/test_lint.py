"""Two linters on every value set of charts/t2i-operator/ci: Helm's own, and the Helm project's chart-testing (ct).

ct brings yamllint and a schema of Chart.yaml; it reads charts/ct.yaml, as on anybody's machine.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from t2i_dev.paths import repository_root
from t2i_dev.tools import CHART_TESTING, HELM, HELM3, Tool, program

CHARTS = repository_root() / "charts"
VALUE_SETS = sorted((CHARTS / "t2i-operator" / "ci").glob("*-values.yaml"))

Helm = Callable[..., subprocess.CompletedProcess[str]]


def chart_testing(folder: Path, helm: Tool) -> subprocess.CompletedProcess[str]:
    """Run ct in a folder that holds `charts/`."""
    # yamllint and yamale lie beside Python.
    places = [program(helm, "helm").parent, Path(sys.executable).parent, os.environ["PATH"]]
    environment = {**os.environ, "PATH": os.pathsep.join(map(str, places))}
    command = [str(program(CHART_TESTING, "ct")), "lint", "--config", "charts/ct.yaml"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_there_are_enough_value_sets() -> None:
    assert len(VALUE_SETS) >= 8


def test_helm_finds_nothing_to_complain_about(helm: Helm) -> None:
    for path in VALUE_SETS:
        result = helm("lint", "--strict", str(CHARTS / "t2i-operator"), f"--values={path}")
        assert result.returncode == 0, f"{path.stem}: {result.stdout}{result.stderr}"
        assert "[WARNING]" not in result.stdout, path.stem


@pytest.mark.parametrize("helm", [pytest.param(HELM3, marks=pytest.mark.exhaustive), HELM], ids=lambda tool: tool.name)
def test_chart_testing_finds_nothing_to_complain_about(helm: Tool) -> None:
    result = chart_testing(repository_root(), helm)

    assert result.returncode == 0, result.stdout + result.stderr
    for path in VALUE_SETS:
        assert path.name in result.stdout, result.stdout


@pytest.mark.parametrize(
    ("file", "right", "wrong", "named"),
    [
        ("Chart.yaml", "appVersion:", "appVersoin:", "appVersoin"),
        ("Chart.yaml", "artifacthub.io/license", "artifacthub.com/license", "artifacthub.com"),
        ("values.yaml", "replicas: 1\n", "replicas: 1 \n", "trailing spaces"),
        ("values.yaml", "replicas: 1\n", "replicas: 1\nreplicas: 2\n", "duplication of key"),
        ("ci/placed-values.yaml", "replicas: 2", "replicas: two", "replicas"),
    ],
    ids=["unknown-field", "unknown-annotation", "untidy-values", "value-given-twice", "bad-value-set"],
)
def test_chart_testing_would_say_so(tmp_path: Path, file: str, right: str, wrong: str, named: str) -> None:
    shutil.copytree(CHARTS, tmp_path / "charts")
    path = tmp_path / "charts" / "t2i-operator" / file
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong, 1))

    result = chart_testing(tmp_path, HELM)

    assert result.returncode != 0
    assert named in result.stdout + result.stderr

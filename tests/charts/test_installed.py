"""Every command of docs/install.md and docs/upgrade.md in its order, on real pods, each page with one major Helm.

`helm test` passes where only restricted pods run. What either Helm does on the API server: test_cluster.py.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from t2i_dev.cluster import LocalCluster
from t2i_dev.images.load import load_images
from t2i_dev.images.project import OPERATOR_IMAGE, build_project_images
from t2i_dev.paths import repository_root
from t2i_dev.progress import Progress
from t2i_dev.tools import HELM, HELM3, Tool, program

pytestmark = pytest.mark.end_to_end

DOCS = repository_root() / "docs"
PREVIOUS = Path(__file__).parent / "previous" / "t2i-operator-0.1.0.tgz"
PREPARE: dict[str, tuple[str, ...]] = {
    "install.md": (),
    "upgrade.md": (
        "kubectl create namespace t2i-system",
        f"helm install t2i-operator {PREVIOUS} --namespace t2i-system --values values.yaml --wait",
    ),
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def commands(page: str) -> list[tuple[str, int]]:
    """Return the commands of a page, each with the exit status that its comment announces."""
    found = []
    for line in "".join(blocks(page, "console")).splitlines():
        command, _, comment = line.partition(" # ")
        status = re.search(r"exit status (\d)", comment)
        found.append((command.strip(), int(status[1]) if status else 0))
    return found


@pytest.fixture
def machine(local_cluster: LocalCluster, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A shell's environment, with the Helm of `request.param`, on a cluster that has the image that was built here."""
    helm: Tool = request.param
    quiet = Progress(quiet=True)
    load_images(local_cluster, build_project_images(quiet, (OPERATOR_IMAGE,)), quiet)
    (tmp_path / "charts").symlink_to(repository_root() / "charts")
    environment = {**os.environ, **local_cluster.environment()}
    environment["PATH"] = os.pathsep.join([str(program(helm, "helm").parent), environment["PATH"]])
    yield environment | {f"HELM_{kind}_HOME": str(tmp_path / kind) for kind in ("CACHE", "CONFIG", "DATA")}
    local_cluster.kubectl("delete", "namespace", "t2i-system", "--ignore-not-found")


@pytest.mark.parametrize(
    ("page", "machine"),
    [
        pytest.param("install.md", HELM, id="install"),
        pytest.param("upgrade.md", HELM3, id="upgrade", marks=pytest.mark.exhaustive),
    ],
    indirect=["machine"],
)
def test_the_commands_of_a_page_work_in_its_order(
    page: str, machine: dict[str, str], local_cluster: LocalCluster, tmp_path: Path
) -> None:
    repository, tag = OPERATOR_IMAGE.rsplit(":", 1)
    # As the page says, with the image that was built here. What 0.1.0 does not know comes with the upgrade.
    values = yaml.safe_load(blocks("install.md", "yaml")[0]) | {"image": {"repository": repository, "tag": tag}}
    if PREPARE[page]:
        values["storage"].pop("allow")
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    ran = [*((each, 0) for each in PREPARE[page]), *commands(page)]
    assert len(ran) >= 10
    for command, status in ran:
        result = subprocess.run(
            shlex.split(command),
            cwd=tmp_path,
            env=machine,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        said = result.stdout + result.stderr
        if command.startswith("helm test") and result.returncode != 0:
            logs = ("logs", "--all-containers", "--prefix", "-l", "app.kubernetes.io/component", "-A", "--tail=50")
            said += local_cluster.kubectl(*logs)
        assert result.returncode == status, f"{command}\n{said}"
        if command.startswith("helm test"):
            assert "Succeeded" in said, said

"""Every command of docs/install.md in its order, on real pods: `helm test` passes where only restricted pods run."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from t2i_dev.cluster import LocalCluster
from t2i_dev.images.load import load_images
from t2i_dev.images.project import OPERATOR_IMAGE, build_project_images
from t2i_dev.paths import repository_root
from t2i_dev.progress import Progress

pytestmark = pytest.mark.end_to_end

PAGE = repository_root() / "docs" / "install.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def commands() -> list[tuple[str, int]]:
    found = []
    for line in "".join(blocks("console")).splitlines():
        command, _, comment = line.partition(" # ")
        status = re.search(r"exit status (\d)", comment)
        found.append((command.strip(), int(status[1]) if status else 0))
    return found


def test_the_commands_of_the_page_work_in_its_order(
    local_cluster: LocalCluster, helm_program: Path, tmp_path: Path
) -> None:
    quiet = Progress(quiet=True)
    load_images(local_cluster, build_project_images(quiet, (OPERATOR_IMAGE,)), quiet)
    repository, tag = OPERATOR_IMAGE.rsplit(":", 1)
    # As the page says, with the image that was built here.
    values = yaml.safe_load(blocks("yaml")[0]) | {"image": {"repository": repository, "tag": tag}}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "charts").symlink_to(repository_root() / "charts")
    environment = {**os.environ, **local_cluster.environment()}
    environment["PATH"] = os.pathsep.join([str(helm_program.parent), environment["PATH"]])
    environment |= {f"HELM_{kind}_HOME": str(tmp_path / kind) for kind in ("CACHE", "CONFIG", "DATA")}
    ran = commands()
    assert len(ran) >= 14
    for command, status in ran:
        result = subprocess.run(
            shlex.split(command),
            cwd=tmp_path,
            env=environment,
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

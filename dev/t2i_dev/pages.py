"""The console blocks of a documentation page, run as its reader would: one shell a block, with the page's variables.

A block that begins with `export` is what the reader fills in, and is left to whoever runs the page. `# exit status 1`
in a block says how it ends.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from t2i_dev.cluster import LocalCluster
from t2i_dev.tools import HELM, KUBERNETES

SECONDS = 180


@dataclass(frozen=True, slots=True)
class Block:
    """The commands of one block, and the exit status that it announces."""

    page: str
    commands: str
    status: int


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page in their order."""
    found = []
    for commands in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
        status = re.search(r"# exit status (\d)", commands)
        if not commands.startswith("export "):
            found.append(Block(page.stem, commands, int(status[1]) if status else 0))
    return found


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody at a shell with a cluster, its bucket and the variables that a page asks for."""

    cluster: LocalCluster
    home: Path
    variables: Mapping[str, str]

    def run(self, block: Block) -> subprocess.CompletedProcess[str]:
        """Run a block from its first command to the first that fails."""
        tools = (HELM.directory, KUBERNETES.directory, Path(sys.executable).parent)
        environment = {
            **os.environ,
            **self.cluster.environment(),
            "PATH": os.pathsep.join([*map(str, tools), os.environ["PATH"]]),
            "AWS_ACCESS_KEY_ID": self.cluster.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": self.cluster.s3.secret_key,
            **{f"HELM_{kind}_HOME": str(self.home / kind) for kind in ("CACHE", "CONFIG", "DATA")},
            **self.variables,
        }
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.commands],
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def follow(self, blocks: list[Block]) -> dict[str, str]:
        """Run blocks in turn; returns what was said, by page. Raises AssertionError where one ends otherwise."""
        said: dict[str, str] = {}
        for block in blocks:
            result = self.run(block)
            if result.returncode != block.status:
                raise AssertionError(f"{block.page}:\n{block.commands}\n{result.stdout}{result.stderr}")
            said[block.page] = said.get(block.page, "") + result.stdout
        return said


def about_job(namespace: str, name: str, prometheus: str) -> dict[str, str]:
    """Return the variables of docs/monitoring.md and the runbooks."""
    return {
        "NAMESPACE": namespace,
        "JOB": name,
        "OF_JOB": f'job_namespace="{namespace}", job_name="{name}"',
        "PROMETHEUS": prometheus,
    }

"""What an image means on this node: the program that its entry point starts, found beside this Python. Pure.

Nothing is pulled or unpacked: only images whose last path component is listed here can run, and containers that name
their own command.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i_api.attempt import CONFIGURATION_DIRECTORY, JOB_FILE, TERMINATION_LOG


@dataclass(frozen=True, slots=True)
class Program:
    """An entry point with the defaults of its image spelled out.

    Paths are rewritten like any other; `{address}` is the pod's, because here no pod has all addresses to itself.
    """

    command: tuple[str, ...]


PROGRAMS = {
    "t2i-operator": Program(("t2i-operator", "--metrics-host", "{address}")),
    "t2i-trainer": Program(
        (
            *("t2i-trainer", "--address", "{address}"),
            *("--job", f"{CONFIGURATION_DIRECTORY}/{JOB_FILE}", "--termination-log", TERMINATION_LOG),
        )
    ),
}


class UnknownImageError(Exception):
    """The container can start nothing on this node; the message is the waiting reason's."""


def command_of(container: dict[str, Any], address: str) -> list[str]:
    """Return the command line of a container, as Kubernetes combines image, `command` and `args`.

    https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/
    """
    arguments = list(container.get("args") or [])
    if container.get("command"):
        return [*container["command"], *arguments]
    name = repository_name(container["image"])
    program = PROGRAMS.get(name)
    if program is None:
        known = ", ".join(sorted(PROGRAMS))
        raise UnknownImageError(
            f"{container['image']}: the process node runs {known}, and containers that name a command of their own"
        )
    return [*(part.format(address=address) for part in program.command), *arguments]


def repository_name(image: str) -> str:
    """Return `t2i-trainer` for `registry:5000/team/t2i-trainer:0.1.0@sha256:…`."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def executable(name: str) -> str | None:
    """Return where a program lies: beside this Python first, whatever PATH says."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if "/" not in name and beside.exists() else shutil.which(name)

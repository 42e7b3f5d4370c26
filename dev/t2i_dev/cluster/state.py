"""What a cluster consists of while it runs, in a JSON file of its private directory.

The file serves `status`, `env` and restarts of single components. Stopping does not depend on it: every process also
carries the cluster's directory in its environment, so one that was started but not yet recorded is found as well.
"""

import os
import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from t2i_dev.cluster.layout import ControlPlaneAddresses, Files
from t2i_dev.processes import ProcessIdentity

CLUSTER_VARIABLE = "T2I_DEV_CLUSTER"


class Component(BaseModel):
    """One process and how to start it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    process: ProcessIdentity


class ClusterState(BaseModel):
    """The running cluster; `ready` turns true last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    directory: Path
    slot: int | None  # None: a control plane without a node
    addresses: ControlPlaneAddresses
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    components: tuple[Component, ...] = ()
    ready: bool = False

    def with_component(self, component: Component) -> "ClusterState":
        """The state with this component added or replaced."""
        others = tuple(each for each in self.components if each.name != component.name)
        return self.model_copy(update={"components": (*others, component)})

    def component(self, name: str) -> Component:
        """The component of that name. Raises `KeyError` with the names that exist."""
        for each in self.components:
            if each.name == name:
                return each
        raise KeyError(f"no component {name!r}; there are {sorted(each.name for each in self.components)}")

    @property
    def alive(self) -> bool:
        """Whether it became ready and every component still runs."""
        return self.ready and all(each.process.alive for each in self.components)


def save(state: ClusterState) -> None:
    """Replace the state file as a whole; it holds the S3 keys, so only its owner may read it."""
    path = Files(state.directory).state
    write_private(path, state.model_dump_json(indent=1))


def load(directory: Path) -> ClusterState | None:
    """The recorded state, or None when there is none (never started, or stopped)."""
    try:
        return ClusterState.model_validate_json(Files(directory).state.read_bytes())
    except FileNotFoundError:
        return None


def write_private(path: Path, text: str) -> None:
    """Write a file that readers see whole or not at all, with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    temporary.replace(path)

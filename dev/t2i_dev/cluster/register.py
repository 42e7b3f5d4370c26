"""The register of all clusters of this user: which name lives where, in which slot, and for whom.

One JSON file a cluster, written before anything is started and removed after everything is gone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from t2i_dev.cluster.state import write_private
from t2i_dev.errors import ClusterStateError
from t2i_dev.locks import exclusive
from t2i_dev.paths import clusters_directory
from t2i_dev.processes import ProcessIdentity

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"


class Registration(BaseModel):
    """A cluster that exists or is being made or removed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME_PATTERN)
    directory: Path
    slot: int | None
    owner: ProcessIdentity | None  # a test run; the cluster may be removed once it is gone


@contextmanager
def register_locked() -> Iterator[None]:
    """Hold the register: for claims of names and slots, never for the length of a start."""
    with exclusive(clusters_directory() / ".lock"):
        yield


@contextmanager
def name_locked(name: str) -> Iterator[None]:
    """Let one process at a time start or stop the cluster of this name."""
    lock = clusters_directory() / f".{name}.lock"
    with exclusive(lock):
        try:
            yield
        finally:
            if find(name) is None:
                lock.unlink(missing_ok=True)


def registrations() -> list[Registration]:
    """Every registered cluster, by name."""
    paths = sorted(clusters_directory().glob("*.json"))
    return [Registration.model_validate_json(path.read_bytes()) for path in paths]


def find(name: str) -> Registration | None:
    """The registration of that name."""
    return next((each for each in registrations() if each.name == name), None)


def add(registration: Registration) -> None:
    """Register; the caller holds the register and has chosen a free slot."""
    for each in registrations():
        if each.name == registration.name:
            raise ClusterStateError(f"a cluster named {each.name} exists in {each.directory}: stop it first")
        if each.directory == registration.directory:
            raise ClusterStateError(f"{each.directory} already belongs to the cluster {each.name}: choose another")
    write_private(_path(registration.name), registration.model_dump_json())


def remove(name: str) -> None:
    """Forget a cluster of which nothing is left."""
    _path(name).unlink(missing_ok=True)


def _path(name: str) -> Path:
    return clusters_directory() / f"{name}.json"

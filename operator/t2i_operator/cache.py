"""What the watch streams have shown of the custom resources, by key; the newest version wins whoever brings it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from t2i_api.attempt import LABEL_JOB

RawObject = dict[str, Any]


@dataclass(frozen=True, order=True)
class JobKey:
    """Namespace and name of a DiffusionTrainingJob."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def of(cls, raw: RawObject) -> "JobKey":
        """Return the key of a custom resource."""
        return cls(raw["metadata"]["namespace"], raw["metadata"]["name"])

    @classmethod
    def of_owner(cls, child: RawObject) -> "JobKey | None":
        """Return the key of the custom resource that a child's labels name, if they name one."""
        metadata = child["metadata"]
        name = metadata.get("labels", {}).get(LABEL_JOB)
        return cls(metadata["namespace"], name) if name else None


class JobCache:
    """Every DiffusionTrainingJob as last seen; `mark` is called with the key of whatever changed."""

    def __init__(self, mark: Callable[[JobKey], None]) -> None:
        self._jobs: dict[JobKey, RawObject] = {}
        self._mark = mark

    def __iter__(self) -> Iterator[RawObject]:
        return iter(list(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, key: JobKey) -> RawObject | None:
        """Return the newest version, or None once the job is gone."""
        return self._jobs.get(key)

    def put(self, raw: RawObject) -> None:
        """Take a version in and mark its key, unless this one or a newer one is known."""
        key = JobKey.of(raw)
        known = self._jobs.get(key)
        if known is not None and (_is_older(raw, known) or _same_version(raw, known)):
            return
        self._jobs[key] = raw
        self._mark(key)

    def drop(self, raw: RawObject) -> None:
        """Forget an object that was deleted, unless its name was given anew, and mark its key."""
        key = JobKey.of(raw)
        known = self._jobs.get(key)
        if known is not None and known["metadata"].get("uid") == raw["metadata"].get("uid"):
            del self._jobs[key]
        self._mark(key)

    def replace(self, listed: Iterable[RawObject]) -> None:
        """Take a complete listing in and mark all: what it lacks is gone, although no watch event said so."""
        fresh = {JobKey.of(raw): raw for raw in listed}
        for key, raw in list(self._jobs.items()):
            if key not in fresh:
                self.drop(raw)
        for key, raw in fresh.items():
            self.put(raw)
            self._mark(key)

    def mark_owner(self, child: RawObject) -> None:
        """Mark the job that a Job or pod belongs to."""
        key = JobKey.of_owner(child)
        if key is not None:
            self._mark(key)


def _same_version(raw: RawObject, known: RawObject) -> bool:
    mine, theirs = raw["metadata"], known["metadata"]
    return all(mine.get(name) == theirs.get(name) for name in ("uid", "resourceVersion"))


def _is_older(raw: RawObject, known: RawObject) -> bool:
    """Resource versions of one object are ordered integers (Kubernetes 1.35 API conventions, KEP-5504)."""
    mine, theirs = raw["metadata"], known["metadata"]
    if mine.get("uid") != theirs.get("uid"):
        return bool(mine.get("creationTimestamp", "") < theirs.get("creationTimestamp", ""))
    try:
        return int(mine["resourceVersion"]) < int(theirs["resourceVersion"])
    except (KeyError, ValueError):
        return False

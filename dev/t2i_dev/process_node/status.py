"""From what runs to a pod's status: phase, conditions and container states as the kubelet reports them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ContainerReport:
    """One container: its core/v1 state, whether its readiness probe passes, and how often it was started again."""

    name: str
    image: str
    state: Mapping[str, Any]
    ready: bool
    restarts: int

    @property
    def exit_code(self) -> int | None:
        """Of a terminated container."""
        terminated = self.state.get("terminated")
        return None if terminated is None else int(terminated["exitCode"])


def pod_status(reports: Sequence[ContainerReport], *, address: str, started_at: str, restarts: bool) -> dict[str, Any]:
    """Return core/v1 PodStatus; `restarts`: ended containers are started again (restartPolicy)."""
    phase = _phase(reports, restarts=restarts)
    ready = bool(reports) and all(report.ready for report in reports)
    conditions = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    return {
        "phase": phase,
        "hostIP": "127.0.0.1",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": started_at,
        "conditions": [
            {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": started_at}
            for kind, holds in conditions.items()
        ],
        "containerStatuses": [_container(report) for report in reports],
    }


def failed_status(reason: str, message: str) -> dict[str, Any]:
    """Return the status of a pod that cannot be run here at all."""
    return {"phase": "Failed", "reason": reason, "message": message}


def waiting(container: Mapping[str, Any], reason: str, message: str) -> ContainerReport:
    """Report a container that does not start yet."""
    state = {"waiting": {"reason": reason, "message": message}}
    return ContainerReport(container["name"], container["image"], state, ready=False, restarts=0)


def _phase(reports: Sequence[ContainerReport], *, restarts: bool) -> str:
    codes = [report.exit_code for report in reports]
    if not restarts and codes and all(code is not None for code in codes):
        return "Succeeded" if all(code == 0 for code in codes) else "Failed"
    return "Pending" if any("waiting" in report.state for report in reports) else "Running"


def _container(report: ContainerReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "image": report.image,
        "imageID": f"process://{report.image}",
        "state": dict(report.state),
        "ready": report.ready,
        "started": "running" in report.state,
        "restartCount": report.restarts,
    }

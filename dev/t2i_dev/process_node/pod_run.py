"""One pod from its appearance to its end, moved on by `step`: volumes, containers, probes, deletion."""

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from t2i_dev.process_node.container import ContainerProcess, rfc3339, start_container
from t2i_dev.process_node.environment import Fetch, MissingReferenceError, environment_of, fields_of
from t2i_dev.process_node.path_view import PathView
from t2i_dev.process_node.programs import UnknownImageError, command_of, executable
from t2i_dev.process_node.status import ContainerReport, failed_status, pod_status, waiting
from t2i_dev.process_node.volumes import mounted_paths, prepare_volumes

DEFAULT_TERMINATION_PATH = "/dev/termination-log"
RESTART_DELAY_SECONDS = 2.0
PROBE_TIMEOUT_SECONDS = 1.0
# What a process takes over from this machine; everything else comes from the pod.
INHERITED = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "TERM", "OMP_WAIT_POLICY")


@dataclass
class PodRun:
    """A pod of this node. `fetch` reads ConfigMaps and Secrets of its namespace; `marks` go into every environment."""

    pod: dict[str, Any]
    directory: Path
    address: str
    names: dict[str, str]
    fetch: Fetch
    kubeconfig: Callable[[], Path | None]
    marks: dict[str, str]
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    processes: dict[str, ContainerProcess] = field(default_factory=dict)
    folders: dict[str, Path] | None = None
    refusal: dict[str, Any] | None = None
    told: str = ""

    def step(self) -> dict[str, Any] | None:
        """Do what can be done now; returns a new status, or None when nothing changed."""
        status = self.refusal or self._advance()
        text = json.dumps(status, sort_keys=True)
        if text == self.told:
            return None
        self.told = text
        return status

    def end(self, grace_seconds: float) -> bool:
        """Stop everything; True once nothing of it runs any more."""
        running = [each for each in self.processes.values() if each.exit_code is None]
        for each in running:
            each.end(grace_seconds)
            each.enforce()
        return not running

    def kill(self) -> None:
        """End it without grace."""
        for each in self.processes.values():
            each.kill()

    def remove(self) -> None:
        """Delete the pod's folder: its volumes end with it."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _advance(self) -> dict[str, Any]:
        spec = self.pod["spec"]
        reports: list[ContainerReport] = []
        try:
            if self.folders is None:
                self.folders = prepare_volumes(self.pod, self.directory / "volumes", self.fetch, self._view({}))
            for container in spec.get("initContainers") or []:
                code = self._ran(container).exit_code
                if code != 0:
                    reason = "PodInitializing" if code is None else "Init:Error"
                    reports = [waiting(each, reason, container["name"]) for each in spec["containers"]]
                    if code is not None and not self._restarts:
                        self.refusal = failed_status("InitContainerFailed", f"{container['name']} ended with {code}")
                    return self._status(reports)
            reports = [self._report(container, self._ran(container)) for container in spec["containers"]]
        except MissingReferenceError as error:
            reports = [waiting(each, "CreateContainerConfigError", str(error)) for each in spec["containers"]]
        except UnknownImageError as error:
            reports = [waiting(each, "ErrImageNeverPull", str(error)) for each in spec["containers"]]
        except OSError as error:
            self.refusal = failed_status("CannotRun", f"the program does not start: {error}")
            return self.refusal
        return self._status(reports)

    @property
    def _restarts(self) -> bool:
        return bool(self.pod["spec"].get("restartPolicy", "Always") == "Always")

    def _status(self, reports: list[ContainerReport]) -> dict[str, Any]:
        started = rfc3339(self.started_at)
        return pod_status(reports, address=self.address, started_at=started, restarts=self._restarts)

    def _ran(self, container: dict[str, Any]) -> ContainerProcess:
        known = self.processes.get(container["name"])
        if known is not None and not self._due_again(known):
            return known
        started = self._start(container, restarts=known.restarts + 1 if known else 0)
        self.processes[container["name"]] = started
        return started

    def _due_again(self, known: ContainerProcess) -> bool:
        if known.exit_code is None or known.finished_at is None or known.kill_at is not None or not self._restarts:
            return False
        is_init = any(each["name"] == known.name for each in self.pod["spec"].get("initContainers") or [])
        if is_init and known.exit_code == 0:
            return False
        return (datetime.now(UTC) - known.finished_at).total_seconds() >= RESTART_DELAY_SECONDS

    def _start(self, container: dict[str, Any], *, restarts: int) -> ContainerProcess:
        name = container["name"]
        message = self.directory / "termination" / name
        paths = mounted_paths(container, self.folders or {})
        view = self._view({**paths, container.get("terminationMessagePath") or DEFAULT_TERMINATION_PATH: message})
        variables = environment_of(container, fields_of(self.pod, self.address), self.fetch)
        variables = {key: view.rewrite(value) for key, value in variables.items()}
        command = [view.rewrite(part) for part in command_of(container, self.address)]
        program = executable(command[0])
        if program is None:
            raise UnknownImageError(f"{command[0]}: no such program on this machine")
        environment = {key: os.environ[key] for key in INHERITED if key in os.environ}
        environment |= {"HOME": str(self.directory), "TMPDIR": str(self.directory)}
        environment |= {**dict(self._identity()), **variables}
        return start_container(
            container,
            [program, *command[1:]],
            environment={**environment, **self.marks},
            directory=self.directory,
            log=self.directory / "logs" / f"{name}.log",
            termination_message=message,
            restarts=restarts,
        )

    def _identity(self) -> Iterator[tuple[str, str]]:
        """The pod's service account as a kubeconfig: the usual place of its token is not this pod's alone."""
        if self.pod["spec"].get("automountServiceAccountToken", True):
            kubeconfig = self.kubeconfig()
            if kubeconfig is not None:
                yield "KUBECONFIG", str(kubeconfig)

    def _view(self, paths: dict[str, Path]) -> PathView:
        return PathView(paths, self.names)

    def _report(self, container: dict[str, Any], process: ContainerProcess) -> ContainerReport:
        state = process.state()
        ready = "running" in state and _probe_passes(container, self.address)
        return ContainerReport(process.name, process.image, state, ready=ready, restarts=process.restarts)


def _probe_passes(container: dict[str, Any], address: str) -> bool:
    """Ask the readiness probe if it is an HTTP one; other kinds pass."""
    get = (container.get("readinessProbe") or {}).get("httpGet")
    if get is None:
        return True
    port = get["port"]
    if isinstance(port, str):
        port = next(each["containerPort"] for each in container["ports"] if each.get("name") == port)
    try:
        with urllib.request.urlopen(f"http://{address}:{port}{get.get('path', '/')}", timeout=PROBE_TIMEOUT_SECONDS):
            return True
    except (OSError, urllib.error.URLError):
        return False


def grace_left(pod: dict[str, Any]) -> float:
    """Return the seconds of grace that a deleted pod's processes get."""
    return float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)


def wait_ended(run: PodRun, seconds: float) -> None:
    """Give killed processes a moment, so that their end is seen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(each.exit_code is None for each in run.processes.values()):
        time.sleep(0.02)

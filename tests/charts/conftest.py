"""Real Helm, the chart rendered by it, and the operator run with exactly what the chart's Deployment gives it."""

import functools
import gzip
import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import urlopen

import pytest
import yaml

from t2i_dev.cluster import LocalCluster
from t2i_dev.paths import repository_root
from t2i_dev.tools import HELM, HELM3, KUBERNETES, Tool, program

T = TypeVar("T")
CHART = repository_root() / "charts" / "t2i-operator"
MONITORING = Path(__file__).parent / "monitoring-crds-v0.85.0.yaml.gz"
NAMESPACE = "t2i-system"
SECONDS = 60.0

Rendered = list[dict[str, Any]]
Render = Callable[..., Rendered]
Template = Callable[..., str]
Helm = Callable[..., subprocess.CompletedProcess[str]]
Right = tuple[str, str, dict[str, str]]


@pytest.fixture(scope="session")
def control_plane(cluster_name: Callable[[str], str]) -> Iterator[LocalCluster]:
    """A control plane for charts alone: they install other releases of the CRD than the other tests go by."""
    with LocalCluster.start(cluster_name("charts"), node=False, with_owner=True) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def monitoring_crds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Prometheus Operator's own CRDs, as it releases them."""
    path = tmp_path_factory.mktemp("monitoring") / "crds.yaml"
    path.write_bytes(gzip.decompress(MONITORING.read_bytes()))
    return path


@pytest.fixture(scope="session")
def helm_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Tool], Helm]:
    """Run a Helm with a home of its own; that returns what it said, whether it succeeded or not."""

    def of(tool: Tool) -> Helm:
        home = tmp_path_factory.mktemp(tool.name)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
        environment |= {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}

        def run(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
            command = [str(program(tool, "helm")), *arguments]
            if arguments[0] in {"template", "lint"}:
                # Without a cluster Helm 4 assumes the Kubernetes that it was built with, Helm 3 one of 2020.
                command.append(f"--kube-version={KUBERNETES.version}")
            return subprocess.run(
                command, input=stdin, capture_output=True, text=True, check=False, env=environment, timeout=300
            )

        return run

    return of


@pytest.fixture(
    scope="session", params=[pytest.param(HELM3, marks=pytest.mark.exhaustive), HELM], ids=lambda tool: tool.name
)
def helm(request: pytest.FixtureRequest, helm_of: Callable[[Tool], Helm]) -> Helm:
    """Both major versions that people have: whatever uses Helm is tested with each."""
    return helm_of(request.param)


@pytest.fixture(scope="session")
def chart() -> Path:
    """The chart's folder."""
    return CHART


@pytest.fixture(scope="session")
def template(helm: Helm) -> Template:
    """Render the chart with values as `--set` takes them, or with `values` as a document; what Helm prints."""

    @functools.cache
    def printed(document: str, *arguments: str) -> str:
        result = helm("template", "t2i-operator", str(CHART), *arguments, "--values=-", stdin=document)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def with_values(*settings: str, values: dict[str, Any] | None = None, flags: tuple[str, ...] = ()) -> str:
        arguments = [f"--namespace={NAMESPACE}", *(f"--set={each}" for each in settings), *flags]
        return printed(json.dumps(values or {}), *arguments)

    return with_values


@pytest.fixture(scope="session")
def render(template: Template) -> Render:
    """Render the chart in the same way; the objects."""

    @functools.cache
    def parsed(text: str) -> Rendered:
        # The CRD is 200 kB of YAML: the C parser reads it in a tenth of the time.
        return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]

    return lambda *settings, **rest: parsed(template(*settings, **rest))


@dataclass
class Installed:
    """A release on the control plane, and processes that run as its pods would."""

    cluster: LocalCluster
    helm: Helm
    namespace: str
    directory: Path
    release: str = "t2i-operator"
    operators: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def account(self) -> str:
        """The operator's name for the authorizer."""
        return f"system:serviceaccount:{self.namespace}:{self.release}"

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run Helm on the cluster; fails with its words."""
        where = (f"--kubeconfig={self.cluster.kubeconfig}", f"--namespace={self.namespace}")
        result = self.helm(*arguments, *where, stdin=stdin)
        assert result.returncode == 0, f"helm {' '.join(arguments)}\n{result.stderr}\n{result.stdout}"
        return result.stdout

    def install(
        self,
        *settings: str,
        chart: Path = CHART,
        values: dict[str, Any] | None = None,
        take_ownership: bool = True,
    ) -> None:
        """Install or upgrade with settings as `--set` takes them, or flags.

        `take_ownership`: of a CRD that another test applied with kubectl or another release left.
        """
        flags = [each if each.startswith("--") else f"--set={each}" for each in settings]
        flags += ["--take-ownership"] if take_ownership else []
        command = ("upgrade", "--install", self.release, str(chart), "--values=-", *flags)
        self.run(*command, stdin=json.dumps(values or {}))

    def get(self, kind: str, *name: str, namespace: str = "") -> dict[str, Any]:
        """Return an object or a list."""
        answer: dict[str, Any] = json.loads(
            self.cluster.kubectl("get", kind, *name, "--namespace", namespace or self.namespace, "-o", "json")
        )
        return answer

    def may(self, verb: str, resource: str, *, user: str = "", **attributes: str) -> bool:
        """Ask the API server's authorizer; `resource` is `group/plural[/subresource]`, the operator is who asks."""
        (allowed,) = self.allowed([(verb, resource, attributes)], user=user).values()
        return allowed

    def allowed(self, rights: list[Right], *, user: str = "") -> dict[str, bool]:
        """Ask for several at once; what is asked, in words, and the answer."""
        reviews = []
        for verb, resource, attributes in rights:
            group, plural, subresource = (*resource.split("/"), "")[:3]
            asked = {"verb": verb, "group": group, "resource": plural, "subresource": subresource, **attributes}
            who = {"user": user or self.account, "groups": self._groups(user)}
            kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
            reviews.append({**kind, "spec": {**who, "resourceAttributes": asked}})
        output = 'jsonpath={.status.allowed}{"\\n"}'
        answers = self.cluster.kubectl("create", "-f", "-", "-o", output, stdin=yaml.safe_dump_all(reviews)).split()
        words = [" ".join([verb, resource, *attributes.values()]) for verb, resource, attributes in rights]
        return dict(zip(words, (answer == "true" for answer in answers), strict=True))

    def _groups(self, user: str) -> list[str]:
        accounts = [] if user else ["system:serviceaccounts", f"system:serviceaccounts:{self.namespace}"]
        return [*accounts, "system:authenticated"]

    def kubeconfig(self) -> Path:
        """Return a kubeconfig with a token of the operator's service account, and nothing of the administrator's."""
        token = self.cluster.kubectl("create", "token", self.release, "--namespace", self.namespace).strip()
        document = yaml.safe_load(self.cluster.kubeconfig.read_text())
        document["users"] = [{"name": "operator", "user": {"token": token}}]
        for each in document["contexts"]:
            each["context"]["user"] = "operator"
        path = self.directory / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path

    def start_operator(self) -> "RunningOperator":
        """Start it with the environment of the Deployment that lies in the cluster, as its service account."""
        (container,) = self.get("deployment", self.release)["spec"]["template"]["spec"]["containers"]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "T2I_", "KUBE"))
        }
        environment |= {each["name"]: each.get("value", "") for each in container["env"]}
        environment |= {"POD_NAME": f"{self.release}-0", "POD_NAMESPACE": self.namespace, "T2I_METRICS_PORT": "0"}
        kubeconfig = self.kubeconfig()
        command = [sys.executable, "-m", "t2i_operator.main", "--kubeconfig", str(kubeconfig)]
        log = self.directory / f"operator-{len(self.operators)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*command, "--metrics-host", "127.0.0.1"], stdout=file, stderr=file, env=environment
            )
        self.operators.append(process)
        return RunningOperator(process, log, kubeconfig)

    @staticmethod
    def job(namespace: str, name: str, **checkpoint: Any) -> dict[str, Any]:
        """Return a small job as a document."""
        return {
            "apiVersion": "training.t2i.dev/v1alpha1",
            "kind": "DiffusionTrainingJob",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "model": {
                    "unet": {"preset": "tiny"},
                    "textEncoder": {"uri": "s3://t2i/models/minilm"},
                    "pixelUnshuffleFactor": 2,
                },
                "data": {"uri": "s3://t2i/data/emoji", "resolution": 32},
                "training": {"steps": 100, "globalBatchSize": 32, "learningRate": 0.001},
                "checkpoint": {"uri": f"s3://t2i/{namespace}/{name}", "everySteps": 10, **checkpoint},
            },
        }

    def stop(self) -> None:
        """End every process."""
        for process in self.operators:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class RunningOperator:
    """An operator that runs as the chart's service account."""

    process: subprocess.Popen[bytes]
    log: Path
    kubeconfig: Path

    def lines(self) -> str:
        """What it logged so far."""
        return self.log.read_text()

    def url(self) -> str:
        """Where it answers, once it does."""
        found = eventually(lambda: re.search(r"listening .*port=(\d+)", self.lines()), f"it listens: {self.lines()}")
        return f"http://127.0.0.1:{found[1]}"

    def page(self, path: str) -> str:
        """Return one of its pages."""
        with urlopen(f"{self.url()}{path}", timeout=10) as answer:  # noqa: S310  # http, from its own log
            return str(answer.read().decode())


def eventually(look: Callable[[], T | None], what: str) -> T:
    """Return the first truthy answer; fails saying what did not happen."""
    deadline = time.monotonic() + SECONDS
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {SECONDS:.0f} s: {what}")
        time.sleep(0.2)


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[[Callable[[], T | None], str], T]:
    """Wait for a truthy answer."""
    return eventually


@pytest.fixture
def installed(control_plane: LocalCluster, helm: Helm, tmp_path: Path) -> Iterator[Installed]:
    """A namespace for a release of its own; what the release leaves in the cluster is removed."""
    result = Installed(control_plane, helm, f"chart-{uuid.uuid4().hex[:8]}", tmp_path)
    control_plane.kubectl("create", "namespace", result.namespace)
    yield result
    result.stop()
    for log in sorted(tmp_path.glob("operator-*.log")):
        print(log.read_text()[-10_000:])  # noqa: T201  # pytest shows it when the test fails
    helm(
        *("uninstall", result.release, "--ignore-not-found", f"--namespace={result.namespace}"),
        f"--kubeconfig={control_plane.kubeconfig}",
    )
    control_plane.kubectl("delete", "namespace", result.namespace, "--wait=false")


@pytest.fixture
def team(control_plane: LocalCluster) -> Iterator[str]:
    """A namespace of people who train."""
    name = f"team-{uuid.uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", name)
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")

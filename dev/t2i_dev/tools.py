"""Build Kubernetes, etcd, Helm, CoreDNS and the S3 server from pinned Go modules, once a version.

Each folder of `dev/tools` is a Go module whose `go.sum` fixes every byte that is compiled. The result lies in the
user's cache under the module's version and a digest of everything that went in, so a changed pin builds anew and an
unchanged one takes no time. The compiler's own cache (gigabytes) is private and removed after a successful build: an
unchanged pin never compiles again, and a changed one recompiles nearly everything anyway.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from t2i_dev.errors import MissingRequirementError, ToolBuildError
from t2i_dev.locks import exclusive
from t2i_dev.paths import cache_directory, go_modules_directory, tools_directory
from t2i_dev.progress import Progress


@dataclass(frozen=True, slots=True)
class Tool:
    """A Go module of `dev/tools` and the programs that it builds (name -> package)."""

    name: str
    module: str  # the module whose version names the cache folder; empty for our own code
    programs: dict[str, str]
    version_packages: tuple[str, ...] = ()  # Kubernetes reads its own version from linker flags
    minutes: str = "under a minute"  # on two cores, cold

    @property
    def source(self) -> Path:
        """The folder with go.mod and go.sum."""
        return go_modules_directory() / self.name

    @property
    def version(self) -> str:
        """The pinned version, read from go.mod."""
        if not self.module:
            return "v1.0.0"
        text = (self.source / "go.mod").read_text()
        match = re.search(rf"^\s*(?:require )?{re.escape(self.module)} (v\S+)", text, re.MULTILINE)
        if match is None:
            raise ToolBuildError(f"{self.source / 'go.mod'} pins no version of {self.module}")
        return match[1]

    @property
    def directory(self) -> Path:
        """Where the built programs lie, or will lie."""
        return tools_directory() / f"{self.name}-{self.version}-{self._digest()}"

    def _digest(self) -> str:
        digest = hashlib.sha256()
        files = [self.source / "go.mod", self.source / "go.sum", *sorted(self.source.glob("*.go"))]
        for path in files:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        digest.update(repr((sorted(self.programs.items()), self.version_packages)).encode())
        return digest.hexdigest()[:12]

    def linker_flags(self) -> str:
        """Strip debug information; stamp the version where the program wants one."""
        major, minor, *_ = self.version.removeprefix("v").split(".")
        stamps = [
            f"-X {package}.{key}={value}"
            for package in self.version_packages
            for key, value in (("gitVersion", self.version), ("gitMajor", major), ("gitMinor", minor))
        ]
        return " ".join(["-s", "-w", *stamps])


KUBERNETES = Tool(
    "kubernetes",
    "k8s.io/kubernetes",
    {
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
    },
    version_packages=("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"),
    minutes="6 minutes",
)
ETCD = Tool("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"})
VERSITYGW = Tool(
    "versitygw",
    "github.com/versity/versitygw",
    {"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
    minutes="2 minutes",
)
COREDNS = Tool("coredns", "github.com/coredns/coredns", {"coredns": "t2i.dev/tools/coredns"}, minutes="2 minutes")
HELM = Tool("helm", "helm.sh/helm/v4", {"helm": "helm.sh/helm/v4/cmd/helm"}, minutes="2 minutes")
PAUSE = Tool("pause", "", {"pause": "t2i.dev/tools/pause"})
# Reads our dashboards with Grafana Labs' own models.
DASHBOARD_CHECK = Tool(
    "dashboard-check",
    "github.com/grafana/grafana-foundation-sdk/go",
    {"dashboard-check": "t2i.dev/tools/dashboard-check"},
)
# The other major version that people have. Its pins are lifted to Helm 4's, so that both share compiled packages.
HELM3 = Tool("helm3", "helm.sh/helm/v3", {"helm": "helm.sh/helm/v3/cmd/helm"}, minutes="1 minute")
KUBECONFORM = Tool(
    "kubeconform", "github.com/yannh/kubeconform", {"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"}
)
# The linter that Helm's own chart repositories use, beside `helm lint`.
CHART_TESTING = Tool("chart-testing", "github.com/helm/chart-testing/v3", {"ct": "github.com/helm/chart-testing/v3/ct"})
# A second S3 implementation that the checkpoint code is held against; optional, so not among ALL_TOOLS.
SEAWEEDFS = Tool(
    "seaweedfs",
    "github.com/seaweedfs/seaweedfs",
    {"weed": "github.com/seaweedfs/seaweedfs/weed"},
    minutes="10 minutes",
)

# The S3 server first: most tests need nothing else.
ALL_TOOLS = (VERSITYGW, ETCD, KUBERNETES, COREDNS, HELM, HELM3, KUBECONFORM, CHART_TESTING, PAUSE, DASHBOARD_CHECK)


def program(tool: Tool, name: str | None = None, progress: Progress | None = None) -> Path:
    """The path of a tool's program (by default the one called like the tool), built first if need be."""
    ensure_tools([tool], progress or Progress())
    return tool.directory / (name or tool.name)


def ensure_tools(tools: Iterable[Tool], progress: Progress, *, keep_compiler_cache: bool = False) -> None:
    """Build what the cache lacks. Killed half-way, the next call builds that tool again; others stay."""
    missing = [tool for tool in tools if not tool.directory.is_dir()]
    if not missing:
        return
    with exclusive(tools_directory() / ".lock"):
        for tool in missing:
            if not tool.directory.is_dir():  # another process may have built it while we waited
                with progress.stage(f"build {tool.name} {tool.version}", f"about {tool.minutes} on two cores"):
                    _build(tool)
        if not keep_compiler_cache:
            shutil.rmtree(_compiler_cache(), ignore_errors=True)


def _build(tool: Tool) -> None:
    if shutil.which("go") is None:
        raise MissingRequirementError(
            f"building {tool.name} needs Go 1.26 or newer on PATH: install it from https://go.dev/dl or your packages"
        )
    target = tool.directory
    unfinished = target.parent / f".building-{tool.name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, package in _grouped(tool, unfinished):
        # No debug information: it is stripped anyway, and takes 4 % of the time and a fifth of the compiler's cache.
        command = ["go", "build", "-gcflags=all=-dwarf=false", "-ldflags", tool.linker_flags(), "-o", name, *package]
        result = subprocess.run(
            command, cwd=tool.source, env=_environment(), capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            raise ToolBuildError(f"{' '.join(command)} in {tool.source} failed:\n{result.stderr[-4000:]}")
    unfinished.rename(target)
    for stale in target.parent.glob(f"{tool.name}-v*"):
        if stale != target and stale.is_dir():
            shutil.rmtree(stale, ignore_errors=True)


def _grouped(tool: Tool, directory: Path) -> list[tuple[str, list[str]]]:
    """One `go build` for all programs whose package is called like the program: they share compile and link time."""
    together = [package for name, package in tool.programs.items() if package.rsplit("/", 1)[-1] == name]
    alone = [(str(directory / n), [p]) for n, p in tool.programs.items() if p.rsplit("/", 1)[-1] != n]
    return ([(f"{directory}{os.sep}", together)] if together else []) + alone


def _environment() -> dict[str, str]:
    # CGO off: static programs that need no C compiler. -mod=readonly: a build never edits the pins.
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOWORK": "off",
        "GOGC": os.environ.get("GOGC", "400"),  # the compiler collects less garbage: 4 % faster
        "GOCACHE": str(_compiler_cache()),
    }


def _compiler_cache() -> Path:
    return cache_directory() / "go-build"

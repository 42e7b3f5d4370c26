"""The operator's options: from the command line, else from the environment, checked where they enter."""

import argparse
import os
import re
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from t2i_operator.build import TrainerDefaults
from t2i_operator.durations import parse_duration
from t2i_operator.storage_policy import StorageRule, parse_rules

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DEFAULT_TRAINER_IMAGE = "localhost/t2i-trainer:dev"
_IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_EPILOG = """\
environment:
  Every option can be given as T2I_<OPTION>, e.g. T2I_METRICS_PORT=8080, T2I_NAMESPACE=team-a,team-b.
  The command line wins. POD_NAME and POD_NAMESPACE (set by the Helm chart) name the lease holder and its namespace.

examples:
  t2i-operator --kubeconfig ~/.kube/config --namespace team-a     run on your machine, for one namespace
  helm install t2i-operator charts/t2i-operator -n t2i-system     run in the cluster
  curl localhost:8080/metrics                                     what it does right now

The custom resource must be installed first: kubectl apply -f crds/ (the chart does it).
"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All options, valid."""

    kubeconfig: str | None = None
    context: str | None = None
    namespaces: tuple[str, ...] = ()  # empty: all
    trainer_image: str = DEFAULT_TRAINER_IMAGE
    scrape_interval: float = 0.0  # seconds; 0: nobody scrapes
    metrics_host: str = "0.0.0.0"  # noqa: S104  # Prometheus and the kubelet come from other addresses
    metrics_port: int = 8080
    lease_name: str = "t2i-operator"
    lease_namespace: str = "default"
    identity: str = ""
    lease_seconds: int = 15
    ambient_credentials: bool = False
    storage_allow: tuple[StorageRule, ...] = ()  # empty: everything
    workers: int = 8
    storage_workers: int = 4
    resync_seconds: int = 300
    verbose: bool = False

    @property
    def trainer_defaults(self) -> TrainerDefaults:
        """What attempts get where the job says nothing else: one scrape may be missed."""
        return TrainerDefaults(image=self.trainer_image, linger_seconds=2 * self.scrape_interval)


def parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    """Return the parser, whose defaults come from the environment."""
    result = argparse.ArgumentParser(
        prog="t2i-operator",
        description="Runs DiffusionTrainingJobs: judges their checkpoints before a GPU is requested, then trains.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = Settings()

    def option(name: str, text: str, default: str | int | None, **kwargs: object) -> None:
        value = environ.get("T2I_" + name.upper().replace("-", "_")) or default
        shown = "" if value is None else f" (default: {value})"
        result.add_argument(f"--{name}", default=value, help=text + shown, **kwargs)  # type: ignore[arg-type]

    cluster = "kubeconfig file; without it the pod's service account, else KUBECONFIG, else ~/.kube/config"
    option("kubeconfig", cluster, None, metavar="FILE")
    option("context", "context of the kubeconfig", None, metavar="NAME")
    result.add_argument(
        "--namespace",
        action="append",
        metavar="NAME",
        help="watch only this namespace; may be repeated (default: all namespaces)",
    )
    option("trainer-image", "image of jobs that name none", defaults.trainer_image, metavar="IMAGE")
    option(
        "scrape-interval",
        "time between two scrapes, e.g. 15s; a pod that ends stays up to twice as long for a last one; 0: none",
        "0",
        type=_duration,
        metavar="DURATION",
    )
    option("metrics-host", "address of /healthz, /readyz and /metrics", defaults.metrics_host, metavar="ADDRESS")
    option("metrics-port", "port of the same; 0 picks a free one", defaults.metrics_port, type=_number(0, 65535))
    option("lease-name", "Lease by which one of several operators leads", defaults.lease_name, metavar="NAME")
    option("lease-namespace", "namespace of that Lease", _own_namespace(environ), metavar="NAME")
    identity = environ.get("POD_NAME") or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    option("identity", "name of this process in the Lease; a restart under the same name need not wait", identity)
    option("workers", "jobs reconciled at the same time", defaults.workers, type=_number(1, 256))
    option("storage-workers", "buckets read or archived at the same time", 4, type=_number(1, 64))
    option("resync-seconds", "seconds between complete listings", defaults.resync_seconds, type=_number(5, 86400))
    seconds = "seconds after which a holder that does not renew is succeeded"
    option("lease-seconds", seconds, defaults.lease_seconds, type=_number(5, 3600))

    example = '[{"namespaces": ["*"], "endpoints": [""], "locations": ["s3://bucket/{namespace}"]}]'
    option("storage-allow", f"where jobs may read and write, e.g. {example}; anywhere if none", None, metavar="JSON")

    def switch(names: Sequence[str], text: str) -> None:
        variable = "T2I_" + names[-1].removeprefix("--").upper().replace("-", "_")
        on = environ.get(variable, "").lower() in {"1", "true", "yes"}
        result.add_argument(*names, action="store_true", default=on, help=text)

    ambient = "let jobs that name no Secret use the operator's own rights on buckets: whoever may create jobs has them"
    switch(["--ambient-credentials"], ambient)
    switch(["-v", "--verbose"], "log every request and event")
    return result


def parse(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; prints a usage error and raises SystemExit for an option that cannot be."""
    reader = parser(environ)
    options = vars(reader.parse_args(arguments))
    chosen = options.pop("namespace") or [item for item in environ.get("T2I_NAMESPACE", "").split(",") if item.strip()]
    namespaces = tuple(dict.fromkeys(item.strip() for item in chosen))
    for name in (*namespaces, options["lease_namespace"]):
        if not _LABEL.fullmatch(name):
            reader.error(f"{name!r} is no namespace: 1-63 of a-z, 0-9 and '-'")
    try:
        rules = parse_rules(options.pop("storage_allow") or "")
    except ValueError as error:
        reader.error(f"argument --storage-allow: {error}")
    return Settings(**options, namespaces=namespaces, storage_allow=rules)


def _own_namespace(environ: Mapping[str, str]) -> str:
    if environ.get("POD_NAMESPACE"):
        return environ["POD_NAMESPACE"]
    try:
        return _IN_CLUSTER_NAMESPACE.read_text().strip() or "default"
    except OSError:
        return "default"


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


class _number:  # noqa: N801  # argparse shows the type's name
    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from error
        if not self.least <= value <= self.most:
            raise argparse.ArgumentTypeError(f"{value} is not within {self.least} to {self.most}")
        return value

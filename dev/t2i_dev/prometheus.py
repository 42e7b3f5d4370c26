"""A real Prometheus as a process: proves that metrics can be scraped and queried, not only that they are printed."""

import json
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from t2i_dev.errors import ComponentFailedError, MissingRequirementError
from t2i_dev.ports import free_ports
from t2i_dev.processes import ProcessIdentity, spawn, wait_until

SCRAPE_INTERVAL_SECONDS = 1
START_TIMEOUT_SECONDS = 30.0
REQUEST_TIMEOUT_SECONDS = 10.0


class Series(BaseModel):
    """One result of a query: labels, and samples as (seconds since the epoch, value), oldest first."""

    model_config = ConfigDict(frozen=True)

    labels: dict[str, str] = Field(alias="metric")
    samples: list[tuple[float, float]]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.samples[-1][1]


class Rule(BaseModel):
    """One alerting rule and how its last evaluation went; `last_error` is empty when it went well."""

    model_config = ConfigDict(frozen=True)

    name: str
    last_error: str = Field(default="", alias="lastError")


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server; its data lie below `directory`."""

    url: str
    directory: Path
    process: ProcessIdentity

    @classmethod
    def start(
        cls,
        directory: Path,
        scrape_configs: Sequence[Mapping[str, Any]],
        *,
        rule_files: Sequence[Path] = (),
        die_with_parent: bool = True,
    ) -> Self:
        """Start on a free loopback port; every job is scraped each second unless it says otherwise.

        The first scrape comes about 5 s after the start: Prometheus gathers its targets in that rhythm.

        `scrape_configs` is that section of prometheus.yml. Raises `MissingRequirementError` without the program, and
        `ComponentFailedError` with its own words when it refuses the configuration.
        """
        program = shutil.which("prometheus")
        if program is None:
            raise MissingRequirementError("no program `prometheus`: `t2i-dev setup` installs it on Debian as root")
        directory.mkdir(parents=True, exist_ok=True)
        interval = f"{SCRAPE_INTERVAL_SECONDS}s"
        document = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": [str(path) for path in rule_files],
            "scrape_configs": list(scrape_configs),
        }
        configuration = directory / "prometheus.yml"
        configuration.write_text(json.dumps(document))  # JSON is YAML
        port = free_ports(1)[0]
        argv = [
            program,
            f"--config.file={configuration}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-lifecycle",
            "--web.enable-admin-api",
            "--log.level=warn",
        ]
        log = directory / "prometheus.log"
        process = spawn(argv, log=log, die_with_parent=die_with_parent)
        server = cls(f"http://127.0.0.1:{port}", directory, process)
        wait_until(server._ready, "Prometheus", timeout_seconds=START_TIMEOUT_SECONDS, process=process, log=log)
        return server

    def query(self, expression: str, *, at: float | None = None) -> list[Series]:
        """The value of every series that the PromQL expression selects, now or `at` that time.

        Raises `ComponentFailedError` with Prometheus' words.
        """
        moment = time.time() if at is None else at
        results = self._get("query", query=expression, time=moment)["result"]
        return [Series.model_validate({**each, "samples": [each["value"]]}) for each in results]

    def query_range(self, expression: str, *, start: float, end: float, step_seconds: float = 1.0) -> list[Series]:
        """The values between `start` and `end` (seconds since the epoch). Raises `ComponentFailedError`."""
        results = self._get("query_range", query=expression, start=start, end=end, step=step_seconds)["result"]
        return [Series.model_validate({**each, "samples": each["values"]}) for each in results]

    def label_values(self, label: str, series: str, *, start: float, end: float) -> list[str]:
        """The values of a label among the series that existed between the times, in order."""
        values: list[str] = self._get(f"label/{label}/values", start=start, end=end, **{"match[]": series})
        return values

    def snapshot(self) -> Path:
        """Write all that is stored as it is now, stale markers too; returns a data folder for another Prometheus."""
        name = self._get("admin/tsdb/snapshot", method="POST")["name"]
        return self.directory / "data" / "snapshots" / str(name)

    def targets(self) -> dict[str, str]:
        """Scrape address -> health (`up`, `down`, `unknown`)."""
        return {each["scrapeUrl"]: each["health"] for each in self._get("targets")["activeTargets"]}

    def rules(self) -> list[Rule]:
        """Every rule of the rule files."""
        return [Rule.model_validate(rule) for group in self._get("rules")["groups"] for rule in group["rules"]]

    def stop(self) -> None:
        """Stop the server; its data stay."""
        self.process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _ready(self) -> bool:
        try:
            with _open(f"{self.url}/-/ready") as answer:
                return bool(answer.status == 200)  # noqa: PLR2004  # HTTP OK
        except OSError:
            return False

    def _get(self, endpoint: str, *, method: str = "GET", **parameters: str | float) -> Any:
        """https://prometheus.io/docs/prometheus/latest/querying/api/."""
        url = f"{self.url}/api/v1/{endpoint}?{urllib.parse.urlencode(parameters)}"
        try:
            with _open(urllib.request.Request(url, method=method)) as answer:  # noqa: S310  # loopback
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            raise ComponentFailedError(f"Prometheus refused {parameters}: {error.read().decode()}") from error
        return document["data"]


def _open(request: str | urllib.request.Request) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(request, timeout=REQUEST_TIMEOUT_SECONDS)

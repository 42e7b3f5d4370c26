import time
from pathlib import Path

import pytest

from t2i_dev.errors import ComponentFailedError
from t2i_dev.ports import free_ports
from t2i_dev.processes import wait_until
from t2i_dev.prometheus import Prometheus


def test_it_scrapes_a_target_and_answers_queries(tmp_path: Path) -> None:
    with Prometheus.start(tmp_path / "target", []) as target:
        address = target.url.removeprefix("http://")
        scrape = {"job_name": "target", "static_configs": [{"targets": [address]}]}
        begin = time.time()
        with Prometheus.start(tmp_path / "server", [scrape]) as server:
            wait_until(lambda: bool(server.query('up{job="target"} == 1')), "a scrape", timeout_seconds=15)
            (up,) = server.query("up")
            assert up.labels["instance"] == address
            assert up.last == 1
            assert set(server.targets().values()) == {"up"}
            (curve,) = server.query_range("up", start=begin, end=time.time() + 1)
            assert [value for _, value in curve.samples] == [1.0] * len(curve.samples)


def test_a_query_that_is_wrong_is_refused_in_prometheus_words(tmp_path: Path) -> None:
    with Prometheus.start(tmp_path, []) as server, pytest.raises(ComponentFailedError, match="parse error"):
        server.query("rate(")


def test_a_configuration_that_is_wrong_is_refused_with_the_log(tmp_path: Path) -> None:
    with pytest.raises(ComponentFailedError, match=r"the process ended.*\n(.*\n)*.*no_such_field"):
        Prometheus.start(tmp_path, [{"job_name": "a", "no_such_field": 1}])


def test_a_target_that_is_away_is_down(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    scrape = {"job_name": "gone", "static_configs": [{"targets": [address]}]}
    with Prometheus.start(tmp_path, [scrape]) as server:
        wait_until(lambda: "down" in server.targets().values(), "a failed scrape", timeout_seconds=10)

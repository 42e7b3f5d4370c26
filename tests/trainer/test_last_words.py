"""A pod stays to be scraped once more after its last step, but for nobody who is not there, and never for long."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from t2i_api.attempt import LINGER_VARIABLE
from t2i_api.progress import ExitCode, Progress, TrainerPhase
from t2i_dev.ports import free_ports
from t2i_dev.processes import wait_until
from t2i_dev.prometheus import Prometheus
from t2i_trainer.last_words import LastWords, Place, Scrapes, linger, patience, wish
from t2i_trainer.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRESS = Progress(
    attempt=1, world_size=1, phase=TrainerPhase.FINISHED, step=9, target_steps=9, updated_at=datetime.now(UTC)
)


def words(*, scrapes: int = 0, seconds: float = 1.0) -> LastWords:
    return LastWords(metrics="t2i_trainer_step 9.0\n", progress=PROGRESS, scrapes=scrapes, seconds=seconds)


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("left", "status", "wished", "expected", "why"),
    [
        (words(), 0, 30.0, 30.0, "a run shorter than the wish may not have been scraped yet"),
        (words(scrapes=5, seconds=9e4), 0, 30.0, 30.0, "Prometheus is there"),
        (words(scrapes=0, seconds=31.0), 0, 30.0, 0.0, "nobody came for longer than we would wait"),
        (words(scrapes=5), ExitCode.NON_FINITE_LOSS, 30.0, 30.0, "the last points show what went wrong"),
        (words(scrapes=5), ExitCode.STORAGE_UNAVAILABLE, 30.0, 30.0, "so does the count of failed saves"),
        (words(scrapes=5), ExitCode.INTERRUPTED, 30.0, 0.0, "whoever asked it to stop waits"),
        (words(scrapes=5), ExitCode.PEER_LOST, 30.0, 0.0, "the next attempt waits"),
        (words(scrapes=5), 137, 30.0, 0.0, "a rank was killed: the next attempt waits"),
        (None, 0, 30.0, 0.0, "the worker left nothing"),
        (words(), 0, 0.0, 0.0, "nobody wishes it"),
        (words(), 0, 1e9, 300.0, "never for long"),
    ],
)
def test_how_long_it_stays(left: LastWords | None, status: int, wished: float, expected: float, why: str) -> None:
    assert patience(left, status, wished) == expected, why


@pytest.mark.parametrize(("text", "seconds"), [(None, 0.0), ("", 0.0), ("30", 30.0), ("-4", 0.0), ("soon", 0.0)])
def test_the_wish_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str | None, seconds: float) -> None:
    monkeypatch.delenv(LINGER_VARIABLE, raising=False)
    if text is not None:
        monkeypatch.setenv(LINGER_VARIABLE, text)
    assert wish() == seconds


def test_it_ends_as_soon_as_it_was_scraped() -> None:
    (port,) = free_ports(1)
    heard: list[bytes] = []

    def scrape() -> None:
        # Only the last is Prometheus.
        heard.extend(_fetch(port, path) for path in ("/progress", "/healthz", "/metrics"))

    visitor = threading.Thread(target=scrape)
    visitor.start()
    began = time.monotonic()
    linger(words(), Place(port, "127.0.0.1"), 60)
    assert time.monotonic() - began < 30
    visitor.join()
    assert heard[2] == b"t2i_trainer_step 9.0\n"
    assert Progress.model_validate_json(heard[0]) == PROGRESS


def test_a_real_prometheus_has_the_last_step(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    scrape = {"job_name": "trainers", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    with Prometheus.start(tmp_path, [scrape]) as prometheus:
        linger(words(), Place(port, "127.0.0.1"), 60)
        wait_until(
            lambda: bool(prometheus.query("last_over_time(t2i_trainer_step[5m])")), "the last step", timeout_seconds=30
        )
        (step,) = prometheus.query("last_over_time(t2i_trainer_step[5m])")
    assert step.last == 9


def test_it_ends_when_the_time_is_up_and_nobody_came() -> None:
    (port,) = free_ports(1)
    began = time.monotonic()
    linger(words(), Place(port, "127.0.0.1"), 0.3)
    assert 0.3 <= time.monotonic() - began < 30


def test_a_signal_to_stop_cuts_it_short() -> None:
    (port,) = free_ports(1)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    began = time.monotonic()
    linger(words(), Place(port, "127.0.0.1"), 60)
    assert time.monotonic() - began < 30


def test_the_launcher_reads_what_the_worker_left(tmp_path: Path) -> None:
    assert LastWords.read(tmp_path) is None
    telemetry, scrapes = Telemetry(PROGRESS, 4), Scrapes()
    scrapes()
    LastWords.of(telemetry, scrapes).write(tmp_path)
    left = LastWords.read(tmp_path)
    assert left is not None
    assert (left.exposition(), left.progress, left.scrapes) == (telemetry.exposition(), PROGRESS, 1)
    (tmp_path / "last-words.json").write_text('{"metrics"')
    assert LastWords.read(tmp_path) is None


def _fetch(port: int, path: str) -> bytes:
    """Fetch a page as soon as somebody serves it."""
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.URLError:
            time.sleep(0.05)

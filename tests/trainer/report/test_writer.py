"""When pages are made, and that nothing that a page meets reaches the training."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psutil
import pytest

from t2i_checkpoint import layout
from t2i_checkpoint.local import LocalStore
from t2i_trainer.report.history import Newer
from t2i_trainer.report.writer import Pacing, ReportWriter

if TYPE_CHECKING:
    from t2i_api.job import JobSpec

ROW = json.dumps({"step": 7, "loss": 0.25, "attempt": 1}).encode()


class Configuration:
    """The two facts of a run's configuration that a page needs."""

    def __init__(self, spec: JobSpec, run_directory: Path) -> None:
        self.spec = spec
        self.run_directory = run_directory


@pytest.fixture
def bucket(tmp_path: Path) -> LocalStore:
    (tmp_path / "bucket").mkdir()
    return LocalStore(tmp_path / "bucket")


def writer(spec: JobSpec, folder: Path, *, leads: bool = True) -> ReportWriter:
    configuration: Any = Configuration(spec, folder)
    return ReportWriter(configuration, (lambda: Newer(0, (ROW,))) if leads else None)


@pytest.mark.parametrize(
    ("is_wanted", "is_busy", "now", "is_due"),
    [
        (True, False, 130.0, True),
        (True, False, 129.9, False),
        (True, True, 500.0, False),
        (False, False, 500.0, False),
    ],
)
def test_a_page_is_due_alone_and_not_too_soon(*, is_wanted: bool, is_busy: bool, now: float, is_due: bool) -> None:
    pacing = Pacing(began_at=100.0, seconds_between=30.0, is_wanted=is_wanted, is_busy=is_busy)
    assert pacing.is_due(now) is is_due


def test_moments_while_a_page_is_made_become_one_page_later() -> None:
    pacing = Pacing(began_at=0.0, seconds_between=30.0)
    pacing.is_wanted = True
    pacing.begin(40.0)
    pacing.is_wanted = True
    assert not pacing.is_due(100.0)
    pacing.is_busy = False
    assert pacing.is_due(100.0)
    assert not pacing.is_due(69.0)


def test_the_end_of_a_run_brings_its_page_with_rows_that_no_save_has_brought(
    job_spec: JobSpec, tmp_path: Path, bucket: LocalStore
) -> None:
    with writer(job_spec, tmp_path) as report:
        report.wish()
        assert bucket.head(layout.REPORT) is None, "the first page waits; nobody waits for it"
    page = bucket.read(layout.REPORT).decode()
    assert "<dd>7</dd>" in page
    assert "0.25" in page


@pytest.mark.usefixtures("bucket")
def test_a_run_that_fails_waits_for_no_more_than_seconds(job_spec: JobSpec, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writer(job_spec, tmp_path):
        raise ZeroDivisionError
    # A failed run waits seconds: on a busy machine the page may be given up, but no process is left behind.
    living = [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]
    assert not [each for each in living if "t2i_trainer.report.command" in each.cmdline()]


def test_other_ranks_write_none(job_spec: JobSpec, tmp_path: Path, bucket: LocalStore) -> None:
    with writer(job_spec, tmp_path, leads=False) as report:
        report.wish()
        report.look()
    assert bucket.head(layout.REPORT) is None


@pytest.mark.usefixtures("bucket")
def test_a_store_that_takes_no_page_costs_a_line_in_the_log(
    job_spec: JobSpec, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bucket" / "report").write_text("in the way: no folder of this name can be made")
    with writer(job_spec, tmp_path) as report:
        report.wish()
    assert "the report page was not written" in capfd.readouterr().err


def test_a_wish_takes_no_time_of_a_step(job_spec: JobSpec, tmp_path: Path) -> None:
    report = writer(job_spec, tmp_path)
    began = time.process_time()
    for _ in range(1000):
        report.wish()
    assert (time.process_time() - began) / 1000 < 1e-3
    assert cast("Any", report)._process is None, "not sooner than the pacing lets it"  # noqa: SLF001

"""The page says what the facts say, and nothing that anybody wrote into the bucket becomes more than text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from t2i_api.findings import Finding, Severity
from t2i_checkpoint.archive_documents import ArchivedFolder
from t2i_checkpoint.archive_list import ArchiveState, ArchiveSummary
from t2i_trainer.report.build import encode
from t2i_trainer.report.collect import Collector
from t2i_trainer.report.facts import ReportFacts, SampleGrid
from t2i_trainer.report.history import Attempt, Beginning, Evaluation, History, read_history
from t2i_trainer.report.page import figures, render, restarts

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_checkpoint.local import LocalStore

NOW = datetime(2026, 11, 30, 5, 0, tzinfo=UTC)
HOSTILE = "</ol></section><script>document.title = 'gone'</script><img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """The elements and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def history() -> History:
    return read_history([b'{"step": 1, "loss": 0.5, "imagesPerSecond": 3.25}', b'{"step": 2, "loss": 0.25}'])


@pytest.fixture
def facts() -> ReportFacts:
    return ReportFacts("s3://bucket/jobs/emoji", NOW, history())


def test_a_run_without_a_step_has_a_page(facts: ReportFacts) -> None:
    page = render(replace(facts, history=History()))
    assert "No step has been recorded yet" in page
    assert "The run noticed nothing unusual about itself" in page
    assert "None were drawn yet" in page


def test_figures_stand_on_top(facts: ReportFacts) -> None:
    facts.history.attempts[:] = [Attempt(1, 1, 2, Beginning("", "", 8000, 32))]
    facts.history.evaluations.append(Evaluation(2, 0.125, 0.5, 0.25))
    facts.history.findings.append(Finding(name="LatentScale", severity=Severity.ERROR, step=1, sentence="x"))
    told = dict(figures(facts))
    assert told["step"] == "2 of 8,000"
    assert told["images seen"] == "64"
    assert told["evaluation loss"] == "0.125"
    assert told["images a second"] == "3.25"
    assert told["findings"] == "1 errors, 0 warnings"


def test_every_attempt_but_the_first_is_a_restart() -> None:
    attempts = [Attempt(1, 1, 5, None), Attempt(3, 6, 9, None)]
    assert [(mark.step, mark.text) for mark in restarts(attempts)] == [(6, "attempt 3 goes on from here")]


def test_grids_archives_and_problems_are_shown(facts: ReportFacts) -> None:
    folder = ArchivedFolder(
        folder="checkpoints/checkpoint-00005000",
        step=5000,
        verdict="foreign",
        reason="Foreign",
        explanation="another UNet",
    )
    archive = ArchiveSummary(
        "20251214T221758Z-custom-unet", "custom-unet", NOW, ArchiveState.COMPLETED, folders=(folder,), size_bytes=1536
    )
    broken = ArchiveSummary("20251214T221759Z-x", "x", NOW, ArchiveState.UNREADABLE, fault="no documents")
    grids = (SampleGrid(10, "../samples/step-00000010/grid.png", prompts=("a red circle",)),)
    page = render(replace(facts, grids=grids, archives=(archive, broken), problems=("the list broke off",)))
    for text in ("../samples/step-00000010/grid.png", "a red circle", "another UNet", "1.54 kB", "no documents"):
        assert text in page
    assert "Not on this page: the list broke off" in page


def test_a_bucket_is_shown_as_it_lies(
    bucket: LocalStore, put_rows: Callable[..., None], put_grid: Callable[..., None]
) -> None:
    put_rows(40, step20={"evaluation": {"right": 0.5, "wrong": 0.7, "null": 0.6}})
    put_grid(20)
    page = Tags(render(Collector(bucket).collect(NOW)))
    assert {"svg", "path", "circle", "img"} <= page.tags
    assert "step 20: 0.5" in page.text


def test_whatever_others_wrote_is_text(facts: ReportFacts) -> None:
    told = facts.history
    told.attempts[:] = [Attempt(1, 1, 2, Beginning(HOSTILE, HOSTILE))]
    told.findings.append(Finding(name="X", severity=Severity.WARNING, step=1, sentence=HOSTILE))
    folder = ArchivedFolder(folder=HOSTILE, step=1, verdict=HOSTILE, reason=HOSTILE, explanation=HOSTILE)
    archive = ArchiveSummary(HOSTILE, HOSTILE, NOW, ArchiveState.UNREADABLE, folders=(folder,), fault=HOSTILE)
    page = Tags(
        render(
            replace(
                facts,
                uri=f"s3://bucket/{HOSTILE}",
                grids=(SampleGrid(1, f"../{HOSTILE}", prompts=(HOSTILE,)),),
                archives=(archive,),
                problems=(HOSTILE,),
            )
        )
    )
    assert page.tags.isdisjoint({"script", "iframe", "object", "embed", "link", "base", "form", "img"})
    assert not [name for name in page.attributes if name.startswith("on")]
    assert page.text.count("document.title") >= 8


def test_nothing_may_run_in_the_page_or_be_loaded_into_it(facts: ReportFacts) -> None:
    page = render(facts)
    policy = page[page.index("Content-Security-Policy") : page.index("<title>")]
    assert "default-src 'none'" in policy
    assert page.index("Content-Security-Policy") < page.index(facts.name)


def test_half_a_character_is_no_obstacle(facts: ReportFacts) -> None:
    assert b"half ?" in encode(replace(facts, problems=("half \ud800",)))

"""`t2i job check`: what a job file means, without a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Place


def test_check_shows_what_a_job_asks_for(directory_place: Place) -> None:
    ran = directory_place.run("job", "check", directory_place.job_file)
    assert ran.status == 0
    assert "0.1 M parameters" in ran.output


def test_a_wrong_field_is_named(directory_place: Place) -> None:
    path = directory_place.job_file
    path.write_text(path.read_text().replace("steps: 100000", "steps: 0"))
    ran = directory_place.run("job", "check", path)
    assert (ran.status, "spec.training.steps" in ran.errors) == (2, True)

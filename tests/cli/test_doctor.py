"""`t2i doctor`: the promises of real stores, tried; a good one may move, and nothing stays behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Place


def test_a_good_store_keeps_every_promise(place: Place) -> None:
    place.put_old()
    before = place.contents()
    uri = place.store.uri
    ran = place.run("doctor", "--storage", uri, "-o", "json")
    assert (ran.status, ran.document["safeMethod"], ran.document["reasons"]) == (0, "Move", [])
    assert ran.document["abilities"]["conditional_create_under_race"] is True
    assert place.contents() == before


def test_people_see_what_relies_on_each(place: Place) -> None:
    ran = place.run("doctor", "--storage", place.uri)
    assert ran.status == 0
    assert "If-None-Match on PUT" in ran.output
    assert "checkpoints can be moved safely" in " ".join(ran.output.split())


def test_a_store_that_does_not_answer_is_exit_status_4(s3_place: Place) -> None:
    ran = s3_place.run("doctor", "--storage", s3_place.uri, "--endpoint", "http://127.0.0.1:9")
    assert (ran.status, "Traceback" in ran.errors) == (4, False)


def test_help_says_what_is_written(directory_place: Place) -> None:
    ran = directory_place.run("doctor", "--help")
    assert (ran.status, ".t2i-probe/" in ran.output, "Exit status" in ran.output) == (0, True, True)

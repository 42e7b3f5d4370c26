"""`t2i checkpoint archive|restore`: asked first, safe, undone by one command; and nothing happens in a dry run."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from t2i_checkpoint.archive import plan_archive, run_archive
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.wanted import wanted_from
from t2i_cli.reading import read_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Place

    from t2i_checkpoint.archive import ArchiveIntent
    from t2i_checkpoint.archive_progress import ArchiveProgress

OLD = "checkpoints/checkpoint-00005000"
NEWER = "checkpoints/checkpoint-00006000"


def archive_names(place: Place) -> list[str]:
    found = place.run("checkpoint", "ls", place.uri, "-o", "json").document
    return [each["name"] for each in found["archives"]]


def test_what_cannot_fit_is_archived_and_comes_back_whole(place: Place) -> None:
    place.put_old()
    before = place.contents()
    ran = place.run("checkpoint", "archive", place.uri, "--job", place.job_file, "--yes", "-o", "json")
    assert ran.status == 0, ran.errors
    name = ran.document["archive"]
    assert (ran.document["folders"], ran.document["done"], name.endswith("-custom-unet")) == ([OLD], True, True)
    moved = place.contents()
    assert not set(before) & set(moved)
    assert {moved[f"archive/{name}/{key}"] for key in before} == set(before.values())

    judged = place.run("checkpoint", "verdict", place.uri, "--job", place.job_file, "-o", "json")
    assert (judged.status, judged.document["verdict"]) == (0, None)
    listed = place.run("checkpoint", "ls", place.uri)
    assert name in listed.output
    assert "home-made UNet" in listed.output

    restored = place.run("checkpoint", "restore", place.uri, "--archive", name, "--yes")
    assert restored.status == 0, restored.errors
    after = place.contents()
    assert {key: after[key] for key in before} == before
    assert place.run("checkpoint", "verdict", place.uri, "--job", place.job_file).status == 3


def test_a_dry_run_changes_nothing(place: Place) -> None:
    place.put_old()
    before = place.contents()
    ran = place.run("checkpoint", "archive", "--job", place.job_file, "--dry-run")
    assert (ran.status, place.contents()) == (0, before)
    assert OLD in ran.output
    assert "nothing was changed" in ran.output


def test_without_an_answer_nothing_happens(place: Place) -> None:
    place.put_old()
    before = place.contents()
    ran = place.run("checkpoint", "archive", "--job", place.job_file)
    assert (ran.status, "--yes" in ran.errors, "--dry-run" in ran.errors) == (2, True, True)
    assert {key: place.contents()[key] for key in before} == before
    assert archive_names(place) == []


def test_one_checkpoint_is_archived_under_a_label(place: Place) -> None:
    place.put_old()
    place.put_old(NEWER)
    ran = place.run("checkpoint", "archive", place.uri, "--folder", OLD, "--label", "before-fix", "--yes", "-o", "json")
    assert ran.status == 0, ran.errors
    assert ran.document["archive"].endswith("-before-fix")
    left = place.run("checkpoint", "ls", place.uri, "-o", "json").document
    assert [each["folder"] for each in left["checkpoints"]] == [NEWER]


def test_a_reference_leaves_the_bytes_where_they_are(place: Place) -> None:
    place.put_old()
    before = place.contents()
    ran = place.run("checkpoint", "archive", "--job", place.job_file, "--method", "Reference", "--yes", "-o", "json")
    assert (ran.status, ran.document["method"]) == (0, "Reference")
    after = place.contents()
    assert {key: after[key] for key in before} == before
    judged = place.run("checkpoint", "verdict", "--job", place.job_file, "-o", "json")
    assert (judged.status, judged.document["verdict"]) == (0, None)


def test_nothing_to_archive(place: Place) -> None:
    ran = place.run("checkpoint", "archive", "--job", place.job_file)
    assert (ran.status, "nothing to archive" in ran.output) == (0, True)


def test_nothing_is_archived_while_something_cannot_be_read(place: Place) -> None:
    place.put_old()
    place.put(NEWER, {"model.safetensors": b"\xff" * 64})
    before = place.contents()
    ran = place.run("checkpoint", "archive", "--job", place.job_file, "--yes")
    assert (ran.status, place.contents()) == (3, before)
    assert NEWER in ran.errors


def begun(place: Place, *, stage: str = "Copying") -> ArchiveIntent:
    """Begin to archive everything, and be killed at the first news of a stage."""
    wanted = wanted_from(read_job(place.job_file).spec)
    intent = plan_archive(survey(place.store, wanted).judgements, now=datetime.now(UTC), label="begun")

    def killed(news: ArchiveProgress) -> None:
        if news.stage == stage and news.objects_done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_archive(place.store, intent, killed, concurrency=1)
    return intent


def test_what_a_killed_process_began_is_finished(place: Place) -> None:
    place.put_old()
    intent = begun(place)
    shown = place.run("checkpoint", "archive", "--job", place.job_file, "--dry-run", "-o", "json").document
    assert (shown["begun"], shown["finished"], shown["done"]) == ([intent.name], [], False)
    ran = place.run("checkpoint", "archive", "--job", place.job_file, "--yes", "-o", "json")
    assert (ran.status, ran.document["finished"]) == (0, [intent.name])
    assert archive_names(place) == [intent.name]
    assert not [key for key in place.contents() if key.startswith(f"{OLD}/")]


@pytest.mark.parametrize("stage", ["Copying", "Deleting"])
@pytest.mark.parametrize("job", [False, True])
def test_a_named_checkpoint_is_archived_once_however_often_it_is_asked_for(
    directory_place: Place,
    stage: str,
    job: bool,  # noqa: FBT001
) -> None:
    # Was: after a kill the same command failed with "no such checkpoint", or archived a second time what was gone.
    place = directory_place
    place.put_old()
    intent = begun(place, stage=stage)
    command = ["checkpoint", "archive", place.uri, "--folder", OLD, "--yes", "-o", "json"]
    command += ["--job", str(place.job_file)] if job else []
    again = place.run(*command)
    assert again.status == 0, again.errors
    assert (again.document["finished"], again.document["archive"]) == ([intent.name], None)
    assert archive_names(place) == [intent.name]
    assert not [key for key in place.contents() if key.startswith(f"{OLD}/")]
    third = place.run(*command)
    assert (third.status, third.document["already"], third.document["finished"]) == (0, {OLD: intent.name}, [])


def test_what_somebody_else_began_is_left_to_them_where_no_job_says_whether_it_is_right(directory_place: Place) -> None:
    place = directory_place
    place.put_old(NEWER)
    intent = begun(place)
    place.put_old()
    ran = place.run("checkpoint", "archive", place.uri, "--folder", OLD, "--label", "mine", "--yes", "-o", "json")
    assert ran.status == 0, ran.errors
    assert (ran.document["begun"], ran.document["folders"]) == ([], [OLD])
    assert f"{intent.name} was begun by another" in ran.errors
    assert [key for key in place.contents() if key.startswith(f"{NEWER}/")]


def test_an_archive_that_is_wrong_by_now_is_given_up_and_not_said_to_be_finished(directory_place: Place) -> None:
    # Was: everything that had been begun was listed as finished.
    place = directory_place
    place.put_old()
    intent = begun(place)
    for key in [key for key in place.contents() if key.startswith(f"{OLD}/")]:
        place.store.delete([key])
    place.put_fitting(OLD)
    before = {key: value for key, value in place.contents().items() if key.startswith(f"{OLD}/")}
    ran = place.run("checkpoint", "archive", "--job", place.job_file, "--yes", "-o", "json")
    assert (ran.status, ran.document["finished"], ran.document["archive"]) == (0, [], None)
    assert "can serve the job as it is now" in ran.document["givenUp"][intent.name]
    assert {key: value for key, value in place.contents().items() if key.startswith(f"{OLD}/")} == before


def test_the_jobs_own_policy_decides_what_is_archived_how_and_under_which_name(
    directory_place: Place, write_job: Callable[..., Path]
) -> None:
    # Was: a partial fit was archived whatever checkpoint.onIncompatible said.
    place = directory_place
    place.put_partial(NEWER)
    job = write_job(place.store.uri, None, onIncompatible="WarmStart")
    kept = place.run("checkpoint", "archive", "--job", job, "--yes", "-o", "json")
    assert (kept.status, kept.document["folders"]) == (0, [])
    job = write_job(place.store.uri, None, onIncompatible="Fail")
    refused = place.run("checkpoint", "archive", "--job", job, "--yes")
    assert (refused.status, "--folder NAME" in refused.errors) == (3, True)
    job = write_job(place.store.uri, None, archive={"method": "Reference", "label": "as-the-job-says"})
    ran = place.run("checkpoint", "archive", "--job", job, "--folder", NEWER, "--yes", "-o", "json")
    assert (ran.status, ran.document["method"]) == (0, "Reference")
    assert ran.document["archive"].endswith("-as-the-job-says")


def test_restore_without_a_name_lists_the_names(place: Place) -> None:
    place.put_old()
    name = place.run("checkpoint", "archive", "--job", place.job_file, "--yes", "-o", "json").document["archive"]
    ran = place.run("checkpoint", "restore", place.uri)
    assert (ran.status, name in ran.output, f"--archive {name}" in ran.errors) == (2, True, True)


def test_restore_never_replaces_what_lies_there_now(place: Place) -> None:
    place.put_old()
    name = place.run("checkpoint", "archive", "--job", place.job_file, "--yes", "-o", "json").document["archive"]
    place.put_fitting(OLD)
    before = place.contents()
    ran = place.run("checkpoint", "restore", place.uri, "--archive", name, "--yes")
    assert (ran.status, place.contents()) == (3, before)
    assert "Nothing was lost" in ran.errors


def test_an_unknown_archive_is_refused(place: Place) -> None:
    ran = place.run("checkpoint", "restore", place.uri, "--archive", "20260101T000000Z-none", "--yes")
    assert (ran.status, "Traceback" in ran.errors) == (3, False)


@pytest.mark.parametrize("arguments", [(), ("URI",), ("URI", "--folder", "no-such-folder")])
def test_what_to_archive_must_be_said(directory_place: Place, arguments: tuple[str, ...]) -> None:
    named = [directory_place.uri if each == "URI" else each for each in arguments]
    assert directory_place.run("checkpoint", "archive", *named).status == 2


def on_a_terminal(place: Place, answer: bytes, *arguments: str) -> tuple[int, str]:
    """Run `t2i` on a terminal of its own and type an answer."""
    parent, child = pty.openpty()
    command = [str(Path(sys.executable).with_name("t2i")), *arguments]
    environment = {**os.environ, **place.environment, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment, close_fds=True)
    os.close(child)
    os.write(parent, answer)
    shown = b""
    while True:
        try:
            block = os.read(parent, 4096)
        except OSError:  # the other end is closed: the process has ended
            break
        if not block:
            break
        shown += block
    os.close(parent)
    return process.wait(), shown.decode()


@pytest.mark.parametrize(("answer", "status", "archives"), [(b"y\n", 0, 1), (b"n\n", 1, 0)])
def test_a_person_is_asked_and_sees_progress(s3_place: Place, answer: bytes, status: int, archives: int) -> None:
    s3_place.put_old()
    ended, shown = on_a_terminal(s3_place, answer, "checkpoint", "archive", "--job", str(s3_place.job_file))
    assert (ended, len(archive_names(s3_place))) == (status, archives), shown
    assert "Archive it?" in shown
    assert ("Copying" in shown) == bool(archives)


def test_progress_is_silent_where_nobody_watches(place: Place) -> None:
    place.put_old()
    ran = place.run_process("checkpoint", "archive", "--job", place.job_file, "--yes")
    assert "\x1b" not in ran.output + ran.errors
    assert "Copying" not in ran.output + ran.errors
    assert "undo: t2i checkpoint restore" in ran.output

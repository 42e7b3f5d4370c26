"""`t2i checkpoint ls|inspect|verdict` as people and scripts run it: what is said, and with which exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_checkpoint import layout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Place

    from t2i_dev.s3_server import S3Server

OLD = "checkpoints/checkpoint-00005000"
COUNTS = ("matched", "missing", "unexpected", "mismatched", "bytesRead", "requests")


def test_the_story_is_foreign_with_counts_shares_and_names(place: Place) -> None:
    place.put_old()
    ran = place.run("checkpoint", "verdict", place.uri, "--job", place.job_file, "-o", "json")
    found = ran.document
    assert (ran.status, found["verdict"], found["reason"], found["step"]) == (3, "foreign", "NamesDiffer", 5000)
    assert all(isinstance(found[count], int) for count in COUNTS)
    assert (found["matched"], found["unexpected"], found["matchedParameterShare"]) == (0, 6, 0.0)
    assert found["missing"] == 208
    assert "time_embed.0.weight" in found["firstUnexpected"]
    assert "home-made UNet" in found["explanation"]
    assert "home-made UNet" in found["storedModel"]
    assert found["then"] == {"action": "Archive", "message": None, "archives": [OLD], "passedOver": []}
    assert found["bytesRead"] <= 512 * 1024


def test_people_see_names_uncut_and_both_shapes(place: Place) -> None:
    place.put_old()
    ran = place.run("checkpoint", "verdict", place.uri, "--job", place.job_file)
    assert ran.status == 3
    assert f"{OLD}, step 5,000" in ran.output
    lines = [line.split() for line in ran.output.splitlines()]
    assert ["conv_in.weight", "-", "[8,", "3,", "3,", "3]"] in lines
    assert ["input_blocks.0.emb_layers.1.weight", "[8,", "16]", "-"] in lines
    assert max(map(len, ran.output.splitlines())) <= 80
    assert "…" not in ran.output


def test_weights_that_fit_are_not_a_resume(place: Place) -> None:
    place.put_fitting("checkpoint-7")
    ran = place.run("checkpoint", "verdict", "--job", place.job_file, "-o", "json")
    found = ran.document
    assert (ran.status, found["verdict"], found["reason"]) == (3, "inference-only", "WeightsWithoutResumeState")
    assert (found["matchedParameterShare"], found["then"]["action"]) == (1.0, "InitialWeights")


def test_where_nothing_is_a_run_begins(place: Place) -> None:
    ran = place.run("checkpoint", "verdict", place.uri, "--job", place.job_file, "-o", "json")
    assert (ran.status, ran.document["verdict"], ran.document["checkpoints"]) == (0, None, [])
    assert "there is no checkpoint" in place.run("checkpoint", "verdict", "--job", place.job_file).output


def test_what_cannot_be_read_is_exit_status_4_and_left_alone(place: Place) -> None:
    place.put("checkpoint-7", {"model.safetensors": b"\xff" * 64})
    before = place.contents()
    ran = place.run("checkpoint", "verdict", place.uri, "--job", place.job_file, "-o", "json")
    assert (ran.status, ran.document["verdict"]) == (4, "unreadable")
    assert place.contents() == before


def test_an_interrupted_save_is_not_resumable(place: Place) -> None:
    place.put(layout.checkpoint_folder(5, "w1"), {layout.WEIGHTS: b"partly"})
    ran = place.run("checkpoint", "verdict", place.uri, "--job", place.job_file, "-o", "json")
    assert (ran.status, ran.document["verdict"]) == (3, "incomplete")
    (passed_over,) = ran.document["then"]["passedOver"]
    assert (passed_over["verdict"], passed_over["reason"]) == ("incomplete", "NotCommitted")
    shown = place.run("checkpoint", "verdict", place.uri, "--job", place.job_file).output
    assert "1 checkpoint passed over: 1 incomplete (NotCommitted)" in " ".join(shown.split())


def test_a_single_file_is_judged_like_a_folder(place: Place) -> None:
    place.put_old()
    ran = place.run("checkpoint", "verdict", f"{place.uri}/{OLD}/model.safetensors", "--job", place.job_file)
    assert ran.status == 3
    assert "foreign (NamesDiffer)" in ran.output


def test_one_checkpoint_folder_is_judged_alone(place: Place) -> None:
    place.put_old()
    place.put_fitting("checkpoint-7")
    ran = place.run("checkpoint", "verdict", f"{place.uri}/checkpoint-7", "--job", place.job_file, "-o", "json")
    assert (ran.document["verdict"], len(ran.document["checkpoints"])) == ("inference-only", 1)


def test_ls_shows_what_each_is(place: Place) -> None:
    place.put_old()
    place.put_fitting("checkpoint-7")
    found = place.run("checkpoint", "ls", place.uri, "-o", "json").document
    assert [(each["folder"], each["step"]) for each in found["checkpoints"]] == [(OLD, 5000), ("checkpoint-7", 7)]
    assert "home-made UNet" in found["checkpoints"][0]["storedModel"]
    shown = place.run("checkpoint", "ls", place.uri)
    assert shown.status == 0
    assert OLD in shown.output
    assert "home-made UNet" in shown.output


def test_ls_of_nothing(place: Place) -> None:
    ran = place.run("checkpoint", "ls", place.uri)
    assert (ran.status, "no checkpoints" in ran.output) == (0, True)


def test_inspect_tells_everything_about_the_newest(place: Place) -> None:
    place.put_old()
    place.put_fitting("checkpoint-7")
    found = place.run("checkpoint", "inspect", place.uri, "-o", "json").document
    assert (found["step"], found["tensors"], found["dtypes"]) == (5000, 6, ["F32"])
    assert {each["key"].rpartition("/")[2] for each in found["objects"]} == {"model.safetensors", "random_states_0.pkl"}
    shown = place.run("checkpoint", "inspect", f"{place.uri}/checkpoint-7")
    assert (shown.status, "cross-attention 16" in shown.output) == (0, True)


def test_inspect_of_nothing_says_where_to_look(place: Place) -> None:
    ran = place.run("checkpoint", "inspect", place.uri)
    assert (ran.status, "t2i checkpoint ls" in ran.errors) == (3, True)


def test_a_path_that_does_not_exist_is_remarked(directory_place: Place) -> None:
    ran = directory_place.run("checkpoint", "verdict", f"{directory_place.uri}/typo", "--job", directory_place.job_file)
    assert (ran.status, "does not exist" in ran.errors) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("checkpoint", "verdict", "URI", "--job", "no-such-file.yaml"), "no-such-file.yaml"),
        (("checkpoint", "verdict", "ftp://host/x", "--job", "JOB"), "s3:// nor file://"),
        (("checkpoint", "verdict", "URI"), "--job"),
        (("checkpoint", "ls"), "URI"),
        (("checkpoint", "ls", "URI", "-o", "yaml"), "json"),
    ],
)
def test_wrong_usage_names_the_way_out(directory_place: Place, arguments: tuple[str, ...], words: str) -> None:
    named = {"URI": directory_place.uri, "JOB": str(directory_place.job_file)}
    ran = directory_place.run(*(named.get(each, each) for each in arguments))
    assert ran.status in {2, 4}
    assert words in ran.errors
    assert "Traceback" not in ran.errors


def test_a_broken_job_file_is_a_usage_error(directory_place: Place) -> None:
    directory_place.job_file.write_text("spec: [")
    ran = directory_place.run("checkpoint", "verdict", "--job", directory_place.job_file)
    assert (ran.status, "not YAML" in ran.errors) == (2, True)


def test_a_store_that_does_not_answer_is_exit_status_4(s3_place: Place, write_job: Callable[..., Path]) -> None:
    job = write_job(s3_place.uri, "http://127.0.0.1:9")
    ran = s3_place.run("checkpoint", "verdict", "--job", job)
    assert ran.status == 4
    assert "127.0.0.1:9" in ran.errors
    assert "Traceback" not in ran.errors


def test_wrong_credentials_are_exit_status_4(s3_place: Place, s3_server: S3Server) -> None:
    environment = {**s3_server.environment(), "AWS_SECRET_ACCESS_KEY": "wrong"}
    place = type(s3_place)(s3_place.uri, s3_place.store, s3_place.job_file, environment)
    ran = place.run("checkpoint", "ls", place.uri)
    assert ran.status == 4
    assert "wrong" not in ran.errors


def test_names_from_a_file_move_no_cursor(place: Place) -> None:
    header = b'{"\\u001b[2Jclear": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    place.put("checkpoint-7", {"model.safetensors": len(header).to_bytes(8, "little") + header + bytes(4)})
    ran = place.run("checkpoint", "verdict", place.uri, "--job", place.job_file)
    assert "\x1b" not in ran.output + ran.errors
    assert "\\x1b[2Jclear" in ran.output


@pytest.mark.parametrize("command", ["ls", "inspect", "verdict", "archive", "restore"])
def test_help_teaches_an_example_and_the_exit_statuses(directory_place: Place, command: str) -> None:
    ran = directory_place.run("checkpoint", command, "--help")
    assert ran.status == 0
    assert f"t2i checkpoint {command}" in ran.output
    assert "Exit status" in ran.output

"""The frozen intent: what may be archived, in which order it is deleted, and which documents are not believed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from t2i_checkpoint.archive_plan import (
    ArchiveError,
    ArchiveIntent,
    parse_archive_manifest,
    parse_intent,
    plan_archive,
)
from t2i_checkpoint.inspect import survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.checkpoint.conftest import CheckpointWriter

    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.verdict import Wanted

NOW = datetime(2025, 12, 14, 22, 17, 58, tzinfo=UTC)
ROOT = "archive/20251214T221758Z-custom-unet/"


@pytest.fixture
def intent(checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture) -> ArchiveIntent:
    checkpoints.own(9, wanted.architecture, prediction_type="epsilon")
    checkpoints.accelerate(5000, old_unet)
    return plan_archive(survey(checkpoints.store, wanted).archivable, now=NOW, label="custom-unet")


def test_everything_in_the_folders_is_listed_under_its_old_key(intent: ArchiveIntent) -> None:
    assert intent.name == "20251214T221758Z-custom-unet"
    assert [folder.folder for folder in intent.folders] == ["checkpoint-00005000", "checkpoints/step-00000009-w1"]
    assert [folder.reason for folder in intent.folders] == ["NamesDiffer", "PredictionTypeDiffers"]
    assert all(entry.destination == ROOT + entry.source for entry in intent.entries)
    assert len(intent.entries) == 4 + 8
    assert intent.size_bytes == sum(entry.size for entry in intent.entries)


def test_what_makes_a_folder_a_checkpoint_is_deleted_first(intent: ArchiveIntent) -> None:
    sources = [entry.source for entry in intent.entries]
    assert sources[0] == "checkpoints/step-00000009-w1/MANIFEST.json"
    assert sources[1] == "checkpoint-00005000/model.safetensors"


def test_the_label_of_the_newest_names_the_archive(
    checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture
) -> None:
    checkpoints.accelerate(5000, old_unet)
    assert plan_archive(survey(checkpoints.store, wanted).archivable, now=NOW).name.endswith("Z-custom-unet")


def test_an_intent_reads_back_as_it_was_written(intent: ArchiveIntent) -> None:
    assert parse_intent(intent.to_json(), ROOT + "INTENT.json") == intent


def test_only_what_was_read_and_cannot_serve_is_planned(checkpoints: CheckpointWriter, wanted: Wanted) -> None:
    checkpoints.own(1, wanted.architecture)
    checkpoints.files("checkpoint-2", {"model.bin": b"x"})
    checkpoints.files("checkpoint-3", {"x": b"x"})
    for judgement in survey(checkpoints.store, wanted).judgements:
        with pytest.raises(ArchiveError, match="only what was read"):
            plan_archive([judgement], now=NOW)
    with pytest.raises(ArchiveError, match="no checkpoint"):
        plan_archive([], now=NOW)


@pytest.mark.parametrize(
    "name", ["../checkpoint-6/model.safetensors", "unet//a.bin", "a\udc80", "a\x1bb", "d/" + "n" * 980]
)
def test_a_key_that_could_not_be_moved_is_refused_before_anything_is_written(
    checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture, name: str
) -> None:
    # Other programs' keys are whatever S3 takes; an intent that nobody can carry out would stop every next preflight.
    checkpoints.accelerate(5000, old_unet)
    (judgement,) = survey(checkpoints.store, wanted).archivable
    odd = replace(judgement.objects[0], key=f"{judgement.folder}/{name}")
    with pytest.raises(ArchiveError) as refused:
        plan_archive([replace(judgement, objects=(*judgement.objects, odd))], now=NOW)
    assert refused.value.reason == "KeyNotMovable"
    assert str(refused.value).isprintable()


def change(document: dict[str, Any], **entry: Any) -> dict[str, Any]:
    entries = [{**document["entries"][0], **entry}, *document["entries"][1:]]
    return {**document, "entries": entries}


@pytest.mark.parametrize(
    ("hostile", "says"),
    [
        (lambda d: change(d, source="samples/x", destination=ROOT + "samples/x"), "lies in none"),
        (lambda d: change(d, source="checkpoint-1/x", destination=ROOT + "checkpoint-1/x"), "lies in none"),
        (lambda d: change(d, destination="checkpoints/elsewhere"), "would go to"),
        (
            lambda d: change(
                d,
                source="checkpoint-00005000/../precious",
                destination=ROOT + "checkpoint-00005000/../precious",
            ),
            "would go to",
        ),
        (lambda d: change(d, source=d["entries"][1]["source"], destination=d["entries"][1]["destination"]), "twice"),
        (lambda d: change(d, size=-1), "size"),
        (lambda d: {**d, "name": "../elsewhere"}, "no archive name"),
        (lambda d: {**d, "name": "20251214T221758Z-other"}, "would go to"),
        (lambda d: {**d, "folders": [{**d["folders"][0], "folder": "samples"}]}, "no checkpoint folder"),
        (lambda d: {**d, "entries": []}, "entries"),
        (lambda d: {**d, "version": 2}, "version"),
    ],
)
def test_an_intent_that_reaches_beyond_its_checkpoints_is_refused(
    intent: ArchiveIntent, hostile: Callable[[dict[str, Any]], dict[str, Any]], says: str
) -> None:
    raw = json.dumps(hostile(json.loads(intent.to_json()))).encode()
    with pytest.raises(ArchiveError, match=says) as caught:
        parse_intent(raw, ROOT + "INTENT.json")
    assert caught.value.reason == "ArchiveInvalid"


def test_an_intent_in_anothers_folder_is_refused(intent: ArchiveIntent) -> None:
    with pytest.raises(ArchiveError, match="belongs to"):
        parse_intent(intent.to_json(), "archive/20260101T000000Z-x/INTENT.json")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"a":1,"a":2}', b"\xff"])
def test_garbage_is_refused_with_the_way_out(raw: bytes) -> None:
    for parse in (parse_intent, parse_archive_manifest):
        with pytest.raises(ArchiveError, match="by hand"):
            parse(raw, ROOT + "x")


def test_an_archive_whose_manifest_could_not_be_read_back_is_refused_before_anything_is_written(
    checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture
) -> None:
    """18,000 objects: the intent was readable, the manifest was not, and the sources were deleted after its commit."""
    checkpoints.accelerate(5000, old_unet)
    (found,) = survey(checkpoints.store, wanted).archivable
    one = found.objects[0]
    many = tuple(
        replace(one, key=f"{found.folder}/model/__{number:05d}_0_of_many_blocks.distcp") for number in range(18_000)
    )
    with pytest.raises(ArchiveError, match="18000 objects are more than one archive can list") as caught:
        plan_archive([replace(found, objects=many)], now=NOW)
    assert caught.value.reason == "TooManyObjects"

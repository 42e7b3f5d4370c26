"""Whatever a URI names is judged: a job's root, a folder of checkpoints, one of them, one file; also without a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_api.status import VerdictKind
from t2i_checkpoint import layout
from t2i_checkpoint.architecture import Architecture, Parameter
from t2i_checkpoint.inspect import judge_folder, survey, survey_location
from t2i_checkpoint.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.checkpoint.conftest import CheckpointWriter

    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted

DIFFUSERS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def run(tmp_path: Path, wanted: Wanted, writer_of: Callable[[Store], CheckpointWriter]) -> Path:
    """A job's root with an own checkpoint, a Diffusers folder and a single file."""
    writer = writer_of(LocalStore(tmp_path / "run"))
    writer.own(9, wanted.architecture)
    writer.files("checkpoints/checkpoint-8", {DIFFUSERS: writer.tensors(wanted.architecture)})
    writer.files("checkpoints", {"step_7.safetensors": writer.tensors(wanted.architecture)})
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("below", "key", "folders"),
    [
        ("", None, ["checkpoints/step-00000009-w1", "checkpoints/checkpoint-8", "checkpoints/step_7.safetensors"]),
        ("checkpoints", None, ["step-00000009-w1", "checkpoint-8", "step_7.safetensors"]),
        ("checkpoints/step-00000009-w1", None, [""]),
        ("checkpoints/checkpoint-8", None, [""]),
        ("checkpoints", "step_7.safetensors", ["step_7.safetensors"]),
        ("checkpoints/checkpoint-8/unet", None, [""]),
        ("checkpoints/checkpoint-8/unet", "diffusion_pytorch_model.safetensors", None),
        ("nothing/here", None, []),
    ],
)
def test_every_place_that_a_uri_can_name_is_judged_alike(
    run: Path, wanted: Wanted, below: str, key: str | None, folders: list[str] | None
) -> None:
    store = LocalStore(run / below)
    found = survey_location(store, wanted, key)
    assert [judgement.folder for judgement in found.judgements] == ([key] if folders is None else folders)
    kinds = {VerdictKind.IDENTICAL, VerdictKind.INFERENCE_ONLY}
    assert {judgement.verdict.kind for judgement in found.judgements} <= kinds
    for judgement in found.judgements:
        assert judge_folder(store, judgement.folder, wanted).verdict == judgement.verdict


def test_a_step_is_told_by_the_name_of_the_place(run: Path, wanted: Wanted) -> None:
    for name, step, kind in [
        ("step-00000009-w1", 9, VerdictKind.IDENTICAL),
        ("checkpoint-8", 8, VerdictKind.INFERENCE_ONLY),
    ]:
        (judgement,) = survey_location(LocalStore(run / "checkpoints" / name), wanted).judgements
        assert (judgement.name, judgement.step, judgement.verdict.kind) == (name, step, kind)


def test_a_diffusers_pipeline_is_judged_by_its_unet(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture
) -> None:
    files = {
        "model_index.json": b"{}",
        "unet/config.json": b"{}",
        DIFFUSERS: checkpoints.tensors(wanted.architecture),
        "vae/diffusion_pytorch_model.safetensors": checkpoints.tensors(old_unet),
        "text_encoder/model.safetensors": checkpoints.tensors(old_unet),
    }
    checkpoints.files("", files)
    (judgement,) = survey_location(store, wanted).judgements
    assert (judgement.folder, judgement.format) == ("", "diffusers")
    assert judgement.verdict.reason == "WeightsWithoutResumeState"


def test_what_a_checkpoint_holds_is_described_without_a_job(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture
) -> None:
    adapter = Architecture([("unet.to_q.lora_A.weight", Parameter((4, 4)))])
    checkpoints.own(9, wanted.architecture)
    checkpoints.accelerate(8, old_unet)
    checkpoints.files("checkpoint-7", {"pytorch_lora_weights.safetensors": checkpoints.tensors(adapter)})
    checkpoints.files("checkpoint-6", {"model.safetensors": b"not a header"})
    found = {judgement.step: judgement for judgement in survey_location(store, None).judgements}
    assert "Diffusers UNet" in found[9].verdict.stored_model
    assert "home-made UNet" in found[8].verdict.stored_model
    assert found[7].verdict.kind is VerdictKind.ADAPTER
    assert found[6].verdict.kind is VerdictKind.UNREADABLE
    summary = found[9].contents_summary
    assert (summary.weights, summary.tensors, summary.dtypes) == (layout.WEIGHTS, 208, ("F32",))
    assert summary.parameters == wanted.architecture.count
    assert summary.ema is not None
    assert summary.optimizer is not None
    assert set(found[8].contents_summary.notes) == {"optimizer.bin", "random_states_0.pkl", "scheduler.bin"}
    for judgement in found.values():  # nothing was held against a job, so nothing follows from it
        assert not judgement.verdict.resumable
        assert not judgement.verdict.archivable
        assert not judgement.verdict.usable_as_initial_weights


@pytest.mark.parametrize("folder", ["checkpoint-5", "checkpoint-5.pt", "any/where", "v1-5.safetensors"])
def test_nothing_there_is_incomplete_and_said(store: Store, wanted: Wanted, folder: str) -> None:
    verdict = judge_folder(store, folder, wanted).verdict
    assert (verdict.kind, verdict.reason) == (VerdictKind.INCOMPLETE, "NotFound")


def test_a_folder_is_not_confused_with_one_whose_name_goes_on(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture
) -> None:
    checkpoints.files("checkpoint-5", {"model.safetensors": checkpoints.tensors(wanted.architecture)})
    checkpoints.files("checkpoint-50", {"model.safetensors": checkpoints.tensors(old_unet)})
    checkpoints.files("", {"checkpoint-5.safetensors.bak": b"x"})
    judgement = judge_folder(store, "checkpoint-5", wanted)
    assert judgement.verdict.kind is VerdictKind.INFERENCE_ONLY
    assert [info.key for info in judgement.objects] == ["checkpoint-5/model.safetensors"]


@pytest.mark.parametrize("name", ["step_500.safetensors", "epoch=3-step=500.safetensors"])
def test_files_left_directly_at_the_root_are_found_where_nothing_else_is(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, name: str
) -> None:
    checkpoints.files("", {name: checkpoints.tensors(wanted.architecture), "stepping/stone": b""})
    (judgement,) = survey(store, wanted).judgements
    assert (judgement.folder, judgement.step) == (name, 500)
    assert [info.key for info in judgement.objects] == [name]
    checkpoints.own(9, wanted.architecture)
    assert [found.step for found in survey(store, wanted).judgements] == [9]


def test_folders_of_other_programs_are_found_by_their_names(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    for folder in ("checkpoint_3", "checkpoints/step_4", "checkpoints/step-5", "checkpoints_backup/checkpoint-6"):
        checkpoints.files(folder, {"model.safetensors": checkpoints.tensors(wanted.architecture)})
    assert [judgement.step for judgement in survey(store, wanted).judgements] == [5, 4, 3]


def test_an_archive_does_not_make_a_jobs_root_a_checkpoint(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture
) -> None:
    # After `t2i checkpoint archive`, `ls` of the root judged the archived files as one checkpoint.
    weights = checkpoints.tensors(old_unet)
    archived = "archive/20251214T221758Z-custom-unet/checkpoints/checkpoint-5/model.safetensors"
    checkpoints.files("", {archived: weights, "samples/step-00000005/a.bin": b"x", "metrics.jsonl": b"{}"})
    checkpoints.files("checkpoints_backup/checkpoint-4", {"model.safetensors": weights})
    checkpoints.files("some/other/run", {"model.safetensors": weights})
    assert survey_location(store, wanted).judgements == ()
    assert survey(store, wanted).judgements == ()


def test_a_retired_folder_is_passed_over(store: Store, checkpoints: CheckpointWriter, wanted: Wanted) -> None:
    folder = checkpoints.own(9, wanted.architecture)
    checkpoints.own(8, wanted.architecture)
    store.create(f"{folder}/{layout.RETIRED}", b"{}")
    found = survey(store, wanted)
    assert [(each.step, each.verdict.reason) for each in found.judgements] == [
        (9, "Retired"),
        (8, "NamesAndShapesMatch"),
    ]
    assert found.judgements[0].verdict.kind is VerdictKind.INCOMPLETE
    assert found.resumable is found.judgements[1]

"""A checkpoint of our own is resumed only if weights, optimizer, average, files and run agree; told in three reads."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from t2i_api.status import VerdictKind
from t2i_checkpoint import layout
from t2i_checkpoint.architecture import Architecture, Parameter
from t2i_checkpoint.inspect import Judgement, judge_folder, survey
from t2i_checkpoint.metered_reads import MAX_BYTES, MAX_READS
from t2i_checkpoint.optimizer import optimizer_architecture
from t2i_checkpoint.unet import unet_architecture_from_mapping
from t2i_checkpoint.verdict import RunIdentity, Wanted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.checkpoint.conftest import CheckpointWriter

    from t2i_checkpoint.local import LocalStore
    from t2i_checkpoint.manifest import Manifest
    from t2i_checkpoint.store import Store

# https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/unet/config.json
SDXL = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "projection_class_embeddings_input_dim": 2816,
    "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": True,
}


def only(store: Store, wanted: Wanted) -> Judgement:
    (judgement,) = survey(store, wanted).judgements
    assert judge_folder(store, judgement.folder, wanted).verdict == judgement.verdict
    return judgement


def with_another_shape(architecture: Architecture) -> Architecture:
    """Return a model of as many elements, so that the file is as long and its header as well."""
    parameters = dict(architecture.parameters)
    parameters["conv_in.weight"] = Parameter((4, 4, 9, 1))
    return Architecture(parameters.items())


def listed_fingerprints(manifest: Manifest, of: dict[str, Architecture]) -> Manifest:
    files = tuple(
        file.model_copy(update={"architecture_fingerprint": of[file.path].fingerprint() if file.path in of else None})
        for file in manifest.files
    )
    return manifest.model_copy(update={"files": files})


def test_the_average_is_judged_without_a_fourth_read(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    checkpoints.own(1, wanted.architecture)
    judgement = only(store, wanted)
    assert judgement.verdict.kind is VerdictKind.IDENTICAL
    assert judgement.requests == MAX_READS


MARK: dict[str, Any] = {
    "format": "t2i.dev/damage",
    "version": 1,
    "file": layout.WEIGHTS,
    "expectedSha256": "a" * 64,
    "foundSha256": "b" * 64,
    "foundAt": "2026-01-02T03:04:05Z",
    "foundBy": "0123abcd-a2",
}


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        (json.dumps(MARK).encode(), f"SHA-256 of {layout.WEIGHTS} is bbbbbbbbbbbb…"),
        (json.dumps({**MARK, "file": "x; rm \n"}).encode(), "what it says cannot be read"),
        (b"\xff", "what it says cannot be read"),
        (b" " * 5000, "what it says cannot be read"),
        (b"", "what it says cannot be read"),
    ],
    ids=["sound", "hostile", "not JSON", "too long", "empty"],
)
def test_a_mark_of_damage_bars_a_resume_whatever_it_says(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, mark: bytes, words: str
) -> None:
    folder = checkpoints.own(1, wanted.architecture)
    store.put(f"{folder}/{layout.DAMAGED}", mark)
    judgement = only(store, wanted)
    assert (judgement.verdict.kind, judgement.verdict.reason) == (VerdictKind.INCOMPLETE, "Damaged")
    assert words in judgement.verdict.explanation
    assert not judgement.verdict.archivable
    assert judgement.requests < MAX_READS
    store.delete([f"{folder}/{layout.DAMAGED}"])
    assert only(store, wanted).verdict.resumable


@pytest.mark.parametrize("without", [layout.EMA_WEIGHTS, layout.OPTIMIZER])
def test_without_average_or_optimizer_nothing_is_resumed(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, without: str
) -> None:
    checkpoints.own(1, wanted.architecture, without={without})
    verdict = only(store, wanted).verdict
    reason = "EmaDiffers" if without == layout.EMA_WEIGHTS else "OptimizerDiffers"
    assert (verdict.kind, verdict.reason) == (VerdictKind.INFERENCE_ONLY, reason)
    assert "there is none" in verdict.explanation


@pytest.mark.parametrize("without", [layout.TRAINER_STATE, layout.NULL_EMBEDDING])
def test_without_the_trainers_own_state_nothing_is_resumed(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, without: str
) -> None:
    checkpoints.own(1, wanted.architecture, without={without})
    verdict = only(store, wanted).verdict
    assert (verdict.kind, verdict.reason) == (VerdictKind.INFERENCE_ONLY, "ResumeStateMissing")
    assert without in verdict.explanation


def test_an_average_of_another_model_is_seen_by_the_size_of_its_file(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    smaller = Architecture([*wanted.architecture.parameters.items()][:-1])
    checkpoints.own(1, wanted.architecture, replaced={layout.EMA_WEIGHTS: checkpoints.tensors(smaller)})
    verdict = only(store, wanted).verdict
    assert (verdict.kind, verdict.reason) == (VerdictKind.INFERENCE_ONLY, "EmaDiffers")
    assert "conv_out.bias" in verdict.explanation


def test_an_average_as_long_as_the_weights_is_told_apart_by_its_fingerprint(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    other = with_another_shape(wanted.architecture)
    content = checkpoints.tensors(other)
    assert len(content) == len(checkpoints.tensors(wanted.architecture))
    folder = checkpoints.own(1, wanted.architecture, replaced={layout.EMA_WEIGHTS: content})
    manifest = only(store, wanted).manifest
    assert manifest is not None
    truth = {layout.WEIGHTS: wanted.architecture, layout.EMA_WEIGHTS: other}
    store.put(f"{folder}/{layout.MANIFEST}", listed_fingerprints(manifest, truth).to_json())
    verdict = only(store, wanted).verdict
    assert (verdict.kind, verdict.reason) == (VerdictKind.INFERENCE_ONLY, "EmaDiffers")
    assert "conv_in.weight: stored [4, 4, 9, 1], wanted [4, 4, 3, 3]" in verdict.explanation


@pytest.mark.parametrize(
    ("changes", "reason", "says"),
    [
        ({"seed": 17}, "SeedDiffers", "set training.seed to 17"),
        ({"global_batch_size": 32}, "GlobalBatchSizeDiffers", "set training.globalBatchSize to 32"),
        ({"samples_seen": 5}, "SamplesSeenDiffers", "5 at step 5000"),
        ({"world_size": 64}, "NamesAndShapesMatch", "agree"),  # any world size resumes bit-exactly
    ],
)
def test_another_run_is_not_resumed_and_the_way_out_is_said(  # noqa: PLR0913, PLR0917  # a row of a table
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, changes: dict[str, Any], reason: str, says: str
) -> None:
    checkpoints.own(5000, wanted.architecture, **changes)
    verdict = only(store, dataclasses.replace(wanted, run=RunIdentity(seed=7, global_batch_size=64))).verdict
    assert verdict.reason == reason
    assert verdict.resumable == (reason == "NamesAndShapesMatch")
    assert verdict.usable_as_initial_weights
    assert says in verdict.explanation


def test_a_checkpoint_of_a_compiled_model_is_resumed_under_its_plain_names(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    compiled = Architecture((f"_orig_mod.{name}", p) for name, p in wanted.architecture.parameters.items())
    checkpoints.own(1, compiled)
    verdict = only(store, wanted).verdict
    assert verdict.kind is VerdictKind.IDENTICAL
    assert verdict.renaming is not None
    assert verdict.renaming.names["_orig_mod.conv_in.bias"] == "conv_in.bias"


def test_a_renamed_checkpoint_is_resumed_if_all_its_state_can_be_renamed(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    old = Architecture((name.replace("to_q", "query"), p) for name, p in wanted.architecture.parameters.items())
    checkpoints.own(1, old)
    verdict = only(store, wanted).verdict
    assert (verdict.kind, verdict.reason, verdict.resumable) == (VerdictKind.RENAMED, "NamesConvertible", True)
    broken = Architecture([*optimizer_architecture(old).parameters.items()][1:])
    checkpoints.own(2, old, replaced={layout.OPTIMIZER: checkpoints.tensors(broken)})
    newest = survey(store, wanted).judgements[0].verdict
    assert (newest.kind, newest.reason, newest.resumable) == (VerdictKind.INFERENCE_ONLY, "OptimizerDiffers", False)


def test_a_model_that_only_its_builder_knows_is_resumed_by_its_config(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture
) -> None:
    unknown = Wanted(Architecture([]), wanted.meaning, model_config_sha256="aa" * 32)
    for held, kind, reason in [
        ("aa" * 32, VerdictKind.IDENTICAL, "NamesAndShapesMatch"),
        ("bb" * 32, VerdictKind.FOREIGN, "ModelConfigDiffers"),
        (None, VerdictKind.UNREADABLE, "ArchitectureNotDerivable"),
    ]:
        folder = checkpoints.own(1, old_unet, model_config_sha256=held)
        verdict = only(store, unknown).verdict
        assert (verdict.kind, verdict.reason) == (kind, reason)
        store.delete([f"{folder}/{layout.MANIFEST}"])
    store.delete([info.key for info in store.list("checkpoints/")])
    checkpoints.accelerate(2, old_unet)
    assert only(store, unknown).verdict.reason == "ArchitectureNotDerivable"


def sparse(root: Path, model: Architecture) -> bytes:
    """Write the header of a file whose tensors are a hole."""
    table, position = {}, 0
    for name, parameter in model.parameters.items():
        table[name] = {
            "dtype": "F32",
            "shape": list(parameter.shape),
            "data_offsets": [position, position + 4 * parameter.count],
        }
        position += 4 * parameter.count
    header = json.dumps(table, separators=(",", ":")).encode()
    root.parent.mkdir(parents=True, exist_ok=True)
    with root.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + position)
    return header


def test_sdxl_is_judged_within_half_a_mebibyte(
    tmp_path: Path, directory_store: LocalStore, make_manifest: Any, wanted: Wanted
) -> None:
    # Manifest, weights and optimizer header together are longer: the optimizer is told by its fingerprint.
    model = unet_architecture_from_mapping(SDXL)
    folder = layout.checkpoint_folder(5000, "w1")
    contents = {layout.WEIGHTS: model, layout.EMA_WEIGHTS: model, layout.OPTIMIZER: optimizer_architecture(model)}
    files = []
    for path, architecture in contents.items():
        place = tmp_path / "bucket" / folder / path
        header = sparse(place, architecture)
        entry = {"path": path, "size": place.stat().st_size, "sha256": "0" * 64, "header_bytes": 8 + len(header)}
        files.append({**entry, "architecture_fingerprint": architecture.fingerprint()})
    for path in (layout.TRAINER_STATE, layout.NULL_EMBEDDING):
        directory_store.put(f"{folder}/{path}", b"{}")
        files.append({"path": path, "size": 2, "sha256": "0" * 64})
    directory_store.put(f"{folder}/{layout.MANIFEST}", make_manifest(model, files=files).to_json())
    judgement = only(directory_store, Wanted(model, wanted.meaning))
    assert judgement.verdict.kind is VerdictKind.IDENTICAL, judgement.verdict.explanation
    assert judgement.size_bytes > 40e9
    assert judgement.requests <= MAX_READS
    assert judgement.bytes_read <= MAX_BYTES

"""A bucket with everything that people leave in it is judged in one listing and a few ranged reads."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from t2i_api.status import VerdictKind
from t2i_checkpoint import layout
from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.inspect import JUDGED_AT_ONCE, Judgement, survey
from t2i_checkpoint.store import AccessDenied, ObjectChanged, StoreError, StoreUnavailable
from t2i_checkpoint.verdict import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.checkpoint.conftest import CheckpointWriter

    from t2i_checkpoint.store import Store


def only(store: Store, wanted: Wanted) -> Judgement:
    found = survey(store, wanted).judgements
    assert len(found) == 1
    return found[0]


def test_an_empty_prefix_holds_nothing(store: Store, wanted: Wanted) -> None:
    found = survey(store, wanted)
    assert found.judgements == ()
    assert found.resumable is None
    assert found.requests == 4  # the LIST, and three for what may lie directly at the root


def test_our_own_checkpoint_is_identical_in_four_requests(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    folder = checkpoints.own(5000, wanted.architecture)
    found = survey(store, wanted)
    judgement = found.judgements[0]
    assert (judgement.name, judgement.folder, judgement.step) == (folder.removeprefix("checkpoints/"), folder, 5000)
    assert judgement.verdict.kind is VerdictKind.IDENTICAL
    assert judgement.format == "t2i"
    assert judgement.manifest is not None
    assert judgement.manifest.samples_seen == 320_000
    assert judgement.size_bytes == sum(info.size for info in store.list(f"{folder}/"))
    assert found.requests == 4  # one LIST, then manifest, weights header, optimizer header
    assert found.resumable == judgement


def test_a_bucket_of_everything_is_judged_newest_first(
    store: Store,
    checkpoints: CheckpointWriter,
    wanted: Wanted,
    old_unet: Architecture,
    write_tensors: Callable[[Architecture], bytes],
) -> None:
    unet = wanted.architecture
    checkpoints.files("checkpoints/step-00009000-w2", {layout.WEIGHTS: write_tensors(unet)})
    checkpoints.own(8000, unet)
    checkpoints.own(7000, unet, prediction_type="epsilon")
    checkpoints.accelerate(6000, unet, root="checkpoints/")
    checkpoints.accelerate(5000, old_unet)
    checkpoints.files("checkpoint-500", {"unet/diffusion_pytorch_model.safetensors": write_tensors(unet)})
    checkpoints.files("checkpoint-400", {"pytorch_model.bin": b"PK\x03\x04"})
    checkpoints.files("checkpoint-300", {"optimizer.bin": b"PK", "random_states_0.pkl": b"\x80"})
    checkpoints.files("checkpoint-200", {"model.safetensors": b"not a header"})
    checkpoints.files("checkpoints_backup/checkpoint-1", {"model.safetensors": write_tensors(old_unet)})
    found = survey(store, wanted)
    assert [(j.step, j.verdict.kind.value, j.verdict.reason) for j in found.judgements] == [
        (9000, "incomplete", "NotCommitted"),
        (8000, "identical", "NamesAndShapesMatch"),
        (7000, "foreign", "PredictionTypeDiffers"),
        (6000, "inference-only", "ResumeStateOfAnotherProgram"),
        (5000, "foreign", "NamesDiffer"),
        (500, "inference-only", "WeightsWithoutResumeState"),
        (400, "incomplete", "HeaderTruncated"),
        (300, "incomplete", "NoWeights"),
        (200, "unreadable", "HeaderTooLarge"),
    ]
    assert found.resumable is not None
    assert found.resumable.step == 8000
    assert [(j.step, j.label) for j in found.archivable] == [(7000, "other-prediction-type"), (5000, "custom-unet")]
    assert found.requests <= 1 + 3 * len(found.judgements)


@pytest.mark.parametrize(
    ("path", "content"),
    [(layout.WEIGHTS, None), (layout.OPTIMIZER, b"shorter"), (layout.TRAINER_STATE, b'{"epoch": 1} and more')],
)
def test_a_committed_checkpoint_with_a_lost_or_short_file_is_incomplete(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, path: str, content: bytes | None
) -> None:
    folder = checkpoints.own(1, wanted.architecture)
    store.delete([f"{folder}/{path}"])
    if content is not None:
        store.put(f"{folder}/{path}", content)
    verdict = only(store, wanted).verdict
    assert (verdict.kind, verdict.reason) == (VerdictKind.INCOMPLETE, "FilesMissing")
    assert path in verdict.explanation


@pytest.mark.parametrize(("kept", "kind"), [(-1, VerdictKind.PARTIAL), (20, VerdictKind.FOREIGN)])
def test_own_weights_of_another_model_are_partial_or_foreign(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, kept: int, kind: VerdictKind
) -> None:
    other = Architecture([*wanted.architecture.parameters.items()][:kept])
    checkpoints.own(1, other)
    verdict = only(store, wanted).verdict
    assert (verdict.kind, verdict.missing) == (kind, wanted.architecture.names[kept:])


def test_an_own_checkpoint_without_optimizer_is_inference_only(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    checkpoints.own(1, wanted.architecture, without={layout.OPTIMIZER})
    verdict = only(store, wanted).verdict
    assert (verdict.kind, verdict.reason) == (VerdictKind.INFERENCE_ONLY, "OptimizerDiffers")


def test_the_manifests_claim_alone_decides_nothing(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture
) -> None:
    checkpoints.own(1, old_unet, architecture_fingerprint=wanted.architecture.fingerprint())
    verdict = only(store, wanted).verdict
    assert (verdict.kind, verdict.reason) == (VerdictKind.UNREADABLE, "FingerprintDiffers")


def test_a_manifest_moved_to_another_folder_is_not_believed(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    source = checkpoints.own(1, wanted.architecture)
    for info in list(store.list(f"{source}/")):
        store.copy(info.key, info.key.replace("00000001", "00000002"), source_etag=info.etag)
        store.delete([info.key])
    verdict = only(store, wanted).verdict
    assert (verdict.kind, verdict.reason) == (VerdictKind.UNREADABLE, "ManifestFolderDiffers")


@pytest.mark.parametrize("raw", [b"{", b'{"version": 99}', b"[" * 1000])
def test_a_broken_manifest_is_unreadable_and_not_archived(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted, raw: bytes
) -> None:
    folder = checkpoints.own(1, wanted.architecture)
    store.put(f"{folder}/MANIFEST.json", raw)
    verdict = only(store, wanted).verdict
    assert verdict.kind is VerdictKind.UNREADABLE
    assert not verdict.archivable


def test_a_sharded_model_is_read_through_its_index(
    store: Store,
    checkpoints: CheckpointWriter,
    wanted: Wanted,
    write_sharded: Callable[[Architecture], dict[str, bytes]],
) -> None:
    checkpoints.files("checkpoint-1", write_sharded(wanted.architecture))
    judgement = only(store, wanted)
    assert judgement.format == "sharded-safetensors"
    assert judgement.verdict.reason == "WeightsWithoutResumeState"


class FailingReads:
    """A store whose ranged reads fail; everything else is the real one's."""

    def __init__(self, store: Store, error: StoreError) -> None:
        self._store, self._error = store, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, *_: Any, **__: Any) -> bytes:
        raise self._error


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (StoreUnavailable, "StoreUnavailable"),
        (AccessDenied, "AccessDenied"),
        (ObjectChanged, "ChangedWhileReading"),
    ],
)
def test_a_read_error_is_unreadable_and_never_a_reason_to_archive(
    checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture, kind: type[StoreError], reason: str
) -> None:
    store = checkpoints.store
    checkpoints.accelerate(1, old_unet)
    checkpoints.own(2, wanted.architecture)
    error = kind("it failed", uri=store.uri, operation="read", way_out="Try later")
    found = survey(FailingReads(store, error), wanted)
    assert [(j.verdict.kind, j.verdict.reason) for j in found.judgements] == [(VerdictKind.UNREADABLE, reason)] * 2
    assert found.archivable == ()


class SlowReads:
    """A store on which every ranged read takes a while; remembers how many were going on at once."""

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, threading.Lock()
        self.now = self.most = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, *arguments: Any, **options: Any) -> bytes:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        try:
            return self._store.read(*arguments, **options)
        finally:
            with self._lock:
                self.now -= 1


def test_several_checkpoints_are_judged_at_once_but_never_more_than_eight(
    directory_store: Store, writer_of: Callable[[Store], CheckpointWriter], wanted: Wanted
) -> None:
    for step in range(24):
        writer_of(directory_store).own(step, wanted.architecture)
    slow = SlowReads(directory_store)
    found = survey(cast("Store", slow), wanted)
    assert [judgement.step for judgement in found.judgements] == list(range(23, -1, -1))
    assert {judgement.verdict.kind for judgement in found.judgements} == {VerdictKind.IDENTICAL}
    assert 2 <= slow.most <= JUDGED_AT_ONCE
    assert found.requests == 1 + 3 * 24
    assert sum(judgement.requests for judgement in found.judgements) == 3 * 24
    assert sum(judgement.bytes_read for judgement in found.judgements) == found.bytes_read


def test_equal_headers_of_different_files_do_not_hide_what_differs(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    # Parsed headers are remembered during a survey: a file that was cut short has the header of the whole one.
    whole = checkpoints.tensors(wanted.architecture)
    checkpoints.files("checkpoint-2", {"model.safetensors": whole})
    checkpoints.files("checkpoint-1", {"model.safetensors": whole[:-4]})
    assert [judgement.verdict.kind.value for judgement in survey(store, wanted).judgements] == [
        "inference-only",
        "incomplete",
    ]


def test_two_writers_of_one_step_are_both_judged(store: Store, checkpoints: CheckpointWriter, wanted: Wanted) -> None:
    checkpoints.own(1, wanted.architecture, writer="a")
    checkpoints.own(1, wanted.architecture, writer="b")
    assert {j.name for j in survey(store, wanted).judgements} == {"step-00000001-a", "step-00000001-b"}


def test_another_job_finds_the_same_checkpoint_foreign(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    checkpoints.own(1, wanted.architecture)
    other = dataclasses.replace(wanted, meaning=dataclasses.replace(wanted.meaning, latent_scale=0.13025))
    assert only(store, other).verdict.reason == "LatentScaleDiffers"


@pytest.mark.parametrize(
    ("asked", "kind"), [("b" * 64, "inference-only"), ("a" * 64, "identical"), (None, "identical")]
)
def test_equal_shapes_of_another_model_config_are_not_resumed(
    checkpoints: CheckpointWriter, wanted: Wanted, asked: str | None, kind: str
) -> None:
    """Heads, groups and activation do not show in shapes: a resume would go on with another function."""
    checkpoints.own(9, wanted.architecture, model_config_sha256="a" * 64)
    (found,) = survey(checkpoints.store, dataclasses.replace(wanted, model_config_sha256=asked)).judgements
    assert found.verdict.kind == kind
    assert (found.verdict.reason == "ModelConfigDiffers") == (kind == "inference-only")

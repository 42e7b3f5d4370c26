"""Reading a checkpoint of our own layout: manifest, weights header, optimizer header; three ranged reads.

The EMA's header would be a fourth. It is told by the fingerprint that the manifest lists for its file; manifests
without one are believed where file and header are exactly as long as those of the weights, and looked at otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_api.status import VerdictKind
from t2i_checkpoint.architecture import Architecture, Parameter
from t2i_checkpoint.facts import Meaning, ResumeState, RunIdentity
from t2i_checkpoint.header_length import expected_header_bytes
from t2i_checkpoint.headers.safetensors import read_header
from t2i_checkpoint.layout import EMA_WEIGHTS, MANIFEST, NULL_EMBEDDING, OPTIMIZER, TRAINER_STATE, WEIGHTS
from t2i_checkpoint.manifest import MAX_MANIFEST_BYTES, Manifest, ManifestError, parse_manifest
from t2i_checkpoint.optimizer import MOMENTS, STEP, optimizer_architecture
from t2i_checkpoint.reading_faults import FaultError, naming
from t2i_checkpoint.renaming import find_renaming

if TYPE_CHECKING:
    from t2i_checkpoint.discovery import Candidate
    from t2i_checkpoint.header_memory import HeaderMemory
    from t2i_checkpoint.headers.safetensors import SafetensorsHeader
    from t2i_checkpoint.metered_reads import MeteredReads
    from t2i_checkpoint.tensors import TensorTable

RESUME_FILES = (EMA_WEIGHTS, OPTIMIZER, TRAINER_STATE, NULL_EMBEDDING)


@dataclass(frozen=True)
class OwnContents:
    """Tables of weights and EMA (None where its places were not asked for), and the state to resume from."""

    weights: TensorTable
    ema: TensorTable | None
    weights_path: str
    resume: ResumeState


def committed_manifest(reads: MeteredReads, candidate: Candidate) -> Manifest:
    """Return the manifest after holding it against folder and files; raises FaultError, ManifestError, StoreError."""
    info = candidate.objects.get(MANIFEST)
    if info is None:
        detail = f"{MANIFEST} was never written: its save was cut off, or is still going on"
        raise FaultError(VerdictKind.INCOMPLETE, "NotCommitted", detail)
    if info.size > MAX_MANIFEST_BYTES:
        raise ManifestError("ManifestTooLarge", f"{MANIFEST} has {info.size} bytes, at most {MAX_MANIFEST_BYTES}")
    manifest = parse_manifest(reads.read(info.key, 0, info.size, etag=info.etag))
    if (manifest.step, manifest.writer) != (candidate.folder.step, candidate.folder.writer):
        detail = f"{MANIFEST} is of step {manifest.step} by {manifest.writer}, the folder of another"
        raise FaultError(VerdictKind.UNREADABLE, "ManifestFolderDiffers", detail)
    for file in manifest.files:
        there = candidate.objects.get(file.path)
        if there is None or there.size != file.size:
            found = "is missing" if there is None else f"has {there.size} bytes"
            detail = f"{file.path} {found}; the manifest says {file.size} bytes"
            raise FaultError(VerdictKind.INCOMPLETE, "FilesMissing", detail)
    return manifest


def read_own(
    reads: MeteredReads, candidate: Candidate, manifest: Manifest, wanted: Architecture, memory: HeaderMemory | None
) -> OwnContents:
    """Read the headers of a committed checkpoint; without `memory` the EMA's too, for where its tensors lie."""
    files = _Files(reads, candidate, manifest, memory)
    weights = files.header(WEIGHTS, expected_header_bytes(wanted))
    if weights is None:
        raise FaultError(VerdictKind.INCOMPLETE, "NoWeights", f"the manifest lists no {WEIGHTS}")
    architecture = weights.architecture
    if architecture.fingerprint() != manifest.architecture_fingerprint:
        detail = f"{WEIGHTS} is not the model that the manifest was written for"
        raise FaultError(VerdictKind.UNREADABLE, "FingerprintDiffers", detail)
    average = None
    if memory is None or not _looks_like_weights(manifest):
        average = files.header(EMA_WEIGHTS, expected_header_bytes(wanted))
        ema = None if average is None else average.architecture
    else:
        ema = architecture
    optimizer = None
    if _fits(architecture, wanted):  # otherwise nothing depends on it, and a read is saved
        optimizer = _optimizer(files, architecture, wanted)
    table = None if average is None else average.tensors
    return OwnContents(weights.tensors, table, WEIGHTS, _resume_state(manifest, optimizer, ema))


@dataclass(frozen=True)
class _Files:
    reads: MeteredReads
    candidate: Candidate
    manifest: Manifest
    memory: HeaderMemory | None

    def header(self, path: str, guess: int) -> SafetensorsHeader | None:
        """Read a listed file's header; None where the manifest does not list it."""
        listed = self.manifest.file(path)
        if listed is None:
            return None
        expected = guess if listed.header_bytes is None else listed.header_bytes
        with naming(path):
            if self.memory is not None:
                return self.memory.read_header(self.reads, self.candidate.objects[path], expected_bytes=expected)
            return read_header(self.reads.as_store, self.candidate.objects[path], expected_bytes=expected)


def _looks_like_weights(manifest: Manifest) -> bool:
    """Whether the EMA surely has the tensors of the weights, by what the manifest says of the two files."""
    average, weights = manifest.file(EMA_WEIGHTS), manifest.file(WEIGHTS)
    if average is None or weights is None:
        return False
    if average.architecture_fingerprint is not None:
        return average.architecture_fingerprint == manifest.architecture_fingerprint
    return average.header_bytes is not None and (average.size, average.header_bytes) == (
        weights.size,
        weights.header_bytes,
    )


def _fits(architecture: Architecture, wanted: Architecture) -> bool:
    return not len(wanted) or architecture.diff(wanted).is_empty or find_renaming(architecture, wanted) is not None


def _optimizer(files: _Files, architecture: Architecture, wanted: Architecture) -> Architecture | None:
    """Read the optimizer's header; where it would break the budget (SDXL), take the manifest's fingerprint of it."""
    listed = files.manifest.file(OPTIMIZER)
    if listed is not None and not files.reads.affords(listed.header_bytes or 0):
        claimed = optimizer_architecture(architecture)
        with_step = Architecture([*claimed.parameters.items(), (STEP, Parameter(()))])
        if listed.architecture_fingerprint in {claimed.fingerprint(), with_step.fingerprint()}:
            return claimed
    header = files.header(OPTIMIZER, expected_header_bytes(wanted, len(MOMENTS)))
    return None if header is None else header.architecture


def _resume_state(manifest: Manifest, optimizer: Architecture | None, ema: Architecture | None) -> ResumeState:
    return ResumeState(
        meaning=Meaning(
            prediction_type=manifest.prediction_type,
            noise_schedule=manifest.noise_schedule,
            latent_scale=manifest.latent_scale,
            null_embedding_sha256=manifest.null_embedding_sha256,
        ),
        optimizer=optimizer,
        parameter_order=manifest.parameter_order,
        ema=ema,
        missing_files=tuple(path for path in RESUME_FILES if manifest.file(path) is None),
        run=RunIdentity(manifest.seed, manifest.global_batch_size),
        step=manifest.step,
        samples_seen=manifest.samples_seen,
        model_config_sha256=manifest.model_config_sha256,
    )

"""One candidate to `Stored`: at most three ranged reads; every fault becomes INCOMPLETE or UNREADABLE, none escapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_api.status import VerdictKind
from t2i_checkpoint.discovery import Candidate, CheckpointFormat, find_weights
from t2i_checkpoint.headers.faults import HeaderError
from t2i_checkpoint.headers.safetensors import read_header
from t2i_checkpoint.headers.sharded import read_sharded
from t2i_checkpoint.layout import MANIFEST, OPTIMIZER, WEIGHTS
from t2i_checkpoint.manifest import MAX_MANIFEST_BYTES, Manifest, ManifestError, parse_manifest
from t2i_checkpoint.optimizer import MOMENTS
from t2i_checkpoint.store import AccessDenied, NotFound, ObjectChanged, StoreError
from t2i_checkpoint.verdict import Fault, Meaning, ResumeState, Stored

if TYPE_CHECKING:
    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.store import Store

_ENTRY_BYTES = 110  # of a header entry besides its name: dtype, shape, two ten-digit offsets
_METADATA_BYTES = 1024


@dataclass(frozen=True)
class ReadCheckpoint:
    """What reading gave: the comparable part, the format, and our manifest where there is one."""

    stored: Stored
    format: CheckpointFormat
    manifest: Manifest | None = None


class _FaultError(Exception):
    def __init__(self, kind: VerdictKind, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(kind, reason, detail)


def read_checkpoint(store: Store, candidate: Candidate, wanted: Architecture) -> ReadCheckpoint:
    """Read a candidate's headers; `wanted` only tells how long a header probably is. Never raises on bad contents."""
    manifest: Manifest | None = None
    kind = CheckpointFormat.T2I if candidate.folder.is_own else find_weights(candidate.objects).format
    try:
        if not candidate.folder.is_own:
            return ReadCheckpoint(Stored(_foreign_weights(store, candidate, wanted)), kind)
        manifest = _committed_manifest(store, candidate)
        return ReadCheckpoint(_own(store, candidate, manifest, wanted), kind, manifest)
    except _FaultError as error:
        fault = error.fault
    except HeaderError as error:
        fault = Fault(VerdictKind.UNREADABLE, error.fault, error.detail)
    except ManifestError as error:
        fault = Fault(VerdictKind.UNREADABLE, error.reason, error.detail)
    except StoreError as error:
        fault = Fault(VerdictKind.UNREADABLE, _store_reason(error), str(error))
    return ReadCheckpoint(Stored(None, fault=fault), kind, manifest)


def expected_header_bytes(wanted: Architecture, tensors_per_parameter: int = 1) -> int:
    """Guess the length of a header that fits `wanted`, so that one read usually gets all of it."""
    names = sum(len(name) + _ENTRY_BYTES for name in wanted)
    return _METADATA_BYTES + tensors_per_parameter * names


def _foreign_weights(store: Store, candidate: Candidate, wanted: Architecture) -> Architecture:
    found = find_weights(candidate.objects)
    if found.path is not None:
        info = candidate.objects[found.path]
        guess = expected_header_bytes(wanted)
        if found.format is CheckpointFormat.SHARDED:
            by_key = {item.key: item for item in candidate.objects.values()}
            return read_sharded(store, info, by_key, expected_bytes=guess)
        return read_header(store, info, expected_bytes=guess).architecture
    if found.format is CheckpointFormat.PICKLE:
        detail = f"{found.paths[0]} is in a format that this version cannot read without running its code; left alone"
        raise _FaultError(VerdictKind.UNREADABLE, "FormatNotSupported", detail)
    if found.paths:
        detail = f"several files may be the weights: {', '.join(found.paths[:5])}"
        raise _FaultError(VerdictKind.UNREADABLE, "WeightsAmbiguous", detail)
    raise _FaultError(VerdictKind.INCOMPLETE, "NoWeights", f"{len(candidate.objects)} objects, none of them weights")


def _committed_manifest(store: Store, candidate: Candidate) -> Manifest:
    info = candidate.objects.get(MANIFEST)
    if info is None:
        detail = f"{MANIFEST} was never written: its save was cut off, or is still going on"
        raise _FaultError(VerdictKind.INCOMPLETE, "NotCommitted", detail)
    if info.size > MAX_MANIFEST_BYTES:
        raise ManifestError("ManifestTooLarge", f"{MANIFEST} has {info.size} bytes, at most {MAX_MANIFEST_BYTES}")
    manifest = parse_manifest(store.read(info.key, 0, info.size, etag=info.etag))
    if (manifest.step, manifest.writer) != (candidate.folder.step, candidate.folder.writer):
        detail = f"{MANIFEST} is of step {manifest.step} by {manifest.writer}, the folder of another"
        raise _FaultError(VerdictKind.UNREADABLE, "ManifestFolderDiffers", detail)
    for file in manifest.files:
        there = candidate.objects.get(file.path)
        if there is None or there.size != file.size:
            found = "is missing" if there is None else f"has {there.size} bytes"
            detail = f"{file.path} {found}; the manifest says {file.size} bytes"
            raise _FaultError(VerdictKind.INCOMPLETE, "FilesMissing", detail)
    return manifest


def _own(store: Store, candidate: Candidate, manifest: Manifest, wanted: Architecture) -> Stored:
    architecture = _header(store, candidate, manifest, WEIGHTS, expected_header_bytes(wanted))
    if architecture is None:
        raise _FaultError(VerdictKind.INCOMPLETE, "NoWeights", f"the manifest lists no {WEIGHTS}")
    if architecture.fingerprint() != manifest.architecture_fingerprint:
        detail = f"{WEIGHTS} is not the model that the manifest was written for"
        raise _FaultError(VerdictKind.UNREADABLE, "FingerprintDiffers", detail)
    optimizer = None
    if architecture.diff(wanted).is_empty:  # otherwise nothing depends on it, and a read is saved
        guess = expected_header_bytes(wanted, len(MOMENTS))
        optimizer = _header(store, candidate, manifest, OPTIMIZER, guess)
    meaning = Meaning(
        prediction_type=manifest.prediction_type,
        noise_schedule=manifest.noise_schedule,
        latent_scale=manifest.latent_scale,
        null_embedding_sha256=manifest.null_embedding_sha256,
    )
    return Stored(architecture, ResumeState(meaning, optimizer, manifest.parameter_order))


def _header(store: Store, candidate: Candidate, manifest: Manifest, path: str, guess: int) -> Architecture | None:
    listed = manifest.file(path)
    if listed is None:
        return None
    expected = guess if listed.header_bytes is None else listed.header_bytes
    return read_header(store, candidate.objects[path], expected_bytes=expected).architecture


def _store_reason(error: StoreError) -> str:
    if isinstance(error, NotFound | ObjectChanged):
        return "ChangedWhileReading"
    return "AccessDenied" if isinstance(error, AccessDenied) else "StoreUnavailable"

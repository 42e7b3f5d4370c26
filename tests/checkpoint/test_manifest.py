"""The manifest is the commit: only whole checkpoints get one, once; strange ones are refused with the reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.manifest import (
    Manifest,
    ManifestError,
    ManifestFile,
    commit,
    parse_manifest,
    read_manifest,
    remove_checkpoint,
)
from t2i_checkpoint.store import AlreadyExists, Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.checkpoint.conftest import CheckpointWriter

    from t2i_checkpoint.verdict import Wanted

MODEL = Architecture.from_shapes({"a": (2,)})
FILE = ManifestFile(path="unet/w.safetensors", size=3, sha256="0" * 64)
FOLDER = "checkpoints/step-00005000-w1"


def document(make: Callable[..., Manifest], **changes: Any) -> bytes:
    raw = json.loads(make(MODEL, files=(FILE,)).to_json())
    return json.dumps({**raw, **changes}).encode()


def test_a_manifest_reads_back_as_it_was_written(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(
        MODEL, files=(FILE,), ranks=({"rank": 0, "weights_sha256": "1" * 64, "noise_sha256": "2" * 64},)
    )
    assert parse_manifest(manifest.to_json()) == manifest
    assert b'"architectureFingerprint"' in manifest.to_json()


@pytest.mark.parametrize(
    ("changes", "reason", "says"),
    [
        ({"version": 2}, "ManifestVersionUnknown", "version 2"),
        ({"format": "other"}, "ManifestInvalid", "format"),
        ({"step": -1}, "ManifestInvalid", "step"),
        ({"files": []}, "ManifestInvalid", "files"),
        ({"worldSize": 0}, "ManifestInvalid", "worldSize"),
        ({"architectureFingerprint": "xyz"}, "ManifestInvalid", "architectureFingerprint"),
        ({"latentScale": "x"}, "ManifestInvalid", "latentScale"),
        ({"files": [{"path": "../x", "size": 1, "sha256": "0" * 64}]}, "ManifestInvalid", "path"),
        ({"files": [{"path": "/x", "size": 1, "sha256": "0" * 64}]}, "ManifestInvalid", "path"),
        ({"files": [{"path": "MANIFEST.json", "size": 1, "sha256": "0" * 64}]}, "ManifestInvalid", "path"),
        ({"files": [{"path": "x", "size": 1, "sha256": "0" * 64}] * 2}, "ManifestInvalid", "twice"),
    ],
)
def test_a_wrong_field_is_named(
    make_manifest: Callable[..., Manifest], changes: dict[str, Any], reason: str, says: str
) -> None:
    with pytest.raises(ManifestError, match=says) as caught:
        parse_manifest(document(make_manifest, **changes))
    assert caught.value.reason == reason


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b"{}", b"x" * (1024 * 1024 + 1)])
def test_garbage_is_refused(raw: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(raw)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_manifest_error(raw: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(raw)


def test_commit_makes_the_checkpoint_exist(store: Store, make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(MODEL, files=(FILE,))
    assert read_manifest(store, FOLDER) is None
    store.put(f"{FOLDER}/{FILE.path}", b"abc")
    commit(store, FOLDER, manifest)
    assert read_manifest(store, FOLDER) == manifest
    commit(store, FOLDER, manifest)  # a repeat whose first answer was lost
    with pytest.raises(AlreadyExists):
        commit(store, FOLDER, make_manifest(MODEL, files=(FILE,), seed=8))
    assert read_manifest(store, FOLDER) == manifest


@pytest.mark.parametrize("content", [None, b"ab", b"abcd"])
def test_a_missing_or_short_file_is_never_committed(
    store: Store, make_manifest: Callable[..., Manifest], content: bytes | None
) -> None:
    if content is not None:
        store.put(f"{FOLDER}/{FILE.path}", content)
    with pytest.raises(ManifestError, match=r"w\.safetensors"):
        commit(store, FOLDER, make_manifest(MODEL, files=(FILE,)))
    assert read_manifest(store, FOLDER) is None


def test_removing_takes_the_manifest_first_and_nothing_beside(
    store: Store, checkpoints: CheckpointWriter, wanted: Wanted
) -> None:
    old = checkpoints.own(1, wanted.architecture)
    kept = checkpoints.own(2, wanted.architecture)
    deleted: list[str] = []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def delete(self, keys: Any) -> None:
            listed = list(keys)
            deleted.extend(listed)
            store.delete(listed)

    remove_checkpoint(Watched(), old)
    assert deleted[0] == f"{old}/MANIFEST.json"
    assert list(store.list(f"{old}/")) == []
    assert read_manifest(store, kept) is not None
    remove_checkpoint(store, old)  # again: nothing to do

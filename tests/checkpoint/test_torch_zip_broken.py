"""Broken, hostile and legacy files that torch did not write, or not like this: refused, each with its reason."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import torch

from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.torch_zip import MAX_PICKLE_BYTES, read_torch_zip

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_checkpoint.store import Store


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def read(store: Store, raw: bytes, expected_bytes: int = 2000) -> Any:
    store.put("file.pt", raw)
    info = store.head("file.pt")
    assert info is not None
    return read_torch_zip(store, info, expected_bytes=expected_bytes)


def legacy_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return buffer.getvalue()


def rezipped(change: Callable[[str, bytes], tuple[str, bytes] | None], **options: Any) -> bytes:
    source = zipfile.ZipFile(io.BytesIO(saved({"w": torch.ones(3)})))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as target:
        for info in source.infolist():
            changed = change(info.filename, source.read(info))
            if changed is not None:
                target.writestr(*changed)
    return buffer.getvalue()


def patched(at: Callable[[bytes], int], new: bytes) -> bytes:
    raw = saved({"w": torch.ones(3), "v": torch.ones(5)})
    position = at(raw)
    return raw[:position] + new + raw[position + len(new) :]


def entry(name: bytes, field: int) -> Callable[[bytes], int]:
    """Position of a field in the directory entry of a member."""
    return lambda raw: raw.rfind(name) - 46 + field


SIGNATURE = b"PK\x01\x02"
BROKEN = [
    pytest.param(b"", HeaderFault.NOT_A_TORCH_FILE, id="empty"),
    pytest.param(b"<html>404</html>", HeaderFault.NOT_A_TORCH_FILE, id="an error page"),
    pytest.param(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4265380512\n",
        HeaderFault.NOT_A_TORCH_FILE,
        id="git-lfs pointer",
    ),
    pytest.param(b"x" * 100_000, HeaderFault.NOT_A_TORCH_FILE, id="noise"),
    pytest.param(
        saved({"w": torch.ones(3)}, _use_new_zipfile_serialization=False), HeaderFault.LEGACY_PICKLE, id="before 1.6"
    ),
    pytest.param(
        saved({"w": torch.ones(3)}, _use_new_zipfile_serialization=False, pickle_protocol=4),
        HeaderFault.LEGACY_PICKLE,
        id="before 1.6, protocol 4",
    ),
    pytest.param(b"\x80\x04N.", HeaderFault.LEGACY_PICKLE, id="plain pickle"),
    pytest.param(legacy_tar(), HeaderFault.LEGACY_PICKLE, id="tar"),
    pytest.param(saved({"w": torch.ones(3)})[:-1], HeaderFault.HEADER_TRUNCATED, id="cut by a byte"),
    pytest.param(saved({"w": torch.ones(3)})[:700], HeaderFault.HEADER_TRUNCATED, id="cut in the middle"),
    pytest.param(saved({"w": torch.ones(3)}) + b"x", HeaderFault.ZIP_INVALID, id="a byte too many"),
    pytest.param(b"x" + saved({"w": torch.ones(3)}), HeaderFault.ZIP_INVALID, id="a byte before"),
    pytest.param(
        rezipped(lambda name, data: (name, data), compression=zipfile.ZIP_DEFLATED),
        HeaderFault.ZIP_COMPRESSED,
        id="compressed",
    ),
    pytest.param(
        rezipped(lambda name, data: None if "pkl" in name else (name, data)),
        HeaderFault.NOT_A_TORCH_FILE,
        id="no value",
    ),
    pytest.param(
        rezipped(lambda name, data: None if "data/0" in name else (name, data)),
        HeaderFault.TENSOR_INVALID,
        id="storage is not there",
    ),
    pytest.param(
        rezipped(lambda name, data: (name, data[:-1] if "data/0" in name else data)),
        HeaderFault.ZIP_SIZE_DIFFERS,
        id="storage is short",
    ),
    pytest.param(
        rezipped(lambda name, data: (name, b"big" if "byteorder" in name else data)),
        HeaderFault.BYTE_ORDER,
        id="big-endian",
    ),
    pytest.param(
        rezipped(lambda name, data: (name.replace("version", "constants.pkl"), data)),
        HeaderFault.TORCH_SCRIPT,
        id="TorchScript",
    ),
    pytest.param(patched(entry(b"archive/data/0", 8), b"\x09"), HeaderFault.ZIP_ENCRYPTED, id="encrypted"),
    pytest.param(patched(entry(b"archive/data/0", 10), b"\x08"), HeaderFault.ZIP_COMPRESSED, id="says deflated"),
    pytest.param(
        patched(entry(b"archive/data/0", 24), struct.pack("<I", 2**32 - 2)), HeaderFault.ZIP_SIZE_DIFFERS, id="bomb"
    ),
    pytest.param(
        patched(entry(b"archive/data/0", 20), struct.pack("<II", 9999, 9999)), HeaderFault.ZIP_OVERLAPPING, id="long"
    ),
    pytest.param(
        patched(entry(b"archive/.data/serialization_id", 20), struct.pack("<II", 9999, 9999)),
        HeaderFault.ZIP_SIZE_DIFFERS,
        id="last member long",
    ),
    pytest.param(
        patched(entry(b"archive/data/1", 42), struct.pack("<I", 0)), HeaderFault.ZIP_OVERLAPPING, id="same bytes"
    ),
    pytest.param(
        patched(entry(b"archive/data/1", 42), b"\xff\xff\xff\xff"), HeaderFault.ZIP_INVALID, id="zip64 field missing"
    ),
    pytest.param(patched(lambda raw: len(raw) - 2, b"\x01"), HeaderFault.ZIP_INVALID, id="comment"),
    pytest.param(patched(lambda raw: len(raw) - 6, b"\x01"), HeaderFault.ZIP_INVALID, id="end records disagree"),
    pytest.param(
        patched(lambda raw: raw.rfind(b"PK\x06\x07") + 8, b"\xff" * 8), HeaderFault.ZIP_INVALID, id="locator elsewhere"
    ),
    pytest.param(
        patched(lambda raw: raw.rfind(b"PK\x06\x06") + 40, b"\xff" * 7), HeaderFault.ZIP_INVALID, id="huge directory"
    ),
    pytest.param(patched(lambda raw: raw.find(SIGNATURE), b"PK\x00"), HeaderFault.ZIP_INVALID, id="no entry there"),
    pytest.param(patched(entry(b"archive/data/1", 46), b"archive/data/0"), HeaderFault.DUPLICATE_KEY, id="twice"),
    pytest.param(patched(entry(b"archive/data/1", 46), b"archive\n"), HeaderFault.ZIP_INVALID, id="a line in a name"),
    pytest.param(patched(lambda _: 30, b"archivx"), HeaderFault.ZIP_INVALID, id="local header of another"),
    pytest.param(patched(lambda _: 8, b"\x08"), HeaderFault.ZIP_COMPRESSED, id="local header says deflated"),
]


@pytest.mark.parametrize(("raw", "fault"), BROKEN)
def test_what_is_no_readable_torch_file_is_refused_with_the_reason(
    directory_store: Store, raw: bytes, fault: HeaderFault
) -> None:
    with pytest.raises(HeaderError) as caught:
        read(directory_store, raw)
    assert caught.value.fault is fault
    assert len(caught.value.detail) < 400


def test_old_pickles_come_with_the_way_out(directory_store: Store) -> None:
    with pytest.raises(HeaderError, match=r"torch\.save\(torch\.load\(old, weights_only=True\), new\)"):
        read(directory_store, saved({}, _use_new_zipfile_serialization=False))


def test_a_value_of_more_than_its_limit_is_not_fetched(directory_store: Store) -> None:
    raw = rezipped(lambda name, data: (name, data + bytes(MAX_PICKLE_BYTES) if "pkl" in name else data))
    directory_store.put("w", raw)
    info = directory_store.head("w")
    assert info is not None
    before = directory_store.traffic
    with pytest.raises(HeaderError, match=r"data\.pkl has"):
        read_torch_zip(directory_store, info, expected_bytes=0)
    assert directory_store.traffic.since(before).bytes_read < 10_000

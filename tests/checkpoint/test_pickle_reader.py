"""Hostile pickles are refused with the reason and nothing of them runs; what is harmless is read as plain data."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from t2i_checkpoint.headers.distributed import parse_metadata
from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.pickle_reader import Opaque, read_pickle
from t2i_checkpoint.headers.pickle_values import Budget
from t2i_checkpoint.headers.plain_builder import PlainBuilder
from t2i_checkpoint.headers.torch_zip import read_torch_zip

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_checkpoint.store import Store

FORBIDDEN, INVALID, TOO_LARGE = HeaderFault.PICKLE_FORBIDDEN, HeaderFault.PICKLE_INVALID, HeaderFault.PICKLE_TOO_LARGE


class Calls:
    """Pickles as a call of `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def read_plain(raw: bytes) -> Any:
    budget = Budget()
    return read_pickle(raw, PlainBuilder(budget), budget)


def archive(value: bytes, storages: dict[str, bytes] | None = None) -> bytes:
    """Return a torch file with `value` as its data.pkl."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr("archive/data.pkl", value)
        for key, content in (storages or {}).items():
            target.writestr(f"archive/data/{key}", content)
    return buffer.getvalue()


def read_file(store: Store, raw: bytes) -> Any:
    store.put("hostile.pt", raw)
    info = store.head("hostile.pt")
    assert info is not None
    return read_torch_zip(store, info, expected_bytes=1000)


def creating(path: str) -> dict[str, Any]:
    """Return values whose unpickling creates the file `path`; the test proves each by doing it."""
    command = f"open({path!r}, 'w').close()"
    return {
        "os.system": Calls(os.system, f"touch {path}"),
        "subprocess.Popen, a class": Calls(subprocess.Popen, ["touch", path]),
        "exec": Calls(exec, command),
        "eval": Calls(eval, f"open({path!r}, 'w')"),
        "open": Calls(open, path, "w"),
        "a bound method": Calls(Path(path).touch),
        "a class of the standard library": Calls(zipfile.ZipFile, path, "w"),
        "partial": Calls(functools.partial(os.system, f"touch {path}")),
        "pickle in a pickle": Calls(pickle.loads, pickle.dumps(Calls(os.system, f"touch {path}"))),
        "numpy.memmap": Calls(np.memmap, path, "uint8", "w+", 0, 1),
        "torch.save": Calls(torch.save, 1, path),
        "a function in another package's namespace": Calls(np.save, path, 1),
        "deep in a state dict": {"state_dict": {"w": 1}, "callbacks": [{"a": (Calls(os.mkdir, path),)}]},
        "as a dictionary's key": {Calls(os.open, path, os.O_CREAT): 1},
    }


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", creating("x"))
def test_a_pickle_that_would_create_a_file_is_refused_and_creates_none(
    directory_store: Store, tmp_path: Path, name: str, protocol: int
) -> None:
    path = tmp_path / "created"
    value = creating(str(path))[name]
    raw = pickle.dumps(value, protocol)
    readers: list[Callable[[], Any]] = [
        lambda: read_file(directory_store, archive(raw)),
        lambda: parse_metadata(raw, "", {}),
        lambda: read_plain(raw),
    ]
    for reader in readers:
        with pytest.raises(HeaderError) as caught:
            reader()
        assert caught.value.fault is FORBIDDEN
        assert "Nothing was run" in caught.value.detail
    assert not path.exists()
    with contextlib.suppress(TypeError):  # a file object is no key of a dictionary, but it is open by then
        made = pickle.loads(raw)  # noqa: S301  # the proof that each attack works where pickles are run
        if isinstance(made, subprocess.Popen):
            made.wait()
    assert path.exists() or path.with_suffix(".npy").exists()


def test_a_module_is_not_imported_for_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "imported"
    (tmp_path / "planted_module.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Thing: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    raw = b"\x80\x02cplanted_module\nThing\n)R."
    assert read_plain(raw) == Opaque("planted_module.Thing")
    assert "planted_module" not in sys.modules
    assert not marker.exists()
    importlib.import_module("planted_module")
    assert marker.exists()  # it would have been


def call(name: str, arguments: bytes = b")") -> bytes:
    module, _, attribute = name.rpartition(".")
    return b"\x80\x02c" + f"{module}\n{attribute}\n".encode() + arguments + b"R."


@pytest.mark.parametrize(
    "name",
    [
        *("os.system", "posix.system", "nt.system", "builtins.eval", "builtins.exec", "builtins.__import__"),
        *("__builtin__.eval", "commands.getoutput", "importlib.import_module", "runpy.run_path", "ctypes.CDLL"),
        *("builtins.open", "io.FileIO", "socket.socket", "shutil.rmtree", "pickle.loads", "marshal.loads"),
        *("operator.attrgetter", "operator.methodcaller", "functools.partial", "types.FunctionType", "types.CodeType"),
        *("torch.load", "torch.hub.load", "torch.storage._load_from_bytes", "numpy.load", "pip.main"),
        *("torch.serialization.os.system", "numpy.f2py.os.open", "webbrowser.open", "code.interact"),
    ],
)
def test_functions_have_no_business_in_weights(name: str) -> None:
    with pytest.raises(HeaderError) as caught:
        read_plain(call(name))
    assert caught.value.fault is FORBIDDEN


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


# Ten tuples, each of them nine times the one before: 3 billion values in 300 bytes.
LAUGHS = (
    b"\x80\x02(]q\x00" + b"".join(b"(" + bytes((0x68, n)) * 9 + bytes((0x74, 0x71, n + 1)) for n in range(10)) + b"t."
)
PID = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ"
REBUILD = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n("


def tensor(place: bytes, pid: bytes = PID) -> bytes:
    return REBUILD + pid + place + b"\x89}tR."


HOSTILE = [
    pytest.param(b"", INVALID, id="empty"),
    pytest.param(b"\x80\x02", INVALID, id="no end"),
    pytest.param(b"\x80\x02.", INVALID, id="no value"),
    pytest.param(b"\x80\x02NN.", INVALID, id="two values"),
    pytest.param(b"\x80\x02N.N", INVALID, id="bytes after the end"),
    pytest.param(b"\x80\x06N.", INVALID, id="protocol 6"),
    pytest.param(b"\x80\x02ios\nsystem\n.", INVALID, id="INST"),
    pytest.param(b"\x80\x02(cos\nsystem\no.", FORBIDDEN, id="OBJ of a function"),
    pytest.param(b"\x80\x02(cfoo\nFoo\no.", INVALID, id="OBJ"),
    pytest.param(b"\x80\x02\x82\x01.", INVALID, id="EXT1"),
    pytest.param(b"\x80\x02\x83\x01\x00.", INVALID, id="EXT2"),
    pytest.param(b"\x80\x02\x84\x01\x00\x00\x00.", INVALID, id="EXT4"),
    pytest.param(b"\x80\x02Pabc\n.", INVALID, id="PERSID"),
    pytest.param(b"\x80\x05\x97.", INVALID, id="NEXT_BUFFER"),
    pytest.param(b"\x80\x02NQ.", INVALID, id="persistent id of nothing"),
    pytest.param(b"\x80\x02K\x01)R.", INVALID, id="REDUCE of a number"),
    pytest.param(b"\x80\x02cfoo\nFoo\nNR.", INVALID, id="REDUCE with no arguments"),
    pytest.param(b"\x80\x02K\x01}b.", INVALID, id="BUILD of a number"),
    pytest.param(b"\x80\x02)}b.", INVALID, id="BUILD of a tuple"),
    pytest.param(b"\x80\x02K\x01K\x02a.", INVALID, id="APPEND to a number"),
    pytest.param(b"\x80\x02]K\x01K\x02s.", INVALID, id="SETITEM on a list"),
    pytest.param(b"\x80\x02}(K\x01u.", INVALID, id="a key without a value"),
    pytest.param(b"\x80\x02}]Ns.", INVALID, id="a list as key"),
    pytest.param(b"\x80\x02}((tttNs.", INVALID, id="a mark left over"),
    pytest.param(b"\x80\x02}((K\x01tK\x01tNs.", INVALID, id="a nested tuple as key"),
    pytest.param(b"\x80\x02}\x8a\x09" + b"\x01" * 9 + b"Ns.", INVALID, id="a huge integer as key"),
    pytest.param(b"\x80\x02h\x07.", INVALID, id="GET of what was never put"),
    pytest.param(b"\x80\x02q\x00.", INVALID, id="PUT of nothing"),
    pytest.param(b"\x80\x02t.", INVALID, id="TUPLE without a mark"),
    pytest.param(b"\x80\x02N(\x85.", INVALID, id="TUPLE1 from below a mark"),
    pytest.param(b"\x80\x020.", INVALID, id="POP of nothing"),
    pytest.param(b"\x80\x02\x8b\xff\xff\xff\x7f.", INVALID, id="an integer of 2 GiB"),
    pytest.param(b"\x80\x02\x8b\xff\xff\xff\xff.", INVALID, id="an integer of negative length"),
    pytest.param(b"\x80\x02L" + b"9" * 400 + b"L\n.", INVALID, id="an integer of 400 digits"),
    pytest.param(b"\x80\x02I1_0\n.", INVALID, id="an integer that is none"),
    pytest.param(b"\x80\x02X\xff\xff\xff\xffabc.", INVALID, id="a text of 4 GiB"),
    pytest.param(b"\x80\x04\x8d" + b"\xff" * 8 + b".", INVALID, id="a text of 16 EiB"),
    pytest.param(b"\x80\x04\x8e" + b"\xff" * 8 + b".", INVALID, id="bytes of 16 EiB"),
    pytest.param(b"\x80\x04\x95" + b"\xff" * 8 + b"N.", INVALID, id="a frame of 16 EiB"),
    pytest.param(b"\x80\x02U\x01\xff.", INVALID, id="text that is no UTF-8"),
    pytest.param(b"\x80\x02X\x03\x00\x00\x00\xed\xa0\x80.", INVALID, id="half a surrogate pair"),
    pytest.param(b"\x80\x02c" + b"x" * 600 + b"\nFoo\n.", INVALID, id="a name of 600 characters"),
    pytest.param(b"\x80\x02cfoo\nFoo()\n.", INVALID, id="a name that is none"),
    pytest.param(b"\x80\x04K\x01\x8c\x03Foo\x93.", INVALID, id="STACK_GLOBAL of a number"),
    pytest.param(b"\x80\x04\x8c\x02os\x8c\x06system\x93.", FORBIDDEN, id="STACK_GLOBAL os.system"),
    pytest.param(b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93.", FORBIDDEN, id="through torch to os.system"),
    pytest.param(call("builtins.bytearray", b"\x8a\x05\x00\xe4\x0bT\x02\x85"), FORBIDDEN, id="allocate 10 GB"),
    pytest.param(call("builtins.bytes", b"\x8a\x05\x00\xe4\x0bT\x02\x85"), FORBIDDEN, id="allocate 10 GB of bytes"),
    pytest.param(call("torch.zeros", b"\x8a\x05\x00\xe4\x0bT\x02\x85"), FORBIDDEN, id="a tensor of 10 GB"),
    pytest.param(call("numpy.zeros", b"\x8a\x05\x00\xe4\x0bT\x02\x85"), FORBIDDEN, id="an array of 10 GB"),
    pytest.param(call("builtins.getattr", b"cfoo\nFoo\n" + text("__class__.mro") + b"\x86"), FORBIDDEN, id="getattr"),
    pytest.param(call("builtins.getattr", b"cfoo\nfoo\n" + text("system") + b"\x86"), FORBIDDEN, id="of a function"),
    pytest.param(call("copyreg._reconstructor", b"cbuiltins\neval\n\x85"), FORBIDDEN, id="reconstruct a function"),
    pytest.param(call("copyreg.__newobj__", b"ccopyreg\n__newobj__\n\x85"), FORBIDDEN, id="reconstruct itself"),
    pytest.param(call("_codecs.encode", text("a") + text("rot13") + b"\x86"), FORBIDDEN, id="another codec"),
    pytest.param(call("collections.OrderedDict", b"K\x07\x85"), INVALID, id="a dictionary of a number"),
    pytest.param(call("collections.OrderedDict", b"]K\x07a\x85"), INVALID, id="a dictionary of no pairs"),
    pytest.param(call("collections.OrderedDict", b"](]NeaX\x01\x00\x00\x00a\x85"), INVALID, id="a list as its key"),
    pytest.param(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", TOO_LARGE, id="nested 100,000 deep"),
    pytest.param(b"\x80\x02]q\x00h\x00a.", TOO_LARGE, id="a list in itself"),
    pytest.param(b"\x80\x02}q\x00K\x01h\x00s.", TOO_LARGE, id="a dictionary in itself"),
    pytest.param(LAUGHS, TOO_LARGE, id="a billion laughs"),
    pytest.param(b"\x80\x02" + b"N0" * 800_000 + b"N.", TOO_LARGE, id="too many operations"),
    pytest.param(b"\x80\x02" + b"]" * 700_000 + b".", TOO_LARGE, id="too many lists"),
    pytest.param(
        b"\x80\x02N"
        + b"".join(b"r" + struct.pack("<I", n) + b"j" + struct.pack("<I", n) for n in range(400_000))
        + b".",
        TOO_LARGE,
        id="too much remembered",
    ),
]


@pytest.mark.parametrize(("raw", "fault"), HOSTILE)
def test_abuse_is_refused_with_the_reason(directory_store: Store, raw: bytes, fault: HeaderFault) -> None:
    for reader in (read_plain, lambda raw: read_file(directory_store, archive(raw))):
        with pytest.raises(HeaderError) as caught:
            reader(raw)
        assert caught.value.fault is fault
        assert len(caught.value.detail) < 400


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        pytest.param(tensor(b"K\x00K\x03\x85K\x01\x85"), HeaderFault.TENSOR_INVALID, id="more than the storage has"),
        pytest.param(tensor(b"K\x01K\x02\x85K\x01\x85"), HeaderFault.TENSOR_INVALID, id="beyond it by the offset"),
        pytest.param(tensor(b"K\x00K\x02\x85K\x02\x85"), HeaderFault.TENSOR_INVALID, id="beyond it by the stride"),
        pytest.param(tensor(b"K\x00J\xff\xff\xff\xff\x85K\x01\x85"), HeaderFault.SHAPE_INVALID, id="negative size"),
        pytest.param(tensor(b"K\x01K\x02\x85J\xff\xff\xff\xff\x85"), HeaderFault.SHAPE_INVALID, id="negative stride"),
        pytest.param(tensor(b"J\xff\xff\xff\xffK\x02\x85K\x01\x85"), HeaderFault.SHAPE_INVALID, id="negative offset"),
        pytest.param(tensor(b"K\x00K\x02\x85)"), HeaderFault.SHAPE_INVALID, id="fewer strides than sizes"),
        pytest.param(tensor(b"K\x00\x88\x85K\x01\x85"), HeaderFault.SHAPE_INVALID, id="size is a boolean"),
        pytest.param(
            tensor(b"K\x00(" + b"J\xff\xff\xff\x7f" * 3 + b"t(" + b"K\x00" * 3 + b"t"),
            HeaderFault.SHAPE_INVALID,
            id="more elements than can be counted",
        ),
        pytest.param(tensor(b"K\x00K\x02\x85K\x01\x85", b"N"), HeaderFault.TENSOR_INVALID, id="over no storage"),
        pytest.param(
            tensor(b"K\x00)" + b")", PID.replace(b"K\x02", b"K\x03")), HeaderFault.ZIP_SIZE_DIFFERS, id="lying count"
        ),
        pytest.param(
            tensor(b"K\x00))", PID.replace(b"FloatStorage", b"DoubleStorage")),
            HeaderFault.ZIP_SIZE_DIFFERS,
            id="lying dtype",
        ),
        pytest.param(tensor(b"K\x00))", PID.replace(b"FloatStorage", b"Foo")), INVALID, id="a class of no storage"),
        pytest.param(
            tensor(b"K\x00))", PID.replace(b"0X\x03", b"7X\x03")), HeaderFault.TENSOR_INVALID, id="storage not there"
        ),
        pytest.param(
            tensor(
                b"K\x00))",
                PID.replace(b"torch\nFloatStorage", b"torch.storage\nUntypedStorage").replace(b"K\x02", b"K\x08"),
            ),
            HeaderFault.TENSOR_INVALID,
            id="no dtype",
        ),
        pytest.param(
            call("torch._utils._rebuild_parameter", b"N\x88N\x87"), HeaderFault.TENSOR_INVALID, id="of nothing"
        ),
        pytest.param(
            b"\x80\x02(" + tensor(b"K\x00))")[2:-1] + b"q\x00" + b"0" + tensor(b"K\x00))")[2:-1] * 20_000 + b"t.",
            HeaderFault.TOO_MANY_TENSORS,
            id="too many tensors",
        ),
    ],
)
def test_tensors_that_cannot_be_are_refused(directory_store: Store, raw: bytes, fault: HeaderFault) -> None:
    assert read_file(directory_store, archive(tensor(b"K\x00K\x02\x85K\x01\x85"), {"0": bytes(8)})).shape == (2,)
    with pytest.raises(HeaderError) as caught:
        read_file(directory_store, archive(raw, {"0": bytes(8)}))
    assert caught.value.fault is fault


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.integers(-(2**63), 2**63 - 1), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@given(value=plain, protocol=st.integers(1, 5), is_optimized=st.booleans())
def test_plain_data_is_read_as_pickle_reads_it(*, value: Any, protocol: int, is_optimized: bool) -> None:
    raw = pickle.dumps(value, protocol)
    assert read_plain(pickletools.optimize(raw) if is_optimized else raw) == value


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_values_shared_in_a_pickle_are_shared_in_the_tree(protocol: int) -> None:
    shared = [1, 2]
    tree = read_plain(pickle.dumps({"a": shared, "b": (shared, shared)}, protocol))
    assert tree["a"] is tree["b"][0] is tree["b"][1]

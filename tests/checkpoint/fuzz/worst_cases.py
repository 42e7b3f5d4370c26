"""Files that come close to a limit each: where most memory and time go."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.checkpoint.fuzz.mutations import Case


def worst_cases() -> Iterator[Case]:
    """Yield what fits each limit closely: where most memory and time go."""
    marked = b"\x80\x04("
    number = b"G?\xf0\x00\x00\x00\x00\x00\x00"
    for raw in (
        *(marked + piece * count + b"t." for piece, count in PIECES),
        b"\x80\x02N" + b"\x94" * 1_400_000 + b".",
        b"\x80\x02N" + b"".join(remembered(index) for index in range(380_000)) + b".",
        b"\x80\x02" + b"j" * 4_000_000 + b".",
        b"\x80\x04\x8d" + struct.pack("<Q", 4_000_000) + "\U0001f600".encode() * 1_000_000 + b".",
        b"\x80\x02}" + b"".join(b"J" + struct.pack("<i", n) + b"Ns" for n in range(130_000)) + b".",
        b"\x80\x02}" + b"".join(b"J" + struct.pack("<i", n) + number + b"s" for n in range(100_000)) + b".",
        b"\x80\x02ccollections\nOrderedDict\nq\x000(" + b"h\x00)R" * 50_000 + b"t.",
        b"\x80\x02]q\x00" + b"h\x00a" * 10 + b".",
    ):
        yield "pickle", raw
        yield "torch_zip", packed(raw)
        yield "dcp", raw
    lists = b'{"a":[' + b"[]," * 320_000 + b"0]}"
    objects = b'{"a":[' + b'{"":0},' * 95_000 + b"0]}"
    texts = b'{"a":[' + b'"x",' * 550_000 + b"0]}"
    wide = b'{"a":"' + "\U0001f600".encode() * 1_000_000 + b'"}'
    for raw in (
        lists,
        objects,
        texts,
        wide,
        b'{"a":' + b"[" * 10**6,
        b'{"a":' + b"9" * 4_000_000 + b"}",
        tensors(20_000),
    ):
        yield "safetensors", struct.pack("<Q", len(raw)) + raw
        for kind in ("index", "manifest", "intent", "archive_manifest"):
            yield kind, raw
    for raw in shared():
        yield "pickle", raw
        yield "torch_zip", packed(raw)
    yield "dcp", distributed(3_000, name="x" * 300_000)
    for count in (4_000, 9_000, 15_000):
        yield "dcp", distributed(count)
    for count in (15_000, 25_000):
        yield "intent", intent(count)
    yield "torch_zip", packed(b"N.", members=23_900)
    yield "torch_zip", packed(b"\x80\x02" + b"N0" * 700_000 + b"N.", members=23_900)


PIECES = (
    *((b"N", 1_400_000), (b"]", 350_000), (b"}", 350_000), (b"}NNs", 90_000), (b"N\x85", 350_000), (b"(", 1_400_000)),
    *((b"G?\xf0\x00\x00\x00\x00\x00\x00", 400_000), (b"\x8c\x01a", 240_000), (b"cfoo\nFoo\n)R", 40_000)),
    *((b"\x8c\x03foo\x8c\x03Foo\x93", 60_000), (b"\x8a\x10" + b"\x7f" * 16, 200_000), (b"]Na", 150_000)),
)


def tensors(count: int) -> bytes:
    """Return a safetensors table of as many empty tensors."""
    entry = {"dtype": "F32", "shape": [0, 70_000, 70_000, 1], "data_offsets": [0, 0]}
    return json.dumps({f"{number}".ljust(60, "x"): entry for number in range(count)}, separators=(",", ":")).encode()


def remembered(index: int) -> bytes:
    """Return operations that remember the value on top, and get and drop it again."""
    number = struct.pack("<I", index)
    return b"r" + number + b"j" + number + b"0"


def shared() -> Iterator[bytes]:
    """Yield pickles that use one large thing many times."""
    long = b"X" + struct.pack("<I", 300_000) + b"x" * 300_000 + b"q\x000"
    yield b"\x80\x02" + long + b"cfoo\nFoo\nq\x010(" + b"cbuiltins\ngetattr\nh\x01h\x00\x86R" * 50_000 + b"t."
    yield b"\x80\x02" + long + b"(" + b"}h\x00Ns" * 50_000 + b"t."
    yield b"\x80\x02" + long + b"}q\x010" + b"h\x01(h\x00" + b"}h\x00" * 60 + b"N" + b"s" * 60 + b"u."
    size = b"ctorch\nSize\nq\x000](" + b"K\x01" * 300_000 + b"Ne" + b"\x85q\x010("
    yield b"\x80\x02" + size + b"h\x00h\x01R" * 200_000 + b"t."
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\nq\x000(" + b"N" * 300_000 + b"tq\x010("
    yield b"\x80\x02" + rebuild + b"h\x00h\x01R" * 200_000 + b"t."
    yield b"\x80\x02(N" + b"t".join(b"(" + b"N" * 99 for _ in range(9_000)) + b"tt."


def distributed(count: int, name: str = "") -> bytes:
    """Return a `.metadata` of as many tensors of one block each, its classes remembered as pickle does.

    With a `name`, all blocks belong to it, and so does one list of blocks to all tensors.
    """
    metadata = "torch.distributed.checkpoint.metadata"
    classes = [(metadata, name) for name in ("TensorStorageMetadata", "TensorProperties", "ChunkStorageMetadata")]
    classes += [(metadata, "MetadataIndex"), ("torch.distributed.checkpoint.filesystem", "_StorageInfo")]
    classes += [("torch", "Size"), ("torch", "float32")]
    named = [text(module) + text(name) + b"\x93q" + bytes((n,)) + b"0" for n, (module, name) in enumerate(classes)]
    tensor, properties, block, index, place, size, dtype = (b"h" + bytes((n,)) for n in range(len(classes)))
    far = size + b"J\x70\x11\x01\x00" * 2 + b"\x86\x85R"
    near = size + b"J\x00\x00\x00\x00" * 2 + b"\x86\x85R"
    entry: tuple[bytes, ...] = (
        *(tensor, b")\x81}(", text("properties"), properties, b")\x81", dtype, b"\x85b", text("size"), far),
        *(text("chunks"), b"]", block, b")\x81}(", text("offsets"), near, text("sizes"), far, b"ubaub"),
    )
    where = (text("relative_path"), text("__0_0.distcp"), text("offset"), b"K\x00", text("length"), b"K\x01")
    names = [text(f"model.{number}".ljust(24, "x")) for number in range(count)]
    stored = (
        b"".join((index, b")\x81}(", text("fqn"), name, text("offset"), near, b"ub", place, b")\x81}(", *where, b"ub"))
        for name in names
    )
    if name:
        named += [b"X", struct.pack("<I", len(name)), name.encode(), b"q\x640"]
        blocks = b"](" + b"".join((block, b")\x81}(", text("offsets"), near, text("sizes"), near, b"ub")) * count + b"e"
        named += [blocks, b"q\x650"]
        entry = (tensor, b")\x81}(", text("properties"), properties, b")\x81", dtype, b"\x85b")
        entry = (*entry, text("size"), near, text("chunks"), b"h\x65ub")
        stored = (item.replace(name_of, b"h\x64") for item, name_of in zip(stored, names, strict=True))
    tables = (text("state_dict_metadata"), b"}(", *(name + b"".join(entry) for name in names), b"u")
    root = text(metadata) + text("Metadata") + b"\x93)\x81}("
    return b"".join((b"\x80\x04", *named, root, *tables, text("storage_data"), b"}(", *stored, b"uub."))


def text(value: str) -> bytes:
    """Return the operation that pushes a short text."""
    return b"\x8c" + bytes((len(value),)) + value.encode()


def intent(count: int) -> bytes:
    """Return an archive's intent that moves as many objects."""
    name, folder, at = "20260102T030405Z-x", "checkpoints/step-00005000-w1", "2026-01-02T03:04:05Z"
    listed = {"folder": folder, "step": 5000, "verdict": "foreign", "reason": "r", "explanation": "e"}
    sources = [f"{folder}/{number}" for number in range(count)]
    common = {"size": 7, "etag": "e", "modifiedAt": at}
    entries = [{"source": source, "destination": f"archive/{name}/{source}", **common} for source in sources]
    document = {"format": "t2i.dev/archive-intent", "version": 1, "name": name, "createdAt": at}
    return json.dumps({**document, "folders": [listed], "entries": entries}, separators=(",", ":")).encode()


def packed(value: bytes, members: int = 0) -> bytes:
    """Return a torch file with this data.pkl and so many empty members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr("archive/data.pkl", value)
        for number in range(members):
            target.writestr(zipfile.ZipInfo(f"archive/data/{number}"), b"")
    return buffer.getvalue()

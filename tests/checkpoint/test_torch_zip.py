"""Files of torch.save: read as the same tree that torch.load gives, every tensor bit for bit; broken ones refused."""

from __future__ import annotations

import argparse
import io
import pathlib
from collections import Counter, OrderedDict, defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from t2i_checkpoint.headers.pickle_reader import Opaque
from t2i_checkpoint.headers.torch_zip import WHOLE_FILE_BYTES, read_torch_zip
from t2i_checkpoint.store import ObjectChanged
from t2i_checkpoint.tensors import StoredTensor, read_tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_checkpoint.store import Store

DTYPES = (
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32),
    *(torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu),
)


class Wrapped(torch.Tensor):
    """A tensor subclass, as third-party programs have them."""


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def noise(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    count = int(np.prod(shape)) * torch.empty((), dtype=dtype).element_size()
    raw = torch.frombuffer(bytearray(np.random.default_rng(count).bytes(max(count, 1))), dtype=torch.uint8)
    raw = raw[:count] % 2 if dtype is torch.bool else raw[:count]
    return raw.clone().view(dtype).reshape(shape)


def content(tensor: torch.Tensor) -> bytes:
    plain = tensor.detach().as_subclass(torch.Tensor).contiguous().reshape(-1)
    return bytes(plain.view(torch.uint8).numpy().tobytes()) if plain.numel() else b""


def read(store: Store, raw: bytes, expected_bytes: int = 2000) -> Any:
    store.put("file.pt", raw)
    info = store.head("file.pt")
    assert info is not None
    return read_torch_zip(store, info, expected_bytes=expected_bytes)


def assert_same(store: Store, tree: Any, value: Any) -> None:
    """The tree is the value, tensors by their bytes, everything that is no plain data opaque."""
    if isinstance(value, torch.Tensor):
        assert isinstance(tree, StoredTensor)
        assert tree.shape == tuple(value.shape)
        assert read_tensor(store, tree) == content(value)
    elif isinstance(value, dict):
        assert type(tree) is dict
        assert list(tree) == list(value)
        for key, item in value.items():
            assert_same(store, tree[key], item)
    elif isinstance(value, list | tuple):
        assert type(tree) in (list, tuple)
        assert len(tree) == len(value)
        for ours, theirs in zip(tree, value, strict=True):
            assert_same(store, ours, theirs)
    elif value is None or isinstance(value, str | int | float):
        assert type(tree) is type(value)
        assert tree == value
    else:
        assert isinstance(tree, Opaque)


def views() -> dict[str, torch.Tensor]:
    base = noise(torch.float32, 4, 6, 5, 3)
    return {
        "base": base,
        "transposed": base.transpose(0, 2),
        "part of every axis": base[1:3, ::2, 1:4, 2:],
        "channels last": noise(torch.float16, 2, 8, 3, 3).to(memory_format=torch.channels_last),
        "complex, transposed": noise(torch.complex128, 3, 5).t(),
        "bytes, transposed": noise(torch.uint8, 7, 2, 3).permute(2, 0, 1),
        "offset": base.view(-1)[17:],
        "one row of another": base[2],
        "repeated": noise(torch.int64, 3, 1).expand(3, 4),
        "one number repeated": noise(torch.float64, 1).expand(2, 3),
        "overlapping windows": noise(torch.float32, 9).as_strided((4, 3), (2, 1)),
        "diagonal": noise(torch.float32, 5, 5).diagonal(),
        "scalar": noise(torch.bfloat16),
        "scalar in the middle": base.view(-1)[31],
        "no elements": noise(torch.float32, 0, 4),
        "no elements, transposed": noise(torch.float32, 3, 0, 2).transpose(0, 2),
    }


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1))
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    return model, optimizer


def lightning() -> dict[str, Any]:
    """Return what a Lightning trainer writes, side values of every kind included."""
    model, optimizer = trained()
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    return {
        "epoch": 3,
        "global_step": 2**40 + 1,
        "pytorch-lightning_version": "1.4.2",
        "state_dict": OrderedDict((f"model.diffusion_model.{k}", v) for k, v in model.state_dict().items()),
        "loops": {"fit_loop": {"epoch_progress": {"current": {"ready": 4, "done": -3}}}},
        "callbacks": {
            "ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.25), "best_k_models": {}},
            nn.Conv2d: {"a class as key": True},
        },
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [schedule.state_dict()],
        "hyper_parameters": {"lr": 1e-4, "betas": (0.9, 0.999), "path": pathlib.PurePosixPath("a/b"), "none": None},
        "namespace": argparse.Namespace(lr=np.float64(1.5), steps=np.int64(7)),
        "numpy": {"scalar": np.float32(2.5), "array": np.arange(4), "generator": np.random.default_rng(1)},
        "when": datetime(2024, 1, 2, tzinfo=UTC),
        "default": defaultdict(int, a=1),
        "counted": Counter("aab"),
        "set": {1, 2},
        "complex": 1 + 2j,
        "bytes": b"\x00\xff",
        "flags": [True, False, -1, 255, 256, 65536, -(2**63), 2**90, 1.5, float("inf")],
    }


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_is_read_bit_for_bit(store: Store, dtype: torch.dtype) -> None:
    value = {"a": noise(dtype, 3, 4), "scalar": noise(dtype)}
    raw = saved(value)
    assert_same(store, read(store, raw), torch.load(io.BytesIO(raw), weights_only=True))


def test_views_and_shared_storages_are_read_as_what_they_show(store: Store) -> None:
    value = views()
    raw = saved(value)
    tree = read(store, raw)
    assert_same(store, tree, torch.load(io.BytesIO(raw), weights_only=True))
    assert tree["base"].zip_member == tree["transposed"].zip_member  # written once, as torch does


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(trained()[0].state_dict, id="state dict with _metadata"),
        pytest.param(lambda: dict(trained()[0].named_parameters()), id="parameters with gradients"),
        pytest.param(trained()[1].state_dict, id="optimizer"),
        pytest.param(lambda: [trained()[0].state_dict(), (1, "ü", "\U0001f600")], id="list"),
        pytest.param(lambda: {"b": nn.Buffer(torch.ones(2)), "t": torch.ones(2).as_subclass(Wrapped)}, id="subclass"),
        pytest.param(lambda: torch.arange(5), id="one tensor"),
        pytest.param(dict, id="nothing"),
        pytest.param(views, id="views"),
    ],
)
def test_any_protocol_gives_what_torch_gives(directory_store: Store, protocol: int, make: Callable[[], Any]) -> None:
    value = make()
    raw = saved(value, pickle_protocol=protocol)
    assert_same(directory_store, read(directory_store, raw), value)
    with torch.serialization.safe_globals([Wrapped]):
        if protocol == 2:  # the only one that weights_only reads for all of these
            loaded = torch.load(io.BytesIO(raw), weights_only=True)
            assert_same(directory_store, read(directory_store, raw), loaded)


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_a_lightning_checkpoint_keeps_its_data_and_hides_its_objects(directory_store: Store, protocol: int) -> None:
    value = lightning()
    raw = saved(value, pickle_protocol=protocol)
    tree = read(directory_store, raw)
    assert tree["callbacks"].pop(Opaque("torch.nn.modules.conv.Conv2d")) == {"a class as key": True}
    value["callbacks"].pop(nn.Conv2d)
    opaque = {key: (tree.pop(key), value.pop(key)) for key in ("namespace", "numpy")}
    assert_same(directory_store, tree, value)
    assert opaque["namespace"][0] == Opaque("argparse.Namespace")
    assert all(isinstance(item, Opaque) for item in opaque["numpy"][0].values())


def test_numpy_scalars_of_old_lightning_are_opaque(directory_store: Store) -> None:
    tree = read(directory_store, saved({"best": np.float64(0.5), "old": np.int64(3), "w": torch.ones(2)}))
    assert [item.name.rpartition(".")[2] for item in (tree["best"], tree["old"])] == ["scalar", "scalar"]
    assert tree["w"].shape == (2,)


def test_tensors_that_have_no_plain_bytes_are_opaque_and_spoil_nothing(directory_store: Store) -> None:
    value = {
        "conjugate": torch.ones(2, dtype=torch.complex64).conj(),
        "sparse": torch.eye(3).to_sparse(),
        "meta": torch.empty(2, device="meta"),
        "dtype": torch.float16,
        "size": torch.Size([2, 3]),
        "device": torch.device("cpu"),
        "storage": torch.ones(2).untyped_storage(),
        "plain": torch.ones(2),
    }
    tree = read(directory_store, saved(value))
    assert {key for key, item in tree.items() if isinstance(item, Opaque)} == value.keys() - {"plain", "size"}
    assert tree["dtype"] == Opaque("torch.float16")
    assert tree["size"] == (2, 3)
    assert_same(directory_store, tree["plain"], torch.ones(2))


def test_a_whole_pickled_module_is_opaque(directory_store: Store) -> None:
    assert read(directory_store, saved(nn.Linear(2, 3))) == Opaque("torch.nn.modules.linear.Linear")


def test_options_of_torch_save_make_no_difference(directory_store: Store) -> None:
    value = {"w": noise(torch.float32, 3, 5)}
    torch.serialization.set_crc32_options(False)
    try:
        assert_same(directory_store, read(directory_store, saved(value)), value)
    finally:
        torch.serialization.set_crc32_options(True)
    assert_same(directory_store, read(directory_store, saved(value, _disable_byteorder_record=True)), value)


def test_a_file_of_more_than_4_gib_is_read_by_its_zip64_fields(directory_store: Store, tmp_path: pathlib.Path) -> None:
    """The SD 1.5 checkpoint with EMA has 7.7 GB: sizes and offsets beyond 32 bits, here in a sparse file."""
    path = tmp_path / "bucket" / "big.ckpt"
    path.parent.mkdir(exist_ok=True)
    with torch.serialization.skip_data():
        torch.save({"a": torch.empty(2**30 + 5), "b": torch.empty(1_100_000_000), "c": torch.empty(3, 2)}, path)
    assert path.stat().st_blocks * 512 < 2**30
    info = directory_store.head("big.ckpt")
    assert info is not None
    assert info.size > 2**33
    tree = read_torch_zip(directory_store, info, expected_bytes=1000)
    assert [tensor.shape for tensor in tree.values()] == [(2**30 + 5,), (1_100_000_000,), (3, 2)]
    assert tree["c"].offset > 2**33
    assert read_tensor(directory_store, tree["c"]) == bytes(24)


def test_small_files_cost_one_request_and_large_ones_two(store: Store) -> None:
    small = saved({"w": torch.ones(3)})
    names = [f"down_blocks.{n}.resnets.0.conv1.weight" for n in range(400)]
    large = saved({name: torch.ones(100) for name in names})
    assert len(small) < WHOLE_FILE_BYTES < len(large)
    for raw, guess, requests in ((small, 0, 1), (large, 400 * 150, 2), (large, 0, 3)):
        store.put("w", raw)
        info = store.head("w")
        assert info is not None
        before = store.traffic
        read_torch_zip(store, info, expected_bytes=guess)
        spent = store.traffic.since(before)
        assert spent.requests == requests
        assert spent.bytes_read < 150_000


def test_a_whole_tensor_costs_one_request_and_part_of_a_storage_not_the_whole(store: Store) -> None:
    tree = read(store, saved({"whole": torch.ones(100_000), "view": torch.ones(1000, 1000)[17]}))
    for name, requests, least in (("whole", 1, 400_000), ("view", 2, 4000)):
        before = store.traffic
        read_tensor(store, tree[name])
        spent = store.traffic.since(before)
        assert spent.requests == requests
        assert least <= spent.bytes_read <= least + 400


def test_a_file_replaced_after_its_header_was_read_is_noticed(store: Store) -> None:
    tree = read(store, saved({"w": torch.ones(3)}))
    store.put("file.pt", saved({"w": torch.ones(30)}))
    with pytest.raises(ObjectChanged):
        read_tensor(store, tree["w"])

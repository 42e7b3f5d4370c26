"""What a checkpoint holds of a run comes back by name, bit for bit, and in no other shape."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.optimizer import optimizer_fault
from t2i_trainer.checkpointing.state import (
    load_module,
    load_optimizer,
    module_tensors,
    optimizer_tensors,
    read_tensors,
    weights_sha256,
    write_tensors,
)
from t2i_trainer.model import architecture_of

if TYPE_CHECKING:
    from pathlib import Path


class Net(torch.nn.Module):
    """A convolution in channels-last memory and a linear layer: what a UNet is made of."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, width, 3)
        self.last = torch.nn.Linear(width, 2)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.last(self.first(picture).mean((2, 3)))
        return result


def trained(steps: int) -> tuple[Net, torch.optim.AdamW]:
    torch.manual_seed(0)
    net: Net = Net().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, fused=True)
    for _ in range(steps):
        step(net, optimizer)
    return net, optimizer


def step(net: Net, optimizer: torch.optim.AdamW) -> None:
    optimizer.zero_grad()
    net(torch.arange(75.0).view(1, 3, 5, 5)).square().sum().backward()
    optimizer.step()


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_restored_run_takes_the_very_steps_that_the_first_one_took(tmp_path: Path) -> None:
    net, optimizer = trained(3)
    write_tensors(tmp_path / "weights.safetensors", module_tensors(net))
    write_tensors(tmp_path / "deep" / "optimizer.safetensors", optimizer_tensors(net, optimizer))
    other, its_optimizer = trained(0)
    load_module(other, read_tensors(tmp_path / "weights.safetensors"))
    load_optimizer(other, its_optimizer, read_tensors(tmp_path / "deep" / "optimizer.safetensors"))
    for _ in range(3):
        step(net, optimizer)
        step(other, its_optimizer)
    assert equal(module_tensors(net), module_tensors(other))
    assert equal(optimizer_tensors(net, optimizer), optimizer_tensors(other, its_optimizer))
    assert weights_sha256(net) == weights_sha256(other)


def test_the_optimizer_file_is_what_the_verdict_wants_to_see() -> None:
    net, optimizer = trained(1)
    tensors = {name: tuple(tensor.shape) for name, tensor in optimizer_tensors(net, optimizer).items()}
    order = [name for name, _ in net.named_parameters()]
    assert optimizer_fault(Architecture.from_shapes(tensors), order, architecture_of(net)) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors: tensors.pop("last.bias"),
        lambda tensors: tensors.update(extra=torch.zeros(1)),
        lambda tensors: tensors.update({"last.bias": torch.zeros(1)}),
    ],
    ids=["missing", "unexpected", "broadcastable-shape"],
)
def test_weights_of_another_model_are_never_loaded_in_part(damage: Any) -> None:
    net, _ = trained(1)
    before = copy.deepcopy(module_tensors(net))
    tensors = {name: torch.full_like(tensor, 9.0) for name, tensor in before.items()}
    damage(tensors)
    with pytest.raises((RuntimeError, KeyError)):
        load_module(net, tensors)


def test_a_moment_of_another_shape_is_not_broadcast() -> None:
    net, optimizer = trained(1)
    tensors = optimizer_tensors(net, optimizer)
    tensors["exp_avg/last.bias"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"exp_avg of last\.bias"):
        load_optimizer(net, optimizer, tensors)


def test_the_hash_sees_a_single_changed_bit() -> None:
    net, _ = trained(1)
    before = weights_sha256(net)
    with torch.no_grad():
        net.last.bias[0] = torch.nextafter(net.last.bias[0], torch.tensor(9.0))
    assert weights_sha256(net) != before


@pytest.mark.parametrize("rows", [2000, 2001])
def test_the_hash_is_the_documented_sum_however_it_is_cut(rows: int) -> None:
    """Ranks compare it: another order of adding up on another device must not give another hash."""
    torch.manual_seed(3)
    layer = torch.nn.Linear(1101, rows, bias=False)
    halves = layer.weight.detach().view(-1).numpy().view(np.uint32)
    words = np.append(halves, np.zeros(len(halves) % 2, np.uint32)).view(np.int64)
    folded = words.view(np.uint64) ^ (words.view(np.uint64) >> np.uint64(29))
    block = 2**20
    factors = np.arange(block, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) | np.uint64(1)
    parts = (folded[start : start + block] for start in range(0, len(folded), block))
    sums = np.stack([(part * factors[: len(part)]).sum(dtype=np.uint64) for part in parts])
    digest = hashlib.sha256(f"weight torch.float32 ({rows}, 1101)\n".encode() + sums.tobytes())
    assert weights_sha256(layer) == digest.hexdigest()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int8])
@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 9), bit=st.integers(0, 2**20))
def test_the_hash_sees_any_single_bit_of_any_type(dtype: torch.dtype, size: int, bit: int) -> None:
    held = torch.zeros(size, dtype=dtype)
    before = weights_sha256(holding(held))
    octets = held.view(torch.uint8)
    octets[bit // 8 % octets.numel()] |= 1 << bit % 8
    assert weights_sha256(holding(held)) != before


@settings(max_examples=200, deadline=None)
@given(words=st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1)))
@example(words=(0, -1))  # a shift that keeps the sign folded both to 0
def test_the_hash_tells_any_two_words_apart(words: tuple[int, int]) -> None:
    hashes = {weights_sha256(holding(torch.tensor([word]))) for word in words}
    assert len(hashes) == len(set(words))


@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_hash_sees_signs_that_changed_together(step: int) -> None:
    """A product of 32-bit words keeps of a sign nothing but a sign: two of them cancelled out."""
    held = torch.rand(64) + 1
    hashes = {weights_sha256(holding(held))}
    for first in range(0, 60, step):
        flipped = held.clone()
        flipped[[first, first + step]] *= -1
        hashes.add(weights_sha256(holding(flipped)))
    assert len(hashes) == 1 + len(range(0, 60, step))


def test_the_hash_does_not_ask_where_a_tensor_lies() -> None:
    numbers = torch.arange(9.0)
    assert weights_sha256(holding(numbers[1:])) == weights_sha256(holding(numbers[1:].clone()))


def holding(tensor: torch.Tensor) -> torch.nn.Module:
    module = torch.nn.Module()
    module.register_buffer("held", tensor)
    return module

"""What one block of a Diffusers UNet is made of, seen from the names and shapes of its tensors. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from t2i_checkpoint.architecture import Architecture

_GROUP_NORMS = (".norm1.weight", ".norm2.weight", ".group_norm.weight", ".norm.weight", "conv_norm_out.weight")
_MATRIX = 2  # axes of a linear layer's weight; a convolution's has four


class Layers:
    """A model's tensors by name, and which numbered children a module has."""

    def __init__(self, architecture: Architecture) -> None:
        self._architecture = architecture
        self._children: dict[str, set[int]] = {}
        self._modules: set[str] = set()
        for name in architecture:
            module = ""
            for part in name.split("."):
                if part.isdecimal() and part.isascii() and len(part) < 5:  # noqa: PLR2004  # hostile names
                    self._children.setdefault(module, set()).add(int(part))
                module = f"{module}.{part}" if module else part
                self._modules.add(module)

    @property
    def names(self) -> tuple[str, ...]:
        """All tensor names."""
        return self._architecture.names

    def axis(self, name: str, axis: int) -> int | None:
        """Return the size of a tensor along an axis, None where it has none."""
        shape = self._architecture.shape(name)
        return None if shape is None or axis >= len(shape) else shape[axis]

    def axes(self, name: str) -> int:
        """Return the number of axes, 0 where there is no such tensor."""
        return len(self._architecture.shape(name) or ())

    def has(self, module: str) -> bool:
        """Whether any tensor lies in a module, or is it."""
        return module in self._modules

    def indices(self, module: str) -> tuple[int, ...]:
        """Return 0, 1, ... as far as the numbered children have no gap."""
        numbers = self._children.get(module, set())
        return tuple(takewhile(numbers.__contains__, range(len(numbers))))

    @property
    def normalized_widths(self) -> frozenset[int]:
        """The widths of all group norms, which the number of groups divides."""
        return frozenset(
            parameter.shape[0]
            for name, parameter in self._architecture.parameters.items()
            if name.endswith(_GROUP_NORMS) and "transformer_blocks" not in name and parameter.shape
        )


@dataclass(frozen=True)
class Block:
    """One level of one side, or the middle.

    `width` is channels out, `context` the channels of the keys of its cross-attention, `inner` the width of its
    queries; `depths` the transformer layers of each attention.
    """

    width: int
    layers: int
    kind: str  # "", "Attn", "CrossAttn", "SimpleCrossAttn", "Skip", "AttnSkip", "K", "KCrossAttn" or "Resnet"
    depths: tuple[int, ...] = ()
    context: int | None = None
    inner: int | None = None
    only_cross: bool = False
    linear_projection: bool = False
    dual: bool = False
    scale_shift: bool = False
    cross_norm: str | None = None

    @property
    def down_type(self) -> str:
        """Diffusers' name of such a block on the way down."""
        return "ResnetDownsampleBlock2D" if self.kind == "Resnet" else f"{self.kind}DownBlock2D"

    @property
    def up_type(self) -> str:
        """Diffusers' name of such a block on the way up."""
        return "ResnetUpsampleBlock2D" if self.kind == "Resnet" else f"{self.kind}UpBlock2D"

    @property
    def mid_type(self) -> str | None:
        """Diffusers' name of such a block in the middle."""
        if not self.layers:
            return None
        return f"UNetMidBlock2D{self.kind if self.kind.endswith('CrossAttn') else ''}"


def block_of(layers: Layers, prefix: str) -> Block:
    """Read one block; without residual layers it is empty."""
    resnets = layers.indices(f"{prefix}.resnets")
    width = layers.axis(f"{prefix}.resnets.0.conv1.weight", 0) or 0
    projected = layers.axis(f"{prefix}.resnets.0.time_emb_proj.weight", 0)
    kind = _kind(layers, prefix)
    attention = f"{prefix}.attentions.0"
    dual = layers.has(f"{attention}.transformers")
    transformer = f"{attention}.transformers.0" if dual else attention
    inside = f"{transformer}.transformer_blocks.0"
    block = Block(width, len(resnets), kind, scale_shift=bool(width) and projected == 2 * width)
    if kind == "CrossAttn":
        inner = layers.axis(f"{transformer}.proj_in.weight", 0)
        return replace(
            block,
            depths=_depths(layers, prefix),
            context=layers.axis(f"{inside}.attn2.to_k.weight", 1),
            inner=inner,
            only_cross=layers.axis(f"{inside}.attn1.to_k.weight", 1) not in {inner, None},
            linear_projection=layers.axes(f"{transformer}.proj_in.weight") == _MATRIX,
            dual=dual,
        )
    if kind == "SimpleCrossAttn":
        norm = layers.axis(f"{attention}.norm_cross.weight", 0)
        return replace(
            block,
            context=layers.axis(f"{attention}.add_k_proj.weight", 1),
            inner=layers.axis(f"{attention}.to_q.weight", 0),
            only_cross=not layers.has(f"{attention}.to_k"),
            cross_norm=None if norm is None else "layer_norm" if norm == width else "group_norm",
        )
    if kind == "KCrossAttn":
        return replace(block, context=layers.axis(f"{attention}.attn2.to_k.weight", 1))
    return replace(block, inner=layers.axis(f"{attention}.to_q.weight", 0))


def _kind(layers: Layers, prefix: str) -> str:
    attention = f"{prefix}.attentions.0"
    if layers.has(f"{prefix}.resnets.0.norm1.linear"):
        return "KCrossAttn" if layers.has(attention) else "K"
    if layers.has(f"{attention}.proj_in") or layers.has(f"{attention}.transformers"):
        return "CrossAttn"
    if layers.has(f"{attention}.add_k_proj"):
        return "SimpleCrossAttn"
    skip = "Skip" if layers.has(f"{prefix}.resnet_down") or layers.has(f"{prefix}.resnet_up") else ""
    if layers.has(attention):
        # The outermost Skip block has nothing that grows the picture, but one attention for all its layers.
        shares = len(layers.indices(f"{prefix}.attentions")) < len(layers.indices(f"{prefix}.resnets"))
        return "AttnSkip" if skip or shares else "Attn"
    resnet = any(layers.has(f"{prefix}.{sampler}.0.conv1") for sampler in ("downsamplers", "upsamplers"))
    return skip or ("Resnet" if resnet else "")


def _depths(layers: Layers, prefix: str) -> tuple[int, ...]:
    depths = []
    for index in layers.indices(f"{prefix}.attentions"):
        attention = f"{prefix}.attentions.{index}"
        depths.append(len(layers.indices(f"{attention}.transformer_blocks")))
    return tuple(depths)

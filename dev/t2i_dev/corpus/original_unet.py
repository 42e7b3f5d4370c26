"""Names and shapes of the original Stable Diffusion UNet (LDM), as its constructor makes them.

Structure after CompVis `ldm/modules/diffusionmodules/openaimodel.py` (UNetModel) and `ldm/modules/attention.py`, which
Stability's `sgm` kept; the numbers are those of the published configs (`v1-inference.yaml`, `v2-inference.yaml`,
`sd_xl_base.yaml`, ...). Independent of the product's own derivation, so that one can prove the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Shapes = dict[str, tuple[int, ...]]
_Named = Iterator[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class OriginalUNet:
    """The constructor arguments that decide names and shapes, by LDM's own names."""

    in_channels: int = 4
    out_channels: int = 4
    model_channels: int = 320
    num_res_blocks: int = 2
    attention_resolutions: tuple[int, ...] = (4, 2, 1)
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    transformer_depth: int | tuple[int, ...] = 1
    context_dim: int = 768
    use_linear_in_transformer: bool = False
    adm_in_channels: int | None = None
    num_classes: int | None = None

    def shapes(self, prefix: str = "model.diffusion_model.") -> Shapes:
        """Return name -> shape in the order of the state dict."""
        return {f"{prefix}{name}": shape for name, shape in self._model()}

    def _model(self) -> _Named:
        depths = self.transformer_depth
        depths = (depths,) * len(self.channel_mult) if isinstance(depths, int) else depths
        width = self.model_channels
        channels = width * self.channel_mult[-1]
        yield from self._embeddings()
        yield from _conv("input_blocks.0.0", width, self.in_channels, 3)
        yield from self._input_blocks(depths)
        yield from self._res_block("middle_block.0", channels, channels)
        yield from self._transformer("middle_block.1", channels, depths[-1])
        yield from self._res_block("middle_block.2", channels, channels)
        yield from self._output_blocks(depths)
        yield from _norm("out.0", width * self.channel_mult[0])
        yield from _conv("out.2", self.out_channels, width, 3)

    def _embeddings(self) -> _Named:
        width, embedding = self.model_channels, 4 * self.model_channels
        yield from _linear("time_embed.0", embedding, width)
        yield from _linear("time_embed.2", embedding, embedding)
        if self.adm_in_channels is not None:
            yield from _linear("label_emb.0.0", embedding, self.adm_in_channels)
            yield from _linear("label_emb.0.2", embedding, embedding)
        if self.num_classes is not None:
            yield "label_emb.weight", (self.num_classes, embedding)

    def _input_blocks(self, depths: tuple[int, ...]) -> _Named:
        channels, step = self.model_channels, 1
        for level, factor in enumerate(self.channel_mult):
            for _ in range(self.num_res_blocks):
                yield from self._res_block(f"input_blocks.{step}.0", channels, factor * self.model_channels)
                channels = factor * self.model_channels
                if 2**level in self.attention_resolutions:
                    yield from self._transformer(f"input_blocks.{step}.1", channels, depths[level])
                step += 1
            if level != len(self.channel_mult) - 1:
                yield from _conv(f"input_blocks.{step}.0.op", channels, channels, 3)
                step += 1

    def _output_blocks(self, depths: tuple[int, ...]) -> _Named:
        skips = self._skips()
        channels, step = skips[-1], 0
        for level, factor in reversed(list(enumerate(self.channel_mult))):
            for layer in range(self.num_res_blocks + 1):
                width, member = factor * self.model_channels, 1
                yield from self._res_block(f"output_blocks.{step}.0", channels + skips.pop(), width)
                channels = width
                if 2**level in self.attention_resolutions:
                    yield from self._transformer(f"output_blocks.{step}.1", channels, depths[level])
                    member = 2
                if level and layer == self.num_res_blocks:
                    yield from _conv(f"output_blocks.{step}.{member}.conv", channels, channels, 3)
                step += 1

    def _skips(self) -> list[int]:
        """Channels of each map that the input side leaves for the output side."""
        skips = [self.model_channels]
        for level, factor in enumerate(self.channel_mult):
            maps = self.num_res_blocks + (level != len(self.channel_mult) - 1)
            skips += [factor * self.model_channels] * maps
        return skips

    def _res_block(self, name: str, channels: int, out_channels: int) -> _Named:
        yield from _norm(f"{name}.in_layers.0", channels)
        yield from _conv(f"{name}.in_layers.2", out_channels, channels, 3)
        yield from _linear(f"{name}.emb_layers.1", out_channels, 4 * self.model_channels)
        yield from _norm(f"{name}.out_layers.0", out_channels)
        yield from _conv(f"{name}.out_layers.3", out_channels, out_channels, 3)
        if channels != out_channels:
            yield from _conv(f"{name}.skip_connection", out_channels, channels, 1)

    def _transformer(self, name: str, channels: int, depth: int) -> _Named:
        project = _linear if self.use_linear_in_transformer else _pointwise
        yield from _norm(f"{name}.norm", channels)
        yield from project(f"{name}.proj_in", channels, channels)
        for index in range(depth):
            block = f"{name}.transformer_blocks.{index}"
            yield from _attention(f"{block}.attn1", channels, channels)
            yield from _linear(f"{block}.ff.net.0.proj", 8 * channels, channels)
            yield from _linear(f"{block}.ff.net.2", channels, 4 * channels)
            yield from _attention(f"{block}.attn2", channels, self.context_dim)
            for norm in ("norm1", "norm2", "norm3"):
                yield from _norm(f"{block}.{norm}", channels)
        yield from project(f"{name}.proj_out", channels, channels)


SD_1 = OriginalUNet()
SD_1_INPAINTING = OriginalUNet(in_channels=9)
SD_2 = OriginalUNet(context_dim=1024, use_linear_in_transformer=True)
SD_2_INPAINTING = OriginalUNet(in_channels=9, context_dim=1024, use_linear_in_transformer=True)
SD_2_DEPTH = OriginalUNet(in_channels=5, context_dim=1024, use_linear_in_transformer=True)
SD_2_UNCLIP = OriginalUNet(context_dim=1024, use_linear_in_transformer=True, adm_in_channels=2048)
SD_X4_UPSCALER = OriginalUNet(
    in_channels=7,
    model_channels=256,
    channel_mult=(1, 2, 2, 4),
    attention_resolutions=(2, 4, 8),
    context_dim=1024,
    use_linear_in_transformer=True,
    num_classes=1000,
)
SDXL = OriginalUNet(
    channel_mult=(1, 2, 4),
    attention_resolutions=(4, 2),
    transformer_depth=(1, 2, 10),
    context_dim=2048,
    use_linear_in_transformer=True,
    adm_in_channels=2816,
)
SDXL_REFINER = OriginalUNet(
    model_channels=384,
    attention_resolutions=(4, 2),
    transformer_depth=4,
    context_dim=1280,
    use_linear_in_transformer=True,
    adm_in_channels=2560,
)


def _linear(name: str, out_features: int, in_features: int) -> _Named:
    yield f"{name}.weight", (out_features, in_features)
    yield f"{name}.bias", (out_features,)


def _conv(name: str, out_channels: int, in_channels: int, kernel: int) -> _Named:
    yield f"{name}.weight", (out_channels, in_channels, kernel, kernel)
    yield f"{name}.bias", (out_channels,)


def _pointwise(name: str, out_channels: int, in_channels: int) -> _Named:
    return _conv(name, out_channels, in_channels, 1)


def _norm(name: str, channels: int) -> _Named:
    yield f"{name}.weight", (channels,)
    yield f"{name}.bias", (channels,)


def _attention(name: str, channels: int, context: int) -> _Named:
    yield f"{name}.to_q.weight", (channels, channels)
    yield f"{name}.to_k.weight", (channels, context)
    yield f"{name}.to_v.weight", (channels, context)
    yield from _linear(f"{name}.to_out.0", channels, channels)

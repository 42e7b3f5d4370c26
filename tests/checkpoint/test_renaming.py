"""What people's files put around a model's names is taken off, whatever is not the model is left out, one-to-one."""

from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.renaming import RenamingName, find_renaming, translate
from t2i_checkpoint.unet import unet_architecture_from_mapping
from t2i_dev.corpus import ldm

SMALL = {
    "block_out_channels": [4, 8],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "attention_head_dim": 2,
    "cross_attention_dim": 6,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
}
WANTED = unet_architecture_from_mapping(SMALL)
SMALL_LDM = ldm.LdmConfig(4, 4, 4, (1, 2), 1, (0, 1), 1, 6, groups=2)
VAE = {"first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3), "cond_stage_model.transformer.x": (77,)}
SCHEDULE = {"betas": (1000,), "alphas_cumprod": (1000,), "model_ema.num_updates": ()}


def renamed(change: Any, extra: dict[str, tuple[int, ...]] | None = None) -> Architecture:
    shapes = {change(name): parameter.shape for name, parameter in WANTED.parameters.items()}
    return Architecture.from_shapes({**shapes, **(extra or {})})


@pytest.mark.parametrize(
    ("stored", "name", "ignored"),
    [
        pytest.param(WANTED, RenamingName.NONE, 0, id="the same names"),
        pytest.param(renamed(str, {**VAE, "n_averaged": ()}), RenamingName.NONE, 3, id="beside other models"),
        pytest.param(renamed(lambda n: f"module.{n}"), RenamingName.PREFIX, 0, id="DistributedDataParallel"),
        pytest.param(renamed(lambda n: f"_orig_mod.{n}"), RenamingName.PREFIX, 0, id="torch.compile"),
        pytest.param(renamed(lambda n: f"module._orig_mod.{n}"), RenamingName.PREFIX, 0, id="compiled, then DDP"),
        pytest.param(
            renamed(lambda n: n.replace("resnets.", "resnets._orig_mod.")), RenamingName.PREFIX, 0, id="blocks compiled"
        ),
        pytest.param(
            renamed(
                lambda n: f"_fsdp_wrapped_module.{n.replace('down_blocks.0', 'down_blocks.0._fsdp_wrapped_module')}"
            ),
            RenamingName.PREFIX,
            0,
            id="FSDP",
        ),
        pytest.param(renamed(lambda n: f"unet.{n}", VAE), RenamingName.PREFIX, 2, id="Lightning, whole pipeline"),
        pytest.param(renamed(lambda n: f"module.{n}", {"n_averaged": ()}), RenamingName.PREFIX, 1, id="AveragedModel"),
        pytest.param(renamed(lambda n: f"model.unet.{n}"), RenamingName.PREFIX, 0, id="nested modules"),
        pytest.param(Architecture.from_shapes(ldm.shapes(SMALL_LDM, "")), RenamingName.LDM, 0, id="LDM, bare"),
        pytest.param(
            Architecture.from_shapes({**ldm.shapes(SMALL_LDM), **VAE, **SCHEDULE}),
            RenamingName.LDM,
            5,
            id="LDM, whole file",
        ),
        pytest.param(
            Architecture.from_shapes(ldm.shapes(SMALL_LDM, "module.model.diffusion_model.")),
            RenamingName.LDM,
            0,
            id="LDM, DDP",
        ),
    ],
)
def test_known_names_cover_the_wanted_model(stored: Architecture, name: RenamingName, ignored: int) -> None:
    renaming = find_renaming(stored, WANTED)
    assert renaming is not None
    assert renaming.name is name
    assert renaming.keeps_names == (name in {RenamingName.NONE, RenamingName.PREFIX})
    assert len(renaming.ignored) == ignored
    assert set(renaming.names.values()) == set(WANTED)
    assert all(stored.shape(old) == WANTED.shape(new) for old, new in renaming.names.items())
    if ignored:
        assert f"{ignored} other tensor" in renaming.described


def test_the_model_itself_is_taken_before_its_average() -> None:
    shapes = {f"{part}.{name}": p.shape for part in ("ema_model", "model") for name, p in WANTED.parameters.items()}
    renaming = find_renaming(Architecture.from_shapes(shapes), WANTED)
    assert renaming is not None
    assert all(name == f"model.{new}" for name, new in renaming.names.items())


@pytest.mark.parametrize("average", ["ema", "ema_model", "unet_ema", "model_ema"])
def test_an_average_beside_plain_names_is_left_out(average: str) -> None:
    beside = {f"{average}.{name}": p.shape for name, p in WANTED.parameters.items()}
    renaming = find_renaming(renamed(str, beside), WANTED)
    assert renaming is not None
    assert renaming.name is RenamingName.NONE
    assert len(renaming.ignored) == len(WANTED)


def test_an_average_alone_is_taken() -> None:
    renaming = find_renaming(renamed(lambda n: f"ema_model.module.{n}"), WANTED)
    assert renaming is not None
    assert renaming.name is RenamingName.PREFIX


def test_a_job_whose_own_model_has_ldm_names_takes_diffusers_weights() -> None:
    wanted = Architecture.from_shapes(ldm.shapes(SMALL_LDM, ""))
    renaming = find_renaming(WANTED, wanted)
    assert renaming is not None
    assert renaming.names["conv_in.weight"] == "input_blocks.0.0.weight"


def test_deprecated_attention_names_are_those_that_diffusers_itself_converts() -> None:
    with torch.device("meta"):
        model: Any = UNet2DModel(
            block_out_channels=(8, 8),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=2,
            attention_head_dim=4,
        )  # type: ignore[no-untyped-call]  # untyped
    wanted = Architecture.from_shapes({name: tuple(tensor.shape) for name, tensor in model.state_dict().items()})
    deprecated = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {name: name for name in wanted}
    for layer, was in deprecated.items():
        old = {new: name.replace(f".{layer}.", f".{was}.") for new, name in old.items()}
    assert sum(new != name for new, name in old.items()) == 6 * 4 * 2  # attentions, layers, weight and bias
    converted = {name: name for name in old.values()}
    model._fix_state_dict_keys_on_load(converted)  # noqa: SLF001  # the reference for this renaming
    stored = Architecture.from_shapes({name: wanted.shape(new) or () for new, name in old.items()})
    renaming = find_renaming(stored, wanted)
    assert renaming is not None
    assert renaming.name is RenamingName.DEPRECATED_ATTENTION
    assert {new: name for name, new in renaming.names.items()} == converted


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(renamed(lambda n: f"other.{n}"), id="an unknown prefix"),
        pytest.param(renamed(str, {"conv_extra.weight": (4, 4)}), id="a tensor too many"),
        pytest.param(Architecture((n, p) for n, p in WANTED.parameters.items() if n != "conv_out.bias"), id="too few"),
        pytest.param(renamed(lambda n: "conv_in.bios" if n == "conv_in.bias" else n), id="one name differs"),
        pytest.param(Architecture.from_shapes(ldm.shapes(ldm.SD1)), id="another LDM model"),
        pytest.param(Architecture.from_shapes({}), id="nothing"),
    ],
)
def test_what_does_not_cover_the_wanted_model_exactly_is_no_renaming(stored: Architecture) -> None:
    assert find_renaming(stored, WANTED) is None


def test_a_renaming_that_covers_a_part_translates_that_part() -> None:
    """SD 1.5 in its original file against an inpainting job: one tensor has another shape, all names are known."""
    stored = Architecture.from_shapes({**ldm.shapes(ldm.SD1), **VAE})
    inpainting = unet_architecture_from_mapping({"cross_attention_dim": 768, "in_channels": 9})
    assert find_renaming(stored, inpainting) is None
    renaming = translate(stored, inpainting)
    assert renaming.name is RenamingName.LDM
    difference = renaming.apply(stored).diff(inpainting)
    assert [mismatch.name for mismatch in difference.mismatched] == ["conv_in.weight"]
    assert (difference.missing, difference.unexpected) == ((), ())
    whole = Architecture.from_shapes(ldm.shapes(ldm.SD1_INPAINTING))
    assert find_renaming(whole, inpainting) is not None


def test_a_file_of_which_nothing_agrees_is_still_reduced_to_its_model(old_unet: Architecture) -> None:
    stored = Architecture.from_shapes({**ldm.shapes(ldm.SD1), **VAE, **SCHEDULE})
    assert translate(stored, old_unet).apply(stored).names[0] == "time_embed.0.weight"
    wrapped = Architecture((f"module.{name}", p) for name, p in old_unet.parameters.items())
    assert translate(wrapped, WANTED).apply(wrapped).names == old_unet.names


PARTS = st.sampled_from(
    [*"abc", "module", "model", "_orig_mod", "unet", "ema_model", "input_blocks", "0", "query", "to_q"]
)
NAMES = st.lists(PARTS, min_size=1, max_size=5).map(".".join)
ARCHITECTURES = st.dictionaries(NAMES, st.tuples(st.integers(1, 3)), max_size=12).map(Architecture.from_shapes)


@given(ARCHITECTURES, ARCHITECTURES)
@settings(max_examples=300, deadline=None)
def test_a_translation_is_total_and_one_to_one_whatever_the_names(stored: Architecture, wanted: Architecture) -> None:
    renaming = translate(stored, wanted)
    assert len(set(renaming.names.values())) == len(renaming.names)
    assert sorted([*renaming.names, *renaming.ignored]) == sorted(stored)
    plain = stored.diff(wanted).matched_parameter_share
    assert renaming.apply(stored).diff(wanted).matched_parameter_share >= plain


@given(ARCHITECTURES)
@settings(deadline=None)
def test_the_wanted_names_are_never_renamed(wanted: Architecture) -> None:
    renaming = find_renaming(wanted, wanted)
    assert renaming is not None
    assert renaming.names == {name: name for name in wanted}

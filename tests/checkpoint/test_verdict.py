"""Every stored checkpoint has exactly one verdict, with a reason and a sentence that a person understands."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from t2i_api.status import VerdictKind
from t2i_checkpoint.architecture import Architecture, Parameter
from t2i_checkpoint.optimizer import optimizer_architecture
from t2i_checkpoint.unet import unet_architecture_from_mapping
from t2i_checkpoint.verdict import Fault, Meaning, ResumeState, Stored, Verdict, Wanted, compare

MEANING = Meaning("v_prediction", "squaredcos_cap_v2, 1000 steps", 1.0, "ab" * 32)
SD15: dict[str, Any] = {"cross_attention_dim": 768}
SD21: dict[str, Any] = {"cross_attention_dim": 1024, "use_linear_projection": True}


def resume(model: Architecture, **changes: Any) -> ResumeState:
    state = ResumeState(MEANING, optimizer_architecture(model), model.names, ema=model)
    return dataclasses.replace(state, **changes)


def judge(stored: Architecture, wanted: Wanted, **changes: Any) -> Verdict:
    return compare(Stored(stored, resume(stored, **changes)), wanted)


def test_equal_in_everything_is_identical_and_resumable(wanted: Wanted) -> None:
    verdict = judge(wanted.architecture, wanted)
    assert (verdict.kind, verdict.reason) == (VerdictKind.IDENTICAL, "NamesAndShapesMatch")
    assert verdict.resumable
    assert not verdict.archivable
    assert verdict.matched == len(wanted.architecture)
    assert verdict.matched_parameter_share == 1.0


def test_order_and_dtype_of_the_file_do_not_matter(wanted: Wanted) -> None:
    shuffled = Architecture((n, Parameter(p.shape, "BF16")) for n, p in sorted(wanted.architecture.parameters.items()))
    verdict = judge(shuffled, wanted, parameter_order=wanted.architecture.names)
    assert verdict.kind is VerdictKind.IDENTICAL


@pytest.mark.parametrize(("dtype", "loadable"), [("F8_E4M3", True), ("I8", False), ("F8_E8M0", False), ("C64", False)])
def test_only_floating_point_weights_are_weights(wanted: Wanted, dtype: str, loadable: bool) -> None:  # noqa: FBT001  # table
    # A quantised model has the names and shapes of the model, and other numbers.
    codes = Architecture((name, Parameter(each.shape, dtype)) for name, each in wanted.architecture.parameters.items())
    some = Architecture(list(codes.parameters.items())[:-1])
    for verdict in (compare(Stored(codes), wanted), compare(Stored(some), wanted)):
        assert verdict.usable_as_initial_weights is loadable
        assert (f"is stored as {dtype}" in verdict.explanation) is not loadable


def test_ddp_and_compile_prefixes_do_not_matter(wanted: Wanted) -> None:
    for prefix in ("module.", "_orig_mod.", "module._orig_mod."):
        wrapped = Architecture((prefix + n, p) for n, p in wanted.architecture.parameters.items())
        verdict = compare(Stored(wrapped, resume(wanted.architecture)), wanted)
        assert verdict.kind is VerdictKind.IDENTICAL


def test_the_old_custom_unet_is_recognised_and_told_apart(old_unet: Architecture, wanted: Wanted) -> None:
    # The story: a home-made UNet lay where the Diffusers one was to be resumed.
    verdict = compare(Stored(old_unet), wanted)
    assert (verdict.kind, verdict.reason, verdict.label) == (VerdictKind.FOREIGN, "NamesDiffer", "custom-unet")
    assert verdict.archivable
    assert verdict.missing == wanted.architecture.names
    assert verdict.unexpected == old_unet.names
    assert (verdict.matched, verdict.matched_parameter_share) == (0, 0.0)
    assert "stored is a home-made UNet" in verdict.explanation
    assert "the job asks for a Diffusers UNet" in verdict.explanation


@pytest.mark.parametrize(
    ("stored", "asked", "kind", "says"),
    [
        (SD15, {**SD15, "in_channels": 9}, "partial", "stored UNet is 4 channels in, the job asks for 9 (inpainting)"),
        ({**SD15, "in_channels": 9}, SD15, "partial", "9 channels in (inpainting), the job asks for 4"),
        (SD15, {**SD15, "out_channels": 8}, "partial", "4 channels out against 8"),
        (SD15, SD21, "partial", "cross-attention 768 against 1024: an SD 1.x checkpoint in an SD 2.x job"),
        (SD15, {**SD15, "cross_attention_dim": 384}, "partial", "cross-attention 768 against 384"),
        (
            SD15,
            {**SD15, "block_out_channels": [32, 64, 64, 64]},
            "foreign",
            "320 channels wide, the job asks for 32",
        ),
        (SD15, {**SD15, "layers_per_block": 1}, "partial", "layers per block 2 against 1"),
    ],
)
def test_a_different_unet_is_explained_in_one_sentence(
    stored: dict[str, Any], asked: dict[str, Any], kind: str, says: str
) -> None:
    wanted = Wanted(unet_architecture_from_mapping(asked), MEANING)
    verdict = judge(unet_architecture_from_mapping(stored), wanted)
    assert verdict.kind == kind
    assert says in verdict.explanation
    assert verdict.archivable
    assert verdict.label == "diffusers-unet"


def test_shapes_that_differ_are_listed_with_both(wanted: Wanted) -> None:
    small = dict(wanted.architecture.parameters)
    small["conv_in.weight"] = Parameter((4, 9, 3, 3))
    verdict = judge(Architecture(small.items()), wanted)
    assert (verdict.kind, verdict.reason) == (VerdictKind.PARTIAL, "MostParametersMatch")
    assert verdict.fresh == ("conv_in.weight",)
    assert [str(m) for m in verdict.mismatched] == ["conv_in.weight: stored [4, 9, 3, 3], wanted [4, 4, 3, 3]"]
    assert 0.9 < verdict.matched_parameter_share < 1.0


@pytest.mark.parametrize(
    ("field", "value", "reason", "label"),
    [
        ("prediction_type", "epsilon", "PredictionTypeDiffers", "other-prediction-type"),
        ("noise_schedule", "linear, 1000 steps", "NoiseScheduleDiffers", "other-noise-schedule"),
        ("latent_scale", 0.18215, "LatentScaleDiffers", "other-latent-scale"),
        ("null_embedding_sha256", "cd" * 32, "NullEmbeddingDiffers", "other-null-embedding"),
    ],
)
def test_same_names_with_another_meaning_is_a_difference_and_named(
    wanted: Wanted, field: str, value: Any, reason: str, label: str
) -> None:
    verdict = judge(wanted.architecture, wanted, meaning=dataclasses.replace(MEANING, **{field: value}))
    assert (verdict.kind, verdict.reason, verdict.label) == (VerdictKind.FOREIGN, reason, label)
    assert [d.field for d in verdict.meaning_differences] == [field]
    assert str(value) in verdict.explanation
    assert verdict.matched == len(wanted.architecture)


def test_a_null_embedding_that_is_not_known_is_not_compared(wanted: Wanted) -> None:
    unknown = Wanted(wanted.architecture, dataclasses.replace(MEANING, null_embedding_sha256=None))
    assert judge(wanted.architecture, unknown).kind is VerdictKind.IDENTICAL
    stored = dataclasses.replace(MEANING, null_embedding_sha256=None)
    assert judge(wanted.architecture, wanted, meaning=stored).kind is VerdictKind.IDENTICAL


def test_every_difference_in_meaning_is_told(wanted: Wanted) -> None:
    verdict = judge(wanted.architecture, wanted, meaning=Meaning("epsilon", "linear", 0.5, None))
    assert [d.field for d in verdict.meaning_differences] == ["prediction_type", "noise_schedule", "latent_scale"]


def test_weights_without_our_resume_state_are_initial_weights_and_stay(wanted: Wanted) -> None:
    verdict = compare(Stored(wanted.architecture), wanted)
    assert (verdict.kind, verdict.reason) == (VerdictKind.INFERENCE_ONLY, "WeightsWithoutResumeState")
    assert not verdict.resumable
    assert not verdict.archivable


def wrong_moment(model: Architecture) -> Architecture:
    moments = dict(optimizer_architecture(model).parameters)
    moments["exp_avg_sq/conv_in.weight"] = Parameter((1, 1, 1, 1))
    return Architecture(moments.items())


def test_an_optimizer_of_another_shape_or_order_is_never_resumed(wanted: Wanted) -> None:
    # torch loads moments of a wrong shape without a word.
    model = wanted.architecture
    moments = optimizer_architecture(model).parameters
    cases: list[tuple[dict[str, Any], str]] = [
        ({"optimizer": None}, "there is none"),
        ({"optimizer": wrong_moment(model)}, "exp_avg_sq/conv_in.weight: stored [1, 1, 1, 1]"),
        ({"optimizer": Architecture(list(moments.items())[1:])}, "1 moments are missing"),
        ({"optimizer": Architecture([*moments.items(), ("max_exp_avg_sq/x", Parameter((1,)))])}, "unexpected"),
        ({"parameter_order": tuple(reversed(model.names))}, "its parameter 0 is conv_out.bias"),
        ({"parameter_order": model.names[:-1]}, f"lists {len(model) - 1} parameters"),
    ]
    for changes, says in cases:
        verdict = judge(model, wanted, **changes)
        assert (verdict.kind, verdict.reason) == (VerdictKind.INFERENCE_ONLY, "OptimizerDiffers"), says
        assert says in verdict.explanation


def test_the_step_counter_of_the_optimizer_is_optional(wanted: Wanted) -> None:
    moments = optimizer_architecture(wanted.architecture).parameters
    with_step = Architecture([*moments.items(), ("step", Parameter(()))])
    assert judge(wanted.architecture, wanted, optimizer=with_step).kind is VerdictKind.IDENTICAL


@pytest.mark.parametrize("kind", [VerdictKind.INCOMPLETE, VerdictKind.UNREADABLE])
def test_a_fault_is_the_verdict_and_is_never_archived(wanted: Wanted, kind: VerdictKind) -> None:
    verdict = compare(Stored(None, fault=Fault(kind, "Why", "in words")), wanted)
    assert (verdict.kind, verdict.reason, verdict.explanation) == (kind, "Why", "in words")
    assert not verdict.archivable
    assert not verdict.resumable


def test_no_weights_at_all_is_incomplete(wanted: Wanted) -> None:
    for stored in (Stored(None), Stored(Architecture([]))):
        assert compare(stored, wanted).kind is VerdictKind.INCOMPLETE


def test_an_ldm_checkpoint_is_not_taken_for_the_custom_unet(wanted: Wanted) -> None:
    ldm = {
        "model.diffusion_model.input_blocks.1.0.in_layers.0.weight": (320,),
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight": (320, 320),
    }
    assert compare(Stored(Architecture.from_shapes(ldm)), wanted).label == "ldm-unet"


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (["unet.down_blocks.0.attentions.0.to_q.lora_A.weight"], "adapter"),
        (["blocks.0.attn.qkv.weight"], "unknown-model"),
    ],
)
def test_other_models_have_a_label_too(names: list[str], label: str, wanted: Wanted) -> None:
    stored = Architecture.from_shapes(dict.fromkeys(names, (1,)))
    assert compare(Stored(stored), wanted).label == label

"""What holds for every comparison, whatever is stored: it answers, it is consistent, and wrappers change nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from t2i_api.status import VerdictKind
from t2i_checkpoint.architecture import Architecture, Parameter
from t2i_checkpoint.facts import OptimizerFacts, OtherProgram, RunIdentity
from t2i_checkpoint.optimizer import optimizer_architecture
from t2i_checkpoint.verdict import Fault, Meaning, ResumeState, Stored, Wanted, compare

MEANING = Meaning("v_prediction", "squaredcos_cap_v2, 1000 steps", 1.0, None)
RUN = RunIdentity(7, 64)
WRAPPERS = ("module.", "_orig_mod.", "model.diffusion_model.", "unet.", "module._orig_mod.")
RESUMABLE_KINDS = {VerdictKind.IDENTICAL, VerdictKind.RENAMED}

# Names as models have them, some that renaming rules look for, and hostile ones.
parts = st.sampled_from(
    [
        *("conv_in", "down_blocks", "attentions", "resnets", "0", "1", "to_q", "query", "proj_attn", "weight", "bias"),
        *("time_embed", "input_blocks", "module", "model", "unet", "_orig_mod", "diffusion_model", "ema", "lora_A"),
        *("", "é"),
    ]
)
names = st.lists(parts, min_size=1, max_size=4).map(".".join)
shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)


def architectures(least: int = 0) -> st.SearchStrategy[Architecture]:
    return st.dictionaries(names, shapes, min_size=least, max_size=8).map(Architecture.from_shapes)


meanings = st.builds(
    Meaning,
    st.sampled_from(["epsilon", "v_prediction"]),
    st.just(MEANING.noise_schedule),
    st.sampled_from([1.0, 0.18215]),
    st.none() | st.just("ab" * 32),
)
runs = st.builds(RunIdentity, st.sampled_from([7, 8]), st.sampled_from([64, 128]))
resumes = st.builds(
    ResumeState,
    meanings,
    st.none() | architectures(),
    st.lists(names, max_size=8).map(tuple),
    ema=st.none() | architectures(),
    missing_files=st.sampled_from([(), ("trainer_state.json",)]),
    run=st.none() | runs,
    step=st.integers(0, 10),
    samples_seen=st.integers(0, 1000),
    model_config_sha256=st.none() | st.sampled_from(["a", "b"]),
)
optimizers = st.builds(
    OptimizerFacts,
    st.just("Adam optimizer state"),
    st.lists(st.none() | shapes, max_size=8).map(tuple),
    st.none() | st.dictionaries(names, shapes, max_size=4),
)
others = st.builds(OtherProgram, st.none() | optimizers, st.lists(st.sampled_from(["scheduler.bin", "x"])).map(tuple))
faults = st.builds(
    Fault, st.sampled_from([VerdictKind.INCOMPLETE, VerdictKind.UNREADABLE]), st.just("Why"), st.just("in words")
)
stored = st.builds(
    Stored,
    st.none() | architectures(),
    st.none() | resumes,
    st.none() | faults,
    st.none() | others,
    st.none() | st.just("its bytes are spread"),
)
wanted = st.builds(Wanted, architectures(), meanings, st.none() | runs, st.none() | st.sampled_from(["a", "b"]))


def own(model: Architecture, **changes: Any) -> Stored:
    state = ResumeState(
        MEANING, optimizer_architecture(model), model.names, ema=model, run=RUN, step=3, samples_seen=192
    )
    return Stored(model, dataclasses.replace(state, **changes))


@given(stored, wanted)
def test_every_comparison_has_exactly_one_consistent_answer(held: Stored, asked: Wanted) -> None:
    verdict = compare(held, asked)
    assert isinstance(verdict.kind, VerdictKind)
    assert verdict.reason
    assert verdict.explanation
    assert verdict == compare(held, asked)
    assert 0.0 <= verdict.matched_parameter_share <= 1.0
    assert not (verdict.resumable and verdict.archivable)
    assert not verdict.resumable or verdict.kind in RESUMABLE_KINDS
    assert not verdict.resumable or held.resume is not None
    if verdict.kind in {VerdictKind.UNREADABLE, VerdictKind.INCOMPLETE, VerdictKind.ADAPTER}:
        assert not verdict.archivable
        assert not verdict.usable_as_initial_weights
    if verdict.kind is VerdictKind.PARTIAL:
        assert verdict.matched_parameter_share >= 0.5
        assert set(verdict.fresh) == {*verdict.missing, *(each.name for each in verdict.mismatched)}
    else:
        assert verdict.fresh == ()
    if asked.is_derived and held.fault is None and held.architecture:
        assert verdict.matched + len(verdict.missing) + len(verdict.mismatched) == len(asked.architecture)


@given(architectures(1))
def test_a_model_fits_itself(model: Architecture) -> None:
    verdict = compare(own(model), Wanted(model, MEANING, RUN))
    assert verdict.kind is VerdictKind.IDENTICAL
    assert verdict.resumable
    assert (verdict.renaming, verdict.matched) == (None, len(model))


@given(architectures(1), st.randoms(use_true_random=False))
def test_the_order_of_the_file_changes_nothing(model: Architecture, random: Any) -> None:
    shuffled = list(model.parameters.items())
    random.shuffle(shuffled)
    held = dataclasses.replace(own(model), architecture=Architecture(shuffled))
    assert compare(held, Wanted(model, MEANING)).kind is VerdictKind.IDENTICAL


unwrapped_models = st.dictionaries(
    st.sampled_from(["conv_in.weight", "conv_in.bias", "down_blocks.0.resnets.0.norm1.weight", "conv_out.weight"]),
    shapes,
    min_size=1,
).map(lambda table: Architecture.from_shapes({**table, "conv_in.weight": (4, 3, 3, 3)}))


@given(unwrapped_models, unwrapped_models, st.sampled_from(WRAPPERS))
def test_a_wrappers_prefix_changes_nothing_but_the_renaming(
    model: Architecture, asked: Architecture, wrapper: str
) -> None:
    plain = compare(Stored(model), Wanted(asked, MEANING))
    wrapped = Architecture((wrapper + name, p) for name, p in model.parameters.items())
    verdict = compare(Stored(wrapped), Wanted(asked, MEANING))
    unchanged = ("kind", "reason", "matched", "missing", "mismatched", "matched_parameter_share", "fresh")
    assert [getattr(verdict, name) for name in unchanged] == [getattr(plain, name) for name in unchanged]


@given(unwrapped_models, st.sampled_from(WRAPPERS))
def test_an_own_checkpoint_of_a_wrapped_model_is_resumed_under_its_names(model: Architecture, wrapper: str) -> None:
    wrapped = Architecture((wrapper + name, p) for name, p in model.parameters.items())
    verdict = compare(own(wrapped), Wanted(model, MEANING, RUN))
    assert verdict.kind is VerdictKind.IDENTICAL
    assert verdict.renaming is not None
    assert {wrapper + name: name for name in model} == dict(verdict.renaming.names)


@given(architectures(1), architectures(1))
def test_two_models_agree_on_as_many_tensors_from_either_side(one: Architecture, other: Architecture) -> None:
    there = one.diff(other)
    back = other.diff(one)
    assert there.matched == back.matched
    assert (there.missing, there.unexpected) == (back.unexpected, back.missing)
    assert len(there.mismatched) == len(back.mismatched)


@given(architectures(1), st.data())
def test_a_single_wrong_moment_is_never_resumed(model: Architecture, data: st.DataObject) -> None:
    moments = dict(optimizer_architecture(model).parameters)
    name = data.draw(st.sampled_from(sorted(moments)))
    moments[name] = Parameter((*moments[name].shape, 2))
    verdict = compare(own(model, optimizer=Architecture(moments.items())), Wanted(model, MEANING, RUN))
    assert (verdict.kind, verdict.reason) == (VerdictKind.INFERENCE_ONLY, "OptimizerDiffers")
    assert name in verdict.explanation


@given(architectures(1), runs)
def test_only_the_very_same_run_is_resumed(model: Architecture, run: RunIdentity) -> None:
    verdict = compare(own(model), Wanted(model, MEANING, run))
    assert verdict.resumable == (run == RUN)
    assert verdict.kind is (VerdictKind.IDENTICAL if run == RUN else VerdictKind.INFERENCE_ONLY)

"""Names and shapes: fingerprints, differences, wrappers."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_checkpoint.architecture import Architecture, Parameter, ShapeMismatch

shapes = st.dictionaries(
    st.text(min_size=1, max_size=5), st.lists(st.integers(1, 9), max_size=3).map(tuple), max_size=8
)


@given(shapes, shapes)
def test_fingerprints_are_equal_exactly_for_equal_names_and_shapes(
    left: dict[str, tuple[int, ...]], right: dict[str, tuple[int, ...]]
) -> None:
    same = Architecture.from_shapes(left).fingerprint() == Architecture.from_shapes(right).fingerprint()
    assert same == (left == right)


@given(shapes)
def test_order_and_dtype_take_no_part_in_a_fingerprint(table: dict[str, tuple[int, ...]]) -> None:
    reversed_table = Architecture((n, Parameter(s, "BF16")) for n, s in reversed(table.items()))
    assert reversed_table.fingerprint() == Architecture.from_shapes(table).fingerprint()


@given(shapes, shapes)
def test_a_difference_accounts_for_every_name_once(
    left: dict[str, tuple[int, ...]], right: dict[str, tuple[int, ...]]
) -> None:
    stored, wanted = Architecture.from_shapes(left), Architecture.from_shapes(right)
    found = stored.diff(wanted)
    assert found.matched + len(found.mismatched) + len(found.missing) == len(wanted)
    assert found.matched + len(found.mismatched) + len(found.unexpected) == len(stored)
    assert found.is_empty == (left == right)
    assert 0.0 <= found.matched_parameter_share <= 1.0


def test_a_difference_names_both_shapes_and_the_share_of_parameters() -> None:
    stored = Architecture.from_shapes({"a": (3,), "b": (2, 2), "old": (1,)})
    found = stored.diff(Architecture.from_shapes({"a": (3,), "b": (2, 3), "new": (1,)}))
    assert found.mismatched == (ShapeMismatch("b", (2, 2), (2, 3)),)
    assert str(found.mismatched[0]) == "b: stored [2, 2], wanted [2, 3]"
    assert (found.missing, found.unexpected, found.matched) == (("new",), ("old",), 1)
    assert found.matched_parameter_share == pytest.approx(3 / 10)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["module.a", "module.b"], ["a", "b"]),
        (["_orig_mod.module.a"], ["a"]),
        (["module.a", "b"], ["module.a", "b"]),
        (["modules.a"], ["modules.a"]),
        ([], []),
    ],
)
def test_wrapper_prefixes_go_only_when_all_carry_them(names: list[str], expected: list[str]) -> None:
    architecture = Architecture.from_shapes(dict.fromkeys(names, (1,)))
    assert list(architecture.without_wrapper_prefix()) == expected


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Architecture([("a", Parameter((1,))), ("a", Parameter((1,)))])


def test_architectures_are_values() -> None:
    one = Architecture.from_shapes({"a": (1,), "b": (2,)})
    assert one == copy.deepcopy(one) == pickle.loads(pickle.dumps(one))  # noqa: S301  # our own bytes
    assert hash(one) == hash(copy.deepcopy(one))
    assert one != Architecture.from_shapes({"b": (2,), "a": (1,)})
    assert repr(one) == "Architecture(2 tensors, 3 parameters)"

"""Text that reaches a terminal: other people's names move no cursor, sizes are read at a glance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_cli.terminal import count_text, printable, size_text


@given(st.text())
def test_nothing_unprintable_gets_through(text: str) -> None:
    assert all(each.isprintable() or each == "\n" for each in printable(text))


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"])))
def test_what_is_printable_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"), [("\x1b[2J", "\\x1b[2J"), ("a\rb", "a\\rb"), ("\u202eabc", "\\u202eabc"), ("grün", "grün")]
)
def test_control_characters_are_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (13_754_000_000, "13.8 GB"), (10**18, "1000.0 PB")],
)
def test_sizes_are_decimal(count: int, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(("count", "text"), [(1, "1 object"), (0, "0 objects"), (1234, "1,234 objects")])
def test_counts_agree_with_their_noun(count: int, text: str) -> None:
    assert count_text(count, "object") == text

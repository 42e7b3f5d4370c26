"""Durations are read as Prometheus writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_operator.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("0s", 0.0), ("15s", 15.0), ("1m30s", 90.0), ("500ms", 0.5), ("1h", 3600.0), ("2d1ms", 172800.001)],
)
def test_a_duration_is_a_sum_of_its_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "s", "30s1m", "1s1s", "-1s", "1.5s", "1 s", "1w", "9999999999s", "\u0661s"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write 15s"):
        parse_duration(text)


@given(st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert parse_duration(text) >= 0
    except ValueError:
        return

"""Charts are SVG that a browser can draw: every point inside, every curve named, restarts marked, no script."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_trainer.report.charts import HEIGHT, WIDTH, Curve, Mark, draw, log_ticks
from t2i_trainer.report.curve import Point

VALUES = st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=20)


def curve(*values: float, dots: bool = False, name: str = "loss") -> Curve:
    return Curve(name, "#1f5fa8", [Point(step, value) for step, value in enumerate(values, 1)], dots=dots)


def elements(svg: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter())  # noqa: S314  # our own


def names(svg: str) -> set[str]:
    return {element.tag for element in elements(svg)}


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("values", [(0.5,), (0.1, 0.1), (0.9, 0.01, 0.3), (1e-12, 1e12)])
def test_curves_lie_inside_the_chart(values: tuple[float, ...], logarithmic: bool) -> None:  # noqa: FBT001
    svg = draw([curve(*values, dots=True)], logarithmic=logarithmic)
    circles = [element for element in elements(svg) if element.tag == "circle"]
    assert len(circles) == len(values)
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= WIDTH
        assert 0 <= float(circle.attrib["cy"]) <= HEIGHT


def test_several_curves_are_named_and_dots_say_their_values() -> None:
    svg = draw([curve(0.5, 0.25, name="right"), curve(0.7, 0.6, name="wrong", dots=True)])
    assert ">right<" in svg
    assert svg.count(">wrong<") == 1, "the dots of a line are no entry of their own"
    assert "step 2: 0.6" in svg


def test_restarts_are_marked() -> None:
    svg = draw([curve(0.5, 0.4, 0.3)], [Mark(2, "attempt 2 goes on from here")])
    assert "attempt 2 goes on from here" in svg
    assert "Unnamed" not in svg


@pytest.mark.parametrize("logarithmic", [False, True])
def test_nothing_to_show_is_no_chart(logarithmic: bool) -> None:  # noqa: FBT001
    assert not draw([curve()], [Mark(1, "x")], logarithmic=logarithmic)


def test_what_a_logarithm_cannot_show_is_left_out() -> None:
    assert not draw([curve(0.0, -1.0)], logarithmic=True)
    assert "step 2: 0.5" in draw([curve(0.0, 0.5, dots=True)], logarithmic=True)


@settings(max_examples=25, deadline=None)
@given(VALUES, st.booleans())
def test_any_numbers_make_a_chart_of_plain_shapes(values: list[float], logarithmic: bool) -> None:  # noqa: FBT001
    svg = draw([curve(*values, dots=True), curve(1.0)], [Mark(1, "x")], logarithmic=logarithmic)
    assert names(svg) <= {"svg", "g", "rect", "text", "line", "path", "circle", "title"}
    assert not re.search(r"\b(nan|inf)\b", svg, re.IGNORECASE)


@settings(deadline=None)
@given(st.floats(1e-12, 1e12), st.floats(1, 1e12))
def test_logarithmic_ticks_enclose_the_values_and_are_few(lowest: float, ratio: float) -> None:
    highest = min(lowest * ratio, 1e12)
    ticks = log_ticks(lowest, highest)
    assert ticks == sorted(set(ticks))
    assert ticks[0] <= lowest
    assert highest <= ticks[-1]
    assert 2 <= len(ticks) <= 16
    assert all(f"{tick:e}"[0] in "125" for tick in ticks)

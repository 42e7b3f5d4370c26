"""Where panels come to stand."""

import pytest
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.models.dashboard import GridPos

from t2i_dev.dashboards.layout import Section, placed


def panel(width: int, height: int) -> Stat:
    return Stat().span(width).height(height)


def positions(*sections: Section) -> list[tuple[int, int, int, int]]:
    found = [each.grid_pos for each in placed(sections)]
    return [(each.x, each.y, each.w, each.h) for each in found if isinstance(each, GridPos)]


def test_panels_flow_and_a_line_is_as_tall_as_its_tallest() -> None:
    section = Section("a", (panel(12, 4), panel(12, 8), panel(24, 3)))
    assert positions(section) == [(0, 0, 24, 1), (0, 1, 12, 4), (12, 1, 12, 8), (0, 9, 24, 3)]


def test_the_next_row_begins_below() -> None:
    assert positions(Section("a", (panel(6, 5),)), Section("b", ()))[-1] == (0, 6, 24, 1)


def test_a_folded_row_takes_one_line_and_holds_its_panels() -> None:
    first, second = placed([Section("a", (panel(6, 5),), collapsed=True), Section("b", ())])
    assert (first.grid_pos, second.grid_pos) != (None, None)
    assert second.grid_pos is not None
    assert second.grid_pos.y == 1


def test_numbers_count_on_through_rows() -> None:
    sections = [Section("a", (panel(6, 5), panel(6, 5))), Section("b", (panel(6, 5),))]
    assert [each.id_val for each in placed(sections)] == [1, 2, 3, 4, 5]


def test_a_panel_without_a_size_is_refused() -> None:
    with pytest.raises(ValueError, match="'lost' has no size"):
        placed([Section("a", (Stat().title("lost"),))])

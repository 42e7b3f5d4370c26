"""Rules that every dashboard keeps, so that it works in any Grafana and can be understood without its author."""

import re
from collections import Counter
from typing import Any

import pytest

from t2i_api.metrics import ALL_METRICS, MetricType
from t2i_dev.dashboards.dcgm import DCGM_METRICS
from t2i_dev.dashboards.reading import Shown, annotations_of, panels_of, rows_of, variables_of

Board = dict[str, Any]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
SMALLEST_TEXT = 12


@pytest.fixture
def panels(board: Board) -> list[Shown]:
    return list(panels_of(board))


def queries(board: Board) -> list[str]:
    """Every PromQL expression of a dashboard."""
    found = [target.expr for panel in panels_of(board) for target in panel.targets]
    found += [each.expr for each in annotations_of(board)]
    return found + [each.query for each in variables_of(board) if each.kind == "query"]


def sample_names() -> set[str]:
    """Every name that a sample of a known metric can have."""
    parts = {MetricType.HISTOGRAM: ("_bucket", "_sum", "_count")}
    return {each.name + suffix for each in (*ALL_METRICS, *DCGM_METRICS) for suffix in parts.get(each.type, ("",))}


def test_every_name_in_a_query_is_in_the_list_of_metrics(board: Board) -> None:
    text = " ".join(queries(board))
    named = set(re.findall(r"\b(?:t2i|process|DCGM)_\w+", text))
    assert named
    assert named <= sample_names()


def test_every_panel_says_what_it_shows_in_which_unit(panels: list[Shown]) -> None:
    for panel in panels:
        assert panel.title, panel.number
        assert len(panel.document["description"]) >= SMALLEST_TEXT or panel.title.endswith("within"), panel.title
        assert panel.defaults["unit"], panel.title


def test_the_reader_chooses_the_datasource(board: Board, panels: list[Shown]) -> None:
    first = board["templating"]["list"][0]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    asked = [panel.document["datasource"] for panel in panels]
    asked += [target["datasource"] for panel in panels for target in panel.document["targets"]]
    asked += [each["datasource"] for each in board["annotations"]["list"]]
    asked += [each["datasource"] for each in board["templating"]["list"] if each["type"] == "query"]
    assert all(each == DATASOURCE for each in asked)


def test_rates_follow_the_scrape_interval(board: Board) -> None:
    for expr in queries(board):
        ranges = re.findall(r"\[([^\]]*)\]", re.sub(r'"[^"]*"', "", expr))
        assert set(ranges) <= {"$__rate_interval", "$__range"}, expr
        assert len(ranges) == len(re.findall(r"\b(?:rate|increase)\(", expr)), expr


def test_counters_are_shown_as_rates_or_as_they_stand_but_never_summed_over_before(board: Board) -> None:
    for expr in queries(board):
        assert not re.search(r"\b(?:rate|increase)\(\s*(?:sum|max|avg)", expr), expr


def test_numbers_are_unique_and_queries_have_letters_of_their_own(board: Board, panels: list[Shown]) -> None:
    numbers = [panel.number for panel in panels] + [row["id"] for row in rows_of(board)]
    assert [number for number, count in Counter(numbers).items() if count > 1] == []
    for panel in panels:
        letters = [target.reference for target in panel.targets]
        assert letters, panel.title
        assert len(set(letters)) == len(letters), panel.title


def test_titles_are_unique_within_a_row(panels: list[Shown]) -> None:
    titles = Counter((panel.section, panel.title) for panel in panels)
    assert [title for title, count in titles.items() if count > 1] == []


def test_panels_lie_on_the_grid_and_not_on_each_other(panels: list[Shown]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        x, y, width, height = panel.place
        assert x + width <= 24, panel.title
        if panel.folded:
            continue
        cells = {(x + right, y + down) for right in range(width) for down in range(height)}
        assert not cells & taken, panel.title
        taken |= cells


def test_variables_that_are_used_exist_and_all_that_exist_are_used(board: Board) -> None:
    names = {each.name for each in variables_of(board)}
    text = str(board["panels"]) + str(board["annotations"]) + str([each.query for each in variables_of(board)])
    used = set(re.findall(r"\$\{?([A-Za-z]\w*)", text)) - {"value"}
    assert used == names


def test_several_values_are_matched_as_alternatives(board: Board) -> None:
    for variable in variables_of(board):
        for expr in queries(board) if variable.multiple else ():
            assert f'="${variable.name}"' not in expr.replace("=~", "~"), expr


def test_it_stays_the_same_dashboard_across_upgrades(board: Board) -> None:
    assert board["uid"] in ("t2i-training-run", "t2i-fleet-and-operator")
    assert board["tags"] == ["t2i"]
    assert "id" not in board
    assert board["schemaVersion"] == 39, "what Grafana 10.4 writes; later versions read it"


def test_checkpoints_restarts_archives_and_non_finite_losses_are_marked(board: Board) -> None:
    marks = {each.name for each in annotations_of(board)}
    assert marks >= {"Restart", "Archive", "Not finite"}
    if board["uid"] == "t2i-training-run":
        assert "Checkpoint" in marks

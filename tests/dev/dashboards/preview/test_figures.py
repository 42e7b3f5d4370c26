"""Tables come out as Grafana's transformations make them."""

import json

from t2i_dev.dashboards.answers import Answer
from t2i_dev.dashboards.preview.figures import tabulated
from t2i_dev.dashboards.reading import Shown, panels_of
from t2i_dev.dashboards.write import documents
from t2i_dev.prometheus import Series


def panel(title: str) -> Shown:
    board = json.loads(documents()["t2i-training-run.json"])
    (found,) = (each for each in panels_of(board) if each.title == title)
    return found


def answer(shown: Shown, place: int, *series: tuple[dict[str, str], float]) -> Answer:
    found = tuple(Series(metric=labels, samples=[(0.0, value)]) for labels, value in series)
    return Answer(shown.targets[place], found, ("",) * len(found))


def test_queries_meet_in_the_line_of_the_labels_that_they_share() -> None:
    runs = panel("Runs")
    state = answer(
        runs, 0, ({"job_name": "a", "reason": "Training"}, 1.0), ({"job_name": "b", "reason": "Queued"}, 1.0)
    )
    step = answer(runs, 1, ({"job_name": "a"}, 12.0))
    titles, lines = tabulated(runs, [state, step])
    assert titles[:3] == ["run", "state", "step"]
    assert [line[:3] for line in lines] == [["a", "Training", "12"], ["b", "Queued", "-"]]


def test_a_single_query_has_a_line_a_series() -> None:
    findings = panel("Findings")
    found = answer(findings, 0, ({"finding": "LossSpike", "severity": "Warning"}, 1.0))
    assert tabulated(findings, [found]) == (["finding", "severity"], [["LossSpike", "Warning"]])


def test_nothing_found_is_no_line() -> None:
    findings = panel("Findings")
    assert tabulated(findings, [answer(findings, 0)])[1] == []

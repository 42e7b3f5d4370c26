"""`python -m t2i_dev.dashboards.preview.draw` draws every dashboard with the recorded data into docs/images."""

import json
import tempfile
from pathlib import Path
from typing import Any

from t2i_dev.dashboards.answers import Answers, ask
from t2i_dev.dashboards.preview.curves import draw_curves, draw_over_steps
from t2i_dev.dashboards.preview.figures import draw_bars, draw_number, draw_table, draw_timeline
from t2i_dev.dashboards.preview.paper import Paper
from t2i_dev.dashboards.reading import panels_of, rows_of
from t2i_dev.dashboards.recording import tape
from t2i_dev.dashboards.write import directory
from t2i_dev.paths import repository_root

_DRAW = {
    "timeseries": draw_curves,
    "trend": draw_over_steps,
    "stat": draw_number,
    "bargauge": draw_bars,
    "state-timeline": draw_timeline,
    "table": draw_table,
}


def picture(board: dict[str, Any], answers: Answers) -> Paper:
    """Draw a dashboard; folded rows stay folded."""
    panels = [panel for panel in panels_of(board) if not panel.folded]
    lines = max(panel.place[1] + panel.place[3] for panel in panels) + 1
    paper = Paper.of(lines)
    for row in rows_of(board):
        paper.row(row["title"], row["gridPos"]["y"], folded=row["collapsed"])
    for panel in panels:
        paper.box(panel)
        _DRAW[panel.kind](paper, panel, answers)
    return paper


def main() -> None:
    """Draw them all."""
    facts = tape.read_facts()
    with tempfile.TemporaryDirectory() as folder, tape.replayed(Path(folder)) as prometheus:
        for path in sorted(directory().glob("*.json")):
            board = json.loads(path.read_text())
            answers = ask(prometheus, board, facts.window, {"namespace": facts.namespace, "job": facts.story})
            target = repository_root() / "docs" / "images" / f"{path.stem}.png"
            picture(board, answers).figure.savefig(target)
            print(target)


if __name__ == "__main__":
    main()

"""The sheet: Grafana's grid of 24 columns as a figure, panels as boxes with a title, in its dark colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from t2i_dev.dashboards.layout import COLUMNS
from t2i_dev.dashboards.reading import Shown

BACKGROUND: Final = "#111217"
_PANEL: Final = "#181b1f"
_EDGE: Final = "#2c3235"
TEXT: Final = "#ccccdc"
FAINT: Final = "#8e8e9a"
PALETTE: Final = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#56a64b", "#8ab8ff")
# https://grafana.com/docs/grafana/latest/panels-visualizations/configure-thresholds/ names these.
NAMED: Final = {
    "blue": "#5794f2",
    "green": "#73bf69",
    "yellow": "#fade2a",
    "orange": "#ff9830",
    "red": "#f2495c",
    "purple": "#b877d9",
    "text": TEXT,
}
_CELL_INCHES: Final = (0.62, 0.33)


@dataclass(frozen=True, slots=True)
class Paper:
    """A figure of so many grid lines; everything is placed in grid units from the top left."""

    figure: Figure
    lines: int

    @classmethod
    def of(cls, lines: int) -> "Paper":
        """Return an empty sheet."""
        figure = Figure(figsize=(COLUMNS * _CELL_INCHES[0], lines * _CELL_INCHES[1]), facecolor=BACKGROUND, dpi=100)
        return cls(figure, lines)

    def row(self, title: str, line: int, *, folded: bool) -> None:
        """Write the title of a row."""
        mark = "▸" if folded else "▾"
        self.figure.text(0.004, 1 - (line + 0.6) / self.lines, f"{mark} {title}", color=TEXT, fontsize=11, va="center")

    def box(self, panel: Shown) -> None:
        """Draw the frame and the title of a panel."""
        x, y, width, height = panel.place
        left, bottom = x / COLUMNS + 0.002, 1 - (y + height - 0.08) / self.lines
        size = (width / COLUMNS - 0.004, (height - 0.16) / self.lines)
        frame = Rectangle((left, bottom), *size, facecolor=_PANEL, edgecolor=_EDGE, linewidth=0.8, zorder=-2)
        self.figure.add_artist(frame)  # below the axes
        top = 1 - (y + 0.55) / self.lines
        self.figure.text(left + 0.004, top, panel.title, color=TEXT, fontsize=8.5, va="center")

    def axes(self, panel: Shown, margins: Sequence[float]) -> Axes:
        """Return axes inside a panel; margins in grid units: left, top, right, bottom."""
        x, y, width, height = panel.place
        left, top, right, bottom = margins
        place = (
            (x + left) / COLUMNS,
            1 - (y + height - bottom) / self.lines,
            (width - left - right) / COLUMNS,
            (height - top - bottom) / self.lines,
        )
        axes = self.figure.add_axes(place, facecolor="none")
        axes.tick_params(colors=FAINT, labelsize=7, length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes


def colour(name: str) -> str:
    """Return what Grafana's name of a colour looks like."""
    return NAMED.get(name, name)

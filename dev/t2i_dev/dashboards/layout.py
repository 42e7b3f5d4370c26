"""Places panels on Grafana's grid of 24 columns and numbers them. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.models import dashboard

from t2i_dev.dashboards.panels import Panel

COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Section:
    """A row of a dashboard: a title that folds, and panels that flow below it from left to right."""

    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


def placed(sections: Sequence[Section]) -> list[dashboard.Panel | dashboard.RowPanel]:
    """Return rows and panels with positions and numbers. Raises ValueError for a panel without a size."""
    result: list[dashboard.Panel | dashboard.RowPanel] = []
    top, number = 0, 1
    for section in sections:
        panels = [builder.build() for builder in section.panels]
        row = dashboard.RowPanel(
            id_val=number,
            title=section.title,
            collapsed=section.collapsed,
            grid_pos=dashboard.GridPos(x=0, y=top, w=COLUMNS, h=1),
            panels=panels if section.collapsed else [],
        )
        end = top + 1
        for panel, position in zip(panels, _flow([_size(panel) for panel in panels], top + 1), strict=True):
            number += 1
            panel.id_val, panel.grid_pos = number, position
            end = max(end, position.y + position.h)
        number += 1
        # A folded row takes one line, whatever it holds.
        top = top + 1 if section.collapsed else end
        result += [row] if section.collapsed else [row, *panels]
    return result


def _size(panel: dashboard.Panel) -> tuple[int, int]:
    if panel.grid_pos is None:
        raise ValueError(f"the panel {panel.title!r} has no size")
    return panel.grid_pos.w, panel.grid_pos.h


def _flow(sizes: Sequence[tuple[int, int]], top: int) -> Iterator[dashboard.GridPos]:
    left, height = 0, 0
    for width, tall in sizes:
        if left + width > COLUMNS:
            left, top, height = 0, top + height, 0
        yield dashboard.GridPos(x=left, y=top, w=width, h=tall)
        left, height = left + width, max(height, tall)

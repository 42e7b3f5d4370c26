"""What Grafana after 10.4 requires of a panel, with the value that it gives to older dashboards itself.

The older one keeps options that it does not know, so one file is complete for both.
"""

from typing import Any

_STAT = {"percentChangeColorMode": "standard"}
_BAR_GAUGE = {"legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False}}
_REQUIRED: dict[str, dict[str, Any]] = {"stat": _STAT, "bargauge": _BAR_GAUGE}


def complete(board: dict[str, Any]) -> dict[str, Any]:
    """Return the dashboard's JSON with these options in its panels, folded ones too."""
    return {**board, "panels": [_completed(panel) for panel in board["panels"]]}


def _completed(panel: dict[str, Any]) -> dict[str, Any]:
    if panel["type"] == "row":
        return {**panel, "panels": [_completed(each) for each in panel["panels"]]}
    return {**panel, "options": {**_REQUIRED.get(panel["type"], {}), **panel["options"]}}

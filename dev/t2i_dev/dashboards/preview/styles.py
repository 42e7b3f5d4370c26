"""What a panel's field options make of a series: colour, unit, axis. Pure; reads the dashboard's JSON."""

import re
from typing import Any

from t2i_dev.dashboards.preview.paper import PALETTE, colour
from t2i_dev.dashboards.reading import Shown


def properties(panel: Shown, name: str) -> dict[str, Any]:
    """Return the options of the series or column of that name: defaults, then every override that matches."""
    found: dict[str, Any] = {key: value for key, value in panel.defaults.items() if key != "custom"}
    found |= {f"custom.{key}": value for key, value in panel.defaults.get("custom", {}).items()}
    for override in panel.document["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        exact = matcher["id"] == "byName" and matcher["options"] == name
        pattern = matcher["id"] == "byRegexp" and re.search(matcher["options"].strip("/"), name) is not None
        if exact or pattern:
            found |= {each["id"]: each["value"] for each in override["properties"]}
    return found


def series_colour(panel: Shown, name: str, place: int, value: float | None = None) -> str:
    """Return the colour of a series: its own, that of the threshold below its value, or the palette's at its place."""
    options = properties(panel, name)
    chosen = options.get("color", {})
    if chosen.get("mode") == "fixed":
        return colour(chosen["fixedColor"])
    if chosen.get("mode") == "thresholds" and value is not None:
        steps = options["thresholds"]["steps"]
        passed = [step["color"] for step in steps if step.get("value") is None or value >= step["value"]]
        return colour(passed[-1])
    return PALETTE[place % len(PALETTE)]

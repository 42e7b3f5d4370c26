"""Puts the values of variables into a query, as Grafana does for Prometheus. Pure.

https://grafana.com/docs/grafana/latest/dashboards/variables/variable-syntax/
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
# `$1` of label_replace is no variable.
_GROUP = re.compile(r"\d+")

# What Grafana escapes, with two backslashes: the regular expression stands in a string of PromQL.
_SPECIAL = re.compile(r"[\\^$*{}\[\]'+?.()|]")


@dataclass(frozen=True, slots=True)
class Window:
    """The time that a dashboard shows: seconds since the epoch, and the step between two points."""

    begin: float
    end: float
    step: float
    scrape_interval: float

    @property
    def macros(self) -> dict[str, str]:
        """What Grafana's own variables are worth; a rate spans four scrapes at least."""
        rate = max(self.step + self.scrape_interval, 4 * self.scrape_interval)
        return {
            "__rate_interval": f"{rate:.0f}s",
            "__interval": f"{self.step:.0f}s",
            "__range": f"{self.end - self.begin:.0f}s",
        }


def interpolated(text: str, values: Mapping[str, str | list[str]]) -> str:
    """Return the query with every variable replaced. Raises KeyError for one that has no value."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if _GROUP.fullmatch(name):
            return match[0]
        chosen = values[name]
        return chosen if isinstance(chosen, str) else f"({'|'.join(map(_escaped, chosen))})"

    return _VARIABLE.sub(value, text)


def _escaped(value: str) -> str:
    return _SPECIAL.sub(lambda match: "\\\\" + match[0], value)

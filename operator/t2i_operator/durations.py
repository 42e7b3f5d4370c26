"""Durations as Prometheus writes them, so that one value serves its configuration and ours: 15s, 1m30s, 0.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/#configuration-file
"""

import re
from typing import Final

# Units come from large to small, each at most once.
_DURATION: Final = re.compile(
    r"(?:(?P<d>[0-9]{1,9})d)?(?:(?P<h>[0-9]{1,9})h)?(?:(?P<m>[0-9]{1,9})m)?(?:(?P<s>[0-9]{1,9})s)?(?:(?P<ms>[0-9]{1,9})ms)?"
)
_SECONDS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration(text: str) -> float:
    """Return the seconds of a duration; raises ValueError."""
    if text == "0":
        return 0.0
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{text!r} is no duration: write 15s, 1m30s or 0")
    return sum(int(count) * _SECONDS[unit] for unit, count in found.groupdict().items() if count is not None)

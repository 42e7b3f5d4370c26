"""Values as Grafana writes them, for the units that our panels have. Pure."""

import math
from collections.abc import Callable

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_TIMES = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))


def spelled(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a value with its unit. Raises KeyError for a unit that no panel has had so far."""
    if math.isnan(value):
        return "NaN"
    if unit.startswith("suffix:"):
        return f"{_plain(value, decimals)}{unit.removeprefix('suffix:')}"
    return _SPELLERS[unit](value, decimals)


def _plain(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"


def _seconds(value: float, decimals: int | None) -> str:
    size, name = next((each for each in _TIMES if abs(value) >= each[0]), _TIMES[-1])
    return f"{_plain(value / size, decimals)} {name}" if value else "0 s"


def _bytes(value: float, decimals: int | None) -> str:
    power = min(int(math.log(abs(value), 1024)), len(_BINARY) - 1) if abs(value) >= 1 else 0
    return f"{_plain(value / 1024**power, decimals)} {_BINARY[power]}"


def _with(suffix: str, factor: float = 1.0) -> Callable[[float, int | None], str]:
    return lambda value, decimals: f"{_plain(value * factor, decimals)}{suffix}"


_SPELLERS: dict[str, Callable[[float, int | None], str]] = {
    "none": _plain,
    "sci": lambda value, _: f"{value:.2e}",
    "s": _seconds,
    "bytes": _bytes,
    "mbytes": _with(" MiB"),
    "percentunit": _with("%", 100),
    "percent": _with("%"),
    "ops": _with(" ops/s"),
    "reqps": _with(" req/s"),
    "watt": _with(" W"),
    "celsius": _with(" °C"),
    "bool_yes_no": lambda value, _: "Yes" if value else "No",
}

"""Variables in queries are worth what Grafana makes of them."""

import pytest

from t2i_dev.dashboards.interpolation import Window, interpolated


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('up{job="$job"}', 'up{job="a.b"}'),
        ('up{job="${job}"}', 'up{job="a.b"}'),
        ('up{job=~"$many"}', r'up{job=~"(x\\.y|z-1)"}'),
        ('label_replace(up, "a", "$1", "b", "(.*)")', 'label_replace(up, "a", "$1", "b", "(.*)")'),
        ("rate(up[$__rate_interval])", "rate(up[8s])"),
        ("increase(up[$__range])", "increase(up[600s])"),
    ],
)
def test_a_query_is_filled_in(text: str, expected: str) -> None:
    window = Window(begin=1000, end=1600, step=5, scrape_interval=2)
    assert interpolated(text, {**window.macros, "job": "a.b", "many": ["x.y", "z-1"]}) == expected


def test_a_variable_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="nobody"):
        interpolated("$nobody", {})


def test_a_rate_spans_four_scrapes_or_a_step_and_a_scrape() -> None:
    assert Window(0, 60, 1, 15).macros["__rate_interval"] == "60s"
    assert Window(0, 60, 120, 15).macros["__rate_interval"] == "135s"

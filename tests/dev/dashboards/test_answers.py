"""Names of series, as Grafana makes them of labels."""

import pytest

from t2i_dev.dashboards.answers import legend
from t2i_dev.dashboards.reading import Target


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("rank {{rank}}", "rank 3"),
        ("{{ rank }} of {{pod}}", "3 of a"),
        ("{{missing}}", ""),
        ("loss", "loss"),
        ("__auto", "a, 3"),
    ],
)
def test_a_legend_is_filled_with_labels(template: str, expected: str) -> None:
    target = Target("A", "up", template, instant=False, table=False)
    assert legend(target, {"__name__": "up", "pod": "a", "rank": "3"}) == expected

"""docs/metrics.md is what the list of metrics makes it."""

from t2i_api.metrics import ALL_METRICS
from t2i_dev.metrics_docs import PAGE, page
from t2i_dev.paths import repository_root


def test_the_page_is_up_to_date() -> None:
    assert (repository_root() / PAGE).read_text() == page(), "make metrics-docs"


def test_every_metric_has_a_row_with_its_labels_and_their_values() -> None:
    rows = page().splitlines()
    for metric in ALL_METRICS:
        (row,) = (row for row in rows if row.startswith(f"| `{metric.name}` "))
        assert metric.help in row
        for label in metric.labels:
            assert any(row.startswith(f"| `{label.name}` ") for row in rows)


def test_every_value_of_a_label_is_named() -> None:
    text = page()
    for metric in ALL_METRICS:
        for label in metric.labels:
            assert all(f"`{value}`" in text for value in label.values)
            assert label.bound in text

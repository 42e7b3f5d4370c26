"""Every metric keeps the naming rules of Prometheus, and every label is bounded and the metric's own.

https://prometheus.io/docs/practices/naming/ and https://prometheus.io/docs/practices/instrumentation/
"""

import re

import pytest

from t2i_api.metrics import ALL_METRICS, JOB_METRICS, OPERATOR_METRICS, TRAINER_METRICS, operator, trainer
from t2i_api.metrics.definition import Label, Metric, MetricType, Unit

OWN = tuple(metric for metric in ALL_METRICS if metric not in operator.PROCESS_METRICS)
# Prometheus puts these on every series itself; `le` and `quantile` belong to histograms and summaries.
TAKEN_LABELS = {"job", "instance", "namespace", "pod", "container", "service", "endpoint", "le", "quantile", "attempt"}
# What a name may not end with unless it is that: parsers take these for parts of other families.
RESERVED_SUFFIXES = ("_count", "_sum", "_bucket", "_created", "_total")
OTHER_UNITS = ("_ms", "_milliseconds", "_minutes", "_hours", "_kib", "_mib", "_megabytes", "_percent", "_age_seconds")
SUFFIX_OF = {
    Unit.SECONDS: "_seconds",
    Unit.TIMESTAMP: "_timestamp_seconds",
    Unit.BYTES: "_bytes",
    Unit.RATIO: "_ratio",
}


def each(metrics: tuple[Metric, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("metric", metrics, ids=lambda metric: metric.name)


@each(OWN)
def test_the_name_says_whose_it_is_what_it_is_and_its_base_unit(metric: Metric) -> None:
    assert re.fullmatch(r"t2i_(trainer|operator|job)(_[a-z][a-z0-9]*)+", metric.name)
    assert not metric.name.endswith(OTHER_UNITS)
    assert not metric.family.endswith(RESERVED_SUFFIXES)
    assert metric.name.endswith("_total") == (metric.type is MetricType.COUNTER)
    assert metric.type.value not in metric.name.split("_")
    for unit, suffix in SUFFIX_OF.items():
        if unit is metric.unit:
            assert metric.family.endswith(suffix)
    if metric.unit not in {Unit.SECONDS, Unit.TIMESTAMP}:
        assert not metric.family.endswith("_seconds")


@each(OWN)
def test_facts_are_gauges_of_one_with_the_facts_as_labels(metric: Metric) -> None:
    if metric.name.endswith("_info"):
        assert (metric.type, metric.unit) == (MetricType.GAUGE, Unit.YES_NO)
        assert metric.labels


@each(ALL_METRICS)
def test_the_help_is_a_sentence_of_one_line(metric: Metric) -> None:
    assert metric.help.endswith(".")
    assert "\n" not in metric.help
    assert metric.help[0].isupper() or metric.help[0].isdigit()


@each(ALL_METRICS)
def test_labels_are_bounded_and_do_not_hide_those_of_the_target(metric: Metric) -> None:
    assert len(set(metric.label_names)) == len(metric.labels)
    for label in metric.labels:
        assert re.fullmatch(r"[a-z][a-z_]*", label.name)
        assert label.name not in TAKEN_LABELS
        assert bool(label.values) != bool(label.bound), f"{label.name}: a set of values, or what bounds them"


@each(ALL_METRICS)
def test_only_histograms_have_buckets_and_these_ascend(metric: Metric) -> None:
    assert bool(metric.buckets) == (metric.type is MetricType.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))


@each(JOB_METRICS)
def test_what_is_said_of_a_job_names_the_job(metric: Metric) -> None:
    assert metric.name.startswith("t2i_job_")
    assert metric.label_names[:2] == ("job_namespace", "job_name")
    assert metric.type is MetricType.GAUGE, "it is computed from the object, which may be replaced"


def test_what_differs_between_processes_carries_the_rank_and_nothing_else_does() -> None:
    ranked = {metric.name for metric in TRAINER_METRICS if "rank" in metric.label_names}
    assert ranked == {metric.name for metric in trainer.RANK_METRICS}


def test_every_name_is_there_once() -> None:
    names = [metric.name for metric in ALL_METRICS]
    assert len(set(names)) == len(names)
    families = [metric.family for metric in ALL_METRICS]
    assert len(set(families)) == len(families)
    assert set(ALL_METRICS) == {*TRAINER_METRICS, *OPERATOR_METRICS}


def test_a_module_lists_everything_that_it_defines() -> None:
    from t2i_api.metrics import job  # noqa: PLC0415

    for module, listed in ((trainer, TRAINER_METRICS), (operator, OPERATOR_METRICS), (job, JOB_METRICS)):
        defined = {value for value in vars(module).values() if isinstance(value, Metric)}
        assert defined <= set(listed)


def test_a_counter_is_called_without_its_suffix_by_parsers() -> None:
    counter = Metric(name="a_total", type=MetricType.COUNTER, help="A.", unit=Unit.COUNT)
    gauge = Metric(name="b", type=MetricType.GAUGE, help="B.", unit=Unit.COUNT, labels=(Label.of("c", "xy"),))
    assert (counter.family, gauge.family) == ("a", "b")
    assert gauge.labels[0].values == ("x", "y")

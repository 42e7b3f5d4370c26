"""Whether the operator keeps up: leadership, reconciles, queue, and what it takes of the node."""

from grafana_foundation_sdk.models import units

from t2i_api.metrics import Metric, operator
from t2i_dev.dashboards import panels
from t2i_dev.dashboards.layout import Section
from t2i_dev.dashboards.panels import Panel, Query, Words
from t2i_dev.dashboards.scopes import EVERYTHING, RANGE, age


def section() -> Section:
    """Return the row."""
    return Section("Operator", (*_figures(), _reconciles(), _durations(), _queue(), _waiting(), _process(), _memory()))


def _figure(title: str, description: str, expr: str) -> Panel:
    words = Words(title=title, description=description, unit=units.Number)
    return panels.number(words, Query(expr)).decimals(0)


def _figures() -> tuple[Panel, ...]:
    refused = f"sum({EVERYTHING.increase(operator.STATUS_REFUSALS, RANGE)}) or vector(0)"
    return (
        _figure("Replicas", "Operator processes that are scraped.", f"count({EVERYTHING.of(operator.LEADER)})"),
        _figure(
            "Leaders",
            "Exactly one should hold the lease; none for longer than the lease lasts means that nothing is done.",
            f"sum({EVERYTHING.of(operator.LEADER)})",
        ),
        panels.name(
            Words(title="Version", description="Of the running operator.", unit=units.NoUnit),
            Query(f"max by (version) ({EVERYTHING.of(operator.BUILD_INFO)})", "{{version}}"),
            {},
        ),
        _figure("Jobs that fail to reconcile", "Waiting to be tried again.", f"sum({EVERYTHING.of(operator.FAILING)})"),
        _figure("Statuses refused", "In the time shown; the installed CRD is older than the operator.", refused),
        panels.number(
            Words(
                title="Longest reconcile now",
                description="How long the oldest reconcile under way has taken. A dash: none is.",
                unit=units.Seconds,
            ),
            Query(f"max({age(EVERYTHING.of(operator.WORKING_OLDEST))})"),
        ),
    )


def _reconciles() -> Panel:
    return panels.stacked(
        Words(
            title="Reconciles by outcome",
            description="`ok` and `conflict` are everyday; others mean that the API server or a bucket is in trouble.",
            unit=units.OpsPerSecond,
        ),
        Query(f"sum by (outcome) ({EVERYTHING.rate(operator.RECONCILES)})", "{{outcome}}"),
        width=8,
    )


def _quantiles(metric: Metric) -> tuple[Query, ...]:
    return tuple(Query(EVERYTHING.quantile(each, metric), f"{each:.0%}") for each in (0.5, 0.95, 0.99))


def _durations() -> Panel:
    return panels.curves(
        Words(
            title="Duration of a reconcile",
            description="Storage is looked at beside reconciles, so these stay short whatever the bucket does.",
            unit=units.Seconds,
        ),
        *_quantiles(operator.RECONCILE_SECONDS),
        width=8,
    ).min(0)


def _waiting() -> Panel:
    return panels.curves(
        Words(
            title="Time in the queue",
            description="How long a changed job waits until it is looked at.",
            unit=units.Seconds,
        ),
        *_quantiles(operator.QUEUE_WAIT),
        width=8,
    ).min(0)


def _queue() -> Panel:
    return panels.curves(
        Words(
            title="Queue",
            description="Jobs that wait for a reconcile. It should fall to zero again and again.",
            unit=units.Number,
        ),
        Query(f"sum({EVERYTHING.of(operator.QUEUE_DEPTH)})", "waiting"),
        Query(f"sum({EVERYTHING.of(operator.FAILING)})", "failing"),
        width=8,
    ).min(0)


def _of_operator(expr: str) -> str:
    """Return series that every process exports, of the operator's processes alone."""
    return f"{expr} and on (instance) {EVERYTHING.of(operator.BUILD_INFO)}"


def _process() -> Panel:
    return panels.curves(
        Words(title="CPU", description="Cores that each operator process uses.", unit=units.Number),
        Query(_of_operator(EVERYTHING.rate(operator.CPU_SECONDS)), "{{instance}}"),
        width=8,
    ).min(0)


def _memory() -> Panel:
    return panels.curves(
        Words(title="Memory", description="Resident memory of each operator process.", unit=units.BytesIEC),
        Query(_of_operator(EVERYTHING.of(operator.RESIDENT_MEMORY)), "{{instance}}"),
        width=8,
    ).min(0)

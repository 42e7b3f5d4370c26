"""What the operator asks of the API server, of object stores and of trainers, and how they answer."""

from grafana_foundation_sdk.models import units

from t2i_api.metrics import operator
from t2i_dev.dashboards import panels
from t2i_dev.dashboards.layout import Section
from t2i_dev.dashboards.panels import Panel, Query, Words
from t2i_dev.dashboards.scopes import EVERYTHING


def section() -> Section:
    """Return the row."""
    return Section(
        "What the operator asks of others", (_api(), _api_time(), _api_bad(), _store(), _store_time(), _polls())
    )


def _api() -> Panel:
    return panels.stacked(
        Words(
            title="API requests",
            description="To the Kubernetes API by verb, the event watch not counted.",
            unit=units.RequestsPerSecond,
        ),
        Query(f"sum by (verb) ({EVERYTHING.rate(operator.API_REQUESTS)})", "{{verb}}"),
        width=8,
    )


def _api_time() -> Panel:
    return panels.curves(
        Words(title="API: 95 % answer within", description="By verb.", unit=units.Seconds),
        Query(EVERYTHING.quantile(0.95, operator.API_REQUEST_SECONDS, "verb"), "{{verb}}"),
        width=8,
    ).min(0)


def _api_bad() -> Panel:
    failed = EVERYTHING.rate(operator.API_REQUESTS, code=("none", "[345].."))
    return panels.curves(
        Words(
            title="API answers that were no success",
            description="404 asks for what is not there yet, 409 lost a race; 403 lacks a right, `none` had no answer.",
            unit=units.RequestsPerSecond,
        ),
        Query(f"sum by (verb, resource, code) ({failed})", "{{code}} {{verb}} {{resource}}"),
        width=8,
    ).min(0)


def _store() -> Panel:
    return panels.stacked(
        Words(
            title="Object store requests",
            description="By operation and answer, retries included.",
            unit=units.RequestsPerSecond,
        ),
        Query(f"sum by (operation, code) ({EVERYTHING.rate(operator.STORE_REQUESTS)})", "{{operation}} {{code}}"),
        width=8,
    )


def _store_time() -> Panel:
    return panels.curves(
        Words(
            title="Object store: 95 % answer within",
            description="Until the answer begins, by operation.",
            unit=units.Seconds,
        ),
        Query(EVERYTHING.quantile(0.95, operator.STORE_REQUEST_SECONDS, "operation"), "{{operation}}"),
        width=8,
    ).min(0)


def _polls() -> Panel:
    return panels.curves(
        Words(
            title="Progress polls",
            description="Rank 0 of every running job is asked for its progress; while pods start it does not answer.",
            unit=units.RequestsPerSecond,
        ),
        Query(f"sum by (result) ({EVERYTHING.rate(operator.PROGRESS_POLLS)})", "{{result}}"),
        width=8,
    ).min(0)

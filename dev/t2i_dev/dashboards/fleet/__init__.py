"""The dashboard of all jobs and of the operator that looks after them."""

from grafana_foundation_sdk.models import dashboard

from t2i_api.metrics import job
from t2i_api.metrics.labels import JOB_NAMESPACE
from t2i_dev.dashboards import variables
from t2i_dev.dashboards.board import Board
from t2i_dev.dashboards.fleet import checkpoints, jobs, marks, operator, requests
from t2i_dev.dashboards.scopes import EVERYTHING

UID = "t2i-fleet-and-operator"


def fleet_and_operator() -> dashboard.Dashboard:
    """Return the dashboard."""
    return Board(
        uid=UID,
        title="t2i / Fleet and operator",
        description="Every DiffusionTrainingJob, what holds them up, and whether the operator is well.",
        since="now-24h",
        variables=(
            variables.datasource(),
            variables.several(
                variables.values_of(
                    "namespace", "Namespace", JOB_NAMESPACE, EVERYTHING.of(job.INFO), "The namespaces of the jobs."
                )
            ),
        ),
        marks=marks.of_fleet(),
        sections=(
            jobs.section(),
            checkpoints.section(),
            operator.section(),
            requests.section(),
        ),
    ).build()

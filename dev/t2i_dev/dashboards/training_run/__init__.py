"""The dashboard of one training run, and of several beside each other."""

from grafana_foundation_sdk.models import dashboard

from t2i_api.metrics import job
from t2i_api.metrics.labels import JOB_NAME, JOB_NAMESPACE
from t2i_dev.dashboards import variables
from t2i_dev.dashboards.board import Board
from t2i_dev.dashboards.scopes import EVERYTHING, NAMESPACE
from t2i_dev.dashboards.training_run import checkpoints, compare, gpus, loss, marks, noticed, speed, state

UID = "t2i-training-run"


def training_run() -> dashboard.Dashboard:
    """Return the dashboard."""
    jobs = NAMESPACE.of(job.INFO)
    return Board(
        uid=UID,
        title="t2i / Training run",
        description="One DiffusionTrainingJob: is it well, how far is it, what does it cost; and how it compares.",
        since="now-6h",
        variables=(
            variables.datasource(),
            variables.values_of(
                "namespace", "Namespace", JOB_NAMESPACE, EVERYTHING.of(job.INFO), "The namespace of the job."
            ),
            variables.values_of("job", "Job", JOB_NAME, jobs, "The DiffusionTrainingJob that this is about."),
            variables.several(
                variables.values_of("compare", "Compare", JOB_NAME, jobs, "The jobs of the row Several runs.")
            ),
            variables.choice("scale", "Loss axis", loss.SCALES, "How the loss is drawn."),
            variables.text(
                "browser",
                "Bucket browser",
                "https://s3.console.aws.amazon.com/s3/buckets/",
                "Where a browser shows the bucket: what comes before the bucket's name in its address.",
            ),
        ),
        marks=marks.of_run(),
        sections=(
            state.section(),
            loss.section(),
            speed.section(),
            checkpoints.section(),
            noticed.section(),
            compare.section(),
            gpus.section(),
        ),
    ).build()

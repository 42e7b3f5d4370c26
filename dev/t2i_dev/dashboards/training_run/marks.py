"""What is marked on every graph of a run."""

from t2i_api.metrics import job, trainer
from t2i_dev.dashboards import colours
from t2i_dev.dashboards.annotations import Mark
from t2i_dev.dashboards.scopes import A_JOB, RUN, milliseconds


def of_run() -> tuple[Mark, ...]:
    """Checkpoints, restarts, archives and steps that were not finite."""
    again = f"({RUN.of(job.ATTEMPT_STARTED)} and on ({A_JOB}) ({RUN.of(job.ATTEMPT)} > 1))"
    return (
        Mark(
            name="Checkpoint",
            expr=milliseconds(f"max by ({A_JOB}) ({RUN.of(trainer.CHECKPOINT_TIMESTAMP)})"),
            text="committed",
            colour=colours.CHECKPOINT,
            at_value=True,
        ),
        Mark(
            name="Restart",
            expr=milliseconds(again),
            text="a new attempt was decided",
            colour=colours.RESTART,
            at_value=True,
        ),
        Mark(
            name="Archive",
            expr=milliseconds(RUN.of(job.ARCHIVE_TIMESTAMP)),
            text="checkpoints that do not fit were moved",
            colour=colours.ARCHIVE,
            at_value=True,
        ),
        Mark(
            name="Not finite",
            expr=f"sum by ({A_JOB}) ({RUN.increase(trainer.NON_FINITE)}) > 0",
            text="the loss or gradient of a step was NaN or Inf",
            colour=colours.NON_FINITE,
        ),
    )

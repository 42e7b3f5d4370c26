"""What is marked on every graph of the fleet."""

from t2i_api.metrics import job, operator, trainer
from t2i_dev.dashboards import colours
from t2i_dev.dashboards.annotations import Mark
from t2i_dev.dashboards.scopes import A_JOB, EVERYTHING, FLEET, milliseconds

_JOB = "{{job_namespace}}/{{job_name}}"


def of_fleet() -> tuple[Mark, ...]:
    """Restarts, archives, steps that were not finite, and starts of the operator; checkpoints would be too many."""
    again = f"({FLEET.of(job.ATTEMPT_STARTED)} and on ({A_JOB}) ({FLEET.of(job.ATTEMPT)} > 1))"
    started = f"({EVERYTHING.of(operator.PROCESS_START)} and on (instance) {EVERYTHING.of(operator.BUILD_INFO)})"
    return (
        Mark(name="Restart", expr=milliseconds(again), text=_JOB, colour=colours.RESTART, at_value=True),
        Mark(
            name="Archive",
            expr=milliseconds(FLEET.of(job.ARCHIVE_TIMESTAMP)),
            text=_JOB,
            colour=colours.ARCHIVE,
            at_value=True,
        ),
        Mark(
            name="Not finite",
            expr=f"sum by ({A_JOB}) ({FLEET.increase(trainer.NON_FINITE)}) > 0",
            text=_JOB,
            colour=colours.NON_FINITE,
        ),
        Mark(
            name="Operator started",
            expr=milliseconds(started),
            text="{{instance}}",
            colour=colours.OPERATOR,
            at_value=True,
        ),
    )

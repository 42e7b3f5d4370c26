"""The status under construction: policies write into it, and only differences become transitions and events.

Mutable, but born and ended within one decision; what leaves it is a frozen `Plan`.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from t2i_api.conditions import ConditionType, State
from t2i_api.status import Condition, ConditionStatus, JobStatus, ProgressStatus
from t2i_operator.observed import Observed
from t2i_operator.plan import Action, Event, Plan


@dataclass
class Draft:
    """The plan while it is being made."""

    observed: Observed
    status: JobStatus
    actions: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    requeue_after: timedelta | None = None

    @classmethod
    def of(cls, observed: Observed) -> "Draft":
        """Begin with the persisted status."""
        status = observed.job.status or JobStatus()
        workers = observed.job.spec.workers
        known = {
            "observed_generation": observed.job.metadata.generation,
            "gpus": workers.count * workers.gpus_per_worker,
        }
        return cls(observed, status.model_copy(update=known))

    @property
    def now(self) -> datetime:
        """The clock, to the second: finer times would make every status differ."""
        return self.observed.now.replace(microsecond=0)

    def update(self, **fields: Any) -> None:
        """Replace fields of the status."""
        self.status = self.status.model_copy(update=fields)

    def condition(self, type_: ConditionType, status: ConditionStatus, reason: str, message: str = "") -> None:
        """Set a condition; its transition time moves only when its status does."""
        old = self.status.condition(type_)
        moved = old is None or old.status != status
        new = Condition(
            type=type_,
            status=status,
            reason=str(reason),
            message=message[:4096],
            last_transition_time=self.now if moved or old is None else old.last_transition_time,
            observed_generation=self.observed.job.metadata.generation,
        )
        others = [condition for condition in self.status.conditions if condition.type != type_]
        self.update(conditions=sorted([*others, new], key=lambda condition: condition.type))

    def state(self, state: State, message: str, status: ConditionStatus = "Unknown") -> None:
        """Say what the job is doing: the reason of the Succeeded condition, and the status message."""
        self.condition(ConditionType.SUCCEEDED, status, state, message)
        self.update(message=message[:4096])

    def event(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Tell the user once; the caller makes sure that the status remembers it was told."""
        self.events.append(Event(reason=str(reason), message=message[:1000], type="Warning" if warning else "Normal"))

    def look_again(self, after: timedelta) -> None:
        """Ask for another decision no later than that."""
        after = max(after, timedelta(0))
        self.requeue_after = after if self.requeue_after is None else min(self.requeue_after, after)

    def plan(self) -> Plan:
        """Freeze it."""
        old = self.observed.job.status or JobStatus()
        only_progress = self.status != old and _without_progress(self.status) == _without_progress(old)
        return Plan(
            status=self.status,
            actions=tuple(self.actions),
            events=tuple(self.events),
            requeue_after=self.requeue_after,
            status_may_wait=only_progress,
        )


def _without_progress(status: JobStatus) -> JobStatus:
    """Blank out what moves by itself; the first report of progress is news, the next ones are not.

    Whatever else changes the message changes the summary condition's message too.
    """
    progress, archive = status.progress, status.archive
    if archive is not None:
        archive = archive.model_copy(update={"bytes_done": 0, "bytes_per_second": None, "eta": ""})
    # The sentence about the loss holds the loss: only whether it is as expected is news.
    conditions = [
        item.model_copy(update={"message": ""}) if item.type == ConditionType.AS_EXPECTED else item
        for item in status.conditions
    ]
    blank = {"progress": progress and ProgressStatus(), "archive": archive, "message": "", "conditions": conditions}
    return status.model_copy(update=blank)

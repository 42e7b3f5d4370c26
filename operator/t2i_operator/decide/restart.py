"""How often and how soon to try again: counted in our own status, within a window, disruptions apart."""

from datetime import datetime, timedelta

from t2i_api.spec_run import FailurePolicy
from t2i_api.status import RestartRecord, RestartStatus
from t2i_operator.decide.ending import Ending

_REMEMBERED = 64
_FIRST_DELAY = timedelta(seconds=10)
_LONGEST_DELAY = timedelta(minutes=5)


def record(restarts: RestartStatus, ending: Ending, attempt: int, now: datetime) -> RestartStatus:
    """Return the count with one more restart."""
    entry = RestartRecord(attempt=attempt, cause=ending.cause, at=now, counted=ending.counted)
    return RestartStatus(
        total=restarts.total + 1,
        disruptions=restarts.disruptions + (0 if ending.counted else 1),
        recent=[*restarts.recent, entry][-_REMEMBERED:],
    )


def counted_in_window(restarts: RestartStatus, policy: FailurePolicy, now: datetime) -> int:
    """Return how many restarts count at this moment."""
    since = now - timedelta(seconds=policy.restart_window_seconds)
    return sum(entry.counted and entry.at > since for entry in restarts.recent)


def exhausted(restarts: RestartStatus, policy: FailurePolicy, now: datetime) -> bool:
    """Whether one more counted restart would exceed the policy."""
    return counted_in_window(restarts, policy, now) >= policy.max_restarts


def delay(restarts: RestartStatus, policy: FailurePolicy, now: datetime) -> timedelta:
    """Return how long to wait after the last end: nothing the first time, then 10 s doubling up to 5 minutes."""
    counted = counted_in_window(restarts, policy, now)
    if counted <= 1:
        return timedelta(0)
    doublings: int = min(counted - 2, 16)
    return min(_LONGEST_DELAY, _FIRST_DELAY * (1 << doublings))

"""How often and how soon to try again: counted in our own status, within a window, disruptions apart."""

from datetime import datetime, timedelta

from t2i_api.spec_run import FailurePolicy
from t2i_api.status import AttemptStatus, RestartRecord, RestartStatus
from t2i_operator.decide.ending import Ending

_REMEMBERED = 64
_FIRST_DELAY = timedelta(seconds=10)
_LONGEST_DELAY = timedelta(minutes=5)
_HOUR = timedelta(hours=1)
_SOONEST_LOOK, _LATEST_LOOK = timedelta(seconds=5), timedelta(seconds=30)


def record(restarts: RestartStatus, ending: Ending, attempt: AttemptStatus, now: datetime) -> RestartStatus:
    """Return the count with one more restart."""
    entry = RestartRecord(
        attempt=attempt.number,
        cause=str(ending.cause),
        at=now,
        counted=ending.counted,
        began_with=attempt.began_with,
    )
    return RestartStatus(
        total=restarts.total + 1,
        disruptions=restarts.disruptions + (0 if ending.counted else 1),
        recent=_newest([*restarts.recent, entry]),
    )


def _newest(entries: list[RestartRecord]) -> list[RestartRecord]:
    """Forget disruptions before restarts that count: a storm of preemptions must not hide a crash loop."""
    while len(entries) > _REMEMBERED:
        index = next((at for at, entry in enumerate(entries[:-1]) if not entry.counted), 0)
        entries = [*entries[:index], *entries[index + 1 :]]
    return entries


def counted_in_window(restarts: RestartStatus, policy: FailurePolicy, now: datetime) -> int:
    """Return how many restarts count at this moment."""
    since = now - timedelta(seconds=policy.restart_window_seconds)
    return sum(entry.counted and entry.at > since for entry in restarts.recent)


def exhausted(restarts: RestartStatus, policy: FailurePolicy, now: datetime) -> bool:
    """Whether one more counted restart would exceed the policy."""
    return counted_in_window(restarts, policy, now) >= policy.max_restarts


def delay(restarts: RestartStatus, now: datetime) -> timedelta:
    """Return how long to wait after an end: nothing the first time in an hour, then 10 s doubling up to 5 minutes.

    Disruptions count here too: they are nobody's fault, but a loop of them must not spin.
    """
    lately = sum(entry.at > now - _HOUR for entry in restarts.recent)
    if lately <= 1:
        return timedelta(0)
    doublings: int = min(lately - 2, 16)
    return min(_LONGEST_DELAY, _FIRST_DELAY * (1 << doublings))


def pause_between_looks(waiting_since: datetime | None, now: datetime) -> timedelta:
    """Return how long to wait before a bucket that blocks a job is looked at again: as long as it has waited so far.

    Whoever mends a Secret at once sees it go on at once; a job that waits for days asks every half minute.
    """
    waited = timedelta(0) if waiting_since is None else now - waiting_since
    return min(_LATEST_LOOK, max(_SOONEST_LOOK, waited))

"""What the API server refuses and what cannot be read: shown to the user, tried again, and nobody else's trouble."""

import json
import time
from typing import Any

import pytest

pytestmark = pytest.mark.cluster

SECONDS = 30


def wait_for(look: Any, what: str) -> Any:
    """Return the first truthy answer."""
    deadline = time.monotonic() + SECONDS
    while not (answer := look()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return answer


def test_a_job_that_the_api_server_refuses_shows_in_a_condition_and_is_tried_again(place: Any) -> None:
    place.kubectl("create", "quota", "none", "--hard=count/jobs.batch=0")
    place.operator.start()
    place.apply()
    place.reaches("Blocked")
    running = place.condition("Running")
    assert (running["status"], running["reason"]) == ("False", "CreateAttemptFailed")
    assert "exceeded quota" in running["message"]
    assert place.status()["attempt"]["number"] == 1
    place.kubectl("delete", "quota", "none")
    place.pod(1)
    wait_for(lambda: place.condition("Running")["reason"] != "CreateAttemptFailed", "the condition is taken back")
    assert place.status()["attempt"]["number"] == 1


def test_a_status_that_cannot_be_read_is_told_and_stops_nothing_else(place: Any) -> None:
    # Year 0 is a date-time to the API server and none to Python: as what a newer version may write one day.
    place.operator.start()
    place.apply()
    place.pod(1)
    before = place.status()
    broken = {"status": {"checkpoint": {"judgedAt": "0000-01-01T00:00:00Z"}}}
    place.kubectl("patch", "dtj", "emoji", "--subresource=status", "--type=merge", "-p", json.dumps(broken))

    def told() -> list[str]:
        return [event["note"] for event in place.events("StatusUnreadable")]

    (message, *_) = wait_for(told, "the event")
    assert "judgedAt" in message
    assert "nothing is done about this job" in message
    assert "t2i_operator_leader 1.0" in place.operator.get("/metrics")
    assert place.operator.running.poll() is None
    assert "Traceback" not in place.operator.lines()

    place.apply(suspend=True)
    time.sleep(2)
    assert len(place.objects("job.batch")) == 1, "nothing was done about it"
    mended = {"status": {"checkpoint": {"judgedAt": before["checkpoint"]["judgedAt"]}}}
    place.kubectl("patch", "dtj", "emoji", "--subresource=status", "--type=merge", "-p", json.dumps(mended))
    place.reaches("Suspended")

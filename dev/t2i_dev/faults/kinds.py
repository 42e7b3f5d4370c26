"""The faults, each as what the proxy does: how often the request is executed, what is answered, who is killed. Pure.

Listed are the faults that S3 and the network can really do: 200 with an error body exists only where S3 begins to
answer before it is done (CopyObject, CompleteMultipartUpload) or answers for many keys (DeleteObjects).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Fault(StrEnum):
    """Named as the table in `docs/crash-matrix.md` names them."""

    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"
    LOST_REQUEST = "request lost"
    LOST_ANSWER = "answer lost"
    TIMEOUT = "timeout"
    TIMEOUT_AFTER = "timeout, executed"
    CONFLICT = "409"
    PRECONDITION = "412"
    INTERNAL_ERROR = "500"
    INTERNAL_ERROR_AFTER = "500, executed"
    SLOW_DOWN = "503 SlowDown"
    OUTAGE = "503 from here on"
    ERROR_IN_OK = "200 with error"
    TWICE = "delivered twice"
    LATE_AGAIN = "again when done"
    STALE_LIST = "stale list"
    INTRUDED = "a file appears"
    OVERWRITTEN = "a source is replaced"
    CORRUPTED = "the copy is damaged"
    ONE_EFFECT = "killed after its first success"
    STOPPED_BEFORE = "stopped before"
    STOPPED_AFTER = "stopped after"


class Answer(StrEnum):
    """What the client gets to see."""

    SERVER = "the server's own answer"
    NOTHING = "a closed connection"
    SILENCE = "an open connection without an answer"
    ERROR = "the error of the behaviour"
    ERROR_IN_OK = "200 with an error in the body"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """`executions` by the server, then what befalls client or bucket, then `answer`; `lasting` for all that follows."""

    executions: int = 1
    answer: Answer = Answer.SERVER
    kills: bool = False
    stops: bool = False
    lasting: bool = False
    again_at_end: bool = False
    meddles: bool = False  # somebody else writes at this instant
    first_success: bool = False  # whatever number it has
    status: int = 0
    code: str = ""
    only: frozenset[str] = frozenset()  # actions; empty for every side effect

    def applies_to(self, action: str) -> bool:
        """Whether S3 can do this at `action`."""
        return not self.only or action in self.only


BEHAVIOURS: Mapping[Fault, Behaviour] = MappingProxyType(
    {
        Fault.KILLED_BEFORE: Behaviour(0, Answer.NOTHING, kills=True),
        Fault.KILLED_AFTER: Behaviour(1, Answer.NOTHING, kills=True),
        Fault.LOST_REQUEST: Behaviour(0, Answer.NOTHING),
        Fault.LOST_ANSWER: Behaviour(1, Answer.NOTHING),
        Fault.TIMEOUT: Behaviour(0, Answer.SILENCE),
        Fault.TIMEOUT_AFTER: Behaviour(1, Answer.SILENCE),
        Fault.CONFLICT: Behaviour(0, Answer.ERROR, status=409, code="ConditionalRequestConflict"),
        Fault.PRECONDITION: Behaviour(0, Answer.ERROR, status=412, code="PreconditionFailed"),
        Fault.INTERNAL_ERROR: Behaviour(0, Answer.ERROR, status=500, code="InternalError"),
        Fault.INTERNAL_ERROR_AFTER: Behaviour(1, Answer.ERROR, status=500, code="InternalError"),
        Fault.SLOW_DOWN: Behaviour(0, Answer.ERROR, status=503, code="SlowDown"),
        Fault.OUTAGE: Behaviour(0, Answer.ERROR, status=503, code="SlowDown", lasting=True),
        Fault.ERROR_IN_OK: Behaviour(
            0,
            Answer.ERROR_IN_OK,
            code="InternalError",
            only=frozenset({"CopyObject", "UploadPartCopy", "CompleteMultipartUpload", "DeleteObjects"}),
        ),
        Fault.TWICE: Behaviour(2),
        Fault.LATE_AGAIN: Behaviour(1, again_at_end=True),
        Fault.STALE_LIST: Behaviour(0, only=frozenset({"ListObjectsV2"})),
        Fault.INTRUDED: Behaviour(meddles=True),
        Fault.OVERWRITTEN: Behaviour(meddles=True),
        Fault.CORRUPTED: Behaviour(meddles=True, only=frozenset({"CopyObject", "CompleteMultipartUpload"})),
        Fault.ONE_EFFECT: Behaviour(1, Answer.NOTHING, kills=True, first_success=True),
        Fault.STOPPED_BEFORE: Behaviour(0, stops=True),
        Fault.STOPPED_AFTER: Behaviour(1, stops=True),
    }
)


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault at the `at`-th side effect of a client (from 1), or at its `at`-th listing for a stale one; 0: at all."""

    fault: Fault
    at: int

    @property
    def behaviour(self) -> Behaviour:
        """What the proxy does."""
        return BEHAVIOURS[self.fault]

    def __str__(self) -> str:
        return f"{self.fault} #{self.at}"

"""The labels of our metrics and the values that each can have: a query that names another value finds nothing."""

from enum import StrEnum
from typing import Final

from t2i_api.conditions import ConditionType
from t2i_api.findings import MAXIMUM_FINDINGS, FindingName, Severity
from t2i_api.metrics.definition import Label
from t2i_api.progress import TrainerPhase
from t2i_api.status import VerdictKind


class Caption(StrEnum):
    """The caption that the evaluation grid was judged with."""

    RIGHT = "right"
    WRONG = "wrong"
    NULL = "null"


class Outcome(StrEnum):
    """How a reconcile ended; `ok` and `conflict` (somebody else wrote first) are everyday."""

    OK = "ok"
    CONFLICT = "conflict"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    UNREADABLE = "unreadable"
    CANCELLED = "cancelled"
    ERROR = "error"


class Result(StrEnum):
    """How a piece of work ended."""

    SUCCESS = "success"
    FAILURE = "failure"


class Verb(StrEnum):
    """What was asked of the API server."""

    GET = "get"
    LIST = "list"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


JOB_NAMESPACE: Final = Label(name="job_namespace", bound="the job's namespace")
JOB_NAME: Final = Label(name="job_name", bound="the job's name; its series vanish with it")
JOB: Final = (JOB_NAMESPACE, JOB_NAME)

RANK: Final = Label(name="rank", bound="0 to the job's world size - 1")
QUARTILE: Final = Label.of("quartile", ("1", "2", "3", "4"))
CAPTION: Final = Label.of("caption", Caption)
PHASE: Final = Label.of("phase", TrainerPhase)
FINDING: Final = Label.of("finding", FindingName)
SEVERITY: Final = Label.of("severity", Severity)

OUTCOME: Final = Label.of("outcome", Outcome)
RESULT: Final = Label.of("result", Result)
VERB: Final = Label.of("verb", Verb)
RESOURCE: Final = Label(name="resource", bound="plural names of the kinds that the operator uses")
CODE: Final = Label(name="code", bound="HTTP status of the answer, or none where there was no answer")
OPERATION: Final = Label(name="operation", bound="S3 operations that the operator uses, as AWS names them")

CONDITION: Final = Label.of("condition", ConditionType)
STATUS: Final = Label.of("status", ("True", "False", "Unknown"))
REASON: Final = Label(name="reason", bound="constants of t2i_api.conditions and names of findings; one a condition")
CAUSE: Final = Label(name="cause", bound="reasons of exit codes, causes of an attempt's end, and Earlier")
VERDICT: Final = Label.of("verdict", VerdictKind)
JOB_FINDING: Final = Label(name="finding", bound=f"names that trainers report, at most {MAXIMUM_FINDINGS} a job")

"""Faults between a client and a real S3 server: killed clients, lost answers, errors, duplicates, stale listings."""

from t2i_dev.faults.answers import ListedObject
from t2i_dev.faults.clients import Ending, EndingKind, ForkedClient
from t2i_dev.faults.kinds import BEHAVIOURS, Answer, Fault, PlannedFault
from t2i_dev.faults.proxy import FaultProxy, Passed, Record
from t2i_dev.faults.requests import S3Request, describe

__all__ = [
    "BEHAVIOURS",
    "Answer",
    "Ending",
    "EndingKind",
    "Fault",
    "FaultProxy",
    "ForkedClient",
    "ListedObject",
    "Passed",
    "PlannedFault",
    "Record",
    "S3Request",
    "describe",
]

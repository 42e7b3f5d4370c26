"""Faults between a client and a real S3 server: killed clients, lost answers, errors, duplicates, stale listings."""

from t2i_dev.faults.clients import Ending, ForkedClient
from t2i_dev.faults.kinds import BEHAVIOURS, Fault, PlannedFault
from t2i_dev.faults.proxy import FaultProxy, Passed
from t2i_dev.faults.requests import S3Request, describe

__all__ = [
    "BEHAVIOURS",
    "Ending",
    "Fault",
    "FaultProxy",
    "ForkedClient",
    "Passed",
    "PlannedFault",
    "S3Request",
    "describe",
]

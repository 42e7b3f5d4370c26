"""Clients of the matrix wait less and say less: no pause between retries, and a read timeout that a test can sit out.

Called in the forked client only, so that no other process is changed. How long to wait is not what the matrix tests;
that the same requests are made again is.
"""

import logging
from types import SimpleNamespace
from typing import Any

import botocore.endpoint
from botocore.httpsession import URLLib3Session


def hurry(read_seconds: float) -> None:
    """Patch botocore in this process: `read_seconds` before an answer counts as lost, retries at once, no log."""
    logging.disable(logging.CRITICAL)
    construct = URLLib3Session.__init__

    def constructed(self: Any, *args: Any, **kwargs: Any) -> None:
        construct(self, *args, **{**kwargs, "timeout": (5.0, read_seconds)})

    setattr(URLLib3Session, "__init__", constructed)  # noqa: B010  # mypy refuses the assignment
    setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda _seconds: None))  # noqa: B010

"""Tells of every request that an S3 client sends: which operation, what came back, how long it took.

botocore emits its events in the thread that sends, once before and once after each request, retries included.
https://docs.aws.amazon.com/boto3/latest/guide/events.html
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from t2i_checkpoint.store import StoreRequest

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from t2i_checkpoint.store import StoreListener


def tell_of_requests(client: S3Client, heard: StoreListener) -> None:
    """Call `heard` after every request of this client, in the thread that sent it."""
    sent = threading.local()

    def before(**_event: Any) -> None:
        sent.at = time.monotonic()

    def after(event_name: str, parsed_response: dict[str, Any] | None = None, **_event: Any) -> None:
        metadata = (parsed_response or {}).get("ResponseMetadata", {})
        heard(
            StoreRequest(
                operation=event_name.rpartition(".")[2],
                code=str(metadata.get("HTTPStatusCode", "none")),
                seconds=time.monotonic() - getattr(sent, "at", time.monotonic()),
            )
        )

    client.meta.events.register("before-send.s3", before)
    client.meta.events.register("response-received.s3", after)

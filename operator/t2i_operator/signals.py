"""SIGTERM and SIGINT before the operator leads: Kopf takes them over when it starts, and until then nobody has them.

In a container the operator is process 1, for which Linux drops a signal that has no handler: a pod that stands by would
live through its whole grace period, and every rollout of several replicas with it.
"""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


def listen() -> asyncio.Event:
    """Return an event that either signal sets, as long as nobody else takes the signals over."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    return stop


async def unless(stop: asyncio.Event, waiting: Coroutine[Any, Any, None]) -> bool:
    """Wait for `waiting`; False if the signal came first and it was given up. Raises what it raises."""
    task, signalled = asyncio.create_task(waiting), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([task, signalled], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return False
        task.result()
        return True
    finally:
        for each in (task, signalled):
            each.cancel()
        await asyncio.gather(task, signalled, return_exceptions=True)

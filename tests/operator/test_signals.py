"""A signal before the operator leads ends it at once: as process 1 of a container it would else be dropped."""

import asyncio
import os
import signal

import pytest

from t2i_operator import signals


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_waiting(sent: signal.Signals) -> None:
    given_up = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    stop = signals.listen()
    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), sent)

    assert await signals.unless(stop, forever()) is False
    assert given_up.is_set()


async def test_what_ends_by_itself_is_not_stopped() -> None:
    async def at_once() -> None: ...

    assert await signals.unless(signals.listen(), at_once()) is True


async def test_an_error_is_not_taken_for_a_signal() -> None:
    async def fails() -> None:
        raise OSError("the port is taken")

    with pytest.raises(OSError, match="the port is taken"):
        await signals.unless(signals.listen(), fails())

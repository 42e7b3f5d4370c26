"""A client process, forked from a parent that has everything imported: milliseconds to start, and SIGKILL is real.

The child begins only when it is told to, so that the proxy knows its process id before the first request. It leaves by
`os._exit` whatever happens, so that none of the parent's clean-up runs twice.
"""

import os
import resource
import select
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

_REFUSED, _CRASHED = 3, 4
_SAID_BYTES = 60_000  # fits a pipe's buffer


class EndingKind(StrEnum):
    """How a client ended; `refused` is an error that the code announces, `crashed` one that it does not."""

    DONE = "done"
    REFUSED = "refused"
    KILLED = "killed"
    CRASHED = "crashed"
    HUNG = "hung"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a client ended and what it said."""

    kind: EndingKind
    said: str = ""


@dataclass(frozen=True, slots=True)
class ForkedClient:
    """A child process that waits for `go`; `wait` collects it."""

    pid: int
    _start: int = field(repr=False)
    _said: int = field(repr=False)

    @classmethod
    def fork(cls, work: Callable[[], None], *, refusals: tuple[type[Exception], ...]) -> "ForkedClient":
        """Fork a child that will do `work`; exceptions of `refusals` are how it may announce failure."""
        start_read, start_write = os.pipe()
        said_read, said_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _live(work, refusals, start_read, said_write)
        os.close(start_read)
        os.close(said_write)
        return cls(pid, start_write, said_read)

    def go(self) -> None:
        """Let the child begin."""
        os.write(self._start, b"1")
        os.close(self._start)

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone, without collecting it."""
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def wait(self, seconds: float) -> Ending:
        """Collect the child; one that runs longer is killed and reported as hung."""
        descriptor = os.pidfd_open(self.pid)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        in_time = bool(poll.poll(seconds * 1000))
        os.close(descriptor)
        if not in_time:
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        with os.fdopen(self._said, "rb") as pipe:
            said = pipe.read().decode(errors="replace")
        if not in_time:
            return Ending(EndingKind.HUNG, f"still running after {seconds:.0f} s")
        if os.WIFSIGNALED(status):
            return Ending(EndingKind.KILLED, signal.Signals(os.WTERMSIG(status)).name)
        kinds = {0: EndingKind.DONE, _REFUSED: EndingKind.REFUSED}
        return Ending(kinds.get(os.WEXITSTATUS(status), EndingKind.CRASHED), said)


def _live(work: Callable[[], None], refusals: tuple[type[Exception], ...], start: int, said: int) -> None:
    status = _CRASHED
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _close_all_but({start, said})
        if os.read(start, 1):  # empty: the parent is gone
            work()
        status = 0
    except refusals as error:
        os.write(said, f"{type(error).__name__}: {error}".encode()[:_SAID_BYTES])
        status = _REFUSED
    except BaseException:  # noqa: BLE001  # the last boundary of the process: whatever it was is reported
        os.write(said, traceback.format_exc().encode()[-_SAID_BYTES:])
    finally:
        sys.stderr.flush()
        os._exit(status)


def _close_all_but(kept: set[int]) -> None:
    """Close inherited sockets: a connection that the parent cuts must not live on here."""
    highest = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 4096)
    begin = 3
    for descriptor in [*sorted(kept), highest]:
        os.closerange(begin, descriptor)
        begin = descriptor + 1

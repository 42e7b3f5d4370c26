"""Entry point of `t2i`: command groups, and errors as one line with the way out."""

import signal
import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from t2i_checkpoint.archive_plan import ArchiveError
from t2i_checkpoint.store import StoreError
from t2i_cli import (
    checkpoint_commands,
    data_commands,
    doctor,
    ema_commands,
    job_commands,
    report_command,
    train_command,
)
from t2i_cli.reading import UsageProblem
from t2i_cli.terminal import note

REFUSED, STORE_UNUSABLE = 3, 4

_SIGNAL_STATUS = 128


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: in order, with nothing left behind on this machine."""


class _Stoppable(TyperGroup):
    """Says what a stop means; typer would end without a word."""

    def invoke(self, ctx: Any) -> Any:
        previous = signal.signal(signal.SIGTERM, _terminate)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            note("stopped; the same command goes on where this one stopped")
            number = signal.SIGTERM if isinstance(stop, _Terminated) else signal.SIGINT
            sys.exit(_SIGNAL_STATUS + number)
        finally:
            signal.signal(signal.SIGTERM, previous)


commands = typer.Typer(
    name="t2i",
    cls=_Stoppable,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Train jobs on this machine, check them, and judge, archive and restore checkpoints, with the very code that "
    "operator and trainer use. Also as `kubectl t2i`.",
)
commands.command()(train_command.train)
commands.add_typer(job_commands.app, name="job")
commands.add_typer(checkpoint_commands.app, name="checkpoint")
commands.add_typer(data_commands.app, name="data")
commands.add_typer(ema_commands.app, name="ema")
commands.command()(report_command.report)
commands.command()(doctor.doctor)


def app() -> None:
    """Run the command line.

    Exit status 2 for a mistake of the user, 3 for what was refused without losing anything, 4 when the store cannot be
    used, 130 after Ctrl-C, 143 after SIGTERM.
    """
    try:
        commands()
    except UsageProblem as problem:
        note(f"error: {problem}", "red")
        sys.exit(problem.exit_code)
    except ArchiveError as error:
        note(f"refused: {error.detail} ({error.reason}). Nothing was lost", "red")
        sys.exit(REFUSED)
    except StoreError as error:
        note(f"error: {error}", "red")
        sys.exit(STORE_UNUSABLE)


def _terminate(_number: int, _frame: object) -> NoReturn:
    raise _Terminated

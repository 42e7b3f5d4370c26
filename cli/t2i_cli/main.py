"""Entry point of `t2i`: command groups, and errors as one line with the way out."""

import sys

import typer

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

commands = typer.Typer(
    name="t2i",
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
    used.
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
    except KeyboardInterrupt:
        note("stopped; what was begun can be finished by the same command")
        sys.exit(130)

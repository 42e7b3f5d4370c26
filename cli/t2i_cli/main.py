"""Entry point of `t2i`: command groups, and errors as one line with the way out."""

import sys

import typer

from t2i_checkpoint.store import StoreError
from t2i_cli import checkpoint_commands, job_commands
from t2i_cli.reading import UsageProblem

commands = typer.Typer(
    name="t2i",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Check training jobs and judge checkpoints, with the very code that operator and trainer use.",
)
commands.add_typer(job_commands.app, name="job")
commands.add_typer(checkpoint_commands.app, name="checkpoint")


def app() -> None:
    """Run the command line; exit status 2 for a mistake of the user, 4 when the store cannot be read."""
    try:
        commands()
    except UsageProblem as problem:
        typer.secho(f"error: {problem}", err=True, fg="red")
        sys.exit(2)
    except StoreError as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        sys.exit(4)

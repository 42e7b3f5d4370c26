"""The console script `t2i-dev`: one command group a concern, errors without a traceback."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from t2i_dev import cluster_commands, image_commands
from t2i_dev.corpus import command as corpus_commands
from t2i_dev.crash.report import crash_matrix
from t2i_dev.demo.command import demo
from t2i_dev.errors import DevelopmentError
from t2i_dev.kill_matrix.command import kill_matrix
from t2i_dev.planted_bugs.command import planted_bugs
from t2i_dev.planted_faults.command import planted_faults
from t2i_dev.progress import Progress
from t2i_dev.setup import prepare
from t2i_dev.tools import ALL_TOOLS, ensure_tools

commands = typer.Typer(
    name="t2i-dev",
    no_args_is_help=True,
    help="Development tools of t2i-operator: real Kubernetes, S3 and Prometheus on one machine.",
    pretty_exceptions_enable=False,
)
commands.add_typer(cluster_commands.app, name="cluster")
commands.add_typer(image_commands.app, name="images")
commands.add_typer(corpus_commands.app, name="corpus")


@commands.command()
def setup(
    *, images: Annotated[bool, typer.Option(help="Build the project's images too (minutes, gigabytes).")] = False
) -> None:
    """Prepare this machine: Debian packages, tools from source, images. What is there already takes no time."""
    progress = Progress()
    prepare(progress, images=images)
    progress.summary()
    progress.say("this machine is ready: t2i-dev cluster up")


@commands.command()
def tools(
    *,
    keep_compiler_cache: Annotated[
        bool, typer.Option(help="Keep Go's build cache (3 GB), for work on the pins.")
    ] = False,
) -> None:
    """Build kubectl, helm, the control plane and the S3 server at their pinned versions; print where they lie."""
    ensure_tools(ALL_TOOLS, Progress(), keep_compiler_cache=keep_compiler_cache)
    for tool in ALL_TOOLS:
        typer.echo(tool.directory)


commands.command()(demo)
commands.command("planted-bugs")(planted_bugs)
commands.command("crash-matrix")(crash_matrix)
commands.command("kill-matrix")(kill_matrix)
commands.command("planted-faults")(planted_faults)


def app() -> None:
    """Run the command line; an error that a user can act on is one message and exit status 1."""
    try:
        commands()
    except DevelopmentError as error:
        Console(stderr=True, highlight=False).print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        raise SystemExit(1) from error

"""`t2i-dev cluster …`: start, inspect, enter and stop local clusters."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from t2i_dev.cluster import register, state
from t2i_dev.cluster.local_cluster import DEFAULT_NAME, LocalCluster, stop_cluster
from t2i_dev.progress import Progress

app = typer.Typer(no_args_is_help=True, help="A real Kubernetes cluster with an S3 server, on this machine.")
Name = Annotated[str, typer.Option(help="Which cluster; several run side by side under different names.")]


@app.command()
def up(
    name: Name = DEFAULT_NAME,
    directory: Annotated[
        Path | None, typer.Option(help="Private directory of the cluster; by default in the user's cache.")
    ] = None,
    *,
    node: Annotated[
        bool, typer.Option(help="With a node that runs pods (root on Linux), or the control plane alone.")
    ] = True,
    process_node: Annotated[
        bool, typer.Option(help="Instead of a real node, one that runs pods as plain processes: no root, no isolation.")
    ] = False,
) -> None:
    """Start a cluster; one that runs already is left alone, what a crash left is removed first."""
    progress = Progress()
    cluster = LocalCluster.start(name, directory=directory, node=node and not process_node, progress=progress)
    if process_node:
        with progress.stage("process node"):
            cluster.add_process_node()
    progress.say(f"cluster [bold]{name}[/bold] is ready: API server {cluster.api_server}, S3 {cluster.s3.endpoint}")
    progress.say(f'use it:   eval "$(t2i-dev cluster env --name {name})"')
    progress.say(f"stop it:  t2i-dev cluster down --name {name}")


@app.command()
def down(
    name: Name = DEFAULT_NAME,
    keep_logs: Annotated[Path | None, typer.Option(help="Copy the logs here before they go.")] = None,
) -> None:
    """Stop exactly what `up` started and delete the cluster's data. Built tools and images stay cached."""
    progress = Progress()
    with progress.stage(f"stop {name}"):
        existed = stop_cluster(name, keep_logs=keep_logs)
    if not existed:
        progress.say(f"there is no cluster {name}; nothing to stop")


@app.command()
def status() -> None:
    """List all clusters with their processes and memory."""
    console = Console(highlight=False)
    table = Table("cluster", "state", "API server", "component", "process", "memory MiB")
    for registration in register.registrations():
        current = state.load(registration.directory)
        if current is None:
            table.add_row(registration.name, "broken: run down or up", "", "", "", "")
            continue
        word = "running" if current.alive else "broken: run down or up"
        for index, each in enumerate(current.components):
            process = each.process.process()
            memory = f"{process.memory_info().rss / 2**20:.0f}" if process else "-"
            first = (current.name, word, current.addresses.url) if index == 0 else ("", "", "")
            table.add_row(*first, each.name, str(each.process.pid) if process else "gone", memory)
    console.print(table if table.row_count else "no clusters")


@app.command()
def env(name: Name = DEFAULT_NAME) -> None:
    """Print shell commands that point kubectl, helm and AWS clients to the cluster: eval "$(t2i-dev cluster env)"."""
    for key, value in LocalCluster.attach(name).environment().items():
        typer.echo(f"export {key}={shlex.quote(value)}")


@app.command()
def logs(name: Name = DEFAULT_NAME, component: Annotated[str, typer.Option(help="All when empty.")] = "") -> None:
    """Print the paths of the components' logs, the audit log included."""
    for path in sorted(LocalCluster.attach(name).log_directory.glob(f"{component}*")):
        typer.echo(path)

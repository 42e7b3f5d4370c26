"""`t2i job …`: what a job file means, without a cluster."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from t2i_checkpoint.wanted import wanted_from
from t2i_cli.reading import UsageProblem, read_job

app = typer.Typer(no_args_is_help=True, help="Job files.")
JobFile = Annotated[Path, typer.Argument(help="A file with one DiffusionTrainingJob.")]


@app.command()
def check(job_file: JobFile) -> None:
    """Check a job file as API server and operator would, and show what it asks for. Exit status 2: refused."""
    job = read_job(job_file)
    try:
        architecture = wanted_from(job.spec).architecture
    except ValueError as error:
        raise UsageProblem(f"{job_file}: {error}") from error
    spec = job.spec
    table = Table("what", "value", title=f"{job.metadata.namespace}/{job.metadata.name}")
    table.add_row("UNet", f"{architecture.count / 1e6:.1f} M parameters in {len(architecture)} tensors")
    table.add_row("noise", f"{spec.diffusion.schedule}, {spec.diffusion.prediction_type}")
    table.add_row("training", f"{spec.training.steps} steps of {spec.training.global_batch_size} images")
    table.add_row("world size", f"{spec.workers.world_size} ({spec.workers.count} pods)")
    table.add_row("checkpoints", f"{spec.checkpoint.uri}, every {spec.checkpoint.every_steps} steps")
    Console().print(table)

"""`t2i train JOB`: the job of `kubectl apply`, on this machine: same file, same trainer, same checkpoints."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from t2i_api.attempt import DEVICE_VARIABLE
from t2i_checkpoint.archive import plan_archive, run_archive
from t2i_checkpoint.archive_resume import finish_archives
from t2i_checkpoint.choose import Archive, Choice, Resume, Stop, choose, keeps_its_place
from t2i_checkpoint.inspect import Judgement, survey
from t2i_checkpoint.probe import probe
from t2i_cli.archive_orders import safe_method
from t2i_cli.initial_weights import survey_initial_weights
from t2i_cli.locations import open_root
from t2i_cli.progress_bar import transfer_bar
from t2i_cli.reading import UsageProblem, read_job, wanted_of
from t2i_cli.tables import cell, then_text
from t2i_cli.terminal import Output, OutputOption, console, is_interactive, note, print_json
from t2i_cli.training_bar import training_bar

if TYPE_CHECKING:
    from t2i_api.job import DiffusionTrainingJob
    from t2i_api.progress import TerminationMessage
    from t2i_checkpoint.store import Store

# What a driver leaves on a machine with a GPU: NVIDIA, AMD, and either under WSL.
_GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


class Device(StrEnum):
    """Where to train."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class _RefusedError(UsageProblem):
    exit_code = 3


@dataclass(frozen=True)
class _Wish:
    processes: int | None
    device: Device
    port: int | None


def train(  # noqa: PLR0913  # one parameter an option
    job_file: Annotated[
        Path, typer.Argument(metavar="JOB", help="The file that `kubectl apply` would take: one DiffusionTrainingJob.")
    ],
    *,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            "-n",
            min=1,
            max=64,
            help="World size, one process a GPU. Default: the job's pods times its GPUs a pod. It may change between "
            "starts: every picture is still seen exactly once an epoch.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        Device, typer.Option(help="auto: GPUs exactly when the job asks for them; cpu: rehearse without.")
    ] = Device.AUTO,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Serve http://127.0.0.1:PORT/progress and /metrics there. Default: any.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Archive what cannot fit without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what the run would begin with.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Train on this machine, without Kubernetes: same file, same trainer, same checkpoints.

    It resumes the newest checkpoint below checkpoint.uri that fits, and archives first what cannot fit, as the operator
    would (checkpoint.onIncompatible). Ctrl-C saves a checkpoint and stops; the same command goes on from there, also
    with another number of processes. Data, text encoder and checkpoints may lie at s3://, file:// or hf://; credentials
    are found as boto3 finds them.

    Examples:
    t2i train job.yaml
    t2i train job.yaml --device cpu --processes 2
    t2i train job.yaml --dry-run

    Exit status: 0 trained to the last step; 28 stopped on request, saved; 2 wrong usage; 3 refused, nothing was
    changed; 4 the store cannot be used; 20 bad configuration; 21 checkpoint does not fit; 23 bad data; 24 out of
    memory; 25 loss not finite; 26 storage unavailable; 27 a process is gone; 1 crashed.
    """
    job = read_job(job_file)
    wish = _Wish(processes, device, port)
    _check(job, wish)
    begins = _begin(job, job_file, yes=yes, dry_run=dry_run)
    if dry_run:
        _show_plan(output, job, begins)
        return
    if output is Output.TABLE:
        console().print(cell(f"{job.metadata.name}: {then_text(begins)}"), soft_wrap=True)
    ended = _run(job, job_file, wish)
    _show_end(output, job, ended)
    raise typer.Exit(int(ended.exit_code))


def _check(job: DiffusionTrainingJob, wish: _Wish) -> None:
    """Say at once what the trainer would say after it has loaded torch."""
    if importlib.util.find_spec("torch") is None:
        raise UsageProblem("training needs the trainer's packages: pip install 't2i-operator[cli,trainer]'")
    world, batch = wish.processes or job.spec.workers.world_size, job.spec.training.global_batch_size
    if batch % world:
        raise UsageProblem(f"training.globalBatchSize {batch} is no multiple of {world} processes: change --processes")
    told = {variable.name: variable.value for variable in job.spec.workers.template.env}.get(DEVICE_VARIABLE)
    asks = job.spec.workers.gpus_per_worker > 0 and wish.device is Device.AUTO and told in {None, "auto"}
    if asks and not any(Path(name).exists() for name in _GPU_FILES):
        raise UsageProblem(
            f"workers.gpusPerWorker is {job.spec.workers.gpus_per_worker}, and this machine shows no GPU: add "
            "--device cpu to rehearse the job without"
        )


def _begin(job: DiffusionTrainingJob, job_file: Path, *, yes: bool, dry_run: bool) -> Choice:
    """Judge what lies there as operator and trainer do, put away what has to go; return what the run begins with."""
    store = open_root(job.spec.checkpoint.uri, None, job)
    if not dry_run:
        _finish_archives(job, store)
    choice = _choose(job, store)
    if isinstance(choice, Archive) and not dry_run:
        _archive(job, job_file, store, choice, yes=yes)
        choice = _choose(job, store)
    if isinstance(choice, Stop) and not dry_run:
        raise _RefusedError(f"{choice.message}. Nothing was changed")
    return choice


def _finish_archives(job: DiffusionTrainingJob, store: Store) -> None:
    """Finish what an earlier process left of an archive, as every preflight does, unless it became wrong."""
    policy = job.spec.checkpoint.on_incompatible

    def keep(judgement: Judgement) -> bool:
        return keeps_its_place(judgement, policy)

    def why_not_move() -> tuple[str, ...]:
        return probe(store).reasons

    for manifest in finish_archives(store, wanted_of(job), keep=keep, why_not_move=why_not_move):
        note(f"finished what was begun before: archive/{manifest.name}", "dim")


def _choose(job: DiffusionTrainingJob, store: Store) -> Choice:
    found = survey(store, wanted_of(job))
    initial = survey_initial_weights(job, None) if found.resumable is None else None
    return choose(found, job.spec.checkpoint.on_incompatible, initial)


def _archive(job: DiffusionTrainingJob, job_file: Path, store: Store, choice: Archive, *, yes: bool) -> None:
    asked = job.spec.checkpoint.archive
    console().print(cell(then_text(choice)), soft_wrap=True)
    for judgement in choice.judgements:
        console().print(cell(f"  {judgement.folder}: {judgement.verdict.explanation}"), soft_wrap=True)
    if not yes and not is_interactive():
        command = f"t2i train {job_file} --yes"
        raise _RefusedError(f"checkpoints that cannot fit this job have to be archived first: {command}")
    if not yes and not typer.confirm("Archive first?", err=True):
        raise _RefusedError("nothing was changed; another checkpoint.uri leaves them where they are")
    method = safe_method(store, asked.method)
    intent = plan_archive(choice.judgements, now=datetime.now(UTC), label=asked.label, method=method)
    with transfer_bar() as report:
        run_archive(store, intent, report)
    console().print(cell(f"archived in {intent.root.rstrip('/')}"))


def _run(job: DiffusionTrainingJob, job_file: Path, wish: _Wish) -> TerminationMessage:
    from t2i_trainer.here import TrainingFailedError, train_here  # noqa: PLC0415  # nobody else needs the trainer

    device = None if wish.device is Device.AUTO else wish.device.value
    try:
        with training_bar(job.spec.training.steps) as bar:
            return train_here(
                job_file,
                processes=wish.processes,
                device=device,
                metrics_port=wish.port,
                on_progress=bar.show,
                on_log=bar.log,
                on_stopping=bar.stopping,
            )
    except TrainingFailedError as error:
        return error.ended


def _show_plan(output: Output, job: DiffusionTrainingJob, choice: Choice) -> None:
    if output is Output.JSON:
        resumes = choice.judgement if isinstance(choice, Resume) else None
        print_json(
            {
                "job": job.metadata.name,
                "begins": type(choice).__name__,
                "message": then_text(choice),
                "step": None if resumes is None else resumes.step,
                "checkpoint": None if resumes is None else resumes.folder,
            }
        )
    else:
        console().print(cell(f"{job.metadata.name}: {then_text(choice)}"), soft_wrap=True)
        console().print("nothing was changed (--dry-run)")
    if isinstance(choice, Stop):
        raise typer.Exit(_RefusedError.exit_code)


def _show_end(output: Output, job: DiffusionTrainingJob, ended: TerminationMessage) -> None:
    progress = ended.progress
    if output is Output.JSON:
        print_json(
            {
                "job": job.metadata.name,
                "exitCode": int(ended.exit_code),
                "reason": ended.reason,
                "message": ended.message,
                "progress": None if progress is None else progress.model_dump(mode="json", by_alias=True),
                "uri": job.spec.checkpoint.uri,
            }
        )
        return
    sys.stdout.flush()
    steps = "" if progress is None else f"{progress.step} of {progress.target_steps}"
    reached = f" at step {steps}" if steps else ""
    kept = "" if progress is None or not progress.last_checkpoint else f"; last checkpoint: {progress.last_checkpoint}"
    if int(ended.exit_code) == 0:
        console().print(
            cell(f"trained {steps} steps; the model and its samples lie in {job.spec.checkpoint.uri}", "green")
        )
    else:
        note(f"{ended.reason}{reached}: {ended.message}{kept}", "yellow" if progress is not None else "red")

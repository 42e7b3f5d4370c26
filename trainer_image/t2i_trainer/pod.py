"""From two files to the end of this pod: read, complete what a local run lacks, launch; failures become a status."""

from __future__ import annotations

import shutil
import traceback
from typing import TYPE_CHECKING

from t2i_api.attempt import ATTEMPT_FILE, JOB_FILE
from t2i_api.progress import ExitCode
from t2i_trainer.configuration import RunConfiguration, read_job
from t2i_trainer.failures import describe_failure
from t2i_trainer.launch import Launch
from t2i_trainer.local import local_attempt
from t2i_trainer.reports import Outcome

if TYPE_CHECKING:
    from pathlib import Path


def run_pod(  # noqa: PLR0913  # keyword-only options, one call site
    job_file: Path,
    attempt_file: Path | None,
    *,
    run_directory: Path,
    processes: int | None,
    metrics_port: int,
    address: str = "",
) -> Outcome:
    """Run this pod's share of the attempt to its end; never raises."""
    try:
        configuration = _prepare(job_file, attempt_file, run_directory, processes, metrics_port)
        return Launch(configuration, run_directory / JOB_FILE, run_directory / ATTEMPT_FILE, address).run()
    except BaseException as error:  # noqa: BLE001  # the pod's last boundary: its end must be explained
        code, text = describe_failure(error)
        if code is ExitCode.CRASHED:
            traceback.print_exc()
        return Outcome.of(code, text)


def _prepare(
    job_file: Path, attempt_file: Path | None, run_directory: Path, processes: int | None, metrics_port: int
) -> RunConfiguration:
    """Copy the documents into the run's own directory: a mounted ConfigMap may change while processes start."""
    job = read_job(job_file)
    own_job, own_attempt = run_directory / JOB_FILE, run_directory / ATTEMPT_FILE
    shutil.copyfile(job_file, own_job)
    if attempt_file is None:
        attempt = local_attempt(job, processes=processes, metrics_port=metrics_port)
        own_attempt.write_text(attempt.model_dump_json(by_alias=True))
    else:
        shutil.copyfile(attempt_file, own_attempt)
    return RunConfiguration.read(own_job, own_attempt, run_directory)

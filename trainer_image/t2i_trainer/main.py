"""`t2i-trainer`: the entry point of the trainer image, and of a training run on one's own machine."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from t2i_api.attempt import (
    ATTEMPT_FILE,
    CONFIGURATION_DIRECTORY,
    DEVICE_VARIABLE,
    JOB_FILE,
    METRICS_PORT,
    TERMINATION_LOG,
)
from t2i_api.progress import ExitCode
from t2i_trainer.errors import TrainerError
from t2i_trainer.interruption import STOPPED_BEFORE_TRAINING, Interruption
from t2i_trainer.reports import Outcome

_PARENT_SECONDS = 1.0
_DESCRIPTION = """\
Train a text-to-image diffusion model as a DiffusionTrainingJob describes it, and resume it exactly.

In a pod that the operator made, no option is needed: job and attempt are mounted at /etc/t2i.
On your own machine, name the job's file:

  t2i-trainer --job job.yaml                   # one process a GPU, or one on the CPU; all pods' processes run here
  t2i-trainer --job job.yaml --device cpu      # rehearse a GPU job without a GPU
  t2i-trainer --job job.yaml --processes 2     # another world size; the run stays the same but for rounding

It resumes the newest checkpoint below checkpoint.uri that fits, begins at step 0 with weights that fit without being
resumable (or with those of model.initialWeights), and refuses to start beside what does not fit.
Ctrl-C or SIGTERM saves a checkpoint and stops; the same command goes on from there.
Data, text encoder and checkpoints may lie at s3:// (credentials: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or file://.
While it trains: http://localhost:9400/progress and /metrics.

Exit status: 0 done, 1 crashed, 20 bad configuration, 21 checkpoint does not fit, 22 wrong world size, 23 bad data,
24 out of memory, 25 loss not finite, 26 storage unavailable, 27 another process is gone, 28 stopped on request.
"""


def main() -> None:
    """Read the options, start the processes of this pod, and exit as they did."""
    options = _parser().parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING, stream=sys.stderr)
    if options.device is not None:
        os.environ[DEVICE_VARIABLE] = options.device
    if options.end_with_parent is not None:
        threading.Thread(target=_end_with, args=(options.end_with_parent,), name="parent", daemon=True).start()
    # The first process of a container ignores signals without a handler; torchrun's agent brings its own later.
    interruption = Interruption()
    interruption.listen(end_at_once=True)
    try:
        outcome = _run(options, interruption)
    except TrainerError as error:
        outcome = Outcome.of(error.code, str(error))
    _tell(outcome, options.termination_log)
    sys.exit(outcome.status)


def _run(options: argparse.Namespace, interruption: Interruption) -> Outcome:
    # torch takes seconds to import, which nobody should wait for to read the help.
    from t2i_trainer.pod import run_pod  # noqa: PLC0415

    if interruption.was_asked:  # and an import that tries for optional parts has swallowed it
        return Outcome.of(ExitCode.INTERRUPTED, STOPPED_BEFORE_TRAINING)
    attempt_file = options.attempt
    if attempt_file is None and (beside := options.job.with_name(ATTEMPT_FILE)).exists():
        attempt_file = beside
    with tempfile.TemporaryDirectory(prefix="t2i-") as run_directory:
        return run_pod(
            options.job,
            attempt_file,
            run_directory=Path(run_directory),
            processes=options.processes,
            metrics_port=options.port,
            address=options.address,
        )


def _end_with(parent: int) -> None:
    """Stop as on SIGTERM once we are an orphan: nobody is left who could ask us to."""
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _tell(outcome: Outcome, termination_log: Path) -> None:
    """Leave the termination message where the kubelet looks; elsewhere the log has said it all."""
    if outcome.status:
        sys.stderr.write(f"t2i-trainer: {outcome.message.reason}: {outcome.message.message}\n")
    if termination_log.exists():
        try:
            termination_log.write_text(outcome.message.to_log())
        except OSError as error:
            sys.stderr.write(f"t2i-trainer: {termination_log} cannot be written: {error.strerror}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="t2i-trainer", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mounted = Path(CONFIGURATION_DIRECTORY)
    parser.add_argument(
        "--job", type=Path, default=mounted / JOB_FILE, help="the job's YAML file (default: %(default)s)"
    )
    parser.add_argument(
        "--attempt",
        type=Path,
        help=f"the operator's attempt document (default: {ATTEMPT_FILE} beside the job's file, if there is one)",
    )
    parser.add_argument(
        "--processes", type=int, help="processes of a run on this machine (default: the job's world size)"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), help=f"overrides {DEVICE_VARIABLE} (default: auto)"
    )
    parser.add_argument(
        "--port", type=int, default=METRICS_PORT, help="HTTP port of a run on this machine (default: %(default)s)"
    )
    parser.add_argument(
        "--address", default="", help="address that /progress and /metrics are served on (default: every one)"
    )
    parser.add_argument(
        "--end-with-parent", type=int, metavar="PID", help="save and stop once that process, our parent, is gone"
    )
    parser.add_argument(
        "--termination-log",
        type=Path,
        default=Path(TERMINATION_LOG),
        help="written if it exists (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    main()

"""One process of the world, as torchrun starts it: sets up, trains, and turns whatever happens into an exit status."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

import torch.distributed as dist
from prometheus_client import disable_created_metrics

from t2i_api.progress import ExitCode, Progress
from t2i_trainer.configuration import RunConfiguration
from t2i_trainer.failures import describe_failure
from t2i_trainer.http_server import serve
from t2i_trainer.interruption import Interruption
from t2i_trainer.last_words import LastWords, Scrapes
from t2i_trainer.rank_figures import FIGURES, RankFigures
from t2i_trainer.reports import REPORTS, write_report
from t2i_trainer.telemetry import Telemetry
from t2i_trainer.train import train
from t2i_trainer.world import join_world, make_deterministic

logger = logging.getLogger("t2i_trainer")


def main() -> None:
    """Run this rank; ends the process with an `ExitCode` and leaves a report for the launcher."""
    options = _options()
    rank, leads_pod = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"]) == 0
    # A second series beside each counter, which nothing reads.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    configure_logging(logging.INFO if rank == 0 else logging.WARNING)
    interruption, scrapes = Interruption(), Scrapes()
    telemetry: Telemetry | None = None
    code, text = ExitCode.SUCCEEDED, "trained to the last step"
    try:
        interruption.listen(end_at_once=True)
        configuration = RunConfiguration.read(options.job, options.attempt, options.run_directory)
        telemetry = _telemetry(configuration, rank)
        if leads_pod:
            serve(telemetry, configuration.attempt.metrics_port, options.address, on_scrape=scrapes)
        world = join_world(configuration)
        make_deterministic(world.device)
        train(configuration, world, telemetry, interruption)
    except BaseException as error:  # noqa: BLE001  # the process's last boundary: nothing may end it without a report
        interruption.defer()
        code, text = describe_failure(error)
        if code is ExitCode.CRASHED:
            traceback.print_exc()
        logger.log(logging.WARNING if code is ExitCode.INTERRUPTED else logging.ERROR, "rank %d: %s", rank, text)
    write_report(options.run_directory / REPORTS, rank, code, text, telemetry.progress if telemetry else None)
    if telemetry is not None and leads_pod:
        LastWords.of(telemetry, scrapes).write(options.run_directory)
    _leave(code)


def configure_logging(level: int) -> None:
    """Log our own lines to standard error, and of the libraries only warnings."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING, stream=sys.stderr)
    logger.setLevel(level)


def _telemetry(configuration: RunConfiguration, rank: int) -> Telemetry:
    training = configuration.spec.training
    progress = Progress(
        attempt=configuration.attempt.attempt,
        world_size=configuration.attempt.world_size,
        target_steps=training.steps,
        updated_at=datetime.now(UTC),
    )
    figures = RankFigures(rank, configuration.run_directory / FIGURES)
    telemetry = Telemetry(progress, training.global_batch_size, figures)
    telemetry.describe(configuration)
    return telemetry


def _leave(code: ExitCode) -> None:
    if code is ExitCode.SUCCEEDED and dist.is_initialized():
        dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    # A broken process group can block in its destructors for as long as its timeout; nothing is left to be done.
    os._exit(code)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="One process of a training run; started by t2i-trainer.")
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--attempt", type=Path, required=True)
    parser.add_argument("--run-directory", type=Path, required=True)
    parser.add_argument("--address", default="")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""The measures of a run, sent to TensorBoard, W&B or MLflow through Accelerate's trackers, by rank 0.

A thread of its own does the sending, so a slow server never holds a step up; a tracker that fails says so once and is
left alone. Only what is missing from the start (a package) is an error of the configuration.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from accelerate.tracking import MLflowTracker, TensorBoardTracker, WandBTracker

from t2i_api.progress import ExitCode
from t2i_api.spec_training import Tracker
from t2i_trainer.cache import cache_folder
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from t2i_checkpoint.store import Store
    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.step_result import StepResult

logger = logging.getLogger("t2i_trainer")

TENSORBOARD_FOLDER = "tensorboard/"  # below checkpoint.uri: TensorBoard shows the files of all attempts as one run
_PACKAGES = {Tracker.TENSOR_BOARD: "tensorboard", Tracker.WAND_B: "wandb", Tracker.ML_FLOW: "mlflow"}
_WAITING = 1000  # results that wait to be sent; beyond it the newest are dropped
_SECONDS_TO_FINISH = 10.0
_SECONDS_BETWEEN_UPLOADS = 60.0

# Accelerate's trackers carry no types of their own.
_TENSOR_BOARD: Any = cast("Any", TensorBoardTracker)
_WAND_B: Any = cast("Any", WandBTracker)
_ML_FLOW: Any = cast("Any", MLflowTracker)


class Sink(Protocol):
    """What of Accelerate's `GeneralTracker` is used."""

    name: str

    def start(self) -> None:
        """Open the run."""

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Send values."""

    def finish(self) -> None:
        """Close the run."""


class Trackers:
    """Sends results until it is closed; never raises and never waits while training."""

    def __init__(self, sinks: Iterable[Sink], *, upload: Callable[[], None] | None = None) -> None:
        self._sinks = list(sinks)
        self._upload = upload
        self._waiting: queue.Queue[tuple[int, dict[str, float]] | None] = queue.Queue(_WAITING)
        self._dropped = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send, name="trackers", daemon=True) if self._sinks else None

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send what waits, for a few seconds at most."""
        if self._thread is None:
            return
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            self._waiting.get_nowait()
            self._waiting.put_nowait(None)
        if not self._ended.wait(_SECONDS_TO_FINISH):
            logger.warning(
                "the trackers did not end within %.0f s: their last values may be missing", _SECONDS_TO_FINISH
            )
        if self._dropped:
            logger.warning("%d steps were not sent to the trackers: they were too slow", self._dropped)

    def hear(self, result: StepResult) -> None:
        """Take the measures of a step."""
        if self._thread is None:
            return
        try:
            self._waiting.put_nowait((result.step, values_of(result)))
        except queue.Full:
            self._dropped += 1

    def _send(self) -> None:
        self._on_each("start", lambda sink: sink.start())
        carried_at = time.monotonic()
        while (item := self._waiting.get()) is not None:
            step, values = item
            self._on_each("log", lambda sink: sink.log(values, step=step))  # noqa: B023  # called at once
            if time.monotonic() - carried_at >= _SECONDS_BETWEEN_UPLOADS:
                self._carry()
                carried_at = time.monotonic()
        self._on_each("finish", lambda sink: sink.finish())
        self._carry()
        self._ended.set()

    def _on_each(self, what: str, call: Callable[[Sink], None]) -> None:
        for sink in list(self._sinks):
            try:
                call(sink)
            except Exception as error:  # noqa: BLE001  # a tracker may fail in any way; training goes on without it
                self._sinks.remove(sink)
                logger.warning("tracker %s failed (%s: %s): training goes on without it", sink.name, what, error)

    def _carry(self) -> None:
        if self._upload is None:
            return
        try:
            self._upload()
        except Exception as error:  # noqa: BLE001  # as above
            logger.warning("TensorBoard's files were not uploaded: %s", error)


def values_of(result: StepResult) -> dict[str, float]:
    """Return what a tracker draws of a step; what is not finite is left out."""
    named: dict[str, float | None] = {
        "loss": result.loss,
        "gradient_norm": result.gradient_norm,
        "learning_rate": result.learning_rate,
        "step_seconds": result.seconds,
        "skipped": float(result.skipped),
    }
    named |= {f"loss_quartile_{place}": loss for place, loss in enumerate(result.quartile_losses, 1)}
    return {name: value for name, value in named.items() if value is not None and math.isfinite(value)}


def check_trackers(chosen: Iterable[Tracker]) -> None:
    """Raise TrainerError where the image lacks a tracker's package."""
    for tracker in chosen:
        package = _PACKAGES[tracker]
        if importlib.util.find_spec(package) is None:
            raise TrainerError(
                ExitCode.BAD_CONFIGURATION,
                f"training.trackers names {tracker.value}, but the package {package} is not installed here: add it to "
                "the image (workers.image), or remove the tracker",
            )


def open_trackers(configuration: RunConfiguration, store: Store) -> Trackers:
    """Return the trackers of the job, for rank 0 (see `check_trackers`).

    TensorBoard's files go below checkpoint.uri. W&B sends online if WANDB_API_KEY is set, MLflow to
    MLFLOW_TRACKING_URI; without it they keep their files in the cache folder (`wandb sync` sends them later).
    """
    chosen = configuration.spec.training.trackers
    job, attempt = configuration.job.metadata.name, configuration.attempt
    sinks: list[Sink] = []
    upload = None
    if Tracker.TENSOR_BOARD in chosen:
        folder = configuration.run_directory / "tensorboard"
        # The name of the attempt makes the file's name: two attempts never overwrite each other's.
        sinks.append(_TENSOR_BOARD(".", logging_dir=str(folder), filename_suffix=f".{attempt.writer}"))
        upload = _uploader(folder, store)
    if Tracker.WAND_B in chosen:
        local = cache_folder("wandb")
        local.mkdir(parents=True, exist_ok=True)
        mode = None if os.environ.get("WANDB_API_KEY") else "offline"
        # One run for all attempts of a job; a resumed one goes on in it.
        sinks.append(_WAND_B(job, name=job, id=attempt.job_uid, resume="allow", mode=mode, dir=str(local)))
    if Tracker.ML_FLOW in chosen:
        os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{cache_folder('mlflow.db')}")
        cache_folder("mlflow.db").parent.mkdir(parents=True, exist_ok=True)
        sinks.append(_ML_FLOW(experiment_name=job, run_name=attempt.writer))
    return Trackers(sinks, upload=upload)


def _uploader(folder: Path, store: Store) -> Callable[[], None]:
    def upload() -> None:
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            store.upload(f"{TENSORBOARD_FOLDER}{path.name}", path)

    return upload

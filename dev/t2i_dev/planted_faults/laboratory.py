"""A small real training run, with a fault or without: real processes, real files, and what the log says of it."""

from __future__ import annotations

import re
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from t2i_api.findings import FindingName
from t2i_api.progress import ExitCode
from t2i_checkpoint import layout
from t2i_dev import captioned_set
from t2i_dev.errors import DevelopmentError
from t2i_dev.forked_trainer import Attempt, start
from t2i_dev.planted_faults.job import RESUME_AT, STEPS, Setting, job_at

if TYPE_CHECKING:
    from pathlib import Path

    from t2i_dev.planted_faults.planting import Plant

_SECONDS: Final = 1800
_POLL_SECONDS: Final = 0.1
_SAID: Final = re.compile(r"step (\d+): ([A-Z][A-Za-z]+): (.*)")


@dataclass(frozen=True)
class Said:
    """A finding as the log of rank 0 tells it, and how long the run had been going."""

    name: str
    step: int
    sentence: str
    seconds: float


@dataclass(frozen=True)
class Ran:
    """What a run said until its last step, or until the finding that was waited for; `seconds` from its start."""

    said: tuple[Said, ...]
    seconds: float


@dataclass(frozen=True)
class Laboratory:
    """A folder with the pictures and the text encoder that all runs share."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> Laboratory:
        """Prepare the shared files."""
        captioned_set.write_pictures(folder / "data")
        captioned_set.write_text_encoder(folder / "encoder")
        return cls(folder)

    def run(self, name: str, setting: Setting, *, plant: Plant | None = None, until: FindingName | None = None) -> Ran:
        """Train in the folder `name`; with `until` the run is ended as soon as that finding is said.

        A run that resumes is trained to step 30 without the fault first. Raises DevelopmentError where a run fails.
        """
        folder = self.folder / name
        bucket = folder / "bucket"
        resume_from = None
        if setting.resumes:
            first = self._start(folder / "first", bucket, setting, RESUME_AT, None, None)
            _listen(first, None)
            resume_from = max(path.parent.name for path in bucket.glob(f"{layout.CHECKPOINTS}*/{layout.MANIFEST}"))
        return _listen(self._start(folder / "run", bucket, setting, STEPS, resume_from, plant), until)

    def _start(  # noqa: PLR0913, PLR0917  # two call sites above
        self, folder: Path, bucket: Path, setting: Setting, steps: int, resume_from: str | None, plant: Plant | None
    ) -> Attempt:
        def in_rank(_rank: int) -> None:
            if plant is not None:
                plant(setattr)

        return start(
            folder,
            job_at(self.folder, bucket, setting, steps=steps),
            number=1 if resume_from is None else 2,
            world_size=setting.processes,
            resume_from=resume_from,
            in_rank=in_rank,
        )


def _listen(attempt: Attempt, until: FindingName | None) -> Ran:
    started = time.monotonic()
    said: dict[tuple[str, int], Said] = {}
    runs = True
    while runs and not any(name == until for name, _ in said):
        runs = attempt.poll()
        seconds = time.monotonic() - started
        for step, name, sentence in _SAID.findall(attempt.log()):
            said.setdefault((name, int(step)), Said(name, int(step), sentence, seconds))
        if seconds > _SECONDS:
            break
        time.sleep(_POLL_SECONDS)
    if runs:
        attempt.signal(signal.SIGKILL, tuple(attempt.pids))
        attempt.wait()
    elif any(status != ExitCode.SUCCEEDED for status in attempt.statuses.values()):
        raise DevelopmentError(f"a run ended with {attempt.statuses}:\n{attempt.log()[-6000:]}")
    return Ran(tuple(said.values()), time.monotonic() - started)

"""The kept recording: Prometheus' own blocks, with stale markers and all, and what was recorded when."""

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from t2i_dev.dashboards.interpolation import Window
from t2i_dev.prometheus import Prometheus

_FACTS = "facts.json"
_DATA = "data"


class Facts(BaseModel):
    """What lies on the tape; times in seconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    begin: float
    end: float
    scrape_interval: float
    namespace: str
    story: str  # the job that had an archive and a restart
    hot: str  # the job whose loss was not finite

    @property
    def window(self) -> Window:
        """The recording as a dashboard shows it whose data source says that it is scraped every 5 s."""
        return Window(self.begin, self.end, step=2 * self.scrape_interval, scrape_interval=5 * self.scrape_interval)


def path() -> Path:
    """Return where the recording is kept."""
    return Path(__file__).with_name("recorded.tar.xz")


def write(data: Path, facts: Facts) -> None:
    """Keep a snapshot of Prometheus' data."""
    text = facts.model_dump_json(indent=2).encode()
    with tarfile.open(path(), "w:xz") as archive:
        entry = tarfile.TarInfo(_FACTS)
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
        archive.add(data, _DATA, filter=_anonymous)


def read_facts() -> Facts:
    """Return what lies on the tape."""
    with tarfile.open(path()) as archive:
        member = archive.extractfile(_FACTS)
        if member is None:
            raise ValueError(f"{path()} is no recording: make dashboard-data")
        return Facts.model_validate(json.load(member))


@contextmanager
def replayed(directory: Path) -> Iterator[Prometheus]:
    """A Prometheus that holds the recording, and scrapes nothing."""
    with tarfile.open(path()) as archive:
        archive.extractall(directory, filter="data")
    with Prometheus.start(directory, []) as server:
        yield server


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry

"""The corpus where a real S3 server keeps its files: every row is a directory and a prefix of a bucket."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from t2i_api.job import DiffusionTrainingJob
from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import Credentials, Store
from t2i_dev.corpus.jobs import job_document
from t2i_dev.corpus.row import Row
from t2i_dev.errors import ComponentFailedError
from t2i_dev.s3_server import S3Server

PREFIX = "corpus"
Way = Literal["file", "s3"]


def write_corpus(directory: Path) -> None:
    """Write all rows by the command, in a process of its own: Accelerate keeps one state a process.

    Raises ComponentFailedError with the command's words.
    """
    command = Path(sys.executable).with_name("t2i-dev")
    done = subprocess.run([command, "corpus", "make", directory], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ComponentFailedError(f"t2i-dev corpus make {directory}: {done.stderr[-4000:]}")


def _place(server: S3Server) -> Path:
    return server.directory / "data" / server.bucket / PREFIX


@dataclass(frozen=True)
class PlacedCorpus:
    """Where each row lies; rows may be read at the same time, whoever writes takes a copy."""

    directory: Path
    server: S3Server

    @classmethod
    def write(cls, server: S3Server) -> Self:
        """Write all rows where the server keeps its files. Raises ComponentFailedError with the command's words."""
        directory = _place(server)
        write_corpus(directory)
        return cls(directory, server)

    @classmethod
    def link(cls, server: S3Server, written: Path) -> Self:
        """Give the server a corpus that was written elsewhere on its file system, file by file without a copy."""
        directory = _place(server)
        shutil.copytree(written, directory, copy_function=os.link)
        return cls(directory, server)

    @property
    def credentials(self) -> Credentials:
        """Those of the server."""
        return Credentials(self.server.access_key, self.server.secret_key)

    def uri(self, row: Row, way: Way) -> str:
        """Return the URI that becomes the row's checkpoint.uri."""
        if way == "file":
            return (self.directory / "rows" / row.name).as_uri()
        return f"s3://{self.server.bucket}/{PREFIX}/rows/{row.name}"

    def store(self, row: Row, way: Way) -> Store:
        """Open the row's prefix."""
        if way == "file":
            return open_store(self.uri(row, way))
        return open_store(self.uri(row, way), endpoint=self.server.endpoint, credentials=self.credentials)

    def document(self, row: Row, way: Way) -> dict[str, Any]:
        """Return the job that the row is held against, as a document."""
        return job_document(row.job, self.uri(row, way), self.server.endpoint if way == "s3" else None)

    def job(self, row: Row, way: Way) -> DiffusionTrainingJob:
        """Return the same, read."""
        return DiffusionTrainingJob.from_object(self.document(row, way))

"""What people name on the command line, opened: a bucket's prefix, a folder or a file, with where its store answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote

import typer

from t2i_checkpoint.open import PICTURE_SUFFIXES, Location, open_location
from t2i_cli.reading import UsageProblem
from t2i_cli.terminal import note

if TYPE_CHECKING:
    from t2i_api.job import DiffusionTrainingJob
    from t2i_checkpoint.store import Store

URI_HELP = "s3://bucket/prefix, file:///folder or a path: a job's checkpoint.uri, one checkpoint, or a single file."
UriArgument = Annotated[str, typer.Argument(metavar="URI", help=URI_HELP, show_default=False)]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="S3 server, e.g. https://minio.example:9000. Default: the job's, then AWS_ENDPOINT_URL, then AWS itself.",
        show_default=False,
    ),
]


def open_named(uri: str, endpoint: str | None, job: DiffusionTrainingJob | None = None) -> Location:
    """Open what a job's checkpoints lie in, or one of them, and say so where a folder is not there yet.

    Endpoint and region of the job apply where no other endpoint is given.
    """
    location = _open(uri, endpoint, job)
    path = _path(location)
    if path is not None and not path.exists():
        note(f"{path} does not exist; a job that starts there begins at step 0")
    return location


def open_root(uri: str, endpoint: str | None, job: DiffusionTrainingJob | None = None) -> Store:
    """Open a folder, as a job's root or that of shards; raises UsageProblem for a single file."""
    location = _open(uri, endpoint, job)
    path = _path(location)
    if location.key is not None or (path is not None and path.is_file()):
        raise UsageProblem(f"{uri} is a single file: name the folder that it lies in")
    return location.store


def open_pictures(uri: str, endpoint: str | None, job: DiffusionTrainingJob) -> Location:
    """Open captioned pictures: a folder, or one tar or Parquet file."""
    endpoint, region = _server(endpoint, job)
    return open_location(uri, suffixes=PICTURE_SUFFIXES, endpoint=endpoint, region=region)


def _server(endpoint: str | None, job: DiffusionTrainingJob | None) -> tuple[str | None, str | None]:
    """Return endpoint and region; those of the job where nothing else is said."""
    if job is None or endpoint is not None:
        return endpoint, None
    return job.spec.checkpoint.endpoint, job.spec.checkpoint.region


def _open(uri: str, endpoint: str | None, job: DiffusionTrainingJob | None) -> Location:
    endpoint, region = _server(endpoint, job)
    return open_location(uri, endpoint=endpoint, region=region)


def _path(location: Location) -> Path | None:
    """Return what it is on this machine; None in a bucket."""
    uri = location.store.uri
    if not uri.startswith("file://"):
        return None
    return Path(unquote(uri.removeprefix("file://"))) / (location.key or "")

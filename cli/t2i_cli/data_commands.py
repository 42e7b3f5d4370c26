"""`t2i data encode`: pictures to shards of latents and embeddings, once for all runs that train on them."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from t2i_cli.data_report import encode_bar, encoded_document, encoded_table
from t2i_cli.locations import EndpointOption, open_pictures, open_root
from t2i_cli.reading import UsageProblem, read_job
from t2i_cli.terminal import Output, OutputOption, console, count_text, note, print_json

if TYPE_CHECKING:
    from t2i_api.job import DiffusionTrainingJob
    from t2i_checkpoint.open import Location
    from t2i_checkpoint.store import Store
    from t2i_trainer.data.encode import Encoded

_SHOWN_FAULTS = 10

app = typer.Typer(no_args_is_help=True, help="Training data: encode pictures once, train from the shards.")

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help=(
            "s3://, file:// or a path: a folder with metadata.jsonl and pictures, with webdataset tars or with Parquet "
            "files, or one such file."
        ),
        show_default=False,
    ),
]
DestinationArgument = Annotated[
    str,
    typer.Argument(metavar="DESTINATION", help="s3://, file:// or a path; data.uri of the jobs.", show_default=False),
]


@app.command()
def encode(  # noqa: PLR0913  # one parameter an option
    source: SourceArgument,
    destination: DestinationArgument,
    *,
    job_file: Annotated[
        Path,
        typer.Option("--job", metavar="FILE", help="The job to encode for: its models, resolution and fields count."),
    ],
    shard_mib: Annotated[
        int, typer.Option("--shard-mib", min=1, max=4096, help="Size of a shard in MiB, about. Default 256.")
    ] = 256,
    window_shards: Annotated[
        int,
        typer.Option(
            "--window-shards",
            min=1,
            max=4096,
            help="Shards whose samples are mixed in training; a pod keeps three times as many on its disk. Default 8.",
        ),
    ] = 8,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out and list what cannot be read, instead of stopping there.")
    ] = False,
    device: Annotated[
        str, typer.Option(help="auto, cpu or cuda. auto: a GPU if there is one.", metavar="DEVICE")
    ] = "auto",
    endpoint: EndpointOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Encode pictures and captions into shards that `data.uri` can name.

    Moments of the job's VAE (pixels without one) and embeddings of its text encoder, in safetensors files with an
    INDEX.json. Pictures are scaled so that the shorter side fits data.resolution, and the middle is cut out. Stop it
    whenever you like: the same command goes on with the next shard.

    Example: t2i data encode ./pictures s3://bucket/shards --job job.yaml

    Exit status: 0; 2 for a mistake in job or source, 3 for pictures that cannot be used, 4 for a store that cannot.
    """
    job = read_job(job_file)
    pictures, shards = open_pictures(source, endpoint, job), open_root(destination, endpoint, job)
    with tempfile.TemporaryDirectory(prefix="t2i-encode-") as scratch:
        encoded = _encode(job, pictures, shards, _Options(Path(scratch), shard_mib, window_shards, skip_broken, device))
    if output is Output.JSON:
        print_json(encoded_document(destination, encoded))
        return
    console().print(encoded_table(destination, encoded))
    for fault in encoded.broken[:_SHOWN_FAULTS]:
        note(f"left out: {fault}")
    if encoded.index.broken_count > _SHOWN_FAULTS:
        left_out = count_text(encoded.index.broken_count, "sample")
        note(f"{left_out} left out in all: the records beside the shards name them")


@dataclass(frozen=True)
class _Options:
    """The trainer's EncodeOptions, before the trainer is imported."""

    scratch: Path
    shard_mib: int
    window_shards: int
    skip_broken: bool
    device: str


def _encode(job: DiffusionTrainingJob, pictures: Location, shards: Store, options: _Options) -> Encoded:
    try:
        from t2i_trainer.data.encode_job import EncodeOptions, encode_job  # noqa: PLC0415  # torch takes seconds
        from t2i_trainer.errors import TrainerError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageProblem(
            f"{error.name} is not installed: t2i data encode needs the trainer (pip install 't2i-operator[trainer]')"
        ) from error
    with encode_bar() as report:
        try:
            return encode_job(job.spec, pictures, shards, EncodeOptions(**asdict(options)), report)
        except TrainerError as error:
            raise _Refused(str(error), error.code) from error


class _Refused(UsageProblem):
    """What the trainer refused, with the command line's exit status."""

    def __init__(self, message: str, code: int) -> None:
        from t2i_api.progress import ExitCode  # noqa: PLC0415

        super().__init__(message)
        self.exit_code = {ExitCode.DATA_INVALID: 3, ExitCode.STORAGE_UNAVAILABLE: 4}.get(ExitCode(code), 2)

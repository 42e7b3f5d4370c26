"""Puts the captioned set and the text encoder where the examples look for them; `python -m t2i_dev.story.prepare`.

Runs again at no cost: what lies there already is kept. Used by the demo, and by people with a cluster of their own.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import Store, StoreError
from t2i_dev.errors import DevelopmentError
from t2i_dev.story.emoji import EmojiRenderer, write_imagefolder
from t2i_dev.story.text_encoder import packaged_files
from t2i_dev.story.upload import Uploaded, upload_files

DATA_PREFIX: Final = "data/emoji"
TEXT_ENCODER_PREFIX: Final = "models/all-minilm-l6-v2"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was sent of each part."""

    pictures: Uploaded
    text_encoder: Uploaded


def prepare_bucket(store: Store) -> Prepared:
    """Upload both below the bucket's root; raises StoreError, MissingRequirementError."""
    return Prepared(upload_pictures(store, DATA_PREFIX), upload_text_encoder(store, TEXT_ENCODER_PREFIX))


def upload_pictures(store: Store, prefix: str) -> Uploaded:
    """Render and upload the trained pairs; metadata.jsonl last, so that a half-sent set passes for none."""
    with tempfile.TemporaryDirectory() as directory:
        files = write_imagefolder(EmojiRenderer.of_this_machine().references(), Path(directory))
        return upload_files(store, {f"{prefix}/{file.name}": file for file in files}, last=f"{prefix}/metadata.jsonl")


def upload_text_encoder(store: Store, prefix: str) -> Uploaded:
    """Upload model, tokenizer, model card and licence (91 MB); config.json last."""
    files = {f"{prefix}/{name}": path for name, path in packaged_files().items()}
    return upload_files(store, files, last=f"{prefix}/config.json")


def main(
    uri: Annotated[str, typer.Argument(help="Root of the bucket that the examples name: s3://t2i.")] = "s3://t2i",
    endpoint: Annotated[
        str | None, typer.Option(envvar="AWS_ENDPOINT_URL", help="URL of an S3 server other than AWS.")
    ] = None,
) -> None:
    """Upload the emoji pictures and the text encoder; credentials come from AWS_ACCESS_KEY_ID and so on."""
    console = Console(highlight=False)
    try:
        prepared = prepare_bucket(open_store(uri, endpoint=endpoint))
    except (StoreError, DevelopmentError) as error:
        Console(stderr=True, highlight=False).print(f"error: {error}", markup=False)
        raise typer.Exit(1) from error
    for name, prefix, part in (
        ("pictures", DATA_PREFIX, prepared.pictures),
        ("text encoder", TEXT_ENCODER_PREFIX, prepared.text_encoder),
    ):
        console.print(
            f"{name}: {uri.rstrip('/')}/{prefix}: {part.sent} files sent, {part.kept} were there", markup=False
        )


if __name__ == "__main__":
    typer.run(main)

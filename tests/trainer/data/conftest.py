"""Encoders of two layers, captioned pictures, and an encode run in this process."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from t2i_api.job import JobSpec
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.open import Location

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from t2i_checkpoint.store import Store
    from t2i_trainer.data.encode import Encoded
    from t2i_trainer.data.encode_progress import EncodeProgress
    from t2i_trainer.data.encoding import Encoders

RESOLUTION = 16
TOKENS, WIDTH = 8, 16


@dataclass(frozen=True)
class Place:
    """A rank among others, as `World` tells it to the feed."""

    device: torch.device
    rank: int = 0
    size: int = 1


@dataclass(frozen=True)
class Workshop:
    """Pictures at `source`, models at `models`, and what encodes the one with the other."""

    spec: JobSpec
    source: Path
    models: Path
    scratch: Path
    encoders: Encoders
    reports: list[EncodeProgress] = field(default_factory=list)

    def empty_source(self) -> None:
        """Remove all pictures."""
        shutil.rmtree(self.source)
        self.source.mkdir()

    def encode(
        self,
        destination: Store,
        *,
        samples_per_shard: int = 3,
        window_shards: int = 2,
        skip_broken: bool = False,
        **changes: Any,
    ) -> Encoded:
        """Encode into shards of a few samples."""
        from t2i_trainer.data.encode import Encoding  # noqa: PLC0415
        from t2i_trainer.data.encoding import recipe_of  # noqa: PLC0415
        from t2i_trainer.data.sources import open_source  # noqa: PLC0415

        place = Location(LocalStore(self.source))
        source = open_source(place, self.spec.data, self.scratch, skip_broken=skip_broken)
        recipe = recipe_of(self.spec, source, self.encoders, shard_mib=1, skip_broken=skip_broken)
        return Encoding(
            source=source,
            destination=destination,
            encoders=self.encoders,
            recipe=recipe.model_copy(update={"samples_per_shard": samples_per_shard, "encoding_batch": 2, **changes}),
            window_shards=window_shards,
            scratch=self.scratch,
            report=self.reports.append,
        ).run()


@pytest.fixture(scope="session")
def models_folder(
    tmp_path_factory: pytest.TempPathFactory, text_encoder_folder: Path, make_vae: Callable[[Path, str], None]
) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "text_encoder").symlink_to(text_encoder_folder)
    make_vae(folder / "vae", "AutoencoderKL")
    return folder


@pytest.fixture(scope="session")
def encoders(models_folder: Path) -> dict[str, Encoders]:
    """The models of both spaces, loaded once."""
    import torch  # noqa: PLC0415

    from t2i_trainer.data.encoding import Encoders, weights_sha256  # noqa: PLC0415
    from t2i_trainer.text_encoder import TextEncoder  # noqa: PLC0415
    from t2i_trainer.vae import Vae  # noqa: PLC0415

    cpu = torch.device("cpu")
    text = TextEncoder(models_folder / "text_encoder", TOKENS, cpu)
    pixels = Encoders(
        text=text,
        text_sha256=weights_sha256(models_folder / "text_encoder"),
        null_embedding=text.null_embedding(),
        vae=None,
        vae_sha256=None,
        device=cpu,
    )
    vae, vae_sha256 = Vae(models_folder / "vae", 0.5, cpu), weights_sha256(models_folder / "vae")
    return {"pixels": pixels, "latents": replace(pixels, vae=vae, vae_sha256=vae_sha256)}


@pytest.fixture
def make_workshop(
    tmp_path: Path,
    models_folder: Path,
    encoders: dict[str, Encoders],
    job_spec: JobSpec,
    write_dataset: Callable[[Store], None],
) -> Callable[[str], Workshop]:
    """Make a workshop in `pixels` or `latents`; its source is an image folder of ten pictures."""

    def make(space: str) -> Workshop:
        (tmp_path / "scratch").mkdir(exist_ok=True)
        source = tmp_path / "source"
        write_dataset(LocalStore(source))
        spec = job_spec if space == "pixels" else in_latent_space(job_spec, models_folder)
        return Workshop(spec, source, models_folder, tmp_path / "scratch", encoders[space])

    return make


def in_latent_space(spec: JobSpec, models: Path) -> JobSpec:
    document = json.loads(spec.model_dump_json(by_alias=True, exclude_none=True))
    unet = {**document["model"]["unet"]["config"], "in_channels": 4, "out_channels": 4}
    model = {
        "unet": {"config": unet},
        "textEncoder": document["model"]["textEncoder"],
        "vae": {"uri": f"file://{models}/vae", "scalingFactor": 0.5},
    }
    return JobSpec.model_validate({**document, "model": model})


@pytest.fixture
def place() -> Callable[..., Place]:
    """Make a rank's place on the CPU."""
    import torch  # noqa: PLC0415

    return lambda rank=0, size=1: Place(torch.device("cpu"), rank, size)

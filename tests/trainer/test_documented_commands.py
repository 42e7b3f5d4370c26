"""Every command and figure of docs/models.md and docs/data.md, on a small job whose parts lie in folders."""

from __future__ import annotations

import io
import math
import re
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import pytest
import yaml

from t2i_api.presets import PRESETS
from t2i_checkpoint import layout
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.unet import unet_architecture_from_mapping
from t2i_cli.main import app
from t2i_dev.paths import repository_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from t2i_api.job import JobSpec
    from t2i_checkpoint.store import Store

PAGES = ("models.md", "data.md")


def page(name: str) -> str:
    return (repository_root() / "docs" / name).read_text()


def commands(name: str) -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", page(name), re.DOTALL)
    return [line.partition(" # ")[0].strip() for block in blocks for line in block.splitlines()]


def t2i(arguments: list[str]) -> tuple[int, str]:
    said, status = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
        patch.setattr(sys, "argv", ["t2i", *arguments])
        try:
            app()
        except SystemExit as end:
            status = int(end.code or 0)
    return status, said.getvalue()


@pytest.fixture
def place(job_spec: JobSpec, tmp_path: Path, text_encoder_folder: Path, write_dataset: Callable[[Store], None]) -> Path:
    """A folder with job.yaml, pictures/, and a bucket/ in which a run has taken a step."""
    (tmp_path / "encoder").symlink_to(text_encoder_folder)
    for name in ("pictures", "bucket"):
        (tmp_path / name).mkdir()
    write_dataset(LocalStore(tmp_path / "pictures"))
    LocalStore(tmp_path / "bucket").put(layout.METRICS, b'{"step": 1, "loss": 0.5, "attempt": 1}\n')
    spec = job_spec.to_wire()
    spec["data"]["uri"] = f"file://{tmp_path}/bucket/shards"
    document = {"metadata": {"name": "shapes", "namespace": "default"}, "spec": spec}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(document))
    return tmp_path


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_the_page_work_in_its_order(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert len(commands(name)) >= 3
    for command in commands(name):
        program, *arguments = shlex.split(command)
        assert program == "t2i"
        status, said = t2i(arguments)
        assert status == 0, f"{command}\n{said}"
    made = {"models.md": "report/index.html", "data.md": "shards/INDEX.json"}[name]
    assert (place / "bucket" / made).exists()


def test_the_figures_of_the_presets_are_those_of_their_configs() -> None:
    told = {
        preset: int(count.replace(",", ""))
        for preset, count in re.findall(r"\| `([\w-]+)` \| ([\d,]+) \|", page("models.md"))
    }
    counted = {
        name: sum(
            math.prod(parameter.shape)
            for parameter in unet_architecture_from_mapping(config.model_dump(exclude_none=True)).parameters.values()
        )
        for name, config in PRESETS.items()
    }
    assert told == counted


@pytest.mark.parametrize("name", PAGES)
def test_the_links_of_the_page_lead_somewhere(name: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page(name)) if "://" not in link]
    assert links
    for link in links:
        assert (repository_root() / "docs" / link).exists(), link

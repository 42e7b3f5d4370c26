"""The report page of a run that was killed, stopped and resumed, opened in a real browser from its folder."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from t2i_api.findings import FindingName
from t2i_checkpoint import layout
from t2i_dev.browser import Browser

if TYPE_CHECKING:
    from pathlib import Path

    from tests.trainer.resume.conftest import Story


@pytest.fixture(scope="module")
def dom(story: Story) -> str:
    """What Chromium makes of the page that the last attempt left."""
    return Browser.find().dom(f"{story.disturbed.store.uri}/{layout.REPORT}")


def section(dom: str, key: str) -> str:
    found = re.search(rf'<section id="{key}">(.*?)</section>', dom, re.DOTALL)
    assert found is not None, key
    return found[1]


def test_curves_of_all_attempts_are_drawn(dom: str, story: Story) -> None:
    curves = section(dom, "curves")
    for chart in ("loss", "loss-log", "evaluation", "evaluation-log", "timesteps", "speed", "rate"):
        drawn = re.search(rf'id="{chart}"><svg.*?</svg>', curves, re.DOTALL)
        assert drawn is not None, chart
        assert re.search(r'<path[^>]* d="M[ \d.]+L', drawn[0]), chart
    for attempt in (2, 3):
        assert f"attempt {attempt} goes on from here" in curves
    evaluated = [row["step"] for row in story.disturbed.rows() if "evaluation" in row]
    assert {1, story.steps} & set(evaluated) or len(evaluated) > 2
    for step in evaluated:
        assert f"<title>step {step}: " in curves


def test_grids_of_every_moment_are_pictures_and_lead_to_the_large_ones(dom: str, story: Story) -> None:
    samples, store = section(dom, "samples"), story.disturbed.store
    keys = [info.key for info in store.list(layout.SAMPLES) if info.key.endswith(layout.GRID)]
    assert len(keys) == story.steps // 20
    for key in keys:
        assert f'<a href="../{key}"><img src="data:image/webp;base64,' in samples
        with Image.open(io.BytesIO(store.read(key.replace(layout.GRID, layout.PREVIEW)))) as small:
            assert small.width > 0
    for prompt in story.disturbed.job["spec"]["sampling"]["prompts"]:
        assert f"<li>{prompt}</li>" in samples


def test_verdicts_and_findings_are_told(dom: str, story: Story) -> None:
    verdicts = section(dom, "verdicts")
    assert verdicts.count(">identical</td>") == 2, "two attempts were resumed"
    assert "random weights" in verdicts
    for manifest in story.disturbed.manifests():
        assert layout.checkpoint_folder(manifest.step, manifest.writer) in verdicts
    findings = section(dom, "findings")
    assert FindingName.OUTSIDE_EXPECTATIONS in findings
    assert "smoothed loss" in findings
    assert f"<dd>{story.steps} of {story.steps}</dd>" in dom


def test_a_person_sees_curves_and_pictures(story: Story, tmp_path: Path) -> None:
    """Not blank: the photograph has the colours of both curves and of the pictures."""
    photograph = tmp_path / "page.png"
    Browser.find().photograph(f"{story.disturbed.store.uri}/{layout.REPORT}", photograph)
    with Image.open(photograph) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(maxcolors=2**24) or ()}
    assert {(0x1F, 0x5F, 0xA8), (0xB8, 0xC4, 0xD6), (0xD9, 0x82, 0x2B)} <= colours
    assert len(colours) > 200

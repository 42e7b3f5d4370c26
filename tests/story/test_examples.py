"""Every file in examples/ is a valid job, and says what the demo relies on."""

from pathlib import Path

import pytest
import yaml

from t2i_api.job import DiffusionTrainingJob
from t2i_checkpoint.wanted import wanted_from
from t2i_dev.story.dataset import SIDE
from t2i_dev.story.prepare import DATA_PREFIX, TEXT_ENCODER_PREFIX
from t2i_dev.story.prompts import FULL_PROMPTS, SHORT_PROMPTS
from t2i_dev.story.text_encoder import HIDDEN_SIZE

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))
STORY = [file for file in FILES if file.name != "latents.yaml"]


def job(name: str) -> DiffusionTrainingJob:
    return DiffusionTrainingJob.from_object(yaml.safe_load((EXAMPLES / name).read_text("utf-8")))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_example_is_a_valid_job_whose_unet_can_be_derived(file: Path) -> None:
    spec = job(file.name).spec
    assert wanted_from(spec).architecture


@pytest.mark.parametrize("file", STORY, ids=lambda file: file.name)
def test_the_story_trains_on_its_own_pictures(file: Path) -> None:
    spec = job(file.name).spec
    assert spec.model.unet.resolved.cross_attention_dim == HIDDEN_SIZE
    assert spec.data.resolution == SIDE
    assert spec.data.uri.endswith(DATA_PREFIX)
    assert spec.model.text_encoder.uri.endswith(TEXT_ENCODER_PREFIX)


@pytest.mark.parametrize(("name", "prompts"), [("emoji.yaml", FULL_PROMPTS), ("emoji-short.yaml", SHORT_PROMPTS)])
def test_examples_draw_the_lists_of_the_story(name: str, prompts: tuple[str, ...]) -> None:
    assert tuple(job(name).spec.sampling.prompts) == prompts


@pytest.mark.parametrize("file", STORY, ids=lambda file: file.name)
def test_a_kill_half_way_has_a_checkpoint_to_resume_from(file: Path) -> None:
    spec = job(file.name).spec
    assert spec.checkpoint.every_steps * 2 <= spec.training.steps
    assert spec.workers.world_size == 2


def test_jobs_share_no_checkpoint_prefix() -> None:
    assert len(FILES) >= 2
    assert len({job(file.name).spec.checkpoint.uri for file in FILES}) == len(FILES)

"""The prompts that the examples draw, read from `prompts.yaml` beside this file."""

from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict


class PromptLists(BaseModel):
    """Captions of the emoji set: `short` for the run of continuous integration, `full` for the run that is scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    short: tuple[str, ...]
    full: tuple[str, ...]


@cache
def prompt_lists() -> PromptLists:
    """Return both lists; raises pydantic.ValidationError if the file is damaged."""
    return PromptLists.model_validate(yaml.safe_load(Path(__file__).with_name("prompts.yaml").read_text("utf-8")))


SHORT_PROMPTS = prompt_lists().short
FULL_PROMPTS = prompt_lists().full

"""A finished model as its user meets it: the documented lines, run with Diffusers as it is installed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from diffusers import StableDiffusionPipeline

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def readme_code(folder: Path) -> str:
    """The lines of Python that a finished model's README shows, which look for it in `folder`."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    return f"folder = {str(folder)!r}\n{code}"


def drawn_by(code: str) -> NDArray[np.int64]:
    """The picture that documented lines draw, [R, R, 3], with Diffusers as it is installed."""
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  # the documented lines are what is tested
    assert type(names["pipeline"]) is StableDiffusionPipeline
    return np.asarray(names["picture"]).astype(int)

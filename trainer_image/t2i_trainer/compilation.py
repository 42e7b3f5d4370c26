"""torch.compile of the UNet: one graph, fixed shapes, and a cache that the next start on this machine or volume reuses.

Only the training step's own callable is compiled. Pictures, evaluation and checks run the same module as it is: each
of their shapes would cost another compilation.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from t2i_api.progress import ExitCode
from t2i_trainer.cache import cache_folder, private_folder
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Inductor puts its graphs there, and Triton its kernels below it; what does not fit (another version, device or
# model) is compiled anew under another key.
_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
_COMPILER_VARIABLE, _COMPILER = "CXX", "g++"  # what Inductor calls for the code of a CPU, and its choice
_ATOMIC_COMPILER = Path(__file__).with_name("atomic_compiler.py")
_PACKAGES = ("torch._dynamo", "torch._inductor", "torch._functorch", "triton")


def keep_compiled_code(run_directory: Path) -> None:
    """Let the processes that are started from now on share a cache, in which nothing is half written.

    A cache that the environment names is respected, and so is its compiler.
    """
    if _CACHE_VARIABLE not in os.environ:
        folder = private_folder(cache_folder("compiled"), run_directory / "compiled")
        os.environ[_CACHE_VARIABLE] = str(folder)
    compiler = os.environ.get(_COMPILER_VARIABLE) or shutil.which(_COMPILER)
    if compiler and str(_ATOMIC_COMPILER) not in compiler:
        # Isolated and without site-packages: a start takes a hundredth of a second.
        command = shlex.join([sys.executable, "-I", "-S", str(_ATOMIC_COMPILER)])
        os.environ[_COMPILER_VARIABLE] = f"{command} {compiler}"


def compile_whole(module: torch.nn.Module) -> torch.nn.Module:
    """Return the module compiled as one graph for each shape it meets; parameters stay those of `module`.

    Raises TrainerError(BAD_CONFIGURATION) where no compiler is there.
    """
    if os.environ.get("CXX") is None and all(shutil.which(name) is None for name in ("g++", "clang++", "gcc")):
        raise TrainerError(
            ExitCode.BAD_CONFIGURATION,
            "training.compile is WholeGraph, which needs a C++ compiler in the image (g++): use an image that has one, "
            "or write Eager",
        )
    return cast("torch.nn.Module", torch.compile(module, fullgraph=True, dynamic=False))


@contextmanager
def naming_the_setting() -> Iterator[None]:
    """Turn what the compiler cannot do into a sentence about training.compile."""
    try:
        yield
    except Exception as error:  # any error may pass here; only the compiler's own is changed
        if not type(error).__module__.startswith(_PACKAGES):
            raise
        first = (str(error).strip().splitlines() or [""])[0]
        raise TrainerError(
            ExitCode.BAD_CONFIGURATION,
            f"training.compile WholeGraph: this UNet cannot be compiled here ({type(error).__name__}: {first}). Write "
            "Eager, or choose another model.unet",
        ) from error

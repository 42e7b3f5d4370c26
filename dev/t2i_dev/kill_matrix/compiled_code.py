"""The compiler's cache of one run: it outlives the attempts, as the volume of workers.template.cacheClaim does."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from torch._inductor import config as inductor

from t2i_api.attempt import CACHE_VARIABLE
from t2i_trainer.compilation import keep_compiled_code


@dataclass(frozen=True)
class CompiledCode:
    """`root` is what the attempts get as $T2I_CACHE_DIRECTORY."""

    root: Path

    def use(self, run_directory: Path) -> None:
        """Let this process, a rank to be, compile into it: by what the launcher does before it starts ranks."""
        os.environ[CACHE_VARIABLE] = str(self.root)
        os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)
        keep_compiled_code(run_directory)
        # Read when Inductor's settings were imported, which was before this process was forked.
        inductor.cpp.cxx = (None, os.environ["CXX"])

    def begun(self) -> int:
        """Return the number of libraries that are there, whole or being written."""
        return sum(1 for pattern in ("*.so", "*.so.*.part") for _ in self.root.glob(f"compiled/*/{pattern}"))

    def forget(self) -> None:
        """Leave the next attempt a cold start."""
        shutil.rmtree(self.root, ignore_errors=True)

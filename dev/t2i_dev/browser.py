"""A real browser without a screen: what does a page that we make look like to a person?"""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from t2i_dev.errors import MissingRequirementError

CHROMIUM = "chromium"
_SECONDS = 120
# Root, as in a container, has no sandbox of Chromium's; only pages of our own are opened.
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


@dataclass(frozen=True)
class Browser:
    """Debian's Chromium; a fresh profile for every page."""

    program: str

    @classmethod
    def find(cls) -> "Browser":
        """Return it; raises `MissingRequirementError` where it is not installed."""
        program = shutil.which(CHROMIUM)
        if program is None:
            raise MissingRequirementError("this needs a browser: `t2i-dev setup` installs Debian's package chromium")
        return cls(program)

    def dom(self, url: str) -> str:
        """Return the page's HTML as it stands when everything is loaded and every script has run."""
        return self._run("--dump-dom", url)

    def photograph(self, url: str, path: Path, *, width: int = 1100, height: int = 3000) -> None:
        """Write a PNG of the page's upper part, sizes in pixels."""
        self._run(f"--screenshot={path}", f"--window-size={width},{height}", url)

    def _run(self, *arguments: str) -> str:
        with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
            command = [self.program, *_OPTIONS, f"--user-data-dir={profile}", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS)
        return done.stdout

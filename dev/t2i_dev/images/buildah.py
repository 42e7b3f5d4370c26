"""buildah with a storage of our own, so that the user's images stay as they are."""

import shutil
import subprocess
from pathlib import Path

from t2i_dev.errors import ImageBuildError, MissingRequirementError
from t2i_dev.paths import images_directory


def buildah(*arguments: str, log: Path | None = None) -> str:
    """Run buildah; returns its output, which goes to `log` too. Raises `ImageBuildError` with the end of it."""
    if shutil.which("buildah") is None:
        raise MissingRequirementError("building images needs buildah: `t2i-dev setup` installs it on Debian as root")
    storage = images_directory() / "storage"
    command = ["buildah", "--root", str(storage), "--runroot", str(images_directory() / "run"), *arguments]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(result.stdout)
    if result.returncode != 0:
        where = f" (all of it: {log})" if log else ""
        raise ImageBuildError(f"buildah {arguments[0]} failed{where}:\n{result.stdout[-3000:]}")
    return result.stdout.strip()


def image_id(tag: str) -> str | None:
    """The id of a local image, or None."""
    for line in buildah("images", "--format", "{{.ID}} {{.Name}}:{{.Tag}}", "--no-trunc").splitlines():
        identity, name = line.split()  # columns are aligned with blanks
        if name == tag:
            return identity
    return None

"""buildah and skopeo with a storage of our own, so that the user's images stay as they are."""

import shutil
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

from t2i_dev.errors import ImageBuildError, MissingRequirementError
from t2i_dev.locks import exclusive
from t2i_dev.paths import images_directory

# By default the storage mounts itself onto itself and stays mounted, which nobody would think of undoing.
NO_MOUNT = "overlay.skip_mount_home=true"


def building() -> AbstractContextManager[None]:
    """Hold the storage for a build; containers in it can then only be leftovers of a build that was killed."""
    return exclusive(images_directory() / ".build.lock")


def buildah(*arguments: str, log: Path | None = None) -> str:
    """Run buildah; returns its output, which goes to `log` too. Raises `ImageBuildError` with the end of it."""
    storage, run = _storage()
    options = ["--root", str(storage), "--runroot", str(run), "--storage-opt", NO_MOUNT]
    return _run(["buildah", *options, *arguments], arguments[0], log)


def export(tag: str, layout: Path) -> None:
    """Copy an image into an OCI layout, uncompressed; layers that lie there already are not even read.

    `buildah push` cannot do that: it compresses layers for a layout, each time anew.
    """
    storage, run = _storage()
    source = f"containers-storage:[overlay@{storage}+{run}:{NO_MOUNT}]{tag}"
    options = ["--insecure-policy", "--tmpdir", str(images_directory())]
    copy = ["copy", "--quiet", "--dest-oci-accept-uncompressed-layers", source, f"oci:{layout}:{tag}"]
    _run(["skopeo", *options, *copy], "copy")


def _storage() -> tuple[Path, Path]:
    return images_directory() / "storage", images_directory() / "run"


def _run(command: list[str], what: str, log: Path | None = None) -> str:
    if shutil.which(command[0]) is None:
        raise MissingRequirementError(f"images need {command[0]}: `t2i-dev setup` installs it on Debian as root")
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(result.stdout)
    if result.returncode != 0:
        where = f" (all of it: {log})" if log else ""
        raise ImageBuildError(f"{command[0]} {what} failed{where}:\n{result.stdout[-3000:]}")
    return result.stdout.strip()


def image_id(tag: str) -> str | None:
    """The id of a local image, or None."""
    for line in buildah("images", "--format", "{{.ID}} {{.Name}}:{{.Tag}}", "--no-trunc").splitlines():
        identity, name = line.split()  # columns are aligned with blanks
        if name == tag:
            return identity
    return None

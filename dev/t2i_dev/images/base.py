"""The base image where no registry is reachable: Debian with Python 3.11, made by debootstrap from apt's own mirror.

It stands in for `docker.io/library/python:3.11-slim-bookworm`: the same Debian release, `python3.11`, `pip`.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from t2i_dev.errors import ImageBuildError, MissingRequirementError
from t2i_dev.images.buildah import buildah, building, image_id
from t2i_dev.paths import images_directory
from t2i_dev.progress import Progress

RELEASE = "bookworm"
# The compiler and Python's headers are in the official image's reach (the first by apt, the second as they are).
PACKAGES = ("ca-certificates", "python3", "python3-venv", "python3-pip", "python3-dev", "g++")
# As in the official Python image: pip may install into the system, and `python` is Python 3.
FINISH = """
rm -f usr/lib/python3*/EXTERNALLY-MANAGED
ln -sf python3 usr/bin/python
rm -rf var/lib/apt/lists/* var/cache/apt/*.bin var/cache/debconf/*-old var/log/*.log
find usr/share/doc usr/share/man usr/share/info usr/share/locale -mindepth 1 -delete
rm -f etc/resolv.conf etc/hostname
"""


def base_tag() -> str:
    """The tag of the base image; it names everything that went in."""
    digest = hashlib.sha256(repr((RELEASE, PACKAGES, FINISH)).encode()).hexdigest()[:12]
    return f"localhost/t2i-base:{RELEASE}-{digest}"


def ensure_base_image(progress: Progress) -> str:
    """Make the base image unless it is there; returns its tag. Takes 1-3 minutes."""
    tag = base_tag()
    with building():
        if image_id(tag) is None:
            with progress.stage("base image", "debootstrap, 1-3 minutes"):
                _build(tag)
    return tag


def _build(tag: str) -> None:
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise MissingRequirementError(
            "making the base image needs root and debootstrap (`t2i-dev setup` installs it on Debian); "
            "with a registry at hand, pass its Python image instead: --base-image python:3.11-slim-bookworm"
        )
    root = images_directory() / "base-root"
    shutil.rmtree(root, ignore_errors=True)  # left by a build that was killed
    root.parent.mkdir(parents=True, exist_ok=True)
    mirror = _mirror()
    _run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE, str(root), *mirror)
    _run("sh", "-euc", FINISH, cwd=root)
    container = buildah("from", "scratch")
    try:
        buildah("add", "--quiet", container, str(root), "/")
        buildah("config", "--env", "LANG=C.UTF-8", "--cmd", "python3", container)
        buildah("commit", "--quiet", container, tag)
    finally:
        buildah("rm", container)
    shutil.rmtree(root)


def _mirror() -> list[str]:
    """Where this machine's apt finds the release, or nothing: debootstrap then uses its default."""
    if shutil.which("apt-get") is None:
        return []
    where = ["Created-By: Packages", "Label: Debian", f"Codename: {RELEASE}", "Component: main"]
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", *where]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return found[:1]


def _run(*command: str, cwd: Path | None = None) -> None:
    result = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0:
        raise ImageBuildError(f"{command[0]} failed:\n{result.stdout[-3000:]}")

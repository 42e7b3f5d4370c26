"""`t2i-dev setup`: packages, tools and images for everything that runs on this machine, each stage with its time."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from t2i_dev.browser import CHROMIUM
from t2i_dev.cluster.container_runtime import CNI_PLUGINS
from t2i_dev.cluster.requirements import CONTROL_PLANE_PROGRAMS, NODE_PROGRAMS, missing_for_node, missing_programs
from t2i_dev.errors import MissingRequirementError
from t2i_dev.images.base import ensure_base_image
from t2i_dev.images.project import build_project_images
from t2i_dev.progress import Progress
from t2i_dev.tools import ALL_TOOLS, ensure_tools

# Program -> Debian package, beyond what a cluster itself needs.
IMAGE_PROGRAMS = {"buildah": "buildah", "debootstrap": "debootstrap", "skopeo": "skopeo"}
OTHER_PROGRAMS = {"prometheus": "prometheus", "git": "git", CHROMIUM: "chromium"}
FONT_PACKAGE = "fonts-noto-color-emoji"
FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")


def missing_packages() -> list[str]:
    """Debian packages that are needed here and not installed."""
    programs = {**CONTROL_PLANE_PROGRAMS, **NODE_PROGRAMS, **IMAGE_PROGRAMS, **OTHER_PROGRAMS}
    missing = missing_programs(programs)
    if not (CNI_PLUGINS / "bridge").exists():
        missing.append("containernetworking-plugins")
    if not FONT.exists():
        missing.append(FONT_PACKAGE)
    return sorted(set(missing))


def install_packages(progress: Progress) -> None:
    """Install what is missing with apt. Raises `MissingRequirementError` with the list where that cannot be done."""
    missing = missing_packages()
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingRequirementError(
            f"these Debian packages (or what provides the same elsewhere) are missing: {' '.join(missing)}. "
            f"As root on Debian: apt-get install {' '.join(missing)}"
        )
    with progress.stage(f"install packages {' '.join(missing)}"):
        _apt("update")
        _apt("install", "--yes", "--no-install-recommends", *missing)


def prepare(progress: Progress, *, images: bool) -> None:
    """Do all of it. The base image is made beside the compilation: one waits for the network, one for the processor."""
    install_packages(progress)
    with_base = images and not missing_for_node()
    with ThreadPoolExecutor(max_workers=1) as pool:
        base = pool.submit(ensure_base_image, progress) if with_base else None
        ensure_tools(ALL_TOOLS, progress)
        if base is not None:
            base.result()
    if images:
        build_project_images(progress)


def _apt(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    command = ["apt-get", "-qq", *arguments]
    result = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if result.returncode != 0:
        raise MissingRequirementError(f"{' '.join(command)} failed:\n{result.stdout[-2000:]}")

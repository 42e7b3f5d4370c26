"""Build an image from a Dockerfile, unless nothing that goes into it changed.

Inside the build pip and uv see what the machine is configured with (certificates, package index, uv's cache): mounted
for the length of the build only, so that the Dockerfile stays portable and the image holds nothing of this machine.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from t2i_dev.images.buildah import buildah, building, image_id
from t2i_dev.images.layout import is_pushed, push
from t2i_dev.paths import images_directory
from t2i_dev.progress import Progress

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_CONFIGURATION = Path("/etc/pip.conf")
UV_CONFIGURATION = Path("/etc/uv/uv.toml")


@dataclass(frozen=True, slots=True)
class ImageSource:
    """What an image is built from."""

    tag: str
    dockerfile: Path
    context: Path
    build_args: Mapping[str, str]


def build_image(source: ImageSource, progress: Progress) -> str:
    """Build and export the image if anything changed; returns its tag.

    Layers are cached: a change of the code alone rebuilds the last, thin layer. Raises `ImageBuildError`.
    """
    stamp = images_directory() / f"{source.tag.replace('/', '_').replace(':', '_')}.json"
    with building():
        inputs = input_digest(source)
        if stamp.exists() and json.loads(stamp.read_text()) == inputs and is_pushed(source.tag):
            return source.tag
        log = images_directory() / "logs" / f"{stamp.stem}.log"
        with progress.stage(f"build image {source.tag}"):
            buildah("rm", "--all")
            before = image_id(source.tag)
            buildah("bud", *_options(source), str(source.context), log=log)
        if image_id(source.tag) != before or not is_pushed(source.tag):
            with progress.stage(f"export image {source.tag}"):
                push(source.tag)
        stamp.write_text(json.dumps(inputs))
        _remove_dangling()
    return source.tag


def _options(source: ImageSource) -> list[str]:
    options = ["--isolation", "chroot", "--pull-never", "--layers", "--force-rm", "--tag", source.tag, "--file"]
    options.append(str(source.dockerfile))
    for key, value in source.build_args.items():
        options += ["--build-arg", f"{key}={value}"]
    for host, inside, mode in _mounts():
        options += ["--volume", f"{host}:{inside}:{mode}"]
    return options


def _mounts() -> list[tuple[Path, Path, str]]:
    mounts = [(path, path, "ro") for path in (CERTIFICATES, PIP_CONFIGURATION) if path.exists()]
    uv = UV_CONFIGURATION
    if not uv.exists():
        uv = images_directory() / "uv.toml"
        uv.write_text("system-certs = true\n")
    mounts.append((uv, UV_CONFIGURATION, "ro"))
    mounts.append((_uv_cache(), Path("/root/.cache/uv"), "rw"))
    return mounts


def _uv_cache() -> Path:
    """The user's uv cache, so that torch is neither downloaded nor unpacked a second time."""
    if shutil.which("uv"):
        found = subprocess.run(["uv", "cache", "dir"], capture_output=True, text=True, check=False)
        if found.returncode == 0:
            cache = Path(found.stdout.strip())
            cache.mkdir(parents=True, exist_ok=True)
            return cache
    cache = images_directory() / "uv-cache"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def input_digest(source: ImageSource) -> str:
    """Of the Dockerfile, its arguments and every file of the context that git does not ignore."""
    digest = hashlib.sha256(source.dockerfile.read_bytes())
    digest.update(repr(sorted(source.build_args.items())).encode())
    for name in _context_files(source.context):
        path = source.context / name
        if path.is_file():
            digest.update(os.fsencode(name) + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _context_files(context: Path) -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=context, capture_output=True, check=False)
    if listed.returncode == 0:
        return sorted(os.fsdecode(name) for name in listed.stdout.split(b"\0") if name)
    return sorted(str(path.relative_to(context)) for path in context.rglob("*"))  # not a checkout


def _remove_dangling() -> None:
    """Untagged images of earlier builds whose layers nothing uses any more."""
    buildah("rmi", "--prune", "--force")

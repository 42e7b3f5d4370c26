"""All built images in one OCI image layout: blobs that are there already are never written again.

Format: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

import json
from pathlib import Path
from typing import Any

from t2i_dev.errors import ImageBuildError
from t2i_dev.images.buildah import export
from t2i_dev.paths import images_directory

REFERENCE = "org.opencontainers.image.ref.name"


def layout_directory() -> Path:
    """The layout."""
    return images_directory() / "layout"


def push(tag: str) -> None:
    """Write an image's new blobs, uncompressed, and remove blobs that no image uses any more."""
    export(tag, layout_directory())
    _prune()


def manifest_descriptor(tag: str) -> dict[str, Any]:
    """The descriptor of an image's manifest. Raises `ImageBuildError` when it was not built."""
    for descriptor in _manifests():
        if descriptor.get("annotations", {}).get(REFERENCE) == tag:
            return descriptor
    raise ImageBuildError(f"the image {tag} was not built: t2i-dev images build")


def is_pushed(tag: str) -> bool:
    """Whether the layout holds an image of that tag."""
    return any(each.get("annotations", {}).get(REFERENCE) == tag for each in _manifests())


def _manifests() -> list[dict[str, Any]]:
    index = layout_directory() / "index.json"
    return list(json.loads(index.read_text())["manifests"]) if index.exists() else []


def blob_path(digest: str) -> Path:
    """The file of a blob."""
    algorithm, _, value = digest.partition(":")
    return layout_directory() / "blobs" / algorithm / value


def read_json(digest: str) -> dict[str, Any]:
    """A manifest or configuration."""
    document: dict[str, Any] = json.loads(blob_path(digest).read_bytes())
    return document


def _prune() -> None:
    tagged = [each for each in _manifests() if REFERENCE in each.get("annotations", {})]
    index = {"schemaVersion": 2, "manifests": tagged}
    temporary = layout_directory() / ".index.json"
    temporary.write_text(json.dumps(index))
    temporary.replace(layout_directory() / "index.json")
    used: set[str] = set()
    for descriptor in tagged:
        manifest = read_json(descriptor["digest"])
        used |= {descriptor["digest"], manifest["config"]["digest"], *(each["digest"] for each in manifest["layers"])}
    for blob in (layout_directory() / "blobs" / "sha256").iterdir():
        if f"sha256:{blob.name}" not in used:
            blob.unlink()

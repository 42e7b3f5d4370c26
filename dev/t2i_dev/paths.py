"""Where the development tool keeps things outside the checkout: built tools, images, clusters."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/t2i-operator`, or `~/.cache/t2i-operator` (XDG Base Directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "t2i-operator"


def tools_directory() -> Path:
    """Built binaries, one folder a tool and version."""
    return cache_directory() / "tools"


def images_directory() -> Path:
    """Base root file systems and built images."""
    return cache_directory() / "images"


def clusters_directory() -> Path:
    """The register of clusters, and by default their private directories."""
    return cache_directory() / "clusters"


def go_modules_directory() -> Path:
    """`dev/tools` of the checkout: one Go module a tool."""
    return Path(__file__).resolve().parent.parent / "tools"


def repository_root() -> Path:
    """The checkout that this package is imported from."""
    return Path(__file__).resolve().parents[2]

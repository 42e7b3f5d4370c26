"""Import built images into a cluster's containerd: only what its slot has not seen yet.

The slot's content store outlives the cluster: a warm start imports nothing, and after a change of code only the thin
last layer travels.
"""

import contextlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from t2i_dev.cluster.container_runtime import KUBERNETES_NAMESPACE, ctr
from t2i_dev.cluster.local_cluster import LocalCluster
from t2i_dev.errors import ClusterStateError, ComponentFailedError, ImageBuildError
from t2i_dev.images.layout import REFERENCE, blob_path, manifest_descriptor, read_json
from t2i_dev.locks import exclusive
from t2i_dev.progress import Progress

CONTENT_STORE = Path("io.containerd.content.v1.content/blobs/sha256")
CONTAINERD_NAME = "io.containerd.image.name"


def load_images(cluster: LocalCluster, tags: Iterable[str], progress: Progress) -> None:
    """Make the images available to pods of the cluster under their tags (`imagePullPolicy: IfNotPresent`).

    Raises `ClusterStateError` for a cluster without a node, `ImageBuildError` for an image that was not built.
    """
    socket = cluster.containerd_socket
    if cluster.network is None or socket is None:
        raise ClusterStateError(f"the cluster {cluster.name} has no node to load images into")
    root = cluster.network.containerd_root
    with exclusive(root / ".t2i-import.lock"):
        for tag in tags:
            descriptor = manifest_descriptor(tag)
            if not _is_loaded(socket, tag, descriptor["digest"]):
                with progress.stage(f"load image {tag} into {cluster.name}"), _old_layers_kept(socket, tag):
                    _load_or_start_over(socket, root, tag, descriptor)


def _is_loaded(socket: Path, tag: str, digest: str) -> bool:
    for line in ctr(socket, "images", "list", f"name=={tag}").splitlines()[1:]:
        name, _, found, *_ = line.split()
        if name == tag:
            return found == digest
    return False


@contextlib.contextmanager
def _old_layers_kept(socket: Path, tag: str) -> Iterator[None]:
    """Keep a second name on the image that is replaced.

    An import moves the tag before it unpacks; containerd may then collect the old image's snapshots, which the new
    image's layers are about to be unpacked upon.
    """
    kept = f"{tag}-replaced"
    with contextlib.suppress(ComponentFailedError):  # there is no old image
        ctr(socket, "images", "tag", "--force", tag, kept)
    try:
        yield
    finally:
        with contextlib.suppress(ComponentFailedError):
            ctr(socket, "images", "remove", kept)


def _load_or_start_over(socket: Path, root: Path, tag: str, descriptor: dict[str, Any]) -> None:
    try:
        _load(socket, root, tag, descriptor)
    except ImageBuildError:
        # A tag whose layers are not unpacked would pass for a loaded image.
        ctr(socket, "images", "remove", "--sync", tag)
        try:
            _load(socket, root, tag, descriptor)
        except ImageBuildError:
            ctr(socket, "images", "remove", "--sync", tag)
            raise


def _load(socket: Path, root: Path, tag: str, descriptor: dict[str, Any]) -> None:
    manifest = read_json(descriptor["digest"])
    present = set(ctr(socket, "content", "list", "--quiet").split())
    layers = [each["digest"] for each in manifest["layers"]]
    blobs = [descriptor["digest"], manifest["config"]["digest"], *(each for each in layers if each not in present)]
    command = ["ctr", "--address", str(socket), "--namespace", KUBERNETES_NAMESPACE, "images", "import", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdin is not None  # noqa: S101  # PIPE was asked for
        assert process.stdout is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):  # the reason is in its output
            _write_archive(process.stdin, tag, descriptor, dict.fromkeys(blobs))
            process.stdin.close()
        output = process.stdout.read().decode(errors="replace")
    if process.returncode != 0:
        raise ImageBuildError(f"importing {tag} failed: {output[-2000:]}")
    _share_blobs(root, layers)


def _write_archive(stream: IO[bytes], tag: str, descriptor: dict[str, Any], blobs: Iterable[str]) -> None:
    named = {**descriptor, "annotations": {CONTAINERD_NAME: tag, REFERENCE: tag.rpartition(":")[2]}}
    index = {"schemaVersion": 2, "manifests": [named]}
    small = {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": index}
    with tarfile.open(fileobj=stream, mode="w|", bufsize=1 << 20) as archive:
        for name, document in small.items():
            content = json.dumps(document).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for digest in blobs:
            archive.add(blob_path(digest), f"blobs/{digest.replace(':', '/')}")


def _share_blobs(root: Path, layers: Iterable[str]) -> None:
    """Replace containerd's copies of the layers by links to ours: equal bytes under an equal name, stored once."""
    for digest in layers:
        ours, theirs = blob_path(digest), root / CONTENT_STORE / digest.partition(":")[2]
        if not theirs.exists() or theirs.samefile(ours):
            continue
        link = theirs.with_name(f".{theirs.name}.link")
        link.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another file system: keep the copy
            os.link(ours, link)
            link.replace(theirs)

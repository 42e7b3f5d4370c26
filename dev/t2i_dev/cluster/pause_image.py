"""The image of the container that holds a pod's namespaces, packed from our own static program.

Format: an OCI image layout in a tar archive, https://github.com/opencontainers/image-spec.
"""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

from t2i_dev.cluster.container_runtime import PAUSE_IMAGE, ctr

MEDIA = "application/vnd.oci.image"


def import_pause_image(socket: Path, program: Path, archive: Path) -> None:
    """Make sure that containerd has the image; `archive` is a scratch path."""
    if PAUSE_IMAGE in ctr(socket, "images", "list", "--quiet").split():
        return
    archive.write_bytes(image_archive(program.read_bytes()))
    ctr(socket, "images", "import", str(archive))
    archive.unlink()


def image_archive(program: bytes) -> bytes:
    """The archive of an image whose one file is `/pause`."""
    layer = _tar({"pause": program}, mode=0o755)
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    blobs: dict[str, bytes] = {}

    def blob(content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), f"{MEDIA}.config.v1+json"),
        "layers": [blob(layer, f"{MEDIA}.layer.v1.tar")],
    }
    entry = blob(json.dumps(manifest).encode(), f"{MEDIA}.manifest.v1+json")
    entry["annotations"] = {"io.containerd.image.name": PAUSE_IMAGE, "org.opencontainers.image.ref.name": "1"}
    index = {"schemaVersion": 2, "manifests": [entry]}
    layout = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode()}
    return _tar({**layout, **blobs}, mode=0o644)


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _tar(files: dict[str, bytes], *, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()

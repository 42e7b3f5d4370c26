import hashlib
import io
import json
import tarfile

from t2i_dev.cluster.container_runtime import PAUSE_IMAGE
from t2i_dev.cluster.pause_image import image_archive


def test_the_archive_is_an_oci_layout_whose_digests_hold() -> None:
    with tarfile.open(fileobj=io.BytesIO(image_archive(b"program"))) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    for name, content in files.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(content).hexdigest() == name.rpartition("/")[2]

    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == PAUSE_IMAGE

    def blob(descriptor: dict[str, str]) -> bytes:
        return files["blobs/" + descriptor["digest"].replace(":", "/")]

    manifest = json.loads(blob(entry))
    (layer,) = manifest["layers"]
    assert json.loads(blob(manifest["config"]))["rootfs"]["diff_ids"] == [layer["digest"]]
    with tarfile.open(fileobj=io.BytesIO(blob(layer))) as archive:
        (member,) = archive
        assert (member.name, member.mode, member.size) == ("pause", 0o755, len(b"program"))


def test_the_same_program_gives_the_same_image() -> None:
    assert image_archive(b"program") == image_archive(b"program")

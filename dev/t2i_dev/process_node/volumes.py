"""A pod's volumes as folders of this machine: ConfigMap, Secret, emptyDir, hostPath; others are refused."""

from pathlib import Path
from typing import Any

from t2i_dev.process_node.environment import Fetch, MissingReferenceError, data_of
from t2i_dev.process_node.path_view import PathView


def prepare_volumes(pod: dict[str, Any], directory: Path, fetch: Fetch, view: PathView) -> dict[str, Path]:
    """Make every volume below `directory` and return volume name -> folder.

    Texts of ConfigMaps may name pods, which have no names here: `view` puts their addresses in.
    """
    folders = {}
    for volume in pod["spec"].get("volumes") or []:
        folder = directory / volume["name"]
        if host := volume.get("hostPath"):
            folder = Path(host["path"])
        elif source := volume.get("configMap"):
            found = data_of(fetch, "configmaps", source["name"], optional=source.get("optional", False))
            _write(folder, {name: view.rewrite_names(text.decode()).encode() for name, text in found.items()}, source)
        elif source := volume.get("secret"):
            found = data_of(fetch, "secrets", source["secretName"], optional=source.get("optional", False))
            _write(folder, found, source)
        elif "emptyDir" in volume:
            folder.mkdir(parents=True, exist_ok=True)
        elif "projected" in volume:
            # The service account's token: programs here get a kubeconfig instead.
            folder.mkdir(parents=True, exist_ok=True)
        else:
            kinds = sorted(set(volume) - {"name"})
            raise MissingReferenceError(f"volume {volume['name']}: the process node knows no {', '.join(kinds)}")
        folders[volume["name"]] = folder
    return folders


def mounted_paths(container: dict[str, Any], folders: dict[str, Path]) -> dict[str, Path]:
    """Return path in the container -> path on this machine for every mount."""
    paths = {}
    for mount in container.get("volumeMounts") or []:
        outside = folders[mount["name"]]
        if part := mount.get("subPath"):
            outside = outside / part
        paths[mount["mountPath"]] = outside
    return paths


def _write(folder: Path, content: dict[str, bytes], source: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    names = {item["key"]: item["path"] for item in source.get("items") or []} or {name: name for name in content}
    for key, path in names.items():
        if key not in content:
            raise MissingReferenceError(f"volume from {source}: there is no key {key!r}")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content[key])
        target.chmod(0o600)

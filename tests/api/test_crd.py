"""The rendered CRD is current, and every field in it is bounded and explained."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2i_api.crd import CRD_NAME, render, to_yaml

CRD_FILE = Path(__file__).parents[2] / "crds" / "training.t2i.dev_diffusiontrainingjobs.yaml"


def _nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, node in schema.get("properties", {}).items():
        yield from _nodes(node, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from _nodes(schema[key], f"{path}[]")


def _spec_and_status() -> list[tuple[str, dict[str, Any]]]:
    schema = render()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return [pair for name in ("spec", "status") for pair in _nodes(schema["properties"][name], name)]


def test_the_file_in_crds_is_what_the_models_say() -> None:
    assert CRD_FILE.read_text() == to_yaml(), "stale: run `make crds`"


def test_every_field_is_explained() -> None:
    silent = [path for path, node in _spec_and_status() if not path.endswith("[]") and not node.get("description")]
    assert silent == []


def test_every_optional_scalar_of_the_spec_says_its_default() -> None:
    schema = render()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    silent = [
        f"{path}.{name}"
        for path, node in _nodes(schema, "spec")
        for name, field in node.get("properties", {}).items()
        if name not in node.get("required", []) and field.get("type") not in {"object", "array", None}
        if not any(word in field["description"] for word in ("Default", "Example", "Reserved", " or "))
    ]
    assert silent == []


def test_every_string_list_and_map_is_bounded() -> None:
    unbounded = [
        path
        for path, node in _spec_and_status()
        if (node.get("type") == "string" and "maxLength" not in node and "enum" not in node)
        or (node.get("type") == "array" and "maxItems" not in node)
        or ("additionalProperties" in node and "maxProperties" not in node)
    ]
    assert unbounded == []


def test_the_short_name_and_columns_are_those_of_the_design() -> None:
    spec = render()["spec"]
    assert (spec["names"]["shortNames"], spec["names"]["categories"]) == (["dtj"], ["t2i"])
    columns = spec["versions"][0]["additionalPrinterColumns"]
    narrow = [column["name"].upper() for column in columns if not column["priority"]]
    wide = [column["name"].upper() for column in columns if column["priority"]]
    assert narrow == ["STATE", "STEP", "PROGRESS", "LOSS", "RESTARTS", "AGE"]
    assert wide == ["GPUS", "CHECKPOINT", "ETA", "MESSAGE"]
    assert render()["metadata"]["name"] == CRD_NAME

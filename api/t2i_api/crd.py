"""Renders the CustomResourceDefinition from `job.py`, so that schema, manual and readers cannot drift apart.

Pydantic's JSON schema is turned into the structural OpenAPI v3 schema that the API server demands: references inlined,
nullable fields made optional, defaults written whole. `python -m t2i_api.crd` prints the YAML that lies in `crds/`.
"""

import sys
from typing import Any, Final

import yaml

from t2i_api.attempt import GROUP, KIND, PLURAL, VERSION
from t2i_api.job import MAXIMUM_NAME_LENGTH, JobSpec
from t2i_api.status import JobStatus

CRD_NAME: Final = f"{PLURAL}.{GROUP}"
DESCRIPTION: Final = (
    "A text-to-image diffusion model in training: its checkpoints are judged before a GPU is requested."
)
HEADER: Final = "# Rendered from api/t2i_api/job.py by `make crds`; a test fails when it is stale.\n"

_COPIED: Final[tuple[str, ...]] = (
    "description",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "multipleOf",
    "default",
    "x-kubernetes-validations",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
_DATE_TIME_LENGTH: Final = 64


def _column(name: str, kind: str, path: str, description: str, *, wide: bool = False) -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path, "description": description, "priority": 1 if wide else 0}


PRINTER_COLUMNS: Final = (
    _column("State", "string", '.status.conditions[?(@.type=="Succeeded")].reason', "What the job is doing."),
    _column("Step", "integer", ".status.progress.step", "Optimizer steps done."),
    _column("Progress", "string", ".status.progress.percentage", "Share of the steps."),
    _column("Loss", "string", ".status.progress.lossText", "Smoothed loss."),
    _column("Restarts", "integer", ".status.restarts.total", "Restarts so far."),
    _column("GPUs", "integer", ".status.gpus", "GPUs asked for.", wide=True),
    _column("Checkpoint", "integer", ".status.progress.lastCheckpointStep", "Last committed step.", wide=True),
    _column("ETA", "string", ".status.progress.eta", "Time left.", wide=True),
    _column("Message", "string", ".status.message", "What is going on.", wide=True),
    _column("Age", "date", ".metadata.creationTimestamp", "Since when."),
)


def structural(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the structural schema (KEP-1979) of a pydantic JSON schema node; raises ValueError on what has none."""
    if "$ref" in schema:
        referred = definitions[schema["$ref"].rsplit("/", 1)[1]]
        schema = {**referred, **{key: value for key, value in schema.items() if key != "$ref"}}
    if schema.pop("x-t2i-integer-or-list", False):
        # A structural schema cannot say "integer or list"; the operator's own model checks what the server lets by.
        free = {"x-kubernetes-preserve-unknown-fields": True, "description": schema.get("description", "")}
        return free if schema.get("default") is None else {**free, "default": schema["default"]}
    if "anyOf" in schema:
        choices = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
        if len(choices) != 1:
            raise ValueError(f"no structural schema for {schema}")
        rest = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
        return structural({**choices[0], **rest}, definitions)
    result: dict[str, Any] = {key: schema[key] for key in _COPIED if key in schema}
    result["type"] = schema["type"]
    if schema["type"] == "string" and "x-kubernetes-validations" in result:
        # The rule says in words what the pattern says in a regular expression.
        result.pop("pattern", None)
    _copy_bounds(schema, result)
    if schema["type"] == "array":
        result["items"] = structural(dict(schema["items"]), definitions)
    if schema["type"] == "object":
        _copy_properties(schema, result, definitions)
    return result


def _copy_bounds(schema: dict[str, Any], result: dict[str, Any]) -> None:
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in schema:
            result[bound] = schema[exclusive]
            result[exclusive] = True
    if schema.get("format") == "date-time":
        result["format"] = "date-time"
        result["maxLength"] = _DATE_TIME_LENGTH
    if schema["type"] == "integer":
        result["format"] = "int64"


def _copy_properties(schema: dict[str, Any], result: dict[str, Any], definitions: dict[str, Any]) -> None:
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = structural(dict(schema["additionalProperties"]), definitions)
        if "maxProperties" in schema:
            result["maxProperties"] = schema["maxProperties"]
        return
    result["properties"] = {
        name: structural(dict(node), definitions) for name, node in schema.get("properties", {}).items()
    }
    if schema.get("required"):
        result["required"] = schema["required"]
    if "default" in result:
        # CEL rules are checked against a default before the fields below it are defaulted, so it is written whole.
        result["default"] = _without_null(result["default"])


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return value


def schema_of(model: type[JobSpec] | type[JobStatus]) -> dict[str, Any]:
    """Return the structural schema of the spec or the status."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return structural(schema, schema.get("$defs", {}))


def render() -> dict[str, Any]:
    """Return the CustomResourceDefinition."""
    name_rule = {
        "rule": f"size(self.metadata.name) <= {MAXIMUM_NAME_LENGTH}",
        "message": f"metadata.name must have at most {MAXIMUM_NAME_LENGTH} characters: pods are named after it",
    }
    label_rule = {
        "rule": "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "message": "metadata.name must begin with a letter and hold only a-z, 0-9 and '-': a Service is named after it",
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD_NAME},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["dtj"],
                "categories": ["t2i"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": list(PRINTER_COLUMNS),
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": DESCRIPTION,
                            "required": ["spec"],
                            "x-kubernetes-validations": [name_rule, label_rule],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": {**schema_of(JobSpec), "description": "What the user asks for."},
                                "status": {**schema_of(JobStatus), "description": "What is; written by the operator."},
                            },
                        }
                    },
                }
            ],
        },
    }


def to_yaml() -> str:
    """Return the file that lies in `crds/`."""
    return HEADER + yaml.safe_dump(render(), sort_keys=False, width=10_000, allow_unicode=True)


if __name__ == "__main__":
    sys.stdout.write(to_yaml())

"""JSON Schemas of what an API server serves, for checkers that know no cluster (kubeconform).

Published collections of such schemas are a download, lag behind releases and know no custom resource. The server's own
OpenAPI documents and the definitions of custom resources have everything, in a dialect of their own: open objects,
`nullable`, integers that may be strings. Here that becomes plain JSON Schema in which an unknown field is an error.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from t2i_dev.cluster.api_client import ApiClient
from t2i_dev.errors import ComponentFailedError

# Where kubeconform finds a kind below the folder (its -schema-location is a Go template). In the core group it gives
# the version for `Group`.
LOCATION = "{{.Group}}/{{.ResourceKind}}-{{.ResourceAPIVersion}}.json"

_REFERENCE = "#/components/schemas/"
_KIND = "x-kubernetes-group-version-kind"
_OPEN = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_ALTERNATIVES = ("allOf", "anyOf", "oneOf")
_WORDS = ("description", "title", "default", "example", "externalDocs")


def write_json_schemas(documents: Iterable[Mapping[str, Any]], directory: Path) -> str:
    """Write the kinds of OpenAPI documents below a folder, one file each; returns kubeconform's schema location."""
    for document in documents:
        for name, schema in json_schemas(document).items():
            file = directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(schema))
    return f"{directory}/{LOCATION}"


def served(client: ApiClient, api_version: str) -> dict[str, Any]:
    """Return the server's document of one API version ("v1", "apps/v1").

    Raises `ComponentFailedError` for a version that it does not serve.
    """
    path = f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"
    document = client.find(f"/openapi/v3/{path}")
    if document is None:
        raise ComponentFailedError(f"the API server serves no {api_version}")
    return document


def defined(crd: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same for a CustomResourceDefinition that no server has taken yet. Its `metadata` stays open."""
    spec = crd["spec"]
    schemas = {}
    for version in spec["versions"]:
        kind = {"group": spec["group"], "version": version["name"], "kind": spec["names"]["kind"]}
        schemas[f"{kind['kind']}.{kind['version']}"] = version["schema"]["openAPIV3Schema"] | {_KIND: [kind]}
    return {"components": {"schemas": schemas}}


def json_schemas(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """File name -> schema, for every kind of an OpenAPI v3 document of one API version.

    Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3
    """
    sources: dict[str, Any] = document["components"]["schemas"]
    found = {}
    for name, source in sources.items():
        # What belongs to many groups at a time (DeleteOptions) is a request's body, no object.
        kinds = source.get(_KIND, [])
        if len(kinds) == 1:
            definitions = {each: _converted(sources[each]) for each in sorted(_reachable(name, sources))}
            found[_file_name(**kinds[0])] = {"$ref": f"#/definitions/{name}", "definitions": definitions}
    return found


def _file_name(*, group: str, version: str, kind: str) -> str:
    return f"{group or version}/{kind.lower()}-{version}.json"


def _reachable(name: str, sources: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += _references(sources[current])
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for each in schema:
            yield from _references(each)
    elif isinstance(schema, dict):
        for name, each in schema.items():
            # A CRD's own schema has a *property* that is called $ref: there an object follows, not a text.
            if name == "$ref" and isinstance(each, str):
                yield each.removeprefix(_REFERENCE)
            else:
                yield from _references(each)


def _converted(source: Mapping[str, Any], *, whole: bool = True) -> dict[str, Any]:
    """One schema. `whole`: it describes all fields of the object; an alternative in it describes some."""
    schema: dict[str, Any] = {}
    for name, value in source.items():
        if name in _WORDS or name == "nullable" or name.startswith("x-kubernetes-"):
            continue
        if name == "$ref":
            schema[name] = f"#/definitions/{value.removeprefix(_REFERENCE)}"
        elif name == "properties":
            schema[name] = {key: _converted(each, whole=whole) for key, each in value.items()}
        elif name in _ALTERNATIVES:
            schema[name] = [_converted(each, whole=False) for each in value]
        elif isinstance(value, dict):  # items, additionalProperties, not
            schema[name] = _converted(value, whole=whole and name != "not")
        else:
            schema[name] = value
    if whole and "properties" in schema and not source.get(_OPEN) and not source.get(_EMBEDDED):
        schema.setdefault("additionalProperties", False)
    return {"anyOf": [schema, {"type": "null"}]} if source.get("nullable") else schema

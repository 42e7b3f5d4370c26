"""The dialect of the API server's OpenAPI as JSON Schema; that kubeconform takes the result: tests/charts."""

from typing import Any

import pytest

from t2i_dev.json_schemas import defined, json_schemas

THING = "dev.t2i.v1.Thing"
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
KIND = {"group": "t2i.dev", "version": "v1", "kind": "Thing"}


def converted(thing: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    """Return the definitions that the file of one kind holds."""
    schemas = {THING: thing | {"x-kubernetes-group-version-kind": [KIND]}, **others}
    (schema,) = json_schemas({"components": {"schemas": schemas}}).values()
    assert schema["$ref"] == f"#/definitions/{THING}"
    definitions: dict[str, Any] = schema["definitions"]
    return definitions


@pytest.mark.parametrize(
    ("served", "schema"),
    [
        ({"type": "string", "description": "words", "default": "x"}, {"type": "string"}),
        (
            {"type": "object", "properties": {"a": {"type": "integer"}}},
            {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False},
        ),
        ({"type": "object"}, {"type": "object"}),
        (
            {"type": "object", "properties": {"a": {}}, "x-kubernetes-preserve-unknown-fields": True},
            {"type": "object", "properties": {"a": {}}},
        ),
        (
            {"type": "object", "properties": {"spec": {}}, "x-kubernetes-embedded-resource": True},
            {"type": "object", "properties": {"spec": {}}},
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string", "description": "words"}},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ),
        ({"type": "string", "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (
            {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        ),
        # An alternative names some of the fields: it must not forbid the others.
        (
            {"oneOf": [{"required": ["a"], "properties": {"a": {"properties": {"b": {}}}}}]},
            {"oneOf": [{"required": ["a"], "properties": {"a": {"properties": {"b": {}}}}}]},
        ),
        ({"not": {"properties": {"a": {}}}}, {"not": {"properties": {"a": {}}}}),
        # The schema of schemas has a property of that name.
        (
            {"properties": {"$ref": {"type": "string"}}},
            {"properties": {"$ref": {"type": "string"}}, "additionalProperties": False},
        ),
    ],
    ids=str,
)
def test_each_peculiarity_of_the_dialect_has_its_counterpart(served: dict[str, Any], schema: dict[str, Any]) -> None:
    definition = converted({"type": "object", "properties": {"field": served}})[THING]

    assert definition["properties"]["field"] == schema


def test_a_file_holds_what_its_kind_refers_to_and_no_more() -> None:
    reference = {"allOf": [{"$ref": f"#/components/schemas/{META}"}], "default": {}}
    meta = {"type": "object", "properties": {"owner": {"$ref": "#/components/schemas/Owner"}}}
    others: dict[str, Any] = {META: meta, "Owner": {"type": "object"}, "Unrelated": {"type": "object"}}

    definitions = converted({"type": "object", "properties": {"metadata": reference}}, **others)

    assert set(definitions) == {THING, META, "Owner"}
    assert definitions[THING]["properties"]["metadata"] == {"allOf": [{"$ref": f"#/definitions/{META}"}]}
    assert definitions[META]["properties"]["owner"] == {"$ref": "#/definitions/Owner"}


def test_files_are_called_as_kubeconform_looks_for_them() -> None:
    def served(*kinds: dict[str, str]) -> dict[str, Any]:
        return {"type": "object", "x-kubernetes-group-version-kind": list(kinds)}

    pod = {"group": "", "version": "v1", "kind": "Pod"}
    document = {"components": {"schemas": {"a": served(KIND), "b": served(pod), "c": served(KIND, pod), "d": {}}}}

    assert set(json_schemas(document)) == {"t2i.dev/thing-v1.json", "v1/pod-v1.json"}


def test_a_definition_makes_a_document_of_each_of_its_versions() -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {}}}}}
    versions = [{"name": name, "schema": {"openAPIV3Schema": schema}} for name in ("v1", "v2")]
    crd = {"spec": {"group": "t2i.dev", "names": {"kind": "Thing"}, "versions": versions}}

    schemas = json_schemas(defined(crd))

    assert set(schemas) == {"t2i.dev/thing-v1.json", "t2i.dev/thing-v2.json"}
    closed = schemas["t2i.dev/thing-v2.json"]["definitions"]["Thing.v2"]["properties"]["spec"]
    assert closed["additionalProperties"] is False

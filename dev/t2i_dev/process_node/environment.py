"""A container's environment from its spec: values, fields, ConfigMaps and Secrets, `$(NAME)` expanded.

https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.36/#envvar-v1-core
"""

import base64
import re
from collections.abc import Callable
from typing import Any

Fetch = Callable[[str, str], dict[str, Any] | None]  # ("configmaps" | "secrets", name) -> the object
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


class MissingReferenceError(Exception):
    """A ConfigMap, Secret or key that a container asks for is not there."""


def environment_of(container: dict[str, Any], fields: dict[str, str], fetch: Fetch) -> dict[str, str]:
    """Return the variables of one container; `fields` answers fieldRef. Raises MissingReferenceError."""
    variables: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        prefix = source.get("prefix") or ""
        for kind, field in (("configmaps", "configMapRef"), ("secrets", "secretRef")):
            if reference := source.get(field):
                found = data_of(fetch, kind, reference["name"], optional=reference.get("optional", False))
                variables |= {prefix + name: value.decode() for name, value in found.items()}
    for entry in container.get("env") or []:
        value = _value(entry, fields, fetch)
        if value is not None:
            variables[entry["name"]] = expand(value, variables)
    return variables


def expand(text: str, variables: dict[str, str]) -> str:
    """Replace `$(NAME)` by a variable defined before; `$$` is a dollar sign, an unknown name stays."""

    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match[1], match[0])

    return _REFERENCE.sub(replacement, text)


def data_of(fetch: Fetch, kind: str, name: str, *, optional: bool) -> dict[str, bytes]:
    """Return the content of a ConfigMap or Secret; empty where it is optional and absent."""
    found = fetch(kind, name)
    if found is None:
        if optional:
            return {}
        raise MissingReferenceError(f"{kind} {name!r} not found")
    if kind == "secrets":
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    binary = {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
    return binary | {key: value.encode() for key, value in (found.get("data") or {}).items()}


def _value(entry: dict[str, Any], fields: dict[str, str], fetch: Fetch) -> str | None:
    source = entry.get("valueFrom")
    if source is None:
        return str(entry.get("value") or "")
    if field := source.get("fieldRef"):
        return fields[field["fieldPath"]]
    for kind, key in (("configmaps", "configMapKeyRef"), ("secrets", "secretKeyRef")):
        if reference := source.get(key):
            optional = reference.get("optional", False)
            found = data_of(fetch, kind, reference["name"], optional=optional).get(reference["key"])
            if found is None and not optional:
                raise MissingReferenceError(f"{kind} {reference['name']!r} has no key {reference['key']!r}")
            return None if found is None else found.decode()
    raise MissingReferenceError(f"variable {entry['name']}: the process node knows no source {sorted(source)}")


def fields_of(pod: dict[str, Any], address: str) -> dict[str, str]:
    """Return what fieldRef may ask for."""
    metadata, spec = pod["metadata"], pod["spec"]
    named = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": address,
        "status.hostIP": "127.0.0.1",
    }
    for group in ("labels", "annotations"):
        named |= {f"metadata.{group}['{key}']": value for key, value in (metadata.get(group) or {}).items()}
    return named

"""Which endpoints, buckets and prefixes the jobs of a namespace may use, as whoever installed the operator says. Pure.

It bounds what is asked of the operator: to read and move with its own identity, and to send requests to a URL that
somebody wrote into a job. What a job's own containers do with the job's own Secret, only the bucket's policy can bound.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from t2i_api.job import JobSpec

_S3: Final = "s3://"
_ANY_NAMESPACE: Final = "*"
_OWN_NAMESPACE: Final = "{namespace}"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MAXIMUM_NAMED: Final = 5


class StorageRule(BaseModel):
    """Lets jobs of these namespaces use these locations at these endpoints."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    namespaces: tuple[str, ...] = Field(min_length=1)
    endpoints: tuple[str, ...] = Field(min_length=1)  # "" is AWS itself
    locations: tuple[str, ...] = Field(min_length=1)  # s3://bucket[/prefix], {namespace} stands for the job's

    @field_validator("locations")
    @classmethod
    def _are_locations(cls, locations: tuple[str, ...]) -> tuple[str, ...]:
        for location in locations:
            if _parts(location) is None:
                raise ValueError(f"{location!r} is no s3://bucket/prefix")
        return locations

    @field_validator("endpoints")
    @classmethod
    def _are_endpoints(cls, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        for endpoint in endpoints:
            if endpoint and _origin(endpoint) is None:
                raise ValueError(f"{endpoint!r} is no URL without a path: write https://host:port, or nothing for AWS")
        return endpoints

    def concerns(self, namespace: str) -> bool:
        """Whether the rule says anything about jobs of this namespace."""
        return namespace in self.namespaces or _ANY_NAMESPACE in self.namespaces

    def lets(self, namespace: str, place: "Place") -> bool:
        """Whether the rule lets a job of this namespace use this place."""
        if not self.concerns(namespace) or _origin(place.endpoint) not in {_origin(each) for each in self.endpoints}:
            return False
        wanted = _parts(place.uri)
        return wanted is not None and any(_holds(allowed, wanted) for allowed in self.allowed(namespace))

    def allowed(self, namespace: str) -> Iterator[tuple[str, ...]]:
        """Yield bucket and prefix of every location, as they are for this namespace."""
        for location in self.locations:
            parts = _parts(location.replace(_OWN_NAMESPACE, namespace))
            if parts is not None:
                yield parts


@dataclass(frozen=True)
class Place:
    """One place in S3 that a job names; `endpoint` is empty for AWS."""

    field: str
    uri: str
    endpoint: str


def parse_rules(text: str) -> tuple[StorageRule, ...]:
    """Read the JSON of `--storage-allow`; raises ValueError that names what is wrong. Empty: everything is allowed."""
    if not text.strip():
        return ()
    try:
        return tuple(TypeAdapter(list[StorageRule]).validate_json(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the value"
        raise ValueError(f"{where}: {first['msg']}") from error


def refusal(rules: tuple[StorageRule, ...], namespace: str, spec: JobSpec) -> str | None:
    """Return why the job may not use what it names, with the way out; None if it may. No rules: it may."""
    if not rules:
        return None
    for place in places(spec):
        if not any(rule.lets(namespace, place) for rule in rules):
            at = place.endpoint or "AWS"
            return (
                f"{place.field} {place.uri} at {at} is not allowed in namespace {namespace}; allowed are "
                f"{_allowed(rules, namespace)}. Use one of these, or ask whoever runs the operator to add a rule to "
                "the chart's storage.allow"
            )
    return None


def places(spec: JobSpec) -> Iterator[Place]:
    """Yield every place in S3 that a job reads or writes. Sources of other kinds (hub, volume) are not S3's."""
    own = spec.checkpoint.endpoint or ""
    weights = spec.model.initial_weights
    named = [
        ("checkpoint.uri", spec.checkpoint.uri, own),
        ("data.uri", spec.data.uri, own),
        ("model.textEncoder.uri", spec.model.text_encoder.uri, own),
    ]
    if spec.model.vae is not None:
        named.append(("model.vae.uri", spec.model.vae.uri, own))
    if weights is not None:
        named.append(("model.initialWeights.uri", weights.uri, weights.endpoint or own))
    yield from (Place(*each) for each in named if each[1].startswith(_S3))


def _allowed(rules: tuple[StorageRule, ...], namespace: str) -> str:
    named = [
        f"{_S3}{'/'.join(parts)} at {endpoint or 'AWS'}"
        for rule in rules
        if rule.concerns(namespace)
        for endpoint in rule.endpoints
        for parts in rule.allowed(namespace)
    ]
    more = f" and {len(named) - _MAXIMUM_NAMED} more" if len(named) > _MAXIMUM_NAMED else ""
    return (", ".join(named[:_MAXIMUM_NAMED]) or "none") + more


def _holds(allowed: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether the wanted place is the allowed one or lies in it, by whole parts: `team-a` does not hold `team-ab`."""
    return wanted[: len(allowed)] == allowed


def _parts(uri: str) -> tuple[str, ...] | None:
    """Return bucket and path; None for what is no location, or where a server could understand another path."""
    if not uri.startswith(_S3):
        return None
    parts = tuple(uri.removeprefix(_S3).removesuffix("/").split("/"))
    return None if any(part in {"", ".", ".."} for part in parts) else parts


def _origin(endpoint: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port, so that one server is one whatever its spelling; None for AWS and for no URL."""
    try:
        url = urlsplit(endpoint)
        port = url.port
    except ValueError:
        return None
    if url.scheme not in _DEFAULT_PORTS or not url.hostname or url.path not in {"", "/"} or url.query or url.fragment:
        return None
    return url.scheme, url.hostname, port if port is not None else _DEFAULT_PORTS[url.scheme]

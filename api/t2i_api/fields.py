"""Bounded string types and the two schema notes (CEL rules, list kinds) that the custom resource's models share."""

from typing import Annotated, Any, Final

from pydantic import Field


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Return the schema note that makes the API server check each CEL expression and answer with its message."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def spelled(pattern: str, message: str) -> dict[str, Any]:
    """Return the schema note of a string that must match `pattern`; the server answers with `message`, not the regex."""
    quoted = pattern.replace("\\", "\\\\")
    return rules((f"self.matches('{quoted}')", message))


def keyed_by(*keys: str) -> dict[str, Any]:
    """Return the schema note of a list that is a map: its items are told apart by these fields."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


IMMUTABLE_BECAUSE: Final = "cannot change while the job exists: a checkpoint would no longer fit it. Create a job of another name with its own checkpoint.uri instead"

OBJECT_NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"

LOCATION_PATTERN: Final = r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/\s]+)*/?|file:///\S*)$"
# A source may also be a repository of the Hugging Face hub, spelled as by its file system: hf://org/name[@revision][/folder].
SOURCE_PATTERN: Final = (
    r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/\s]+)*/?|file:///\S*"
    r"|hf://[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*(@[A-Za-z0-9][A-Za-z0-9_.-]*)?(/[A-Za-z0-9_.-]+)*/?)$"
)
SOURCE_MESSAGE: Final = (
    "must be s3://bucket/prefix without empty parts, hf://organisation/name[@revision][/folder], or file:///directory of "
    "the trainer's machine"
)
ENDPOINT_PATTERN: Final = r"^https?://[^\s/]+/?$"
LOCATION_MESSAGE: Final = (
    "must be s3://bucket/prefix without empty parts (or file:///directory for t2i-trainer on one machine)"
)

LocationUri = Annotated[
    str,
    Field(
        max_length=1024,
        pattern=LOCATION_PATTERN,
        json_schema_extra=spelled(LOCATION_PATTERN, LOCATION_MESSAGE),
    ),
]
SourceUri = Annotated[
    str,
    Field(
        max_length=1024,
        pattern=SOURCE_PATTERN,
        json_schema_extra=spelled(SOURCE_PATTERN, SOURCE_MESSAGE),
    ),
]
ImageReference = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s]+$")]
ShortText = Annotated[str, Field(max_length=1024)]
LongText = Annotated[str, Field(max_length=4096)]
Quantity = Annotated[
    str, Field(min_length=1, max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
]
LABEL_PATTERN: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
LabelText = Annotated[
    str,
    Field(
        max_length=63,
        pattern=LABEL_PATTERN,
        json_schema_extra=spelled(
            LABEL_PATTERN,
            "a label value has letters, digits, '-', '_' and '.' and begins and ends with a letter or digit",
        ),
    ),
]
ARCHIVE_LABEL_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
ArchiveLabel = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        pattern=ARCHIVE_LABEL_PATTERN,
        json_schema_extra=spelled(
            ARCHIVE_LABEL_PATTERN,
            "checkpoint.archive.label has 1 to 63 of a-z, 0-9 and inner '-'. Example: before-attention-fix",
        ),
    ),
]
AnnotationText = Annotated[str, Field(max_length=1024)]

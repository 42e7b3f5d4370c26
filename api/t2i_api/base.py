"""The base of every model that crosses a boundary: strict about unknown fields, frozen, camelCase on the wire.

Everything in this package is read from YAML, JSON or the API server, so one place fixes how names are spelled there and
how a mistake is reported: a field, a value and the way out.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from t2i_api.suggestions import nearest_field


class WireModel(BaseModel):
    """A frozen model, snake_case in Python and camelCase in YAML and JSON."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
    )

    def to_wire(self, *, defaults: bool = True) -> dict[str, Any]:
        """Return the JSON form: camelCase names, absent fields left out; without `defaults` also those at theirs."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=not defaults)


class StatusModel(WireModel):
    """What we wrote ourselves earlier, perhaps by a newer version: unknown fields are dropped, not refused."""

    model_config = ConfigDict(extra="ignore")


class KeptModel(StatusModel):
    """What must survive being read and written by an older version: unknown fields are kept as they are."""

    model_config = ConfigDict(extra="allow")


def describe(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Return one line a mistake, `field: message (got value)`, for conditions, logs and terminals.

    With the model that was read, a misspelt field is told with the name that it was meant to be.
    """
    lines = []
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"]) or "document"
        got = "" if problem["type"] == "missing" else f" (got {str(problem['input'])[:80]!r})"
        if problem["type"] == "extra_forbidden" and model is not None:
            nearest = nearest_field(model, problem["loc"])
            lines.append(f"{field}: no such field{f', did you mean {nearest}?' if nearest else ''}{got}")
        else:
            lines.append(f"{field}: {problem['msg']}{got}")
    return "; ".join(lines)

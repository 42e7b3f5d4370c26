"""The field that a misspelt one was meant to be: the nearest name among those that are known at its place."""

from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel


def nearest_field(model: type[BaseModel], place: tuple[int | str, ...]) -> str | None:
    """Return the name on the wire that is nearest to the last part of `place`, a path from `model`; None if none is."""
    *parents, misspelt = place
    here: type[BaseModel] | None = model
    for part in parents:
        if isinstance(part, str) and here is not None:
            here = next((_model_in(field.annotation) for name, field in _fields(here) if name == part), None)
    known = [] if here is None else [name for name, _ in _fields(here)]
    return next(iter(get_close_matches(str(misspelt), known, n=1)), None)


def _fields(model: type[BaseModel]) -> list[tuple[str, Any]]:
    return [(field.alias or name, field) for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the one model of `X`, `X | None`, `list[X]` or `dict[str, X]`."""
    if isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each)) is not None), None)

"""Pickles as data: a machine that builds plain values, and neither imports nor calls anything that a pickle names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value that was not rebuilt: `name` is the class or function that the pickle names, or the built-in type."""

    name: str

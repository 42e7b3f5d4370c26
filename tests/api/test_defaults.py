"""A default means the same in every release, or is written down: readers of another release fill in their own."""

import json
from pathlib import Path
from typing import Any

from t2i_api.attempt import AttemptDocument
from t2i_api.base import WireModel
from t2i_api.crd import schema_of
from t2i_api.defaults import ALWAYS_WRITTEN, without_defaults
from t2i_api.job import JobSpec

KNOWN = Path(__file__).with_name("defaults.json")


def defaults_of(schema: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Return the default of every optional leaf by its dotted path; null where an absent field stays absent."""
    if "items" in schema:
        return defaults_of(schema["items"], f"{path}[]")
    found: dict[str, Any] = {}
    for name, node in schema.get("properties", {}).items():
        place = f"{path}.{name}" if path else name
        if "properties" in node or "properties" in node.get("items", {}):
            found |= defaults_of(node, place)
        elif name not in schema.get("required", []):
            found[place] = node.get("default")
    return found


def test_no_default_changes_without_being_written_from_then_on() -> None:
    known: dict[str, Any] = json.loads(KNOWN.read_text())
    now = defaults_of(schema_of(JobSpec))
    changed = {path for path in known if path in now and known[path] != now[path]}
    assert changed <= ALWAYS_WRITTEN, "enter them in t2i_api.defaults.ALWAYS_WRITTEN: readers of older releases differ"
    assert set(known) <= set(now), "a field that is gone: stored jobs may hold it"
    assert set(now) == set(known), f"new fields: add their defaults to {KNOWN.name}, and never change them there"


def test_what_is_always_written_is_there_at_its_default_too() -> None:
    class Inner(WireModel):
        size: int = 3
        colour: str = "red"

    class Outer(WireModel):
        inner: Inner = Inner()
        name: str
        note: str | None = None

    model = Outer(name="x")
    assert without_defaults(model) == {"name": "x"}
    always = frozenset({"inner.size", "note"})
    assert without_defaults(model, always) == {"name": "x", "inner": {"size": 3}}
    assert Outer.model_validate(without_defaults(model, always)) == model


def test_an_attempt_is_told_in_words_that_the_first_release_knew() -> None:
    document = AttemptDocument(
        job_name="emoji", job_namespace="team", job_uid="u", attempt=1, workers=2, processes_per_worker=1,
        rendezvous_address="emoji-1-0.emoji-1",
    )  # fmt: skip
    assert set(document.to_wire(defaults=False)) == {
        *("jobName", "jobNamespace", "jobUid", "attempt", "workers", "processesPerWorker", "rendezvousAddress")
    }

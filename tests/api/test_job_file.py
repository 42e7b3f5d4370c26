"""A job's file that is no job is refused in one sentence, whatever bytes it holds; never with a traceback."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_api.job_file import JobFileError, parse_job

# What the file holds, and the words of the refusal.
REFUSED: dict[str, tuple[bytes, str]] = {
    "Latin-1": ("# caf\u00e9\nspec: {}\n".encode("latin-1"), "Save the file as UTF-8 text"),
    "control characters": (b"a: \x00\x01", "Save the file as UTF-8 text"),
    "nested without end": (b"[" * 3000, "nested too deeply"),
    "no YAML": (b"a: [1", "not YAML"),
    "no day": (b"a: 2026-13-01", "not YAML: ValueError: month must be in 1..12"),
    "no truth": (b"a: !!bool perhaps", "not YAML: KeyError"),
    "a list": (b"- 1", "expected one DiffusionTrainingJob, found list"),
    "nothing": (b"", "expected one DiffusionTrainingJob, found NoneType"),
    "a wrong field": (b"metadata: {name: x}\nspec: {data: {resolution: 33}}", "spec.data.resolution"),
    "itself": (b"&a {spec: *a}", "spec"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_job_is_refused_with_its_reason(kind: str) -> None:
    text, words = REFUSED[kind]
    with pytest.raises(JobFileError, match=words):
        parse_job(text)


# A job with a field that is misspelt, and the words of the refusal.
MISSPELT: dict[str, tuple[str, str]] = {
    "at the top": ("spec: {trainig: {}}", r"spec\.trainig: no such field, did you mean training\?"),
    "in a group": ("spec: {training: {learninRate: 1}}", r"learninRate: no such field, did you mean learningRate\?"),
    "in an optional group": ("spec: {model: {vae: {url: x}}}", r"vae\.url: no such field, did you mean uri\?"),
    "in a list": (
        "spec: {expectations: {bands: [{fromStp: 1}]}}",
        r"bands\.0\.fromStp: no such field, did you mean fromStep\?",
    ),
    "like nothing": ("spec: {training: {zzzzzz: 1}}", r"zzzzzz: no such field \(got '1'\)"),
}


@pytest.mark.parametrize("where", MISSPELT)
def test_a_misspelt_field_is_told_with_the_nearest_name(where: str) -> None:
    text, words = MISSPELT[where]
    with pytest.raises(JobFileError, match=words):
        parse_job(text.encode())


@given(st.binary(max_size=64))
def test_any_bytes_are_a_job_or_refused(text: bytes) -> None:
    with contextlib.suppress(JobFileError):
        parse_job(text)

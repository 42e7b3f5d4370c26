"""Where jobs may read and write: by namespace, endpoint, bucket and prefix; whole parts, no tricks with spelling."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_api.job import JobSpec
from t2i_operator.storage_policy import StorageRule, parse_rules, refusal

ENDPOINT = "https://s3.example.com"


def spec(uri: str, endpoint: str | None = ENDPOINT, **more: Any) -> JobSpec:
    checkpoint: dict[str, Any] = {"uri": uri, "credentialsSecretRef": {"name": "bucket"}, "everySteps": 10}
    if endpoint is not None:
        checkpoint["endpoint"] = endpoint
    document: dict[str, Any] = {
        "model": {"unet": {"preset": "tiny"}, "textEncoder": {"uri": "hf://org/encoder"}, "pixelUnshuffleFactor": 2},
        "data": {"uri": "file:///data", "resolution": 32},
        "training": {"steps": 100, "globalBatchSize": 32, "learningRate": 0.001},
        "checkpoint": checkpoint,
    }
    for path, value in more.items():
        group, _, name = path.partition("__")
        document[group][name] = value
    return JobSpec.model_validate(document)


def rules(*locations: str, namespaces: tuple[str, ...] = ("*",), endpoints: tuple[str, ...] = (ENDPOINT,)) -> Any:
    return (StorageRule(namespaces=namespaces, endpoints=endpoints, locations=locations),)


@pytest.mark.parametrize(
    ("allow", "namespace", "uri", "endpoint"),
    [
        ((), "a", "s3://anything/at/all", "http://anywhere"),
        (rules("s3://training"), "a", "s3://training", ENDPOINT),
        (rules("s3://training"), "a", "s3://training/deep/in/it", ENDPOINT),
        (rules("s3://training/team-a/"), "a", "s3://training/team-a", ENDPOINT),
        (rules("s3://training/{namespace}"), "team-a", "s3://training/team-a/run", ENDPOINT),
        (rules("s3://x", "s3://training"), "a", "s3://training/run", ENDPOINT),
        (rules("s3://training", namespaces=("a", "b")), "b", "s3://training/run", ENDPOINT),
        (rules("s3://training"), "a", "s3://training/run", "https://S3.Example.com:443/"),
        (rules("s3://training", endpoints=("",)), "a", "s3://training/run", None),
    ],
)
def test_what_a_rule_holds_is_let_through(allow: Any, namespace: str, uri: str, endpoint: str | None) -> None:
    assert refusal(allow, namespace, spec(uri, endpoint)) is None


@pytest.mark.parametrize(
    ("allow", "namespace", "uri", "endpoint"),
    [
        (rules("s3://training"), "a", "s3://other/run", ENDPOINT),
        (rules("s3://training"), "a", "s3://training2/run", ENDPOINT),
        (rules("s3://training/team-a"), "a", "s3://training/team-ab", ENDPOINT),
        (rules("s3://training/team-a"), "a", "s3://training", ENDPOINT),
        (rules("s3://training/team-a"), "a", "s3://training/team-a/../team-b", ENDPOINT),
        (rules("s3://training/{namespace}"), "team-b", "s3://training/team-a/run", ENDPOINT),
        (rules("s3://training", namespaces=("a",)), "b", "s3://training/run", ENDPOINT),
        (rules("s3://training"), "a", "s3://training/run", "https://s3.example.com.evil.example"),
        (rules("s3://training"), "a", "s3://training/run", "http://s3.example.com"),
        (rules("s3://training"), "a", "s3://training/run", "https://s3.example.com:8443"),
        (rules("s3://training"), "a", "s3://training/run", None),
        (rules("s3://training", endpoints=("",)), "a", "s3://training/run", ENDPOINT),
    ],
)
def test_what_no_rule_holds_is_refused_by_name(allow: Any, namespace: str, uri: str, endpoint: str | None) -> None:
    why = refusal(allow, namespace, spec(uri, endpoint))

    assert why is not None
    assert why.startswith(f"checkpoint.uri {uri} at {endpoint or 'AWS'} is not allowed in namespace {namespace}")
    assert "storage.allow" in why


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("data.uri", {"data__uri": "s3://secret/data"}),
        ("model.textEncoder.uri", {"model__textEncoder": {"uri": "s3://secret/encoder"}}),
        ("model.initialWeights.uri", {"model__initialWeights": {"uri": "s3://secret/weights"}}),
        (
            "model.initialWeights.uri",
            {"model__initialWeights": {"uri": "s3://training/weights", "endpoint": "http://169.254.169.254"}},
        ),
    ],
)
def test_every_place_that_a_job_names_is_looked_at(field: str, more: dict[str, Any]) -> None:
    why = refusal(rules("s3://training"), "a", spec("s3://training/run", **more))

    assert why is not None
    assert why.startswith(f"{field} ")


def test_the_refusal_names_what_is_allowed_here_and_nothing_of_others() -> None:
    allow = (*rules("s3://training/{namespace}", namespaces=("a",)), *rules("s3://private", namespaces=("b",)))

    why = refusal(allow, "a", spec("s3://x-other"))

    assert why is not None
    assert f"allowed are s3://training/a at {ENDPOINT}. " in why
    assert "private" not in why


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "JSON"),
        ('{"namespaces": ["a"]}', "array"),
        ('[{"namespaces": [], "endpoints": [""], "locations": ["s3://b-b"]}]', "0.namespaces"),
        ('[{"namespaces": ["a"], "endpoints": [""], "locations": ["b"]}]', "'b' is no s3://bucket/prefix"),
        ('[{"namespaces": ["a"], "endpoints": [""], "locations": ["s3://b/../c"]}]', "is no s3://bucket/prefix"),
        ('[{"namespaces": ["a"], "endpoints": ["s3.example.com"], "locations": ["s3://b"]}]', "'s3.example.com'"),
        ('[{"namespaces": ["a"], "endpoints": ["https://x/path"], "locations": ["s3://b"]}]', "'https://x/path'"),
        ('[{"namespaces": ["a"], "endpoint": [""], "locations": ["s3://b"]}]', "0.endpoint"),
    ],
)
def test_rules_that_cannot_be_are_refused_where_they_enter(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        parse_rules(text)


def test_no_rules_allow_everything() -> None:
    assert parse_rules("") == ()
    assert parse_rules("[]") == ()


SEGMENT = st.text("ab.-", min_size=1, max_size=3)


@given(st.lists(SEGMENT, min_size=0, max_size=3), st.lists(SEGMENT, min_size=0, max_size=3))
def test_a_prefix_holds_exactly_what_lies_in_it(allowed: list[str], wanted: list[str]) -> None:
    text = json.dumps(
        [{"namespaces": ["*"], "endpoints": [ENDPOINT], "locations": ["/".join(["s3://bucket", *allowed])]}]
    )
    try:
        parsed = parse_rules(text)
    except ValueError:
        assert {".", ".."} & set(allowed)
        return
    inside = wanted[: len(allowed)] == allowed and not {".", ".."} & set(wanted)
    assert (refusal(parsed, "a", spec("/".join(["s3://bucket", *wanted]))) is None) == inside

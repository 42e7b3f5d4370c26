"""Operator and CRD of two releases: what one does not know is refused and said, never dropped and trained without."""

import asyncio
import copy
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from t2i_api.crd import render
from t2i_api.status import AttemptStatus, InitialWeightsStatus, JobStatus, VerdictKind
from t2i_operator.cluster import Cluster
from t2i_operator.status_write import StatusRefusedError, StatusWriter

pytestmark = pytest.mark.cluster
UNET = "unet/diffusion_pytorch_model.safetensors"
WEIGHTS = InitialWeightsStatus(uri="s3://t2i/x", folder="checkpoint-5000", verdict=VerdictKind.INFERENCE_ONLY)
ATTEMPT = AttemptStatus(number=1, initial_weights=WEIGHTS)


def older() -> dict[str, Any]:
    """The CRD of a release that knew no initial weights."""
    crd = render()
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    del schema["status"]["properties"]["attempt"]["properties"]["initialWeights"]
    return crd


def newer() -> dict[str, Any]:
    """The CRD of a release that trains faster, with a default as new fields have one."""
    crd = copy.deepcopy(render())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    schema["spec"]["properties"]["training"]["properties"]["fasterThanLight"] = {"type": "boolean", "default": False}
    return crd


@pytest.fixture
def install(place: Any) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Install a CRD and wait until the API server goes by it; in the end it is this release's again."""

    def install(crd: dict[str, Any]) -> None:
        place.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump(crd))
        wanted = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        deadline = time.monotonic() + 60
        while not _goes_by(place, wanted):
            assert time.monotonic() < deadline, "the API server goes by the new CRD"
            time.sleep(0.2)

    yield install
    install(render())


def _goes_by(place: Any, wanted: dict[str, Any]) -> bool:
    """Whether the published schema has exactly these fields where releases differ here."""
    text = place.cluster.kubectl("get", "--raw", "/openapi/v3/apis/training.t2i.dev/v1alpha1")
    found = json.loads(text)["components"]["schemas"]["dev.t2i.training.v1alpha1.DiffusionTrainingJob"]["properties"]

    def names(schema: dict[str, Any], *path: str) -> set[str]:
        for name in path:
            schema = schema[name] if name == path[0] else schema["properties"][name]
        return set(schema["properties"])

    return all(names(found, *path) == names(wanted, *path) for path in (("status", "attempt"), ("spec", "training")))


def test_with_an_older_crd_nothing_begins_until_it_is_brought_up_to_date(
    place: Any, install: Callable[[dict[str, Any]], None]
) -> None:
    install(older())
    place.put_weights(f"checkpoint-5000/{UNET}")
    place.operator.start()
    place.apply()
    place.reaches("Blocked")
    message = place.condition("Succeeded")["message"]
    for words in ("the installed CRD is older than the operator", "kubectl apply -f crds/", "initialWeights"):
        assert words in message
    assert "attempt" not in place.status(), "an attempt that would begin with random weights"
    assert place.objects("job.batch") == []
    assert any("older than the operator" in event["note"] for event in place.events("StatusRefused"))
    metrics = place.operator.get("/metrics")
    assert "t2i_operator_status_refusals_total 0.0" not in metrics
    assert "t2i_operator_status_refusals_total" in metrics
    assert "Traceback" not in place.operator.lines()

    install(render())
    place.pod(1)
    config_map = place.get("configmap", "emoji-1")
    assert json.loads(config_map["data"]["attempt.json"])["initialWeights"]["folder"] == "checkpoint-5000"


class Forgiving(Cluster):
    """An API server before 1.25: it knows no field validation, and drops what the CRD lacks without a word."""

    async def replace(self, *arguments: Any, strict: bool = False, **options: Any) -> dict[str, Any]:
        """As ever, but never strict."""
        assert strict
        return await super().replace(*arguments, **options)


@pytest.mark.parametrize("server", [Cluster, Forgiving])
def test_an_attempt_is_persisted_whole_or_not_at_all(
    place: Any, install: Callable[[dict[str, Any]], None], server: type[Cluster]
) -> None:
    place.apply()

    async def write() -> dict[str, Any]:
        cluster = await server.connect(kubeconfig=str(place.cluster.kubeconfig), context=None)
        try:
            raw = place.get("dtj", "emoji")
            return await StatusWriter(cluster).write(raw, JobStatus(attempt=ATTEMPT))
        finally:
            await cluster.close()

    install(older())
    with pytest.raises(
        StatusRefusedError, match=r"older than the operator.*initialWeights|initialWeights.*older than the operator"
    ):
        asyncio.run(write())
    assert "attempt" not in place.status()
    install(render())
    asyncio.run(write())
    assert JobStatus.model_validate(place.status()).attempt == ATTEMPT


def test_an_operator_that_was_rolled_back_ends_nothing_and_says_what_it_does_not_know(
    place: Any, install: Callable[[dict[str, Any]], None]
) -> None:
    place.operator.start()
    place.apply()
    pod = place.pod(1)
    place.set_pod(pod, "Running")
    place.reaches("Training")
    install(newer())
    place.kubectl("annotate", "dtj", "emoji", "any=news")
    place.reaches("Blocked")
    message = place.condition("Succeeded")["message"]
    assert "spec.training.fasterThanLight" in message
    assert "the operator is older than the CRD: upgrade the operator" in message
    assert len(place.events("OperatorTooOld")) == 1
    assert len(place.objects("job.batch")) == 1, "what runs goes on"
    assert place.condition("Running")["status"] == "True"

    install(render())
    place.kubectl("annotate", "dtj", "emoji", "other=news")
    place.reaches("Training")
    assert place.status()["attempt"]["number"] == 1

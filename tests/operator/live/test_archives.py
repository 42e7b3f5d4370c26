"""How what does not fit is put away: where it was asked for, and on a store that would make a move unsafe."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from t2i_api.job import DiffusionTrainingJob
from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint.archive import plan_archive
from t2i_checkpoint.archive_decision import load_decision, record_intent
from t2i_checkpoint.archive_documents import ArchiveAbandonment
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.open import open_store
from t2i_checkpoint.probe import PROBE_PREFIX
from t2i_checkpoint.store import Credentials
from t2i_checkpoint.wanted import wanted_from

pytestmark = pytest.mark.cluster

OLD = "checkpoint-5000/model.safetensors"


@pytest.fixture
def careless_store() -> Iterator[str]:
    """Another S3 implementation, which takes the condition on a copy's source and ignores it; its endpoint."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
    session.client("s3", endpoint_url=endpoint).create_bucket(Bucket="t2i")
    yield endpoint
    server.stop()


def checkpoint(place: Any, **fields: Any) -> dict[str, Any]:
    """The job's checkpoint group with some fields more."""
    return {
        "uri": f"s3://t2i/{place.prefix}",
        "endpoint": place.cluster.s3.endpoint,
        "credentialsSecretRef": {"name": "bucket"},
        "everySteps": 10,
        **fields,
    }


def messages(place: Any, reason: str) -> list[str]:
    """The job's events of that reason."""
    found = place.objects("events")
    return [item["note"] for item in found if item["reason"] == reason]


def test_an_archive_by_reference_leaves_the_bytes_and_is_not_judged_again(place: Any) -> None:
    place.put_old_checkpoint()
    place.operator.start()
    place.apply(checkpoint=checkpoint(place, archive={"method": "Reference", "label": "old-unet"}))
    first = place.pod(1)
    archive = place.status()["archive"]
    assert (archive["method"], archive["checkpoints"]) == ("Reference", 1)
    assert archive["location"].endswith("-old-unet")
    assert not archive.get("warning")
    assert OLD in place.bucket()
    assert "left in place" in messages(place, "Archived")[0]
    assert place.condition("CheckpointCompatible")["reason"] == "Archived"

    place.set_pod(first, "Failed", code=137)
    place.pod(2)
    assert "verdict" not in place.status()["checkpoint"], "what is archived is nobody's checkpoint any more"
    assert len(messages(place, "Archived")) == 1
    assert OLD in place.bucket()


def test_a_moved_checkpoint_carries_the_jobs_label_and_the_probe_leaves_nothing_behind(place: Any) -> None:
    place.put_old_checkpoint()
    place.operator.start()
    place.apply(checkpoint=checkpoint(place, archive={"label": "before-attention-fix"}))
    place.pod(1)
    archive = place.status()["archive"]
    assert (archive["method"], archive["location"].endswith("-before-attention-fix")) == ("Move", True)
    assert OLD not in place.bucket()
    assert f"{archive['location']}/{OLD}" in place.bucket()
    assert [key for key in place.bucket() if key.startswith(PROBE_PREFIX)] == []


def test_a_store_that_ignores_a_condition_gets_a_pointer_and_a_warning_never_a_delete(
    place: Any, careless_store: str, job_with: Callable[..., DiffusionTrainingJob]
) -> None:
    store = open_store(f"s3://t2i/{place.prefix}", endpoint=careless_store, credentials=Credentials("a", "b"))
    store.put(OLD, place.old_weights)
    # Somebody began to move it all the same: an operator that goes on must not finish that either.
    found = survey(store, wanted_from(job_with().spec)).judgements
    begun = plan_archive(found, now=datetime.now(UTC), label="begun", method=ArchiveMethod.MOVE)
    record_intent(store, begun)
    place.operator.start()
    place.apply(checkpoint=checkpoint(place, endpoint=careless_store))
    place.pod(1)
    archive = place.status()["archive"]
    assert archive["method"] == "Reference"
    assert archive["location"] != begun.root.rstrip("/")
    assert isinstance(load_decision(store, begun.name), ArchiveAbandonment)
    assert "condition on a copy's source" in archive["warning"]
    assert len(messages(place, "StoreNotSafe")) == 1
    assert store.read(OLD) == place.old_weights
    assert [info.key for info in store.list(PROBE_PREFIX)] == []

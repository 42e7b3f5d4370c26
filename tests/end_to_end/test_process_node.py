"""The same chart and the same job on the development node without containers: what machines without root get."""

import json
from typing import Any

import pytest

from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import Credentials, Store
from t2i_dev.cluster import LocalCluster
from t2i_dev.demo.environment import create_secret, install_chart
from t2i_dev.demo.job_view import JobView, finished
from t2i_dev.demo.plan import BUCKET_URI, short_plan
from t2i_dev.story.prepare import prepare_bucket

pytestmark = pytest.mark.end_to_end
STEPS = 6


@pytest.fixture(scope="module")
def cluster(process_cluster: LocalCluster) -> LocalCluster:
    return process_cluster


def store_of(cluster: LocalCluster, uri: str) -> Store:
    credentials = Credentials(cluster.s3.access_key, cluster.s3.secret_key)
    return open_store(uri, endpoint=cluster.s3.endpoint, credentials=credentials)


@pytest.fixture(scope="module")
def view(cluster: LocalCluster) -> JobView:
    install_chart(cluster)
    prepare_bucket(store_of(cluster, BUCKET_URI))
    create_secret(cluster)
    document: dict[str, Any] = short_plan().document(endpoint=cluster.s3.endpoint)
    document["spec"]["training"] |= {"steps": STEPS, "warmupSteps": 1}
    document["spec"]["checkpoint"]["everySteps"] = STEPS
    document["spec"]["sampling"]["inferenceSteps"] = 2
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    return JobView(cluster, document["metadata"]["name"])


def test_helm_install_waits_for_an_operator_that_runs_as_a_process(cluster: LocalCluster, view: JobView) -> None:
    del view
    pods = json.loads(cluster.kubectl("get", "pods", "-A", "-o", "json"))["items"]
    nodes = {pod["spec"].get("nodeName") for pod in pods}
    assert nodes == {"t2i-process-node"}


def test_two_pods_train_one_model_to_its_end(cluster: LocalCluster, view: JobView) -> None:
    status = view.wait(finished, 300)
    condition = status.condition("Succeeded")
    assert condition is not None
    assert (condition.status, condition.reason) == ("True", "Completed"), (condition, logs_of(cluster))
    assert status.progress is not None
    assert status.progress.step == STEPS
    found = [info.key for info in store_of(cluster, short_plan().job.spec.checkpoint.uri).list("checkpoints/")]
    assert any(key.endswith("/MANIFEST.json") for key in found)


@pytest.mark.exhaustive
def test_a_second_job_begins_with_the_weights_of_the_first(cluster: LocalCluster, view: JobView) -> None:
    first = view.wait(finished, 300).progress
    assert first is not None
    document: dict[str, Any] = short_plan().document(endpoint=cluster.s3.endpoint)
    prefix = document["spec"]["checkpoint"]["uri"]
    document["metadata"]["name"] = "second"
    document["spec"]["model"]["initialWeights"] = {"uri": prefix}
    document["spec"]["training"] |= {"steps": 2, "warmupSteps": 0, "seed": 99}
    document["spec"]["checkpoint"] |= {"uri": f"{prefix}-second", "everySteps": 2}
    document["spec"]["sampling"]["inferenceSteps"] = 2
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    status = JobView(cluster, "second").wait(finished, 300)
    condition = status.condition("Succeeded")
    assert condition is not None
    assert condition.reason == "Completed", (condition, logs_of(cluster))
    assert status.attempt is not None
    weights = status.attempt.initial_weights
    assert weights is not None
    assert (weights.uri, weights.folder) == (prefix, f"checkpoints/{first.last_checkpoint}")
    store = store_of(cluster, f"{prefix}-second")
    (key,) = (info.key for info in store.list("checkpoints/") if info.key.endswith("/MANIFEST.json"))
    began = json.loads(store.read(key, 0, 1_000_000))["initialWeights"]
    assert (began["uri"], began["folder"], began["verdict"]) == (weights.uri, weights.folder, "identical")


def logs_of(cluster: LocalCluster) -> str:
    logs = sorted((cluster.directory / "pods").glob("*/logs/*.log"))
    return "\n".join(f"{path}:\n{path.read_text()[-2000:]}" for path in logs)

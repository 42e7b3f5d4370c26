"""The commands of docs/monitoring.md and of the runbooks on the real API server, bucket and Prometheus.

What needs an installed operator or a trainer that runs is in tests/end_to_end/story/test_monitoring_pages.py.
"""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2i_dev.alerts.catalogue import ALL_ALERTS
from t2i_dev.cluster import LocalCluster
from t2i_dev.pages import Reader, about_job, blocks_of
from t2i_dev.paths import repository_root
from t2i_dev.prometheus import Prometheus

pytestmark = pytest.mark.cluster

DOCS = repository_root() / "docs"
PAGES = [DOCS / "monitoring.md", *(DOCS / "runbooks" / f"{alert.name}.md" for alert in ALL_ALERTS)]
NEEDS_INSTALLATION = re.compile(r"/proxy/metrics|deployment/t2i-operator|helm upgrade|serviceaccount:t2i-system")
BLOCKS = [block for page in PAGES for block in blocks_of(page) if not NEEDS_INSTALLATION.search(block.commands)]
ONLY_WITH_AN_OPERATOR = {"T2IOperatorDown", "T2IOperatorStuck", "T2IReconcileErrors"}  # run end to end
STATUS = {
    "progress": {"step": 10, "targetSteps": 10_000, "lossText": "0.1234"},
    "restarts": {"total": 1, "recent": [{"attempt": 1, "cause": "PodKilled", "at": "2026-01-01T00:00:00Z"}]},
}


@pytest.fixture
def reader(crd: LocalCluster, tmp_path: Path) -> Iterator[Reader]:
    namespace = f"pages-{uuid.uuid4().hex[:8]}"
    jobs = f"/apis/training.t2i.dev/v1alpha1/namespaces/{namespace}/diffusiontrainingjobs"
    model = {
        "unet": {"preset": "tiny"},
        "textEncoder": {"uri": "s3://t2i/models/minilm"},
        "pixelUnshuffleFactor": 2,
    }
    spec = {
        "model": model,
        "data": {"uri": "s3://t2i/data/emoji", "resolution": 32},
        "training": {"steps": 10_000, "globalBatchSize": 32, "learningRate": 0.001},
        "checkpoint": {"uri": f"s3://t2i/{namespace}", "endpoint": crd.s3.endpoint},
    }
    about = {"apiVersion": "training.t2i.dev/v1alpha1", "kind": "DiffusionTrainingJob", "metadata": {"name": "emoji"}}
    crd.client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    crd.client.create(jobs, {**about, "spec": spec})
    crd.client.merge(f"{jobs}/emoji/status", {"status": STATUS})
    with Prometheus.start(tmp_path / "prometheus", []) as prometheus:
        yield Reader(crd, tmp_path, about_job(namespace, "emoji", prometheus.url))
    crd.client.delete(f"/api/v1/namespaces/{namespace}", {})


def test_every_command_does_what_its_page_says(reader: Reader) -> None:
    said = reader.follow(BLOCKS)

    assert set(said) == {page.stem for page in PAGES} - ONLY_WITH_AN_OPERATOR
    assert re.search(r"^emoji +.* 10 .*0\.1234", said["monitoring"], re.MULTILINE)
    assert "attempt 1: PodKilled" in said["T2IRestartLoop"]
    assert "patched" in said["T2IPendingTooLong"]
    assert "checkpoints can be moved safely" in said["T2ISaveFailing"]

"""Everything the story happens in: cluster, images, bucket, operator by Helm, Prometheus; each stage with its time."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import Credentials, Store
from t2i_dev.alerts.render import rule_files
from t2i_dev.cluster import LocalCluster
from t2i_dev.demo.discovery import discovered_pods, scrape_configs
from t2i_dev.demo.job_view import kill_container
from t2i_dev.demo.plan import BUCKET_URI, SECRET_NAME
from t2i_dev.errors import ComponentFailedError
from t2i_dev.images.load import load_images
from t2i_dev.images.project import OPERATOR_IMAGE, PROJECT_IMAGES, TRAINER_IMAGE, build_project_images
from t2i_dev.paths import repository_root
from t2i_dev.progress import Progress
from t2i_dev.prometheus import SCRAPE_INTERVAL_SECONDS, Prometheus
from t2i_dev.story.prepare import prepare_bucket
from t2i_dev.tools import HELM

OPERATOR_NAMESPACE = "t2i-system"
RELEASE = "t2i-operator"
HELM_TIMEOUT = "120s"
LEASE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class DemoEnvironment:
    """A cluster with the operator installed, a bucket with data, and a Prometheus that scrapes both."""

    cluster: LocalCluster
    prometheus: Prometheus

    def store(self, uri: str) -> Store:
        """A store of the cluster's S3 server."""
        s3 = self.cluster.s3
        credentials = Credentials(access_key_id=s3.access_key, secret_access_key=s3.secret_key)
        return open_store(uri, endpoint=s3.endpoint, credentials=credentials)

    def kill_operator(self) -> bool:
        """SIGKILL the operator's container; returns whether one ran.

        Its pod is deleted too: restarted in the same pod it would wait longer each time (CrashLoopBackOff).
        """
        selector = "labelSelector=app.kubernetes.io/name=t2i-operator&fieldSelector=status.phase=Running"
        answer = self.cluster.client.get(f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods?{selector}")
        for pod in (answer or {"items": []})["items"]:
            if any("running" in each["state"] for each in pod["status"].get("containerStatuses", [])):
                kill_container(self.cluster, pod)
                name = pod["metadata"]["name"]
                force = ("--grace-period=0", "--force", "--wait=false", "--ignore-not-found")
                self.cluster.kubectl("delete", "pod", name, "--namespace", OPERATOR_NAMESPACE, *force)
                return True
        return False


@contextmanager
def demo_environment(cluster: LocalCluster, directory: Path, progress: Progress) -> Iterator[DemoEnvironment]:
    """Prepare a running cluster for the story; Prometheus stops at the end, the cluster stays."""
    build_project_images(progress)
    load_images(cluster, PROJECT_IMAGES, progress)
    with ExitStack() as stack:
        with progress.stage("install the chart with Helm"):
            install_chart(cluster)
        targets = directory / "prometheus" / "targets.json"
        stack.enter_context(discovered_pods(cluster, targets))
        prometheus = stack.enter_context(
            Prometheus.start(targets.parent, scrape_configs(targets), rule_files=sorted(rule_files()))
        )
        environment = DemoEnvironment(cluster, prometheus)
        with progress.stage("put captioned pictures and the text encoder into the bucket"):
            prepare_bucket(environment.store(BUCKET_URI))
        create_secret(cluster)
        yield environment


def install_chart(cluster: LocalCluster) -> None:
    """`helm upgrade --install`, as a user would; raises ComponentFailedError with Helm's words."""
    repository, tag = OPERATOR_IMAGE.rsplit(":", 1)
    trainer_repository, trainer_tag = TRAINER_IMAGE.rsplit(":", 1)
    command = [
        str(HELM.directory / "helm"),
        "upgrade",
        "--install",
        RELEASE,
        str(repository_root() / "charts" / "t2i-operator"),
        f"--kubeconfig={cluster.kubeconfig}",
        f"--namespace={OPERATOR_NAMESPACE}",
        "--create-namespace",
        "--wait",
        f"--timeout={HELM_TIMEOUT}",
        f"--set=image.repository={repository},image.tag={tag}",
        f"--set=trainerImage.repository={trainer_repository},trainerImage.tag={trainer_tag}",
        "--set=storage.credentialNamespaces={default}",
        # A killed operator holds the lease until it expires; the story waits for its successor.
        f"--set=lease.durationSeconds={LEASE_SECONDS}",
        # As our Prometheus scrapes: a pod that ends waits two of these for its last scrape.
        f"--set=metrics.interval={SCRAPE_INTERVAL_SECONDS}s",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        logs = _operator_logs(cluster)
        raise ComponentFailedError(f"{' '.join(command)}:\n{result.stderr.strip()}\n{logs}")


def _operator_logs(cluster: LocalCluster) -> str:
    try:
        return cluster.kubectl("logs", "--namespace", OPERATOR_NAMESPACE, "deployment/t2i-operator", "--tail=50")
    except ComponentFailedError as error:
        return str(error)


def create_secret(cluster: LocalCluster) -> None:
    """The credentials of the bucket, as a Secret of the job's namespace."""
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET_NAME, "namespace": "default"},
        "stringData": {
            "AWS_ACCESS_KEY_ID": cluster.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": cluster.s3.secret_key,
        },
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))

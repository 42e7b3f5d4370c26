"""A story told once: two real processes train through the real launcher; killed, resumed, stopped, resumed again.

Beside it runs the same job undisturbed; the files of this folder read different pages of the two.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml

from t2i_api.attempt import AttemptDocument, InitialWeightsDocument
from t2i_api.progress import ExitCode, Progress, TerminationMessage
from t2i_checkpoint import layout
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.manifest import Manifest, read_manifest
from t2i_dev.ports import free_ports
from t2i_dev.small_unet import small_unet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from t2i_checkpoint.store import Store

STEPS = 80
EVERY = 10
UID = "0123abcd-0000-4000-8000-000000000000"


UNET = small_unet((8, 16), text_width=16, attention_head_dim=4, norm_num_groups=4)


@pytest.fixture(scope="session")
def tiny_job(
    text_encoder_folder: Path, write_dataset: Callable[[Store], None], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], dict[str, Any]]:
    """Build a job of two processes with everything in directories and checkpoints in `bucket`."""
    pictures = tmp_path_factory.mktemp("pictures")
    write_dataset(LocalStore(pictures))

    def build(bucket: Path) -> dict[str, Any]:
        return {
            "apiVersion": "training.t2i.dev/v1alpha1",
            "kind": "DiffusionTrainingJob",
            "metadata": {"name": "tiny", "namespace": "default", "uid": UID},
            "spec": {
                "model": {
                    "unet": {"config": dict(UNET)},
                    "textEncoder": {"uri": f"file://{text_encoder_folder}", "maxTokens": 8},
                },
                "data": {"uri": f"file://{pictures}", "resolution": 8},
                "training": {
                    "steps": STEPS,
                    "globalBatchSize": 4,
                    "learningRate": 0.002,
                    "warmupSteps": 4,
                    "ema": {"decay": 0.9, "powerWidths": [0.1]},
                    "seed": 7,
                },
                "sampling": {
                    "prompts": ["a red circle on white", "a blue square on white"],
                    "guidanceScale": 1.5,
                    "inferenceSteps": 2,
                    "everySteps": 20,
                },
                "evaluation": {"everySteps": 20, "images": 4},
                # No loss is as small: the run says so and goes on.
                "expectations": {"bands": [{"fromStep": 15, "toStep": STEPS, "lossAtMost": 0.0001}]},
                "checkpoint": {"uri": f"file://{bucket}", "everySteps": EVERY, "retain": 2},
                "workers": {"count": 2, "gpusPerWorker": 0},
            },
        }

    return build


@dataclass
class Pod:
    """A launcher as it would run in a pod, with a termination log of its own."""

    process: subprocess.Popen[bytes]
    log: Path
    output: Path
    port: int

    def kill(self) -> None:
        """End launcher and workers as the loss of their machine would."""
        with contextlib.suppress(psutil.NoSuchProcess):
            everyone = [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]
            for one in everyone:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        self.process.wait()

    def end(self, seconds: float = 240) -> int:
        return self.process.wait(seconds)

    def expect(self, code: ExitCode) -> None:
        """Wait for the end, which must be this one."""
        assert self.end() == code, self.output.read_text()

    @property
    def message(self) -> TerminationMessage:
        return TerminationMessage.model_validate_json(self.log.read_bytes())


@dataclass
class Cluster:
    """Starts the pods of attempts in one folder, on the loopback device."""

    folder: Path
    job: dict[str, Any]
    pods: list[Pod] = field(default_factory=list)
    lingers: bool = False

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.folder / "bucket")

    def start(
        self,
        attempt: int,
        *,
        workers: int,
        processes: int,
        resume_from: str | None = None,
        initial_weights: InitialWeightsDocument | None = None,
    ) -> list[Pod]:
        document = AttemptDocument(
            job_name="tiny",
            job_namespace="default",
            job_uid=UID,
            attempt=attempt,
            workers=workers,
            processes_per_worker=processes,
            resume_from=resume_from,
            initial_weights=initial_weights,
            rendezvous_address="127.0.0.1",
            rendezvous_port=free_ports(1)[0],
        )
        ports = free_ports(workers)
        return [
            self._pod(index, document.model_copy(update={"metrics_port": port})) for index, port in enumerate(ports)
        ]

    def _pod(self, index: int, document: AttemptDocument) -> Pod:
        folder = self.folder / f"attempt-{document.attempt}-pod-{index}"
        (folder / "scratch").mkdir(parents=True)
        (folder / "job.yaml").write_text(yaml.safe_dump(self.job))
        (folder / "attempt.json").write_text(document.model_dump_json(by_alias=True))
        log = folder / "termination-log"
        log.touch()
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "t2i_trainer.main", "--job", folder / "job.yaml", "--termination-log", log],
                env={
                    **os.environ,
                    "JOB_COMPLETION_INDEX": str(index),
                    "OMP_NUM_THREADS": "1",
                    "T2I_DEVICE": "cpu",
                    **({"T2I_LINGER_SECONDS": "120"} if self.lingers else {}),
                    "TMPDIR": str(folder / "scratch"),
                },
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        pod = Pod(process, log, folder / "output", document.metrics_port)
        self.pods.append(pod)
        return pod

    def manifests(self) -> list[Manifest]:
        """The committed checkpoints, oldest first."""
        keys = [info.key for info in self.store.list(layout.CHECKPOINTS) if info.key.endswith(layout.MANIFEST)]
        found = [read_manifest(self.store, key.removesuffix(f"/{layout.MANIFEST}")) for key in keys]
        return sorted((each for each in found if each is not None), key=lambda each: each.step)

    def wait_for_checkpoint(self, step: int, pods: list[Pod]) -> None:
        """Return as soon as a checkpoint of `step` or later is committed."""
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            if any(each.step >= step for each in self.manifests()):
                return
            for pod in pods:
                assert pod.process.poll() is None, pod.output.read_text()
            time.sleep(0.01)
        pytest.fail(pods[0].output.read_text())

    def newest(self) -> Manifest:
        return self.manifests()[-1]

    def newest_name(self) -> str:
        newest = self.newest()
        return layout.checkpoint_folder(newest.step, newest.writer).removeprefix(layout.CHECKPOINTS)

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.store.read(layout.METRICS).splitlines()]

    def stop(self) -> None:
        for pod in self.pods:
            pod.kill()


def fetch(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        content: bytes = answer.read()
        return content


def scrape_to_the_end(pod: Pod) -> str:
    """Scrape a pod as Prometheus does, only more often; returns the last text before it was gone."""
    text = ""
    while pod.process.poll() is None:
        # The pod may end in the middle of an answer.
        with contextlib.suppress(OSError, http.client.HTTPException):
            text = fetch(pod.port, "/metrics").decode()
        time.sleep(0.5)
    return text


@dataclass
class Story:
    """Both runs, and what was seen while the disturbed one ran."""

    undisturbed: Cluster
    disturbed: Cluster
    killed_after: int
    stopped_after: int
    stop_messages: list[TerminationMessage]
    peer_codes: list[int]
    progress: Progress
    metrics: str
    peer_metrics: str
    last_metrics: str
    end_messages: list[TerminationMessage]
    steps: int = STEPS
    every: int = EVERY


@pytest.fixture(scope="session")
def story(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_job: Callable[[Path], dict[str, Any]],
) -> Any:
    """Tell the story once; the tests below read different pages of it."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("undisturbed", "disturbed")}
    clusters = {name: Cluster(folder, tiny_job(folder / "bucket")) for name, folder in folders.items()}
    calm, wild = clusters["undisturbed"], clusters["disturbed"]
    try:
        # One pod of two processes here, two pods of one below: the same world, another arrangement.
        calm.lingers = True
        (pod,) = calm.start(1, workers=1, processes=2)
        last_metrics = scrape_to_the_end(pod)
        pod.expect(ExitCode.SUCCEEDED)

        pods = wild.start(1, workers=2, processes=1)
        wild.wait_for_checkpoint(2 * EVERY, pods)
        pods[1].kill()
        peer_codes = [pods[0].end()]
        killed_after = wild.newest().step

        pods = wild.start(2, workers=2, processes=1, resume_from=wild.newest_name())
        wild.wait_for_checkpoint(killed_after + EVERY, pods)
        progress = Progress.model_validate_json(fetch(pods[0].port, "/progress"))
        metrics, peer_metrics = (fetch(pod.port, "/metrics").decode() for pod in pods)
        pods[1].process.send_signal(signal.SIGTERM)
        for pod in pods:
            pod.expect(ExitCode.INTERRUPTED)
        stop_messages = [pod.message for pod in pods]
        stopped_after = wild.newest().step

        pods = wild.start(3, workers=1, processes=2, resume_from=wild.newest_name())
        for pod in pods:
            pod.expect(ExitCode.SUCCEEDED)
        ends = [pod.message for pod in pods]
        yield Story(
            calm,
            wild,
            killed_after,
            stopped_after,
            stop_messages,
            peer_codes,
            progress,
            metrics,
            peer_metrics,
            last_metrics,
            ends,
        )
    finally:
        calm.stop()
        wild.stop()


@pytest.fixture
def cluster_at(tiny_job: Callable[[Path], dict[str, Any]]) -> Iterator[Callable[..., Cluster]]:
    """Make a cluster of the tiny job with fields of its UNet's config changed; its pods end with the test."""
    made: list[Cluster] = []

    def make(folder: Path, **unet: Any) -> Cluster:
        job = tiny_job(folder / "bucket")
        job["spec"]["model"]["unet"]["config"].update(unet)
        folder.mkdir(exist_ok=True)
        made.append(Cluster(folder, job))
        return made[-1]

    yield make
    for cluster in made:
        cluster.stop()

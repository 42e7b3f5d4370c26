"""Two real processes train through the real launcher; one run is killed, resumed, stopped and resumed again.

Its losses must be those of a run that nobody disturbed, bit for bit.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml
from diffusers import UNet2DConditionModel

from t2i_api.attempt import AttemptDocument
from t2i_api.progress import ExitCode, Progress, TerminationMessage, TrainerPhase
from t2i_checkpoint import layout
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from t2i_checkpoint.store import Store

STEPS = 80
EVERY = 10
UID = "0123abcd-0000-4000-8000-000000000000"


UNET: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "cross_attention_dim": 16,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
}


@pytest.fixture(scope="module")
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
                    "ema": {"decay": 0.9},
                    "seed": 7,
                },
                "sampling": {
                    "prompts": ["a red circle on white", "a blue square on white"],
                    "guidanceScale": 1.5,
                    "inferenceSteps": 2,
                },
                "checkpoint": {"uri": f"file://{bucket}", "everySteps": EVERY, "retain": 2},
                "workers": {"count": 2, "gpusPerWorker": 0},
            },
        }

    return build


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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

    @property
    def message(self) -> TerminationMessage:
        return TerminationMessage.model_validate_json(self.log.read_bytes())


@dataclass
class Cluster:
    """Starts the pods of attempts in one folder, on the loopback device."""

    folder: Path
    job: dict[str, Any]
    pods: list[Pod] = field(default_factory=list)

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.folder / "bucket")

    def start(self, attempt: int, *, workers: int, processes: int, resume_from: str | None = None) -> list[Pod]:
        document = AttemptDocument(
            job_name="tiny",
            job_namespace="default",
            job_uid=UID,
            attempt=attempt,
            workers=workers,
            processes_per_worker=processes,
            resume_from=resume_from,
            rendezvous_address="127.0.0.1",
            rendezvous_port=free_port(),
        )
        return [self._pod(index, document.model_copy(update={"metrics_port": free_port()})) for index in range(workers)]

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


def expect(pod: Pod, code: ExitCode) -> None:
    assert pod.end() == code, pod.output.read_text()


def fetch(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        content: bytes = answer.read()
        return content


@dataclass
class Story:
    undisturbed: Cluster
    disturbed: Cluster
    killed_after: int
    stopped_after: int
    stop_messages: list[TerminationMessage]
    peer_codes: list[int]
    progress: Progress
    metrics: str
    end_messages: list[TerminationMessage]


@pytest.fixture(scope="module")
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
        (pod,) = calm.start(1, workers=1, processes=2)
        expect(pod, ExitCode.SUCCEEDED)

        pods = wild.start(1, workers=2, processes=1)
        wild.wait_for_checkpoint(2 * EVERY, pods)
        pods[1].kill()
        peer_codes = [pods[0].end()]
        killed_after = wild.newest().step

        pods = wild.start(2, workers=2, processes=1, resume_from=wild.newest_name())
        wild.wait_for_checkpoint(killed_after + EVERY, pods)
        progress = Progress.model_validate_json(fetch(pods[0].port, "/progress"))
        metrics = fetch(pods[0].port, "/metrics").decode()
        pods[1].process.send_signal(signal.SIGTERM)
        for pod in pods:
            expect(pod, ExitCode.INTERRUPTED)
        stop_messages = [pod.message for pod in pods]
        stopped_after = wild.newest().step

        pods = wild.start(3, workers=1, processes=2, resume_from=wild.newest_name())
        for pod in pods:
            expect(pod, ExitCode.SUCCEEDED)
        yield Story(
            calm,
            wild,
            killed_after,
            stopped_after,
            stop_messages,
            peer_codes,
            progress,
            metrics,
            [pod.message for pod in pods],
        )
    finally:
        calm.stop()
        wild.stop()


def numbers(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["step"], row["loss"], row["gradientNorm"], row["learningRate"]


def test_the_losses_are_bit_for_bit_those_of_the_undisturbed_run(story: Story) -> None:
    assert 0 < story.killed_after < story.stopped_after < STEPS
    undisturbed, disturbed = story.undisturbed.rows(), story.disturbed.rows()
    assert [row["step"] for row in undisturbed] == list(range(1, STEPS + 1))
    assert [numbers(row) for row in disturbed] == [numbers(row) for row in undisturbed]


def test_rows_tell_which_attempt_took_the_step(story: Story) -> None:
    attempts = {row["step"]: row["attempt"] for row in story.disturbed.rows()}
    for step, attempt in attempts.items():
        expected = 1 if step <= story.killed_after else 2 if step <= story.stopped_after else 3
        assert attempt == expected, step


def test_the_last_weights_are_the_same_too(story: Story) -> None:
    calm, wild = story.undisturbed.newest(), story.disturbed.newest()
    assert calm.step == wild.step == STEPS
    assert calm.ranks == wild.ranks
    for path in (layout.WEIGHTS, layout.EMA_WEIGHTS, layout.OPTIMIZER):
        ours, theirs = calm.file(path), wild.file(path)
        assert ours is not None
        assert theirs is not None
        assert ours.sha256 == theirs.sha256, path


def test_ranks_agree_in_weights_and_differ_in_noise(story: Story) -> None:
    for manifest in (*story.undisturbed.manifests(), *story.disturbed.manifests()):
        assert [rank.rank for rank in manifest.ranks] == [0, 1]
        assert len({rank.weights_sha256 for rank in manifest.ranks}) == 1
        assert len({rank.noise_sha256 for rank in manifest.ranks}) == 2


def test_it_learns(story: Story) -> None:
    losses = [row["loss"] for row in story.undisturbed.rows()]
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])


def test_a_lost_peer_is_said_promptly_and_is_no_crash(story: Story) -> None:
    assert story.peer_codes == [ExitCode.PEER_LOST]


def test_a_stop_on_one_pod_stops_all_after_a_checkpoint(story: Story) -> None:
    for message in story.stop_messages:
        assert message.exit_code is ExitCode.INTERRUPTED
        assert message.progress is not None
        assert message.progress.step == story.stopped_after


def test_only_the_newest_checkpoints_are_kept(story: Story) -> None:
    assert [manifest.step for manifest in story.undisturbed.manifests()] == [STEPS - EVERY, STEPS]
    assert len(story.disturbed.manifests()) == 2


def test_progress_and_metrics_tell_of_the_running_attempt(story: Story) -> None:
    progress = story.progress
    assert progress.attempt == 2
    assert progress.world_size == 2
    assert progress.target_steps == STEPS
    assert progress.resumed_from_step == story.killed_after
    assert progress.phase in {TrainerPhase.TRAINING, TrainerPhase.SAVING}
    assert progress.step > story.killed_after
    losses = {row["step"]: row["loss"] for row in story.disturbed.rows()}
    assert progress.loss == losses[progress.step]
    assert f"t2i_trainer_target_steps {float(STEPS)}" in story.metrics
    assert "t2i_trainer_images_total" in story.metrics


def test_the_end_is_told_with_the_last_progress(story: Story) -> None:
    message = story.end_messages[0]
    assert message.exit_code is ExitCode.SUCCEEDED
    assert message.progress is not None
    assert message.progress.step == STEPS
    assert message.progress.last_checkpoint == story.disturbed.newest_name()


def test_pictures_are_drawn_at_the_end_and_are_the_same(story: Story) -> None:
    folder = layout.sample_folder(STEPS)
    names = [f"{folder}/{name}" for name in ("0000.png", "0001.png", "grid.png")]
    for name in names:
        content = story.undisturbed.store.read(name)
        assert content.startswith(b"\x89PNG")
        assert content == story.disturbed.store.read(name)


def test_weights_open_in_stock_diffusers(story: Story, tmp_path: Path) -> None:
    store, name = story.undisturbed.store, story.undisturbed.newest_name()
    for kind in ("unet", "unet_ema"):
        for file in ("config.json", "diffusion_pytorch_model.safetensors"):
            target = tmp_path / kind / file
            target.parent.mkdir(exist_ok=True)
            store.download(f"{layout.CHECKPOINTS}{name}/{kind}/{file}", target)
        model, facts = UNet2DConditionModel.from_pretrained(tmp_path / kind, output_loading_info=True)  # type: ignore[no-untyped-call]  # Diffusers is untyped here
        assert not facts["missing_keys"]
        assert model.config.block_out_channels == [8, 16]


def test_a_checkpoint_of_another_architecture_is_refused_and_nothing_is_written(
    story: Story, tmp_path: Path, tiny_job: Callable[[Path], dict[str, Any]]
) -> None:
    shutil.copytree(story.undisturbed.folder / "bucket", tmp_path / "bucket")
    job = tiny_job(tmp_path / "bucket")
    job["spec"]["model"]["unet"]["config"]["block_out_channels"] = [16, 32]
    other = Cluster(tmp_path, job)
    before = {info.key: (info.size, info.etag) for info in other.store.list("")}
    (pod,) = other.start(9, workers=1, processes=1, resume_from=story.undisturbed.newest_name())
    expect(pod, ExitCode.INCOMPATIBLE_WEIGHTS)
    assert "conv_in.weight: stored [8, 3, 3, 3], wanted [16, 3, 3, 3]" in pod.message.message
    assert {info.key: (info.size, info.etag) for info in other.store.list("")} == before

"""The trainer against the real S3 server: killed by SIGKILL and resumed, it repeats the undisturbed run bit for bit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from t2i_api.progress import ExitCode
from t2i_checkpoint import layout
from t2i_checkpoint.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_checkpoint.manifest import Manifest
    from t2i_checkpoint.store import Store

STEPS = 60
EVERY = 10


def committed(store: Store) -> list[Manifest]:
    keys = [info.key for info in store.list(layout.CHECKPOINTS) if info.key.endswith(layout.MANIFEST)]
    found = (read_manifest(store, key.removesuffix(f"/{layout.MANIFEST}")) for key in keys)
    return [each for each in found if each is not None]


@pytest.mark.exhaustive
def test_a_killed_run_resumes_from_the_bucket_bit_for_bit(make_job: Callable[[str], Any]) -> None:
    job = make_job("s3").changed("training", steps=STEPS).changed("checkpoint", everySteps=EVERY)
    calm, wild = job.elsewhere("calm"), job.elsewhere("wild")
    undisturbed = calm.start(processes=1)
    running = wild.start(processes=1)
    deadline = time.monotonic() + 150
    while not (found := committed(wild.store)):
        assert running.process.poll() is None, running.log
        assert time.monotonic() < deadline, running.log
        time.sleep(0.01)
    running.kill_all()
    found = committed(wild.store)  # a save may have ended while the signal was under way
    step = found[-1].step
    assert EVERY <= step < STEPS

    name = layout.checkpoint_folder(step, found[-1].writer).removeprefix(layout.CHECKPOINTS)
    resumed = wild.run(processes=1, attempt=2, resume_from=name)
    assert resumed.status == ExitCode.SUCCEEDED, resumed.log
    assert resumed.message["progress"]["resumedFromStep"] == step
    assert undisturbed.finish().status == ExitCode.SUCCEEDED, undisturbed.log
    assert len(wild.losses()) == STEPS
    assert wild.losses() == calm.losses()

    last = [manifest for store in (calm.store, wild.store) for manifest in committed(store) if manifest.step == STEPS]
    assert len(last) == 2
    assert last[0].ranks == last[1].ranks


@pytest.mark.exhaustive
def test_wrong_credentials_are_named_and_not_retried(make_job: Callable[[str], Any]) -> None:
    job = make_job("denied")
    environment = {**job.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}
    denied = type(job)(job.spec, job.store, environment, job.directory).run(processes=1)
    assert denied.status == ExitCode.BAD_CONFIGURATION, denied.log
    assert denied.message["reason"] == "BadConfiguration"
    assert "s3://" in denied.message["message"]

"""The short demo, run once with real pods while the operator is killed ten times, and once undisturbed."""

import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from t2i_api.status import JobStatus
from t2i_dev.cluster import LocalCluster
from t2i_dev.demo import acts
from t2i_dev.demo.environment import DemoEnvironment, demo_environment
from t2i_dev.demo.job_view import JobView
from t2i_dev.demo.plan import DemoPlan, short_plan
from t2i_dev.pages import Reader, about_job, blocks_of
from t2i_dev.paths import repository_root
from t2i_dev.processes import wait_until
from t2i_dev.progress import Progress

DOCS = repository_root() / "docs"
# Pages whose commands ask a pod that trains.
ASK_PODS = (DOCS / "monitoring.md", DOCS / "runbooks" / "T2ITargetDown.md")
OPERATOR_KILLS = 10
# Short enough that ten fall into the story; long enough that the operator does something between two.
KILL_INTERVAL_SECONDS = (2.0, 8.0)


@dataclass(frozen=True)
class Story:
    """Everything that was seen while the story ran."""

    environment: DemoEnvironment
    plan: DemoPlan
    view: JobView
    judged: acts.Judged
    killed: acts.Killed
    resumed: acts.Resumed
    end: JobStatus
    operator_kills: int
    kills_before_the_end: int
    started_at: float
    ended_at: float
    undisturbed: JobView
    undisturbed_uri: str
    asked_while_training: list[subprocess.CompletedProcess[str]]

    @property
    def uri(self) -> str:
        return self.plan.job.spec.checkpoint.uri


@contextmanager
def _operator_killed_at_random(environment: DemoEnvironment) -> Iterator[list[float]]:
    moments: list[float] = []
    done = threading.Event()
    generator = random.Random(20260)  # noqa: S311  # reproducible moments, not secrets

    def kill() -> None:
        while len(moments) < OPERATOR_KILLS and not done.wait(generator.uniform(*KILL_INTERVAL_SECONDS)):
            if environment.kill_operator():
                moments.append(time.time())

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield moments
        # A fast machine may finish the story before the tenth kill: the rest hits the finished job, which must stay so.
        killer.join()
    finally:
        done.set()
        killer.join()


def _nothing(status: JobStatus) -> None:
    del status


def _trains(view: JobView) -> bool:
    """Ask the trainer itself: the status follows up to 10 s later, when a short run may be over."""
    progress = view.trainer_progress(1)
    return progress is not None and progress.step > 0


@pytest.fixture(scope="session")
def story(local_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    plan = short_plan()
    with demo_environment(local_cluster, tmp_path_factory.mktemp("demo"), Progress()) as environment:
        started_at = time.time()
        old = acts.put_old_checkpoints(environment, plan, tmp_path_factory.mktemp("old"))
        with _operator_killed_at_random(environment) as moments:
            view = acts.apply_job(environment, plan)
            judged = acts.see_verdict(view, old)
            killed = acts.kill_half_way(view, plan, _nothing)
            resumed = acts.see_resume(view, plan)
            acts.see_end(view, plan, _nothing)
            ended_at = time.time()
        end = view.status()
        uri = f"{plan.job.spec.checkpoint.uri}-undisturbed"
        undisturbed = acts.apply_job(environment, plan, name="undisturbed", uri=uri)
        wait_until(lambda: _trains(undisturbed), "a step of the undisturbed run", timeout_seconds=plan.timeout_seconds)
        reader = Reader(
            local_cluster, tmp_path_factory.mktemp("reader"), about_job(undisturbed.namespace, undisturbed.name, "")
        )
        asked = [
            reader.run(block) for page in ASK_PODS for block in blocks_of(page) if "/proxy/metrics" in block.commands
        ]
        acts.see_end(undisturbed, plan, _nothing)
        yield Story(
            environment=environment,
            plan=plan,
            view=view,
            judged=judged,
            killed=killed,
            resumed=resumed,
            end=end,
            operator_kills=len(moments),
            kills_before_the_end=sum(moment < ended_at for moment in moments),
            started_at=started_at,
            ended_at=ended_at,
            undisturbed=undisturbed,
            undisturbed_uri=uri,
            asked_while_training=asked,
        )

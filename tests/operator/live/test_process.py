"""The operator as a process: SIGKILL at any moment, the lease, its pages, its weight."""

import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.cluster
MIB = 1024 * 1024


def lease(place: Any) -> dict[str, Any]:
    return dict(place.get("lease", "t2i-operator")["spec"])


def leads(place: Any, times: int = 1) -> bool:
    return bool(place.operator.lines().count("lease acquired") >= times)


def wait_until(look: Any, seconds: float) -> float:
    """Return the seconds until `look` is true."""
    started = time.monotonic()
    while not look():
        assert time.monotonic() - started < seconds, "did not happen in time"
        time.sleep(0.05)
    return time.monotonic() - started


def test_sigkill_at_many_moments_changes_nothing_about_the_result(place: Any) -> None:
    for step in (1000, 2000, 3000):
        place.put_old_checkpoint(f"checkpoint-{step}")
    place.apply()
    # Starting takes about a second, so these moments fall between the first listing and the attempt's children.
    for moment in (1.3, 1.7, 2.1):
        place.operator.start()
        time.sleep(moment)
        place.operator.kill()
    place.operator.start()
    pod = place.pod(1)
    assert len(place.objects("job.batch")) == 1
    assert place.status()["attempt"]["number"] == 1
    archived = [key for key in place.bucket() if key.endswith("model.safetensors")]
    assert len(archived) == 3
    assert all(key.startswith("archive/") for key in archived)
    completed = [key for key in place.bucket() if key.endswith("COMPLETED.json")]
    assert len(completed) == 1

    place.set_pod(pod, "Running")
    place.reaches("Training")
    place.operator.kill()
    place.set_pod(pod, "Succeeded", code=0)
    place.operator.start()
    place.reaches("Completed")
    assert place.status()["restarts"]["total"] == 0


def test_a_restart_under_the_same_name_takes_its_lease_back_at_once(place: Any) -> None:
    place.operator.start()
    wait_until(lambda: leads(place), 30)
    place.operator.kill()
    place.operator.start()
    assert wait_until(lambda: leads(place, 2), 30) < 12  # a lease of 15 s is not waited for
    assert lease(place)["leaseTransitions"] == 0


def test_a_second_operator_stands_by_and_takes_over_when_the_first_is_gone(place: Any) -> None:
    place.operator.start("--lease-seconds", "5", identity="first")
    wait_until(lambda: leads(place), 30)
    first = place.operator.process
    place.operator.start("--lease-seconds", "5", identity="second")
    wait_until(lambda: "waiting for the lease" in place.operator.lines(), 30)
    assert place.operator.get("/readyz") == "ok\n"
    assert "t2i_operator_leader 0.0" in place.operator.get("/metrics")
    time.sleep(6)
    assert lease(place)["holderIdentity"] == "first"  # it renews
    first.kill()
    first.wait()
    assert wait_until(lambda: leads(place, 2), 20) >= 3  # the lease ran out first
    assert lease(place)["holderIdentity"] == "second"


def test_sigterm_ends_it_cleanly_and_gives_the_lease_back(place: Any) -> None:
    place.operator.start()
    wait_until(lambda: leads(place), 30)
    place.apply()
    place.pod(1)
    assert place.operator.terminate() == 0
    assert lease(place).get("holderIdentity", "") == ""
    assert "Traceback" not in place.operator.lines()


def test_it_is_light_and_stays_light_after_work(place: Any) -> None:
    place.put_old_checkpoint()
    place.operator.start()
    place.apply()
    place.pod(1)
    time.sleep(3)
    used = psutil.Process(place.operator.running.pid).memory_info().rss
    assert used <= 100 * MIB, f"{used / MIB:.0f} MiB"


def test_it_imports_nothing_heavy() -> None:
    generated = "kubernetes.client.api.core_v1_api"
    heavy = {"torch", "diffusers", "transformers", "accelerate", "numpy", "safetensors", generated}
    code = f"import sys, t2i_operator.main, t2i_checkpoint.s3; print({heavy!r} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_a_cluster_that_cannot_be_read_is_an_error_with_the_way_out() -> None:
    command = [sys.executable, "-m", "t2i_operator.main", "--kubeconfig", "/nonexistent", "--metrics-port", "0"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 1
    assert "/nonexistent" in answer.stderr
    assert "--kubeconfig" in answer.stderr
    assert "Traceback" not in answer.stderr

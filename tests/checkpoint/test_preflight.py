"""What a verdict may cost, held by the benches themselves, run as a user would on an S3 server of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"
KIB, MB = 1024, 1_000_000


def run(script: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(BENCH / script), "--json", "--repeats", "1", *options]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def test_a_13_8_gb_checkpoint_is_judged_in_four_requests_and_half_a_mebibyte() -> None:
    found = run("preflight.py")
    assert found["verdict"] == "identical"
    assert found["checkpointBytes"] > 13.7e9
    assert found["requests"] == 4  # one LIST, then manifest, weights header, optimizer header
    assert found["bytesRead"] <= 512 * KIB


@pytest.mark.exhaustive
def test_one_and_a_hundred_checkpoints_take_little_memory_and_time() -> None:
    found = run("verdict.py", "--without-download")
    one, hundred = found["own"], found["hundred"]
    assert (one["checkpoints"], hundred["checkpoints"]) == (1, 100)
    assert one["checkpointBytes"] > 13.7e9
    assert hundred["requests"] <= 1 + 3 * 100
    for figures in (one, hundred):
        assert figures["mostReadsOfOne"] <= 3
        assert figures["mostBytesOfOne"] <= 512 * KIB
        assert figures["extraMemoryBytes"] <= 40 * MB
    # Seconds of the processor: those of the clock say how busy the machine is.
    assert hundred["cpuSeconds"] <= 5

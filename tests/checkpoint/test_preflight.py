"""The judgement of a 13.8 GB checkpoint costs kilobytes: the bench is run as a user would, on its own S3 server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench" / "preflight.py"
KIB = 1024


def test_a_13_8_gb_checkpoint_is_judged_in_four_requests_and_half_a_mebibyte() -> None:
    answer = subprocess.run(
        [sys.executable, str(BENCH), "--json", "--repeats", "1"],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = json.loads(answer.stdout)
    assert found["verdict"] == "identical"
    assert found["checkpointBytes"] > 13.7e9
    assert found["requests"] == 4  # one LIST, then manifest, weights header, optimizer header
    assert found["bytesRead"] <= 512 * KIB

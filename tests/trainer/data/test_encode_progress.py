"""What is said of an encoding: how far, how fast, how long still; often enough, and never too often."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_trainer.data.encode_progress import EncodeProgress, ProgressLog, progress_line

NEWS = EncodeProgress(samples=1240, total=10_000, kept=0, broken=0, shards=1, bytes_written=1, seconds=100)


@pytest.mark.parametrize(
    ("news", "line"),
    [
        (NEWS, "encoded 1,240 of 10,000 samples, 12.4 samples/s, 11 min 46 s left"),
        (replace(NEWS, total=None), "encoded 1,240 samples, 12.4 samples/s"),
        (replace(NEWS, broken=760), "encoded 1,240 of 9,240 samples, 12.4 samples/s, 10 min 45 s left"),
        (replace(NEWS, kept=240), "encoded 1,240 of 10,000 samples, 10.0 samples/s, 14 min 36 s left"),
        (replace(NEWS, kept=1240), "encoded 1,240 of 10,000 samples, 0.0 samples/s"),
        (replace(NEWS, samples=0, seconds=0), "encoded 0 of 10,000 samples, 0.0 samples/s"),
        (replace(NEWS, total=1_000_000), "encoded 1,240 of 1,000,000 samples, 12.4 samples/s, 22 h 22 min left"),
    ],
    ids=["plain", "total unknown", "broken", "resumed", "nothing new", "begin", "hours"],
)
def test_a_line_says_what_is_known(news: EncodeProgress, line: str) -> None:
    assert progress_line(news) == line


@given(st.lists(st.floats(0, 60), max_size=50))
def test_lines_are_ten_seconds_apart_and_no_later_than_the_news(pauses: list[float]) -> None:
    now, written = 0.0, [0.0]
    log = ProgressLog(lambda _: written.append(now), clock=lambda: now)
    for pause in pauses:
        now += pause
        log.report(NEWS)
        assert now - written[-1] < 10
    assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(written))

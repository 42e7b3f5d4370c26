"""Speed and time left, as far as they are known."""

import pytest

from t2i_checkpoint.archive_progress import ArchiveProgress
from t2i_cli.progress_bar import speed_text


@pytest.mark.parametrize(
    ("rate", "left", "text"),
    [
        (0.0, None, ""),
        (112e6, None, "112.0 MB/s"),
        (112e6, 125.4, "112.0 MB/s, 2:05 left"),
        (112e6, 0.0, "112.0 MB/s"),
    ],
)
def test_speed_and_time_left(rate: float, left: float | None, text: str) -> None:
    assert speed_text(ArchiveProgress("Copying", 1, 2, 10, 20, rate, left)) == text

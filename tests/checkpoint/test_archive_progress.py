"""Progress is told in bytes that never run backwards past the total, with a speed of what really moved."""

from __future__ import annotations

from t2i_checkpoint.archive_progress import ArchiveProgress, ProgressMeter

GB = 10**9


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_speed_and_time_left_follow_what_moved() -> None:
    told: list[ArchiveProgress] = []
    clock = Clock()
    meter = ProgressMeter("Copying", told.append, objects=2, size_bytes=10 * GB, clock=clock)
    clock.now += 10
    meter.moved(2 * GB)
    assert (told[-1].bytes_per_second, told[-1].eta_seconds) == (0.2 * GB, 40.0)
    meter.finished_object()
    assert (told[-1].stage, told[-1].objects_done, told[-1].objects_total) == ("Copying", 1, 2)


def test_what_an_earlier_run_copied_is_progress_but_no_speed() -> None:
    told: list[ArchiveProgress] = []
    clock = Clock()
    meter = ProgressMeter("Copying", told.append, objects=2, size_bytes=10 * GB, clock=clock)
    clock.now += 1
    meter.found(8 * GB)
    assert (told[-1].bytes_done, told[-1].bytes_per_second, told[-1].eta_seconds) == (8 * GB, 0.0, None)
    clock.now += 1
    meter.moved(GB)
    assert (told[-1].bytes_per_second, told[-1].eta_seconds) == (0.5 * GB, 2.0)
    meter.moved(GB)
    assert told[-1].eta_seconds == 0.0


def test_the_speed_is_of_the_last_half_minute() -> None:
    told: list[ArchiveProgress] = []
    clock = Clock()
    meter = ProgressMeter("Copying", told.append, objects=1, size_bytes=1000 * GB, clock=clock)
    for _ in range(60):
        clock.now += 1
        meter.moved(GB)
    for _ in range(60):
        clock.now += 1
        meter.moved(2 * GB)
    assert told[-1].bytes_per_second == 2 * GB


def test_what_has_to_be_copied_again_is_taken_back() -> None:
    told: list[ArchiveProgress] = []
    meter = ProgressMeter("Copying", told.append, objects=1, size_bytes=GB)
    meter.moved(GB // 2)
    meter.moved(-GB // 2)
    assert told[-1].bytes_done == 0
    meter.moved(2 * GB)
    assert told[-1].bytes_done == GB


def test_without_a_listener_nothing_happens() -> None:
    ProgressMeter("Copying", None, objects=1, size_bytes=1).moved(1)

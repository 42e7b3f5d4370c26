"""Every process of a pod writes its own figures, and the first one reads them all."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from t2i_api.metrics import trainer
from t2i_trainer.rank_figures import RankCollector, RankFigures

if TYPE_CHECKING:
    from pathlib import Path


def samples(figures: RankFigures) -> dict[str, float]:
    """Every sample as `name{rank,le}` -> value."""
    registry = CollectorRegistry()
    registry.register(RankCollector(figures))
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found[f"{sample.name}{{{','.join(sample.labels.values())}}}"] = sample.value
    return found


def test_another_process_of_the_pod_is_seen_while_it_runs(tmp_path: Path) -> None:
    mine = RankFigures(0, tmp_path)
    mine.waited(0.5)
    code = f"""
from pathlib import Path
from t2i_trainer.rank_figures import RankFigures
figures = RankFigures(7, Path({str(tmp_path)!r}))
figures.waited(1.5); figures.waited(2.0); figures.stepped(0.2, 0.125); figures.utilised(0.5); figures.remembered(10, 80)
print("written", flush=True)
input()
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == b"written\n"
    found = samples(mine)
    other.stdin.close()
    other.wait(30)
    assert found["t2i_trainer_data_wait_seconds_total{0}"] == 0.5
    assert found["t2i_trainer_data_wait_seconds_total{7}"] == 3.5
    assert found["t2i_trainer_forward_seconds_total{7}"] == 0.125
    assert found["t2i_trainer_step_seconds_count{7}"] == 1
    assert found["t2i_trainer_model_flops_utilization_ratio{7}"] == 0.5
    assert found["t2i_trainer_gpu_memory_peak_bytes{7}"] == 10
    assert found["t2i_trainer_gpu_memory_size_bytes{7}"] == 80
    assert "t2i_trainer_gpu_memory_peak_bytes{0}" not in found


def test_figures_without_a_folder_are_those_of_one_process() -> None:
    figures = RankFigures(rank=3)
    figures.stepped(None, None)
    assert samples(figures)["t2i_trainer_step_seconds_count{3}"] == 0


def test_a_file_that_is_being_made_is_left_out(tmp_path: Path) -> None:
    mine = RankFigures(0, tmp_path)
    (tmp_path / "rank-1").touch()
    assert {rank for rank, _ in mine.of_pod()} == {0}


@given(st.lists(st.floats(min_value=0, max_value=100, allow_nan=False)))
def test_the_histogram_is_that_of_prometheus_client(seconds: list[float]) -> None:
    figures, registry = RankFigures(), CollectorRegistry()
    metric = trainer.STEP_SECONDS
    reference = Histogram(metric.name, metric.help, metric.label_names, registry=registry, buckets=metric.buckets)
    reference.labels("0")
    for value in seconds:
        figures.stepped(value, None)
        reference.labels("0").observe(value)
    expected = {
        f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    assert {name: value for name, value in samples(figures).items() if "step_seconds" in name} == expected

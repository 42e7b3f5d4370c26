"""What real pods export: every metric of the list and no other, each from one place, and the last step of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from t2i_api.metrics import TRAINER_METRICS, trainer

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as MetricFamily
    from tests.trainer.resume.conftest import Story

    from t2i_api.metrics import Metric


def families(text: str) -> dict[str, MetricFamily]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(text: str, metric: Metric, **labels: str) -> float:
    """The one sample of a gauge or counter."""
    (found,) = (
        sample.value for sample in families(text)[metric.family].samples if labels.items() <= sample.labels.items()
    )
    return found


def test_every_metric_of_the_list_is_exported_and_no_other(story: Story) -> None:
    exported = families(story.last_metrics)
    assert set(exported) == {metric.family for metric in TRAINER_METRICS}
    for metric in TRAINER_METRICS:
        family = exported[metric.family]
        assert (family.type, family.documentation) == (metric.type.value, metric.help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.label_names)
            for label in metric.labels:
                assert not label.values or sample.labels[label.name] in label.values


def test_a_run_says_its_figures_once_and_every_process_its_own(story: Story) -> None:
    first, second = families(story.metrics), families(story.peer_metrics)
    assert set(first) == {metric.family for metric in TRAINER_METRICS}
    assert set(second) == {metric.family for metric in trainer.RANK_METRICS}
    for rank, exported in (("0", first), ("1", second)):
        waits = exported[trainer.DATA_WAIT.family].samples
        assert [sample.labels for sample in waits] == [{"rank": rank}]


def test_the_processes_of_one_pod_are_told_apart(story: Story) -> None:
    for rank in ("0", "1"):
        assert value(story.last_metrics, trainer.FORWARD_SECONDS, rank=rank) > 0
        count = [
            sample.value
            for sample in families(story.last_metrics)[trainer.STEP_SECONDS.family].samples
            if sample.name.endswith("_count") and sample.labels["rank"] == rank
        ]
        assert count == [story.steps]


def test_the_last_step_of_a_run_can_still_be_scraped(story: Story) -> None:
    text = story.last_metrics
    assert value(text, trainer.STEP) == value(text, trainer.CHECKPOINT_STEP) == story.steps
    assert value(text, trainer.PHASE_NOW, phase="Finished") == 1
    assert value(text, trainer.LOSS) == story.undisturbed.rows()[-1]["loss"]
    assert value(text, trainer.IMAGES) == story.steps * value(text, trainer.GLOBAL_BATCH)


def test_what_cannot_be_known_on_a_cpu_has_no_sample(story: Story) -> None:
    for metric in (trainer.MFU, trainer.GPU_MEMORY, trainer.GPU_MEMORY_SIZE):
        assert families(story.last_metrics)[metric.family].samples == []

"""Losses by quarter of the timesteps are smoothed each for itself, and finite ones only."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from t2i_trainer.noticed import NoticedMetrics


def quartiles(registry: CollectorRegistry) -> dict[str, float]:
    """The loss of each quarter that has one."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    (family,) = (family for family in families if family.name == "t2i_trainer_loss_by_timestep")
    return {sample.labels["quartile"]: sample.value for sample in family.samples}


def test_a_quarter_that_no_sample_fell_into_keeps_what_it_had() -> None:
    registry = CollectorRegistry()
    noticed = NoticedMetrics(registry)
    assert quartiles(registry) == {}
    noticed.losses_by_timestep([0.5, None, 1.0, None])
    assert quartiles(registry) == {"1": 0.5, "3": 1.0}
    noticed.losses_by_timestep([1.5, 2.0, None, None])
    assert quartiles(registry) == {"1": pytest.approx(0.95 * 0.5 + 0.05 * 1.5), "2": 2.0, "3": 1.0}


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_changes_nothing(loss: float) -> None:
    registry = CollectorRegistry()
    noticed = NoticedMetrics(registry)
    noticed.losses_by_timestep([0.5, 0.5, 0.5, 0.5])
    noticed.losses_by_timestep([loss, 0.5, 0.5, 0.5])
    assert quartiles(registry) == dict.fromkeys("1234", 0.5)

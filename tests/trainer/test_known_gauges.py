"""A gauge has a sample from the moment its value is known, and none once it is unknown again."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, generate_latest

from t2i_api.metrics import Label, Unit
from t2i_api.metrics.definition import gauge
from t2i_trainer.known_gauges import KnownGauges

AGE = gauge("t2i_trainer_last_timestamp_seconds", Unit.TIMESTAMP, "When.")
LOSS = gauge("t2i_trainer_some_loss", Unit.NONE, "Loss.", Label.of("quartile", "12"))


def exported(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_what_nobody_noted_has_help_and_no_sample() -> None:
    registry = CollectorRegistry()
    KnownGauges((AGE, LOSS), registry)
    assert exported(registry) == []
    assert b"# HELP t2i_trainer_last_timestamp_seconds When." in generate_latest(registry)


def test_values_stand_under_their_labels_until_they_are_taken_back() -> None:
    registry = CollectorRegistry()
    gauges = KnownGauges((AGE, LOSS), registry)
    gauges.set(AGE, 12.5)
    gauges.set(LOSS, math.nan, "1")
    gauges.set(LOSS, 0.25, "2")
    assert exported(registry) == [
        "t2i_trainer_last_timestamp_seconds 12.5",
        't2i_trainer_some_loss{quartile="1"} NaN',
        't2i_trainer_some_loss{quartile="2"} 0.25',
    ]
    gauges.set(AGE, None)
    gauges.set(LOSS, None, "1")
    assert exported(registry) == ['t2i_trainer_some_loss{quartile="2"} 0.25']
    gauges.set(AGE, None)  # unknown already

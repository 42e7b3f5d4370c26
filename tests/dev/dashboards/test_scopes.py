"""Queries are spelled from metrics, and a mistake is an error when the dashboard is made."""

import pytest

from t2i_api.metrics import operator, trainer
from t2i_dev.dashboards.scopes import COMPARED, EVERYTHING, RUN


def test_a_scope_goes_into_every_selector() -> None:
    chosen = '{job_namespace="$namespace", job_name="$job"}'
    assert RUN.of(trainer.LOSS) == f"t2i_trainer_loss{chosen}"
    assert RUN.rate(trainer.IMAGES) == f"rate(t2i_trainer_images_total{chosen}[$__rate_interval])"
    assert RUN.mean(trainer.STEP_SECONDS, "rank") == (
        f"sum by (rank) (rate(t2i_trainer_step_seconds_sum{chosen}[$__rate_interval])) / "
        f"sum by (rank) (rate(t2i_trainer_step_seconds_count{chosen}[$__rate_interval]))"
    )


def test_a_variable_with_several_values_is_a_regular_expression() -> None:
    assert COMPARED.of(trainer.STEP) == 't2i_trainer_step{job_namespace="$namespace", job_name=~"$compare"}'


def test_a_quantile_keeps_the_buckets_bound() -> None:
    assert EVERYTHING.quantile(0.5, operator.API_REQUEST_SECONDS, "verb") == (
        "histogram_quantile(0.5, sum by (le, verb) (rate(t2i_operator_api_request_seconds_bucket[$__rate_interval])))"
    )


def test_a_gauge_has_no_rate() -> None:
    with pytest.raises(ValueError, match="t2i_trainer_loss is no counter"):
        RUN.rate(trainer.LOSS)


def test_a_label_that_nobody_exports_is_refused() -> None:
    with pytest.raises(ValueError, match="has no label colour"):
        RUN.of(trainer.LOSS, colour="red")

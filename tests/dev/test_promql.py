"""Selectors: what is written, and which mistakes are refused."""

import re
from collections.abc import Callable

import pytest

from t2i_api.metrics import job, trainer
from t2i_dev.promql import BY_JOB, select


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (select(trainer.LOSS), "t2i_trainer_loss"),
        (select(trainer.STEP_SECONDS, "_count", rank="0"), 't2i_trainer_step_seconds_count{rank="0"}'),
        (select(job.CONDITION_NOW, status=("True", "False")), 't2i_job_condition{status=~"True|False"}'),
        (select(trainer.LOSS, job_name="emoji"), 't2i_trainer_loss{job_name="emoji"}'),
        (BY_JOB, "by (job_namespace, job_name)"),
    ],
)
def test_what_is_written(selector: str, text: str) -> None:
    assert selector == text


@pytest.mark.parametrize(
    ("mistake", "why"),
    [
        (lambda: select(trainer.LOSS, caption="right"), "has no label caption"),
        (lambda: select(job.CONDITION_NOW, status="true"), "status is never true"),
        (lambda: select(trainer.STEP_SECONDS), "histogram with suffix ''"),
        (lambda: select(trainer.LOSS, "_count"), "gauge with suffix '_count'"),
    ],
    ids=["a label of another metric", "a value that never comes", "a histogram itself", "a part of a gauge"],
)
def test_what_is_refused(mistake: Callable[[], str], why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        mistake()

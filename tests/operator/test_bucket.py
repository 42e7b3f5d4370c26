"""What the bucket's newest archive is shown as, whoever made it and however."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from t2i_api.job import DiffusionTrainingJob
from t2i_api.spec_run import ArchiveMethod
from t2i_checkpoint.archive import plan_archive, run_archive
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.wanted import wanted_from
from t2i_operator.bucket import last_archive

JobWith = Callable[..., DiffusionTrainingJob]


@pytest.mark.parametrize("method", ArchiveMethod)
def test_an_archive_is_shown_with_its_method(tmp_path: Path, job_with: JobWith, method: ArchiveMethod) -> None:
    # Was: the method was lost, so that one archived in place was said to have been moved.
    store = LocalStore(tmp_path)
    assert last_archive(store, 1) is None
    store.put("checkpoint-5/model.safetensors", save({"in_layers.0.weight": np.zeros((2, 2), np.float32)}))
    judgements = survey(store, wanted_from(job_with().spec)).judgements
    run_archive(store, plan_archive(judgements, now=datetime.now(UTC), label="old", method=method))
    shown = last_archive(store, 3)
    assert shown is not None
    assert (shown.method, shown.attempt, shown.checkpoints, shown.done) == (method.value, 3, 1, True)
    assert shown.location.endswith("-old")

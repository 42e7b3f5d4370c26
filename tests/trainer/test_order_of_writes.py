"""A whole run, watched on the wire: files before their manifest, the new checkpoint before any old one goes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from t2i_dev.faults import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.trainer.conftest import TrainerJob

    from t2i_dev.faults import S3Request
    from t2i_dev.s3_server import S3Server

OWN = re.compile(r".*/checkpoints/step-(?P<step>\d{8})-[a-z0-9-]+/(?P<path>.+)")
MANIFEST = "MANIFEST.json"


@pytest.mark.exhaustive
def test_nothing_is_retired_before_the_newer_checkpoint_is_committed(
    make_job: Callable[[str], TrainerJob], s3_server: S3Server
) -> None:
    job = make_job("order").changed("training", steps=3).changed("checkpoint", everySteps=1, retain=1)
    with FaultProxy(s3_server.endpoint) as proxy:
        proxy.begin(0)
        finished = job.changed("checkpoint", endpoint=proxy.endpoint).run(processes=1)
        effects = proxy.end().effects
    assert finished.status == 0, finished.log
    committed: set[int] = set()
    deleted: set[int] = set()
    for effect in effects:
        for step, path in steps_of(effect):
            if effect.action.startswith("Delete"):
                assert max(committed) > step, f"step {step} was deleted when {committed} were committed"
                deleted.add(step)
            elif path == MANIFEST:
                committed.add(step)
            elif path != "RETIRED.json":
                assert step not in committed, f"{path} of step {step} was written after its manifest"
    assert (committed, deleted) == ({1, 2, 3}, {1, 2})


def steps_of(effect: S3Request) -> list[tuple[int, str]]:
    found = (OWN.fullmatch(key) for key in effect.keys)
    return [(int(match["step"]), match["path"]) for match in found if match is not None]

"""An attempt of one process, as the operator tells it to a pod; tests and benchmarks copy it with what is different."""

from __future__ import annotations

from t2i_api.attempt import AttemptDocument

ALONE = AttemptDocument(
    job_name="shapes",
    job_namespace="default",
    job_uid="0123abcd",
    attempt=1,
    workers=1,
    processes_per_worker=1,
    rendezvous_address="127.0.0.1",
)

"""The two files that tell a trainer what to do: the job as written, the attempt as the operator decided it.

Fields at their defaults are left out, so that a pinned older `workers.image` reads them too (`t2i_api.defaults`).
"""

import json
from typing import Any

import yaml

from t2i_api.attempt import ATTEMPT_FILE, JOB_FILE, KIND, AttemptDocument, child_name
from t2i_api.defaults import without_defaults
from t2i_api.job import API_VERSION, DiffusionTrainingJob
from t2i_operator.build.beginning import Beginning
from t2i_operator.build.metadata import child_metadata


def attempt_document(job: DiffusionTrainingJob, attempt: int, beginning: Beginning) -> AttemptDocument:
    """Return `attempt.json`; the rendezvous is pod 0 of the Indexed Job behind the headless Service."""
    name = child_name(job.metadata.name, attempt)
    return AttemptDocument(
        job_name=job.metadata.name,
        job_namespace=job.metadata.namespace,
        job_uid=job.metadata.uid,
        attempt=attempt,
        workers=job.spec.workers.count,
        processes_per_worker=job.spec.workers.processes_per_worker,
        resume_from=beginning.resume_from,
        initial_weights=beginning.weights_document,
        rendezvous_address=f"{name}-0.{name}",
    )


def config_map(job: DiffusionTrainingJob, attempt: int, beginning: Beginning) -> dict[str, Any]:
    """Return the immutable ConfigMap with both files."""
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": job.metadata.name, "namespace": job.metadata.namespace, "uid": job.metadata.uid},
        "spec": without_defaults(job.spec),
    }
    attempt_json = attempt_document(job, attempt, beginning).to_wire(defaults=False)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": child_metadata(job, attempt),
        "immutable": True,
        "data": {
            JOB_FILE: yaml.safe_dump(document, sort_keys=False, allow_unicode=True),
            ATTEMPT_FILE: json.dumps(attempt_json, indent=2) + "\n",
        },
    }

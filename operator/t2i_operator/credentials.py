"""The bucket's credentials, from the Secret that a job names in its own namespace: one GET, nothing is kept."""

import base64
import binascii
from typing import Any

from t2i_api.job import DiffusionTrainingJob
from t2i_checkpoint.store import Credentials
from t2i_operator.cluster import SECRETS, Cluster, ForbiddenError, NotFoundError

_REQUIRED = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_OPTIONAL = "AWS_SESSION_TOKEN"


class CredentialsError(Exception):
    """There are no usable credentials; the message says what to do."""


async def read_credentials(cluster: Cluster, job: DiffusionTrainingJob, *, ambient: bool) -> Credentials | None:
    """Return the credentials of a job; None, the operator's own, if it names no Secret and `ambient` allows that.

    Raises CredentialsError when the user must act, UnreachableError when trying again may help.
    """
    reference = job.spec.checkpoint.credentials_secret_ref
    if reference is None and ambient:
        return None
    if reference is None:
        # Else whoever may create a job could read and move what only the operator may.
        raise CredentialsError(
            "checkpoint.credentialsSecretRef is missing: name a Secret with AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or let the operator use its own identity for every job: --ambient-credentials"
        )
    return await _read(cluster, job.metadata.namespace, reference.name, "checkpoint.credentialsSecretRef")


async def read_initial_weights_credentials(cluster: Cluster, job: DiffusionTrainingJob) -> Credentials | None:
    """Return the credentials that `model.initialWeights` names, None if it names none; raises as the above does."""
    weights = job.spec.model.initial_weights
    if weights is None or weights.credentials_secret_ref is None:
        return None
    name = weights.credentials_secret_ref.name
    return await _read(cluster, job.metadata.namespace, name, "model.initialWeights.credentialsSecretRef")


async def _read(cluster: Cluster, namespace: str, name: str, field: str) -> Credentials:
    where = f"{field}: Secret {namespace}/{name}"
    try:
        raw = await cluster.get(SECRETS, namespace, name)
    except NotFoundError as error:
        keys = " ".join(f"--from-literal={key}=..." for key in _REQUIRED)
        command = f"kubectl -n {namespace} create secret generic {name} {keys}"
        raise CredentialsError(f"{where} does not exist. Create it: {command}") from error
    except ForbiddenError as error:
        raise CredentialsError(
            f"{where} may not be read by the operator. Allow it for this namespace: helm upgrade t2i-operator ... "
            f"--reset-then-reuse-values --set 'storage.credentialNamespaces={{{namespace}}}' (name all of them)"
        ) from error
    return _decode(where, raw.get("data") or {})


def _decode(where: str, data: dict[str, Any]) -> Credentials:
    values: dict[str, str] = {}
    for key in (*_REQUIRED, _OPTIONAL):
        try:
            values[key] = base64.b64decode(data.get(key, ""), validate=True).decode("ascii").strip()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise CredentialsError(f"{where}: key {key} is no plain text. Write the Secret anew") from error
        if not values[key] and key in _REQUIRED:
            raise CredentialsError(f"{where} lacks the key {key}. Add it: both {' and '.join(_REQUIRED)} are needed")
    return Credentials(values[_REQUIRED[0]], values[_REQUIRED[1]], values[_OPTIONAL] or None)

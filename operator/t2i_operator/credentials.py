"""From the Secret that a job names to bucket credentials: one GET in the job's own namespace, kept nowhere."""

import base64
import binascii
from typing import Any

from t2i_api.job import DiffusionTrainingJob
from t2i_checkpoint.store import Credentials
from t2i_operator.cluster import SECRETS, ApiError, Cluster
from t2i_operator.observed import StorageError, StorageErrorKind

_KEY_ID = "AWS_ACCESS_KEY_ID"
_SECRET_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105  # the name of a key, not its value
_SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105  # the name of a key, not its value


class CredentialsError(Exception):
    """No credentials; carries what the user has to do."""

    def __init__(self, kind: StorageErrorKind, message: str) -> None:
        super().__init__(message)
        self.error = StorageError(kind=kind, message=message)


async def read_credentials(cluster: Cluster, job: DiffusionTrainingJob, *, ambient: bool) -> Credentials | None:
    """Return the job's credentials; None means the operator's own identity, where the administrator allowed that.

    Raises CredentialsError with the way out, ApiError where the API server does not answer.
    """
    reference = job.spec.checkpoint.credentials_secret_ref
    if reference is None:
        if ambient:
            return None
        raise _missing(
            "spec.checkpoint.credentialsSecretRef is absent, and the operator may not use its own identity: name a "
            "Secret, or let the administrator set the Helm value storage.ambientCredentials=true"
        )
    namespace = job.metadata.namespace
    try:
        secret = await cluster.get(SECRETS, namespace, reference.name)
    except ApiError as error:
        if error.forbidden:
            raise CredentialsError(StorageErrorKind.ACCESS_DENIED, _not_granted(namespace, reference.name)) from error
        if error.not_found:
            raise _missing(
                f"Secret {namespace}/{reference.name} does not exist. Create it: kubectl create secret generic "
                f"{reference.name} -n {namespace} --from-literal={_KEY_ID}=... --from-literal={_SECRET_KEY}=..."
            ) from error
        raise
    return _parse(secret, f"{namespace}/{reference.name}")


def _not_granted(namespace: str, name: str) -> str:
    return (
        f"the operator may not read Secret {namespace}/{name}: add {namespace} to the Helm value "
        f"storage.credentialNamespaces, or: kubectl create rolebinding t2i-operator-credentials -n {namespace} "
        "--role=<role with get on secrets> --serviceaccount=<operator namespace>:t2i-operator"
    )


def _parse(secret: dict[str, Any], name: str) -> Credentials:
    data = secret.get("data") or {}
    values: dict[str, str] = {}
    for key in (_KEY_ID, _SECRET_KEY, _SESSION_TOKEN):
        if key not in data:
            continue
        try:
            values[key] = base64.b64decode(data[key], validate=True).decode().strip()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise _missing(f"key {key} of Secret {name} is no text: create the Secret anew") from error
    absent = [key for key in (_KEY_ID, _SECRET_KEY) if not values.get(key)]
    if absent:
        raise _missing(f"Secret {name} lacks {' and '.join(absent)}: add the key(s)")
    return Credentials(values[_KEY_ID], values[_SECRET_KEY], values.get(_SESSION_TOKEN) or None)


def _missing(message: str) -> CredentialsError:
    return CredentialsError(StorageErrorKind.CREDENTIALS_MISSING, message)

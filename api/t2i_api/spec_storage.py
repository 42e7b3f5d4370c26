"""What the spec groups share about stores: how a Secret, an endpoint and a place to take weights from are written."""

from typing import Annotated

from pydantic import ConfigDict, Field

from t2i_api.base import WireModel
from t2i_api.fields import ENDPOINT_PATTERN, OBJECT_NAME_PATTERN, LocationUri, rules, spelled


class SecretReference(WireModel):
    """A Secret of the job's own namespace."""

    name: str = Field(
        min_length=1,
        max_length=253,
        pattern=OBJECT_NAME_PATTERN,
        description="Name of the Secret. Example: bucket-credentials.",
    )


Endpoint = Annotated[
    str,
    Field(
        max_length=1024,
        pattern=ENDPOINT_PATTERN,
        json_schema_extra=spelled(
            ENDPOINT_PATTERN, "endpoint must be a URL without a path: http://host:port or https://host"
        ),
    ),
]
Region = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9-]+$")]


class InitialWeights(WireModel):
    """Weights that training begins with at step 0 when the job's own prefix holds nothing to resume."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.uri.startsWith('s3://')",
                "model.initialWeights.uri must be s3://bucket/path in a cluster; file:// is for one machine",
            ),
        )
    )

    uri: LocationUri = Field(
        description="Another job's checkpoint.uri, one checkpoint folder, or one weights file "
        "(safetensors, .ckpt, .pt, .bin). Example: s3://training/emoji/checkpoints/step-00005000-1f2e3d4c-a1."
    )
    endpoint: Endpoint | None = Field(
        default=None,
        description="URL of the S3 server that holds them. Default: checkpoint.endpoint. Example: https://s3.eu-central-1.amazonaws.com.",
    )
    region: Region | None = Field(
        default=None, description="Region. Default: checkpoint.region. Example: eu-central-1."
    )
    credentials_secret_ref: SecretReference | None = Field(
        default=None,
        description="Secret of the job's namespace that may read them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
        "(AWS_SESSION_TOKEN optional). Default: the credentials of checkpoint.",
    )

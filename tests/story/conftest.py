"""A bucket prefix of one's own on the real S3 server, and the references, rendered once."""

import uuid
from collections.abc import Mapping

import pytest
from PIL import Image

from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import Credentials, Store
from t2i_dev.s3_server import S3Server
from t2i_dev.story.dataset import Pair
from t2i_dev.story.emoji import EmojiRenderer


@pytest.fixture
def store(s3_server: S3Server) -> Store:
    return open_store(
        f"s3://{s3_server.bucket}/story-tests/{uuid.uuid4().hex}",
        endpoint=s3_server.endpoint,
        credentials=Credentials(s3_server.access_key, s3_server.secret_key),
    )


@pytest.fixture(scope="session")
def references() -> Mapping[Pair, Image.Image]:
    return EmojiRenderer.of_this_machine().references()

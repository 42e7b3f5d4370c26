"""Fixtures that every part's tests share: the real S3 server, API server and cluster, each started when first asked for.

Under pytest-xdist every worker gets its own; names carry the worker, so that they run side by side.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from t2i_dev.s3_server import S3Server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """versitygw on a free loopback port with a bucket `t2i`; tests keep apart by using a prefix of their own."""
    with S3Server.start(Path(tmp_path_factory.mktemp("s3"))) as server:
        yield server

"""A pytest plugin: `pytest -p t2i_dev.on_seaweedfs …` runs tests that ask for the S3 server against SeaweedFS instead.

The tests stay the same; only what the fixture `s3_server` starts is another implementation (see `make test-stores`).
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from t2i_dev.crash.stores import TestedStore
from t2i_dev.other_stores import seaweedfs


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[TestedStore], request: pytest.FixtureRequest
) -> TestedStore | None:
    """Start SeaweedFS where a session's `s3_server` is set up; every other fixture goes its way."""
    if fixturedef.argname != "s3_server":
        return None
    stack = ExitStack()
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="seaweedfs-"))
    store = stack.enter_context(seaweedfs(Path(directory)))
    fixturedef.addfinalizer(stack.close)
    fixturedef.cached_result = (store, fixturedef.cache_key(request), None)  # type: ignore[arg-type]  # pytest's own
    return store

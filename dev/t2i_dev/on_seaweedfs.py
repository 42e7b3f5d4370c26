"""A pytest plugin: `pytest -p t2i_dev.on_seaweedfs …` runs tests that ask for the S3 server against SeaweedFS instead.

The tests stay the same; only what the fixture `s3_server` starts is another implementation (see `make test-stores`).
What SeaweedFS legitimately does otherwise is listed here and left out.
"""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType

import pytest

from t2i_dev.crash.stores import TestedStore
from t2i_dev.other_stores import seaweedfs

_NO_SUMS = "its ListParts tells no checksums: a copy in parts that was killed begins anew (right bytes, lost time)"
DIFFERENCES: Mapping[str, str] = MappingProxyType(
    {
        "test_a_key_is_never_the_folder_of_another": "it keeps `p` beside `p/x`",
        "test_killed_at_any_part_the_next_process_copies_only_the_rest": _NO_SUMS,
        "test_killed_before_completion_nothing_is_copied_again": _NO_SUMS,
        "test_where_others_may_upload_only_what_is_noted_is_gone_on_with": _NO_SUMS,
    }
)


def pytest_report_header() -> list[str]:
    """Say what is left out, and why."""
    return ["S3 server: SeaweedFS", *(f"left out: {name}: {why}" for name, why in DIFFERENCES.items())]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the other implementation does otherwise."""
    left_out = [item for item in items if item.name.partition("[")[0] in DIFFERENCES]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


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

"""A pytest plugin: `pytest -p t2i_dev.on_helm3 tests/charts` runs the chart's tests with Helm 3 instead of Helm 4.

The tests stay the same; only the program that the fixture `helm_program` names is another one (see `make test-helm3`).
"""

from pathlib import Path

import pytest

from t2i_dev.tools import HELM3, program


def pytest_report_header() -> str:
    """Say which Helm it is."""
    return f"Helm {HELM3.version}"


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Path], request: pytest.FixtureRequest) -> Path | None:
    """Name Helm 3 where `helm_program` is set up; every other fixture goes its way."""
    if fixturedef.argname != "helm_program":
        return None
    helm = program(HELM3, "helm")
    fixturedef.cached_result = (helm, fixturedef.cache_key(request), None)  # type: ignore[arg-type]  # pytest's own
    return helm

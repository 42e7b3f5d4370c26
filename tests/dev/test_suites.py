"""What the test commands run: a folder that is left out would be green for ever."""

import pytest

from t2i_dev.paths import repository_root


def test_every_file_of_tests_is_collected(pytestconfig: pytest.Config) -> None:
    """Regression: pytest leaves out folders named `build` by itself, so tests/operator/build ran for nobody."""
    root = repository_root()
    paths = [root / path for path in pytestconfig.getini("testpaths")]
    left_out = [pattern for pattern in pytestconfig.getini("norecursedirs") if not pattern.startswith((".", "__"))]
    files = list((root / "tests").rglob("test_*.py"))
    assert files
    assert left_out == []
    assert [file for file in files if not any(file.is_relative_to(path) for path in paths)] == []

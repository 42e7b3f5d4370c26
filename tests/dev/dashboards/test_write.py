"""What the chart ships is what the code says, and nothing else lies there."""

import subprocess

from t2i_dev.dashboards.write import directory, documents
from t2i_dev.tools import DASHBOARD_CHECK, program


def test_the_chart_has_the_dashboards_as_the_code_makes_them() -> None:
    shipped = {path.name: path.read_text() for path in directory().glob("*.json")}
    assert shipped == documents(), "run: make dashboards"


def test_grafanas_own_models_read_them_strictly() -> None:
    paths = sorted(directory().glob("*.json"))
    result = subprocess.run([program(DASHBOARD_CHECK), *paths], capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")

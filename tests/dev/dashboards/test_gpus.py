"""The row of the GPUs finds the GPUs of the run's pods, and no others, among what dcgm-exporter says.

No GPU was there when the run was recorded, so the exporter's series are written here, in its format, beside the real
ones: https://docs.nvidia.com/datacenter/dcgm/latest/gpu-telemetry/dcgm-exporter.html.
"""

import json
import subprocess
from collections.abc import Iterator

import pytest

from t2i_dev.dashboards.answers import Answers, ask
from t2i_dev.dashboards.dcgm import DCGM_METRICS
from t2i_dev.dashboards.reading import panels_of
from t2i_dev.dashboards.recording import tape
from t2i_dev.dashboards.write import directory
from t2i_dev.prometheus import Prometheus

STEP_SECONDS = 5
OTHER = "somebody-elses-pod"
BOARD = json.loads((directory() / "t2i-training-run.json").read_text())


def exposition(facts: tape.Facts, pods: list[str], *, honoured: bool) -> str:
    """What dcgm-exporter says of one GPU a pod, in OpenMetrics with times."""
    times = range(int(facts.begin), int(facts.end), STEP_SECONDS)
    prefix, own = ("", "") if honoured else ("exported_", 'namespace="gpu-operator",pod="dcgm-exporter-x",')
    lines = [
        f'{metric.name}{{gpu="{gpu}",{own}{prefix}namespace="{facts.namespace}",{prefix}pod="{pod}"}} 0.5 {at}'
        for metric in DCGM_METRICS
        for gpu, pod in enumerate(pods)
        for at in times
    ]
    return "\n".join([*lines, "# EOF\n"])


@pytest.fixture(scope="module", params=[True, False], ids=["honorLabels", "exported labels"])
def pods_and_answers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[str], Answers]]:
    facts = tape.read_facts()
    folder = tmp_path_factory.mktemp("gpus")
    with tape.replayed(folder) as server:
        selector = f't2i_trainer_step_seconds_count{{job_name="{facts.story}"}}'
        pods = server.label_values("pod", selector, start=facts.begin, end=facts.end)
    text = folder / "dcgm.txt"
    text.write_text(exposition(facts, [*pods, OTHER], honoured=request.param))
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "data")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with Prometheus.start(folder, []) as server:
        yield pods, ask(server, BOARD, facts.window, {"namespace": facts.namespace, "job": facts.story})


def test_every_gpu_of_the_run_is_shown_while_its_pod_runs(pods_and_answers: tuple[list[str], Answers]) -> None:
    pods, answers = pods_and_answers
    asked = [panel for panel in panels_of(BOARD) if any("DCGM_" in target.expr for target in panel.targets)]
    assert len(asked) >= 5
    for panel in asked:
        (answer,) = answers.panels[panel.number]
        assert {series.labels["pod"] for series in answer.series} == set(pods), panel.title


def test_what_the_row_shows_is_all_that_we_take_of_the_exporter() -> None:
    shown = " ".join(target.expr for panel in panels_of(BOARD) for target in panel.targets)
    assert [metric.name for metric in DCGM_METRICS if metric.name not in shown] == []

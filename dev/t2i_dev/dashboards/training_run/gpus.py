"""What the hardware says, where NVIDIA's dcgm-exporter runs; folded, because it does not run everywhere."""

from grafana_foundation_sdk.models import units

from t2i_api.metrics import Metric, trainer
from t2i_dev.dashboards import dcgm, panels
from t2i_dev.dashboards.layout import Section
from t2i_dev.dashboards.panels import Panel, Query, Words
from t2i_dev.dashboards.scopes import EVERYTHING, RUN

_NAME = "{{pod}}, GPU {{gpu}}"
_WIDTH = 8


def section() -> Section:
    """Return the row."""
    panels_ = (_utilisation(), _tensor(), _own_memory(), _memory(), _power(), _temperature())
    return Section("GPUs (memory of ours; the rest needs dcgm-exporter)", panels_, collapsed=True)


def _of_run(metric: Metric) -> str:
    """Return a GPU's series while one of this run's pods uses it.

    Where the exporter is scraped without `honorLabels`, Prometheus calls the user of the GPU `exported_pod`.
    """
    series = EVERYTHING.of(metric)
    for label in ("pod", "namespace"):
        series = f'label_replace({series}, "{label}", "$1", "exported_{label}", "(.+)")'
    pods = f"max by (namespace, pod) ({RUN.of(trainer.DATA_WAIT)})"
    return f"max by (namespace, pod, gpu) ({series}) and on (namespace, pod) {pods}"


def _curves(words: Words, metric: Metric) -> Panel:
    return panels.curves(words, Query(_of_run(metric), _NAME), width=_WIDTH)


def _utilisation() -> Panel:
    words = Words(
        title="GPU busy",
        description="Share of the time in which any kernel ran. High says little; low says that something is wrong.",
        unit=units.Percent,
    )
    return _curves(words, dcgm.UTILISATION)


def _tensor() -> Panel:
    words = Words(
        title="Tensor cores busy",
        description="Share of the cycles in which tensor cores computed: the figure that training speed follows.",
        unit=units.PercentUnit,
    )
    return _curves(words, dcgm.TENSOR_ACTIVE)


def _own_memory() -> Panel:
    return panels.curves(
        Words(
            title="Memory of tensors",
            description="Most memory that tensors of each rank took so far, and what its GPU has. Empty on CPUs.",
            unit=units.BytesIEC,
        ),
        Query(f"max by (rank) ({RUN.of(trainer.GPU_MEMORY)})", "rank {{rank}}"),
        Query(f"max by (rank) ({RUN.of(trainer.GPU_MEMORY_SIZE)})", "size, rank {{rank}}"),
        width=_WIDTH,
    )


def _memory() -> Panel:
    words = Words(
        title="Memory in use", description="All that is taken on the GPU, caches included.", unit=units.Mebibytes
    )
    return _curves(words, dcgm.MEMORY_USED)


def _power() -> Panel:
    words = Words(title="Power", description="A GPU far below its limit is waiting.", unit=units.Watt)
    return _curves(words, dcgm.POWER)


def _temperature() -> Panel:
    words = Words(title="Temperature", description="Clocks fall when it nears the GPU's limit.", unit=units.Celsius)
    return _curves(words, dcgm.TEMPERATURE)

"""The metrics of NVIDIA's dcgm-exporter that a dashboard shows; its default set, as it names and labels them.

https://github.com/NVIDIA/dcgm-exporter/blob/main/etc/default-counters.csv
"""

from typing import Final

from t2i_api.metrics import Label, Metric, Unit
from t2i_api.metrics.definition import gauge

# With the exporter's Kubernetes mapping on and `honorLabels: true`, these are the pod that uses the GPU.
_USER: Final = tuple(
    Label(name=name, bound="pods that use a GPU of the node") for name in ("namespace", "pod", "container")
)
GPU: Final = Label(name="gpu", bound="GPUs of the node")

UTILISATION: Final = gauge("DCGM_FI_DEV_GPU_UTIL", Unit.COUNT, "GPU utilization (in %).", GPU, *_USER)
TENSOR_ACTIVE: Final = gauge(
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
    Unit.RATIO,
    "Ratio of cycles the tensor (HMMA) pipe is active (in %).",
    GPU,
    *_USER,
)
MEMORY_USED: Final = gauge("DCGM_FI_DEV_FB_USED", Unit.COUNT, "Framebuffer memory used (in MiB).", GPU, *_USER)
POWER: Final = gauge("DCGM_FI_DEV_POWER_USAGE", Unit.COUNT, "Power draw (in W).", GPU, *_USER)
TEMPERATURE: Final = gauge("DCGM_FI_DEV_GPU_TEMP", Unit.COUNT, "GPU temperature (in C).", GPU, *_USER)

DCGM_METRICS: Final[tuple[Metric, ...]] = (UTILISATION, TENSOR_ACTIVE, MEMORY_USED, POWER, TEMPERATURE)

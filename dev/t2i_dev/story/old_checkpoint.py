"""Leaves in a job's prefix what the team of the story left there: two Accelerate checkpoints of the old custom UNet.

They are written by the real `Accelerator.save_state`, in a process of its own: Accelerate's state is global to a
process, and whoever runs the demo or the tests may need another.
"""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from t2i_checkpoint.layout import CHECKPOINTS
from t2i_checkpoint.store import Store

STEPS: Final = (4000, 5000)


def old_checkpoint_folder(step: int) -> str:
    """`checkpoints/checkpoint-00005000`, as the old program named it."""
    return f"{CHECKPOINTS}checkpoint-{step:08d}"


def write_old_checkpoints(directory: Path, steps: Sequence[int] = STEPS) -> dict[str, Path]:
    """Write the folders below `directory`; returns key relative to the job's prefix -> file."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(_save_states, directory, tuple(steps)).result()
    files = sorted(path for path in (directory / CHECKPOINTS).rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path for path in files}


def put_old_checkpoints(store: Store, files: Mapping[str, Path]) -> dict[str, str]:
    """Upload what was written; returns key -> hex SHA-256 of every file, to check an archive byte for byte."""
    for key, path in files.items():
        store.upload(key, path)
    return {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in files.items()}


def _save_states(directory: Path, steps: Sequence[int]) -> None:
    import torch  # noqa: PLC0415  # seconds and hundreds of megabytes that only this process pays
    from accelerate import Accelerator  # noqa: PLC0415
    from accelerate.utils import set_seed  # noqa: PLC0415

    from t2i_dev.story.custom_unet import CustomUNet  # noqa: PLC0415

    torch.set_num_threads(1)
    for step in steps:
        accelerator = Accelerator(cpu=True)
        set_seed(step)  # other weights in each checkpoint, so that a mix-up of two cannot pass for a copy
        model = CustomUNet()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=1000)
        accelerator.prepare(model, optimizer, schedule)
        accelerator.save_state(str(directory / old_checkpoint_folder(step)))
        accelerator.free_memory()

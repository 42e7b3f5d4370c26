"""Any width of average from snapshots of a few, after the training: post-hoc EMA (Karras et al. 2024, section 3.2).

A snapshot is a known weighting of the steps before it. The weighting that is wanted is approximated by a linear
combination of those that are there, by least squares, and the weights are combined in the same way.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from t2i_checkpoint.power_average import gamma_of, overlap
from t2i_checkpoint.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from t2i_checkpoint.ema_snapshots import StoredProfile
    from t2i_checkpoint.store import Store

WEIGHTS = "diffusion_pytorch_model.safetensors"
_BLOCK_BYTES = 8 * 1024 * 1024
# Shares below it change no weight that float32 can tell apart.
_SMALLEST_SHARE = 1e-7


@dataclass(frozen=True)
class Combination:
    """How much of each profile makes the wanted one; `error` is the distance of the weightings, relative to its own."""

    shares: NDArray[np.float64]
    error: float


def combine(profiles: Sequence[tuple[int, float]], step: int, width: float) -> Combination:
    """Return the least-squares combination of (step, width) profiles for the width at `step`."""
    known = [(at, gamma_of(each)) for at, each in profiles]
    gamma = gamma_of(width)
    matrix = np.array([[overlap(*one, *other) for other in known] for one in known])
    target = np.array([overlap(*one, step, gamma) for one in known])
    # Scaled to ones on its diagonal: the overlaps of early snapshots are many times those of late ones.
    scale = 1 / np.sqrt(np.diag(matrix))
    shares = scale * np.linalg.lstsq(matrix * np.outer(scale, scale), target * scale, rcond=None)[0]
    own = overlap(step, gamma, step, gamma)
    squared = own - 2 * shares @ target + shares @ matrix @ shares
    return Combination(shares, float(np.sqrt(max(squared, 0.0) / own)))


def reconstruct(  # noqa: PLR0913  # keyword-only, one call site
    store: Store,
    profiles: Sequence[StoredProfile],
    *,
    step: int,
    width: float,
    folder: Path,
    progress: Callable[[int, int], None],
) -> Combination:
    """Write a Diffusers UNet folder with the average of `width` at `step`; returns how well it could be met.

    Snapshots come one at a time, so that disk and memory hold one of them and the result. `progress` is told bytes done
    and bytes in all. Raises StoreError where a snapshot is not what was written.
    """
    combination = combine([(each.step, each.width) for each in profiles], step, width)
    used = [
        (profile, share)
        for profile, share in zip(profiles, combination.shares, strict=True)
        if abs(share) > _SMALLEST_SHARE
    ]
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / ".snapshot.safetensors"
    total, done = sum(profile.size for profile, _ in used), 0
    result: dict[str, torch.Tensor] = {}
    for profile, share in used:
        store.download(profile.key, scratch)
        _check(store, profile, scratch)
        _add(result, scratch, float(share))
        done += profile.size
        progress(done, total)
    scratch.unlink()
    save_file(result, scratch, metadata={"format": "pt"})
    store.download(profiles[-1].config_key, folder / "config.json")
    scratch.replace(folder / WEIGHTS)  # last: a folder without it loads nowhere
    return combination


def discard(folder: Path) -> None:
    """Remove what a reconstruction that failed left behind."""
    shutil.rmtree(folder, ignore_errors=True)


def _check(store: Store, profile: StoredProfile, path: Path) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    if digest.hexdigest() != profile.sha256:
        raise StoreError(
            "its bytes are not those that were written",
            uri=store.uri,
            operation="read",
            key=profile.key,
            way_out="Move that snapshot's folder elsewhere and reconstruct from the others",
        )


def _add(result: dict[str, torch.Tensor], path: Path, share: float) -> None:
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  # no mapping
            tensor = file.get_tensor(name).float()
            if name in result:
                result[name].add_(tensor, alpha=share)
            else:
                result[name] = tensor.mul_(share)

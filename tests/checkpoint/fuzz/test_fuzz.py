"""100,000 damaged headers of every format: refused or read, never a crash, a hang, an import or more than 64 MiB."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_safetensors
from torch.distributed.checkpoint.state_dict_saver import save as save_distributed

from t2i_checkpoint.architecture import Architecture

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_checkpoint.manifest import Manifest

PROGRAM = "tests.checkpoint.fuzz.fuzz_headers"
ROOT = Path(__file__).parents[3]


class Attack:
    """Unpickling this would create the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def torch_file(value: Any, protocol: int) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, pickle_protocol=protocol)
    return buffer.getvalue()


def archive_documents() -> dict[str, dict[str, Any]]:
    source, name = "checkpoints/step-00005000-w1/MANIFEST.json", "20260102T030405Z-x"
    folder = {
        "folder": "checkpoints/step-00005000-w1",
        "step": 5000,
        "verdict": "foreign",
        "reason": "ShapesDiffer",
        "explanation": "another model",
    }
    common = {"version": 1, "name": name, "folders": [folder]}
    moved = {"source": source, "destination": f"archive/{name}/{source}", "size": 7, "etag": "e"}
    at = "2026-01-02T03:04:05Z"
    return {
        "intent": {
            **common,
            "format": "t2i.dev/archive-intent",
            "createdAt": at,
            "entries": [{**moved, "modifiedAt": at}],
        },
        "archive_manifest": {
            **common,
            "format": "t2i.dev/archive",
            "committedAt": at,
            "objects": [{**moved, "checksum": "SHA256:x", "verifiedBy": "checksum"}],
        },
    }


@pytest.fixture
def seeds(tmp_path: Path, make_manifest: Callable[..., Manifest]) -> Path:
    """Real files by the real libraries, one folder a format, small so that damage hits what matters."""
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.GroupNorm(1, 3))
    state = OrderedDict(model.state_dict())
    values: list[Any] = [
        state,
        torch.optim.AdamW(model.parameters()).state_dict(),
        {"state_dict": state, "global_step": 5, "best": np.float64(1), "t": torch.ones(2, 3).t(), "u": {1, b"x"}},
        {"dtype": torch.float16, "size": torch.Size([1]), "buffer": torch.zeros(2, dtype=torch.uint16)},
    ]
    attack = Attack(tmp_path / "created")
    save_distributed({"model": state, "step": 3}, checkpoint_id=tmp_path / "dcp", no_dist=True)
    plain = {"a": [1, 2.5, None, True, "text", (1, 2)], "b": {"c": 2**70, 3: -1}, "set": {1}, "bytes": b"xyz"}
    architecture = Architecture.from_shapes({name: tensor.shape for name, tensor in state.items()})
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    weight_map = {name: f"model-0000{n}-of-00002.safetensors" for n, name in enumerate(state, 1)}
    documents = {kind: [json.dumps(document).encode()] for kind, document in archive_documents().items()}
    files: dict[str, list[bytes]] = {
        "safetensors": [save_safetensors(arrays), save_safetensors(arrays, {"format": "pt"})],
        "torch_zip": [
            *(torch_file(value, protocol) for value in values for protocol in (2, 4)),
            torch_file([attack], 2),
        ],
        "pickle": [
            *(pickle.dumps(plain, protocol) for protocol in range(1, 6)),
            *(pickle.dumps([attack], protocol) for protocol in (2, 4)),
        ],
        "dcp": [(tmp_path / "dcp" / ".metadata").read_bytes(), pickle.dumps(attack)],
        "index": [json.dumps({"metadata": {"total_size": 9}, "weight_map": weight_map}).encode()],
        "manifest": [make_manifest(architecture, files=(FILE,)).to_json()],
        **documents,
    }
    root = tmp_path / "seeds"
    for kind, contents in files.items():
        (root / kind).mkdir(parents=True)
        for number, content in enumerate(contents):
            (root / kind / str(number)).write_bytes(content)
    return root


FILE = {"path": "unet/model.safetensors", "size": 7, "sha256": "ab" * 32}


@pytest.mark.parametrize(("cases", "seed"), [(2_000, 1), pytest.param(100_000, 4, marks=pytest.mark.exhaustive)])
def test_no_header_crashes_hangs_imports_or_takes_more_than_64_mib(
    seeds: Path, cases: int, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-W", "ignore", "-m", PROGRAM, str(seeds), str(cases), str(seed)]
    process = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1200, cwd=ROOT)
    assert process.returncode == 0, process.stderr[-4000:]
    result = json.loads(process.stdout)
    with capsys.disabled():
        figures = {key: result[key] for key in ("cases", "seconds", "slowest_seconds", "slowest", "accepted")}
        sys.stdout.write(f"\nfuzzed headers: {figures}, {len(result['refused'])} reasons to refuse\n")
    assert result["crashes"] == []
    assert result["cases"] >= cases
    assert set(result["seeds"]) == {folder.name for folder in seeds.iterdir()}  # undamaged, each format is read
    assert result["imported"] == []
    assert not (seeds.parent / "created").exists()
    assert result["slowest_seconds"] < 10
    # Damage reaches past the first check: many different reasons, and some cases of every format still pass.
    assert len(result["refused"]) > 20
    assert set(result["accepted"]) == set(result["seeds"])

"""Scenario: the trainer commits a checkpoint and retires older ones. Real trainer code, a real UNet of 20,000 weights.

Imports torch: seconds, and only here. Forked clients compute with one thread, which is what survives a fork.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from t2i_api.job import JobSpec
from t2i_checkpoint import layout
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.manifest import Manifest, ManifestError, RankFacts, read_manifest
from t2i_checkpoint.s3 import S3Limits
from t2i_checkpoint.store import Store, StoreError
from t2i_checkpoint.wanted import meaning_from, model_config_sha256
from t2i_dev.crash.scenario import Objects, changed
from t2i_dev.faults import Fault, S3Request
from t2i_dev.small_unet import small_unet
from t2i_trainer.checkpointing.retention import retire_checkpoints
from t2i_trainer.checkpointing.save import RunFacts, save_checkpoint
from t2i_trainer.checkpointing.state import TrainingState, weights_sha256
from t2i_trainer.checkpointing.trainer_state import TrainerState
from t2i_trainer.ema import ExponentialMovingAverage
from t2i_trainer.failures import TrainerError
from t2i_trainer.model import build_unet
from t2i_trainer.optim import build_optimizer
from t2i_trainer.text_encoder import embedding_sha256

RETAIN = 2
BEFORE, STEP = (2, 3), 4
_OWN = re.compile(r"checkpoints/step-(?P<step>\d{8})-[a-z0-9-]+/(?P<path>.+)")
CANARIES: Objects = {
    "checkpoint-3/model.safetensors": b"another program's",
    "checkpoints/step-00000002-0123abcd-a0-notes.txt": b"beside the oldest checkpoint, whose name it begins with",
    "samples/step-00000001/grid.png": b"picture",
    "archive/20240101T000000Z-mine/notes.txt": b"somebody's own",
}
_SPEC = {
    "model": {
        "unet": {"config": small_unet((4, 8), text_width=6)},
        "textEncoder": {"uri": "s3://t2i/encoder", "maxTokens": 8},
    },
    "data": {"uri": "s3://t2i/data", "resolution": 8},
    "training": {"steps": 12, "globalBatchSize": 4, "learningRate": 0.002},
    "checkpoint": {"uri": "s3://t2i/run", "everySteps": 1, "retain": RETAIN},
    "workers": {"gpusPerWorker": 0},
}


class SaveScenario:
    """Checkpoints of steps 2 and 3 lie there and two are kept: step 4 is saved, and the oldest one is retired."""

    name = "save"
    story = "a checkpoint of eight objects is committed, the oldest one is retired"
    refusals: tuple[type[Exception], ...] = (StoreError, ManifestError, TrainerError)

    def __init__(self, scratch: Path, *, limits: S3Limits | None = None) -> None:
        torch.set_num_threads(1)
        self.limits = limits or S3Limits()
        self._scratch = scratch
        self._spec = JobSpec.model_validate(_SPEC)
        self._state = _trained(self._spec)
        bucket = LocalStore(Path(tempfile.mkdtemp(dir=scratch)))
        for step in BEFORE:
            self._save(bucket, step, life=0)
        self._before = {info.key: bucket.read(info.key) for info in bucket.list("")}

    @property
    def start(self) -> Objects:
        """Two committed checkpoints and canaries."""
        return {**CANARIES, **self._before}

    def work(self, store: Store, life: int) -> None:
        """Save the step that is missing, as a new attempt does after a resume; then retire, as every save does."""
        keys = [info.key for info in store.list(f"{layout.CHECKPOINTS}step-{STEP:08d}")]
        saved = [key.rpartition("/")[0] for key in keys if key.endswith(f"/{layout.MANIFEST}")]
        newest = read_manifest(store, saved[0]) if saved else None
        retire_checkpoints(store, newest or self._save(store, STEP, life), RETAIN)

    def _save(self, store: Store, step: int, life: int) -> Manifest:
        self._state.step = step
        null = torch.ones(8, 6)
        digest = weights_sha256(self._state.unet)
        return save_checkpoint(
            store,
            self._scratch / f"save-{os.getpid()}",
            state=self._state,
            trainer_state=TrainerState(step=step, dataset_size=10, dataset_sha256="ab", loss_smoothed=0.5),
            facts=RunFacts(
                writer=f"0123abcd-a{life}",
                seed=self._spec.training.seed,
                global_batch_size=self._spec.training.global_batch_size,
                dataset_size=10,
                meaning=meaning_from(self._spec, embedding_sha256(null)),
                null_embedding=null,
                model_config_sha256=model_config_sha256(self._spec),
            ),
            ranks=(RankFacts(rank=0, weights_sha256=digest, noise_sha256=digest),),
            metrics=f'{{"step": {step}}}\n'.encode(),
        )

    def meddling(self, _fault: Fault, _request: S3Request) -> Objects:
        """Nobody writes into the folder of a living attempt."""
        return {}

    def may_change(self, key: str) -> bool:
        """The new step's folders, the metrics, and the checkpoints that retention may delete."""
        found = _OWN.fullmatch(key)
        deletable = BEFORE[: len(BEFORE) - RETAIN + 1]
        return key == layout.METRICS or (found is not None and int(found["step"]) in {STEP, *deletable})

    def violations(self, now: Objects) -> Iterator[str]:
        """Whatever has a manifest is whole; two such checkpoints at least; the newest ones never go."""
        whole = set()
        for key in now:
            found = _OWN.fullmatch(key)
            if found is None or found["path"] != layout.MANIFEST:
                continue
            folder = key.removesuffix(layout.MANIFEST)
            broken = [path for path, digest in _listed(now[key]).items() if _sha256(now.get(folder + path)) != digest]
            if broken:
                yield f"{key} is there, but {folder}{broken[0]} is not what it says"
            else:
                whole.add(int(found["step"]))
        if len(whole) < RETAIN or BEFORE[-1] not in whole or (BEFORE[0] not in whole and STEP not in whole):
            yield f"the whole checkpoints are those of steps {sorted(whole)}"
        yield from (f"{key} is no part of the plan and was changed" for key in changed(CANARIES, now))
        yield from (f"{key} appeared" for key in now if key not in self.start and not self.may_change(key))

    def end_state(self, now: Objects) -> Mapping[str, bytes]:
        """Committed checkpoints by step, whoever wrote them; what an attempt left without a manifest does not count."""
        state = {key: content for key, content in now.items() if _OWN.fullmatch(key) is None}
        for key, content in now.items():
            found = _OWN.fullmatch(key)
            if found is not None and key.removesuffix(found["path"]) + layout.MANIFEST in now:
                document = found["path"] == layout.MANIFEST
                state[f"step {int(found['step'])}: {found['path']}"] = b"document" if document else content
            elif found is not None and int(found["step"]) in BEFORE:
                state[key] = content  # a half-retired checkpoint
        return state


def _trained(spec: JobSpec) -> TrainingState:
    torch.manual_seed(11)
    unet = build_unet(spec, torch.device("cpu"))
    state = TrainingState(unet, ExponentialMovingAverage(unet, 0.9), build_optimizer(unet, spec.training))
    for number, parameter in enumerate(unet.parameters()):
        parameter.grad = torch.full_like(parameter, 0.01 * (1 + number % 5))
    state.optimizer.step()
    state.ema.update(1)
    return state


def _listed(manifest: bytes) -> dict[str, str]:
    return {file["path"]: file["sha256"] for file in json.loads(manifest)["files"]}


def _sha256(content: bytes | None) -> str:
    return "" if content is None else hashlib.sha256(content).hexdigest()

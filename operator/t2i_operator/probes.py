"""What each store honours, asked once a process and bucket before the first move.

A condition that a store silently ignores would make a delete blind.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from t2i_api.spec_run import Checkpoint
from t2i_checkpoint.probe import StoreAbilities, probe
from t2i_checkpoint.store import Store

BucketKey = tuple[str, str]


@dataclass
class Probes:
    """Answers by endpoint and bucket, for several threads; a probe that failed is no answer and is made again."""

    ask: Callable[[Store], StoreAbilities] = probe
    _answers: dict[BucketKey, StoreAbilities] = field(default_factory=dict)
    _asking: dict[BucketKey, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def abilities(self, checkpoint: Checkpoint, store: Store) -> StoreAbilities:
        """Return what the store of `checkpoint.uri` honours; raises StoreError if it cannot be written at all."""
        key = (checkpoint.endpoint or "", urlsplit(checkpoint.uri).netloc)
        with self._lock:
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            if key not in self._answers:
                self._answers[key] = self.ask(store)
            return self._answers[key]

"""What each store honours, asked once a process, bucket and identity before the first move.

A condition that a store silently ignores would make a delete blind. Who asks matters as much as which store: a policy
may forbid to one what it lets another do, and a gateway may send two identities to two backends. Only what the probe
returns is kept: one that could not be carried out raises, and is made again.
"""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from t2i_api.spec_run import Checkpoint
from t2i_checkpoint.probe import StoreAbilities, probe
from t2i_checkpoint.store import Credentials, Store

BucketKey = tuple[str, str, str, str]
_REMEMBERED = 256  # session tokens change by the hour


@dataclass
class Probes:
    """Answers by endpoint, region, bucket and identity, for several threads."""

    ask: Callable[[Store], StoreAbilities] = probe
    _answers: dict[BucketKey, StoreAbilities] = field(default_factory=dict)
    _asking: dict[BucketKey, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def abilities(self, checkpoint: Checkpoint, store: Store, credentials: Credentials | None) -> StoreAbilities:
        """Return what the store of `checkpoint.uri` honours towards these credentials (None: the process's own).

        Raises StoreError if that could not be found out, AccessDenied if a permission is missing.
        """
        bucket = urlsplit(checkpoint.uri).netloc
        key = (checkpoint.endpoint or "", checkpoint.region or "", bucket, _fingerprint(credentials))
        with self._lock:
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            answer = self._answers.get(key)
            if answer is None:
                answer = self.ask(store)
                self._keep(key, answer)
            return answer

    def _keep(self, key: BucketKey, answer: StoreAbilities) -> None:
        with self._lock:
            while len(self._answers) >= _REMEMBERED:
                oldest = next(iter(self._answers))
                self._answers.pop(oldest)
                self._asking.pop(oldest, None)
            self._answers[key] = answer


def _fingerprint(credentials: Credentials | None) -> str:
    """Tell identities apart without keeping their secrets."""
    if credentials is None:
        return ""
    words = (credentials.access_key_id, credentials.secret_access_key, credentials.session_token or "")
    return hashlib.sha256("\0".join(words).encode()).hexdigest()

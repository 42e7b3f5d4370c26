"""Fuzz every reader of bytes from a bucket, in a process of its own whose memory the kernel bounds.

    python -m tests.checkpoint.fuzz.fuzz_headers SEEDS CASES SEED

SEEDS is a directory with one folder a format, of real files. The result is one JSON object on standard output: cases,
refusals by reason, crashes (with what reproduces them), the slowest case and the memory that was taken.
"""

from __future__ import annotations

import contextlib
import gc
import json
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.checkpoint.fuzz.mutations import Case, Mutations
from tests.checkpoint.fuzz.worst_cases import worst_cases

from t2i_checkpoint.archive_plan import ArchiveError, parse_archive_manifest, parse_intent
from t2i_checkpoint.headers.distributed import parse_metadata
from t2i_checkpoint.headers.faults import HeaderError
from t2i_checkpoint.headers.pickle_reader import read_pickle
from t2i_checkpoint.headers.pickle_values import Budget
from t2i_checkpoint.headers.plain_builder import PlainBuilder
from t2i_checkpoint.headers.safetensors import read_header
from t2i_checkpoint.headers.sharded import parse_index
from t2i_checkpoint.headers.torch_zip import read_torch_zip
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.manifest import ManifestError, parse_manifest
from t2i_checkpoint.state_dicts import saved_state, saved_state_of_names
from t2i_checkpoint.store import ObjectInfo
from t2i_checkpoint.tensors import AnyTensor, StoredTensor, architecture_of_table, read_tensor
from t2i_checkpoint.torch_optimizer import optimizer_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEMORY_BYTES = 64 * 1024 * 1024
SECONDS_PER_CASE = 20  # of the processor; a case that is worst on purpose takes two


class TooSlow(Exception):  # noqa: N818  # reads as what happened
    """A case took longer than its bound."""


class Readers:
    """One call for each format; the store is a real directory."""

    def __init__(self, root: Path) -> None:
        self._path = root / "object"
        self._store = LocalStore(root)
        self._file = ObjectInfo("dcp/__0_0.distcp", 10**6, "e", datetime(2024, 1, 1, tzinfo=UTC))

    def read(self, case: Case) -> None:
        """Read the bytes as their format and use what comes out."""
        kind, raw = case
        match kind:
            case "safetensors":
                self._use(read_header(self._store, self._put(raw), expected_bytes=len(raw) // 2).tensors)
            case "torch_zip":
                tree = read_torch_zip(self._store, self._put(raw), expected_bytes=2000)
                self._use(dict(enumerate_tensors(tree)))
                self._use(saved_state(tree).weights)
                optimizer_facts(tree)
            case "pickle":
                budget = Budget()
                dict(enumerate_tensors(read_pickle(raw, PlainBuilder(budget), budget)))
            case "dcp":
                found = parse_metadata(raw, "dcp", {self._file.key: self._file})
                self._use({name: tensor for name, tensor in found.items() if isinstance(tensor, AnyTensor)})
                self._use(saved_state_of_names(found).weights)
            case "index":
                parse_index(raw)
            case "manifest":
                parse_manifest(raw).to_json()
            case "intent":
                parse_intent(raw, "archive/20260102T030405Z-x/INTENT.json").to_json()
            case "archive_manifest":
                parse_archive_manifest(raw, "archive/20260102T030405Z-x/MANIFEST.json").to_json()

    def _put(self, raw: bytes) -> ObjectInfo:
        self._path.write_bytes(raw)
        info = self._store.head("object")
        assert info is not None
        return info

    def _use(self, table: dict[str, Any] | Any) -> None:
        architecture_of_table(table).fingerprint()
        for tensor in list(table.values())[:3]:
            if isinstance(tensor, StoredTensor):
                read_tensor(self._store, tensor)


def enumerate_tensors(tree: Any, at: str = "") -> Iterator[tuple[str, StoredTensor]]:
    """Walk a tree as its users do, by plain recursion."""
    if isinstance(tree, StoredTensor):
        yield at, tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from enumerate_tensors(value, f"{at}.{key}")
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from enumerate_tensors(value, f"{at}.{index}")


def run(seeds: Path, count: int, seed: int, scratch: Path) -> dict[str, Any]:
    """Read every case and return what happened."""
    found = {folder.name: [file.read_bytes() for file in sorted(folder.iterdir())] for folder in seeds.iterdir()}
    readers, mutations = Readers(scratch), Mutations(found, seed)
    unharmed = Counter[str]()
    for kind, files in found.items():
        for raw in files:
            with contextlib.suppress(HeaderError):  # seeds that are hostile themselves
                readers.read((kind, raw))
                unharmed[kind] += 1
    worst = list(worst_cases())
    gc.collect()
    modules, limit = set(sys.modules), bound_memory()
    started = time.process_time()
    harm = Harm(readers.read)
    for case in worst:
        harm.inflict("worst", case)
    for number, case in enumerate(mutations.cases(count)):
        harm.inflict(str(number), case)
    return {
        "cases": harm.count,
        "seeds": unharmed,
        "accepted": harm.accepted,
        "refused": harm.refused,
        "crashes": harm.crashes[:10],
        "slowest_seconds": round(harm.slowest[0], 3),
        "slowest": harm.slowest[1],
        "imported": sorted(set(sys.modules) - modules),
        "memory_limit_bytes": limit,
        "seconds": round(time.process_time() - started, 1),
    }


class Harm:
    """Inflicts cases and keeps the books."""

    def __init__(self, read: Callable[[Case], None]) -> None:
        self._read = read
        self.count = 0
        self.accepted, self.refused = Counter[str](), Counter[str]()
        self.crashes: list[str] = []
        self.slowest = (0.0, "")

    def inflict(self, name: str, case: Case) -> None:
        """Read one case: accepted, refused by a documented error, or a crash."""
        started = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS_PER_CASE)
        try:
            self._read(case)
            self.accepted[case[0]] += 1
        except HeaderError as error:
            self.refused[error.fault] += 1
        except (ManifestError, ArchiveError) as error:
            self.refused[error.reason] += 1
        except BaseException as error:  # noqa: BLE001  # exactly what this program looks for
            self.crashes.append(f"{name} {case[0]} {type(error).__name__}: {error!s:.200} {case[1][:300]!r}")
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        self.count += 1
        self.slowest = max(self.slowest, (time.process_time() - started, f"{name} {case[0]} {len(case[1])} bytes"))


def bound_memory() -> int:
    """Let the kernel refuse memory beyond what is in use now and 64 MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return MEMORY_BYTES


def too_slow(*_: object) -> None:
    """Say that the case's time is over."""
    raise TooSlow(f"more than {SECONDS_PER_CASE} s of the processor")


def main() -> None:
    """Run and print."""
    signal.signal(signal.SIGVTALRM, too_slow)
    with tempfile.TemporaryDirectory() as scratch:
        result = run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(scratch))
    sys.stdout.write(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

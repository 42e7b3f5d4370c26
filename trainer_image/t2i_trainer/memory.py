"""Whether the kernel killed a process of this container for its memory limit: then a restart would meet it again."""

from __future__ import annotations

from pathlib import Path

# Control groups version 2, then version 1 (kernel documentation, memory controller).
_FILES = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
_COUNTER = "oom_kill"


def out_of_memory_kills(files: tuple[Path, ...] = _FILES) -> int:
    """Return how many processes of this container were killed so far; 0 where the kernel does not tell."""
    for path in files:
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == _COUNTER and value.strip().isdecimal():
                return int(value)
    return 0

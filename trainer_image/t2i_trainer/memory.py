"""This container's memory: what is left of it, and whether the kernel killed a process for its limit."""

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


def available_bytes(root: Path = Path("/")) -> int:
    """Return how much memory processes of this container may still take: what the machine has, or the limit leaves.

    File caches count as free, as the kernel gives them up first. Reads cgroup v2 below `root`; where the kernel does
    not tell, the machine's figure holds.
    """
    machine = _machine_available(root / "proc/meminfo")
    group = root / "sys/fs/cgroup"
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        caches = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return machine if limit == "max" else min(machine, int(limit) - used + int(caches.get("inactive_file", 0)))
    except (OSError, ValueError):
        return machine


def _machine_available(meminfo: Path) -> int:
    try:
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 0

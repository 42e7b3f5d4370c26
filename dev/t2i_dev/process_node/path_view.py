"""How a process sees a container's mounts: the paths in the texts that it gets point to this pod's files. Pure.

Without a mount namespace `/etc/t2i` cannot be the pod's own. Every place where a container learns a path (command,
environment) is text, so the text is rewritten. A path that a program has built in is not: that is this node's limit.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# The machine's own serves every pod.
SHARED_PATHS = frozenset({"/dev/shm"})  # noqa: S108  # compared, never written to


@dataclass(frozen=True)
class PathView:
    """`paths`: path in the container -> path on this machine; `names`: host name of a pod -> its address."""

    paths: Mapping[str, Path]
    names: Mapping[str, str]

    def rewrite(self, text: str) -> str:
        """Return `text` with every mounted path and pod name replaced; the longest match wins."""
        for inside in sorted(self.paths, key=len, reverse=True):
            if inside not in SHARED_PATHS:
                pattern = rf"(?<![\w./-]){re.escape(inside.rstrip('/'))}(?=/|$|[\s:,;'\"])"
                # A function, because a replacement text would have its backslashes read.
                text = re.sub(pattern, functools.partial(_constant, str(self.paths[inside])), text)
        return self.rewrite_names(text)

    def rewrite_names(self, text: str) -> str:
        """Return `text` with pods' host names replaced by their addresses: this node has no name server."""
        for name in sorted(self.names, key=len, reverse=True):
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", self.names[name], text)
        return text


def _constant(text: str, _: re.Match[str]) -> str:
    return text

"""A C++ compiler whose output is there whole or not at all: `python atomic_compiler.py g++ ... -o OUTPUT ...`.

A linker writes in place, and Inductor takes whatever lies in its cache for finished: a pod that is killed in that
moment would leave half a library to all that come after it. Runs once a kernel, so it imports next to nothing.
"""

import os
import subprocess
import sys

_KILLED = 128  # what a shell adds to the number of the signal


def compile_aside(command: list[str]) -> int:
    """Run a compiler with its output in a file beside, which gets its name if all went well; returns the exit status.

    Without `-o`, or where the output is no file (/dev/null), the compiler runs as it is.
    """
    place = command.index("-o") + 1 if "-o" in command[:-1] else None
    if place is None or (os.path.exists(command[place]) and not os.path.isfile(command[place])):  # noqa: PTH110, PTH113
        return _run(command)
    output = command[place]
    aside = f"{output}.{os.urandom(8).hex()}.part"
    status = _run([*command[:place], aside, *command[place + 1 :]])
    if status == 0:
        os.replace(aside, output)  # noqa: PTH105  # pathlib takes as long to import as all the rest
    return status


def _run(command: list[str]) -> int:
    status = subprocess.run(command, check=False).returncode
    return status if status >= 0 else _KILLED - status


if __name__ == "__main__":
    sys.exit(compile_aside(sys.argv[1:]))

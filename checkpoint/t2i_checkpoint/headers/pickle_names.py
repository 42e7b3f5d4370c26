"""Which names a pickle may carry. Nothing is ever imported or called; this only tells files from attacks.

A state dictionary names torch's own classes and, in its side values, classes of other packages. It has no reason to
name the standard library's functions (`os.system`, `builtins.eval`), nor to call a function of any package.
"""

from __future__ import annotations

import re
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

from t2i_checkpoint.headers.faults import HeaderError, HeaderFault

MAX_NAME = 256
_NAME = re.compile(r"[A-Za-z_][\w]*(?:\.(?:[A-Za-z_]\w*|<locals>))*")
_CLASS = re.compile(r"_*[A-Z]\w*")

_BUILTINS = frozenset(
    f"builtins.{name}"
    for name in (
        *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range"),
        *("set", "slice", "str", "tuple"),
    )
)
# Plain values of the standard library that people keep beside their weights.
_PLAIN = frozenset(
    {
        "argparse.Namespace",
        "collections.Counter",
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.deque",
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
        "fractions.Fraction",
        "types.SimpleNamespace",
        "uuid.SafeUUID",
        "uuid.UUID",
        *(
            f"{module}.{name}"
            for module in ("pathlib", "pathlib._local")
            for name in ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath")
        ),
    }
)
# How pickle itself says "an instance of", "an attribute of" and "these bytes"; what they get is checked by the reader.
PICKLE_WORDS = frozenset(
    {"builtins.getattr", "copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__", "_codecs.encode"}
)
# Functions of other packages that stand for a value, as those packages' pickles write it.
_VALUES = frozenset(
    {
        "numpy.dtype",
        "numpy.ndarray",
        "torch.device",
        "torch.serialization._get_layout",
        *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
        *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
        *(f"numpy.random._pickle.__{name}_ctor" for name in ("bit_generator", "generator", "randomstate")),
    }
)
_REBUILD = re.compile(r"torch\._(?:utils|tensor)\._rebuild_\w+|numpy\.random\.\w+\.__pyx_unpickle_\w+")


def qualified_name(module: str, name: str) -> str:
    """Return `module.name` with Python 2's spelling brought up to date; raises HeaderError for what no weights need."""
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    full = f"{module}.{name}"
    if len(full) > MAX_NAME or not full.isascii() or not _NAME.fullmatch(full):
        raise HeaderError(HeaderFault.PICKLE_INVALID, f"{full[:80]!r} is no name of a class")
    if full in _BUILTINS or full in _PLAIN or full in PICKLE_WORDS:
        return full
    top = module.partition(".")[0]
    if top == "typing" and "." not in name:
        return full
    if top in sys.stdlib_module_names:
        raise forbidden(full)
    if "." in name and not all(_is_class(part) for part in name.split(".")):
        raise forbidden(full)  # a way through one module's imports into another: `numpy.f2py` `os.system`
    return full


def check_called(full: str) -> None:
    """Refuse what is called and is neither a class nor a package's way to write a value."""
    if full in _PLAIN or full in _VALUES or full in _BUILTINS or _REBUILD.fullmatch(full):
        return
    if not _is_class(full.rpartition(".")[2]):
        raise forbidden(full)


def is_attribute(name: str) -> bool:
    """Whether this could be an attribute's name; its length comes first, since one text may be asked for often."""
    return len(name) <= MAX_NAME and name.isidentifier()


def forbidden(full: str) -> HeaderError:
    """Return the error for a name that weights have no reason to carry."""
    return HeaderError(
        HeaderFault.PICKLE_FORBIDDEN,
        f"it asks to run {full}, which no weights need. Nothing was run: treat the file as hostile",
    )


def _is_class(name: str) -> bool:
    return _CLASS.fullmatch(name) is not None

"""What named classes stand for in any pickle: dictionaries are dictionaries, everything else harmless is opaque."""

from __future__ import annotations

from typing import Any

from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.pickle_names import PICKLE_WORDS, check_called, forbidden, is_attribute
from t2i_checkpoint.headers.pickle_values import Budget, Opaque, check_key

_DICTIONARIES = frozenset(
    {"builtins.dict", "collections.Counter", "collections.OrderedDict", "collections.defaultdict"}
)
_ALLOCATING = frozenset({"builtins.bytes", "builtins.bytearray"})  # called with a number, they take that many bytes
_LATIN = frozenset({"latin1", "latin-1", "iso-8859-1"})
BYTES = Opaque("builtins.bytes")


class PlainBuilder:
    """Builds what needs no knowledge of a library. Calls of functions are refused, calls of classes give Opaque."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def persistent(self, identity: Any) -> Any:
        """Refuse: only torch's own zip files have them."""
        raise HeaderError(HeaderFault.PICKLE_INVALID, f"a persistent id ({type(identity).__name__}) has no place here")

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Return a dict for dictionaries, Opaque for other classes; HeaderError for functions."""
        if name in _DICTIONARIES:
            return self._dictionary(name, arguments)
        if name in PICKLE_WORDS:
            return self._pickle_word(name, arguments)
        if name in _ALLOCATING and arguments and not (arguments[0] == BYTES or isinstance(arguments[0], list | str)):
            raise forbidden(name)
        check_called(name)
        return self._named(name)

    def build(self, target: Any, state: Any) -> None:
        """Ignore state: attributes of dictionaries and opaque values are nothing that anyone reads."""
        if not isinstance(target, dict | Opaque):
            kinds = f"{type(state).__name__} for a {type(target).__name__}"
            raise HeaderError(HeaderFault.PICKLE_INVALID, f"state that has no place: a {kinds}")

    def _named(self, name: str) -> Opaque:
        self._budget.spend(100 + len(name))
        return Opaque(name)

    def _dictionary(self, name: str, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        if name == "collections.defaultdict":
            arguments = arguments[1:]
        self._budget.spend(70)
        if not arguments:
            return {}
        source = arguments[0]
        pairs = list(source.items()) if isinstance(source, dict) else source
        if len(arguments) > 1 or not isinstance(pairs, list | tuple):
            raise HeaderError(HeaderFault.PICKLE_INVALID, f"{name} of a {type(source).__name__}")
        self._budget.spend(170 + 72 * len(pairs))
        built = {}
        for pair in pairs:
            if not isinstance(pair, list | tuple) or len(pair) != 2:  # noqa: PLR2004  # key and value
                raise HeaderError(HeaderFault.PICKLE_INVALID, f"{name} of what is no pair")
            check_key(pair[0], self._budget.spend)
            built[pair[0]] = pair[1]
        return built

    def _pickle_word(self, name: str, arguments: tuple[Any, ...]) -> Any:
        match name, arguments:
            case "_codecs.encode", (str(), str(encoding)) if encoding in _LATIN:
                return BYTES
            case "builtins.getattr", (Opaque(name=owner), str(attribute)) if is_attribute(attribute):
                # An enumeration's member, as Python 3.11.0 to 3.11.3 wrote it.
                check_called(owner)
                return self._named(f"{owner}.{attribute}")
            case "copyreg._reconstructor" | "copyreg.__newobj__" | "copyreg.__newobj_ex__", (Opaque(name=owner), *_):
                if owner in PICKLE_WORDS:
                    raise forbidden(owner)
                return self.call(owner, ())
        raise forbidden(name)

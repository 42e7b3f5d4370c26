"""Pickles as data: a machine that builds plain values, and neither imports nor calls anything that a pickle names.

It knows the operations that binary pickles of protocol 1 to 5 use for state dictionaries, and refuses the rest (text
persistent ids, INST, OBJ, extension codes, out-of-band buffers). What a named class or function stands for is the
builder's word (`plain_builder.py`, `torch_builder.py`, `distributed.py`). Operations: CPython's `pickletools`.
"""

from __future__ import annotations

import pickle
import struct
import sys
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.pickle_names import qualified_name
from t2i_checkpoint.headers.pickle_values import Budget, Opaque, check_key, check_tree

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Builder", "Opaque", "PickleReader", "read_pickle"]

MAX_OPERATIONS = 1_500_000  # an SDXL checkpoint with optimizer and EMA takes half of it
_MAX_LINE = 512
_MAX_INTEGER_BYTES = 64  # random generators keep 128-bit numbers
_MAX_DIGITS = 160
_BYTES = Opaque("builtins.bytes")
_SET = Opaque("builtins.set")
_FROZENSET = Opaque("builtins.frozenset")


class Builder(Protocol):
    """What the machine asks when a pickle names something; every answer is a plain value or a HeaderError."""

    def persistent(self, identity: Any) -> Any:
        """Return what a persistent id stands for."""

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Return what `name(*arguments)` stands for; nothing is called."""

    def build(self, target: Any, state: Any) -> None:
        """Give `target` its state, or ignore it."""


def read_pickle(raw: bytes, builder: Builder, budget: Budget) -> Any:
    """Return the pickled value; raises HeaderError. Memory is bounded by `budget`, time by the operations' number."""
    value = PickleReader(raw, builder, budget).read()
    check_tree(value)
    return value


class PickleReader:
    """One run over one pickle."""

    def __init__(self, raw: bytes, builder: Builder, budget: Budget) -> None:
        self._raw = raw
        self._at = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._builder = builder
        self._spend = budget.spend
        self._is_done = False
        self._operations = self._table()

    def read(self) -> Any:
        """Run to the end and return what is left, unchecked as a tree."""
        raw, operations = self._raw, self._operations
        try:
            for _ in range(MAX_OPERATIONS):
                operation = operations[raw[self._at]]
                self._at += 1
                operation()
                if self._is_done:
                    return self._result()
        except (IndexError, struct.error):
            self._invalid("it ends, or takes a value, where there is none")
        except UnicodeDecodeError:
            self._invalid("text that is not UTF-8")
        raise HeaderError(HeaderFault.PICKLE_TOO_LARGE, f"more than {MAX_OPERATIONS} operations")

    def _result(self) -> Any:
        if len(self._stack) != 1 or self._marks or self._at != len(self._raw):
            self._invalid("it leaves more than one value, or bytes after its end")
        return self._stack[0]

    def _invalid(self, what: str) -> NoReturn:
        raise HeaderError(HeaderFault.PICKLE_INVALID, f"the pickle cannot be right at byte {self._at}: {what}")

    # Reading arguments.

    def _take(self, length: int) -> bytes:
        end = self._at + length
        if length < 0 or end > len(self._raw):
            self._invalid(f"{length} bytes are claimed, {len(self._raw) - self._at} are left")
        taken = self._raw[self._at : end]
        self._at = end
        return taken

    def _line(self) -> str:
        end = self._raw.find(b"\n", self._at, self._at + _MAX_LINE)
        if end < 0:
            self._invalid("a line without end")
        line = self._raw[self._at : end]
        self._at = end + 1
        return line.decode("utf-8")

    def _reader(self, layout: str, use: Callable[[int], None]) -> Callable[[], None]:
        """Return an operation that reads one number and uses it."""
        number = struct.Struct("<" + layout)

        def operation() -> None:
            (value,) = number.unpack_from(self._raw, self._at)
            self._at += number.size
            use(value)

        return operation

    def _constant(self, value: Any) -> Callable[[], None]:
        return lambda: self._stack.append(value)

    def _number(self, value: float) -> None:
        self._spend(32)
        self._stack.append(value)

    def _long(self, length: int) -> None:
        if not 0 <= length <= _MAX_INTEGER_BYTES:
            self._invalid(f"an integer of {length} bytes")
        self._number(int.from_bytes(self._take(length), "little", signed=True))

    def _float(self) -> None:
        self._number(struct.unpack(">d", self._take(8))[0])

    def _text_integer(self) -> None:
        text = self._line()
        if text in ("00", "01"):  # how protocol 1 writes False and True
            self._stack.append(text == "01")
            return
        digits = text.removesuffix("L")
        if len(digits) > _MAX_DIGITS or not digits.removeprefix("-").isdecimal() or not digits.isascii():
            self._invalid("an integer that is none")
        self._number(int(digits))

    def _text(self, length: int) -> None:
        self._spend(min(length, len(self._raw)))
        text = self._take(length).decode("utf-8")
        self._spend(sys.getsizeof(text))
        self._stack.append(text)

    def _bytes(self, length: int) -> None:
        self._take(length)
        self._stack.append(_BYTES)

    # Stack and memo.

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        if start > len(self._stack):
            self._invalid("a mark above the stack")
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _pop(self) -> Any:
        if self._marks and self._marks[-1] >= len(self._stack):
            self._invalid("a value is taken from below a mark")
        return self._stack.pop()

    def _discard(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()

    def _put(self, index: int) -> None:
        self._spend(96)
        self._memo[index] = self._stack[-1]

    def _get(self, index: int) -> None:
        if index not in self._memo:
            self._invalid(f"remembered value {index} was never put")
        self._stack.append(self._memo[index])

    # Containers.

    def _tuple(self, items: list[Any]) -> None:
        self._spend(56 + 8 * len(items))
        self._stack.append(tuple(items))

    def _tuple_of(self, length: int) -> Callable[[], None]:
        def operation() -> None:
            items = [self._pop() for _ in range(length)]
            items.reverse()
            self._tuple(items)

        return operation

    def _empty(self, kind: type[list[Any] | dict[Any, Any]]) -> Callable[[], None]:
        def operation() -> None:
            self._spend(64)
            self._stack.append(kind())

        return operation

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is list:
            self._spend(40 + 18 * len(items))
            target.extend(items)
        elif type(target) is not Opaque:
            self._invalid(f"items for a {type(target).__name__}")

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if len(items) % 2:
            self._invalid("a key without a value")
        if type(target) is dict:
            self._spend(180 + 60 * len(items))
            for position in range(0, len(items), 2):
                check_key(items[position], self._spend)
                target[items[position]] = items[position + 1]
        elif type(target) is not Opaque:
            self._invalid(f"keys for a {type(target).__name__}")

    def _set_item(self) -> None:
        value = self._pop()
        key = self._pop()
        self._set_items([key, value])

    # Names, and what is done with them.

    def _name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            self._invalid("a name that is no text")
        self._spend(200)
        self._stack.append(Opaque(qualified_name(module, name)))

    def _stack_global(self) -> None:
        name = self._pop()
        self._name(self._pop(), name)

    def _call(self) -> None:
        arguments = self._pop()
        named = self._pop()
        if type(named) is not Opaque or type(arguments) is not tuple:
            self._invalid("a call of what is no name")
        self._spend(400)
        self._stack.append(self._builder.call(named.name, arguments))

    def _call_with_keywords(self) -> None:
        if type(self._pop()) is not dict:
            self._invalid("keyword arguments that are no dictionary")
        self._call()

    def _build(self) -> None:
        state = self._pop()
        self._builder.build(self._stack[-1], state)

    def _persistent(self) -> None:
        self._spend(200)
        self._stack.append(self._builder.persistent(self._pop()))

    def _protocol(self, version: int) -> None:
        if version > pickle.HIGHEST_PROTOCOL:
            self._invalid(f"protocol {version}")

    def _frame(self, length: int) -> None:
        if self._at + length > len(self._raw):
            self._invalid(f"a frame of {length} bytes")

    def _done(self) -> None:
        self._is_done = True

    def _table(self) -> list[Callable[[], None]]:
        def refuse(code: int) -> Callable[[], None]:
            return lambda: self._invalid(f"operation {code:#04x} is not one that weights are written with")

        table = [refuse(code) for code in range(256)]
        known: dict[bytes, Callable[[], None]] = {
            pickle.PROTO: self._reader("B", self._protocol),
            pickle.FRAME: self._reader("Q", self._frame),
            pickle.STOP: self._done,
            pickle.NONE: self._constant(None),
            pickle.NEWTRUE: self._constant(True),
            pickle.NEWFALSE: self._constant(False),
            pickle.EMPTY_TUPLE: self._constant(()),
            pickle.EMPTY_SET: self._constant(_SET),
            pickle.INT: self._text_integer,
            pickle.LONG: self._text_integer,
            pickle.BININT: self._reader("i", self._number),
            pickle.BININT1: self._reader("B", self._stack.append),  # CPython keeps these integers once
            pickle.BININT2: self._reader("H", self._number),
            pickle.LONG1: self._reader("B", self._long),
            pickle.LONG4: self._reader("i", self._long),
            pickle.BINFLOAT: self._float,
            pickle.SHORT_BINUNICODE: self._reader("B", self._text),
            pickle.BINUNICODE: self._reader("I", self._text),
            pickle.BINUNICODE8: self._reader("Q", self._text),
            pickle.SHORT_BINSTRING: self._reader("B", self._text),
            pickle.BINSTRING: self._reader("i", self._text),
            pickle.SHORT_BINBYTES: self._reader("B", self._bytes),
            pickle.BINBYTES: self._reader("I", self._bytes),
            pickle.BINBYTES8: self._reader("Q", self._bytes),
            pickle.BYTEARRAY8: self._reader("Q", self._bytes),
            pickle.MARK: self._mark,
            pickle.POP: self._discard,
            pickle.POP_MARK: lambda: self._since_mark().clear(),
            pickle.DUP: lambda: self._stack.append(self._stack[-1]),
            pickle.BINPUT: self._reader("B", self._put),
            pickle.LONG_BINPUT: self._reader("I", self._put),
            pickle.MEMOIZE: lambda: self._put(len(self._memo)),
            pickle.BINGET: self._reader("B", self._get),
            pickle.LONG_BINGET: self._reader("I", self._get),
            pickle.TUPLE: lambda: self._tuple(self._since_mark()),
            pickle.TUPLE1: self._tuple_of(1),
            pickle.TUPLE2: self._tuple_of(2),
            pickle.TUPLE3: self._tuple_of(3),
            pickle.EMPTY_LIST: self._empty(list),
            pickle.EMPTY_DICT: self._empty(dict),
            pickle.APPEND: lambda: self._extend([self._pop()]),
            pickle.APPENDS: lambda: self._extend(self._since_mark()),
            pickle.ADDITEMS: lambda: self._extend(self._since_mark()),
            pickle.SETITEM: self._set_item,
            pickle.SETITEMS: lambda: self._set_items(self._since_mark()),
            pickle.FROZENSET: lambda: self._stack.append((self._since_mark(), _FROZENSET)[1]),
            pickle.GLOBAL: lambda: self._name(self._line(), self._line()),
            pickle.STACK_GLOBAL: self._stack_global,
            pickle.REDUCE: self._call,
            pickle.NEWOBJ: self._call,
            pickle.NEWOBJ_EX: self._call_with_keywords,
            pickle.BUILD: self._build,
            pickle.BINPERSID: self._persistent,
        }
        for code, operation in known.items():
            table[code[0]] = operation
        return table

"""The pickle machine: a stack, a memo and the operations on them, which build plain values and nothing else.

What a named class or function stands for is the builder's word (`plain_builder.py`, `torch_builder.py`,
`distributed.py`). Which operation is which is told by `pickle_reader.py`; their meaning by CPython's `pickletools`.
"""

from __future__ import annotations

import pickle
import re
import struct
import sys
from typing import Any, NoReturn, Protocol

from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.pickle_names import qualified_name
from t2i_checkpoint.headers.pickle_values import Budget, Opaque, check_key

_MAX_LINE = 512
_MAX_INTEGER_BYTES = 64  # random generators keep 128-bit numbers
_MAX_DIGITS = 160
_LONG_GET = re.compile(rb"(?s)(?=j(.{4}))")  # overlapping: any of these bytes may be another's argument
_SOLE = 2  # references of a value that one variable holds: that, and the count's own argument
_BYTES = Opaque("builtins.bytes")


class Builder(Protocol):
    """What the machine asks when a pickle names something; every answer is a plain value or a HeaderError."""

    def persistent(self, identity: Any) -> Any:
        """Return what a persistent id stands for."""

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Return what `name(*arguments)` stands for; nothing is called."""

    def build(self, target: Any, state: Any) -> None:
        """Give `target` its state, or ignore it."""


class PickleMachine:
    """The state of one run over one pickle; a method an operation. Raises HeaderError, and IndexError where it ends."""

    def __init__(self, raw: bytes, builder: Builder, budget: Budget) -> None:
        self.raw = raw
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.memoized = 0
        self.is_done = False
        self._fetched = fetched_indices(raw)
        self._builder = builder
        self._budget = budget
        self._spend = budget.spend

    def result(self) -> Any:
        """Return the one value that is left when all bytes are used."""
        if len(self.stack) != 1 or self.marks or self.at != len(self.raw):
            self.invalid("it leaves more than one value, or bytes after its end")
        return self.stack[0]

    def invalid(self, what: str) -> NoReturn:
        """Refuse the pickle, naming the byte where reading stands."""
        raise HeaderError(HeaderFault.PICKLE_INVALID, f"the pickle cannot be right at byte {self.at}: {what}")

    # Reading arguments.

    def take(self, length: int) -> bytes:
        """Return the next bytes; a length is compared with what is there before anything is done."""
        end = self.at + length
        if length < 0 or end > len(self.raw):
            self.invalid(f"{length} bytes are claimed, {len(self.raw) - self.at} are left")
        taken = self.raw[self.at : end]
        self.at = end
        return taken

    def line(self) -> str:
        """Return the next line of text."""
        end = self.raw.find(b"\n", self.at, self.at + _MAX_LINE)
        if end < 0:
            self.invalid("a line without end")
        line = self.raw[self.at : end]
        self.at = end + 1
        return line.decode("utf-8")

    def number(self, value: float) -> None:
        """Push a number."""
        self._spend(32)
        self.stack.append(value)

    def long(self, length: int) -> None:
        """Push an integer of so many bytes."""
        if not 0 <= length <= _MAX_INTEGER_BYTES:
            self.invalid(f"an integer of {length} bytes")
        self.number(int.from_bytes(self.take(length), "little", signed=True))

    def floating(self) -> None:
        """Push the eight bytes of a floating-point number."""
        self.number(struct.unpack(">d", self.take(8))[0])

    def text_integer(self) -> None:
        """Push the decimal integer on the next line, or the truth value that protocol 1 writes there."""
        text = self.line()
        if text in ("00", "01"):  # how protocol 1 writes False and True
            self.stack.append(text == "01")
            return
        digits = text.removesuffix("L")
        if len(digits) > _MAX_DIGITS or not digits.removeprefix("-").isdecimal() or not digits.isascii():
            self.invalid("an integer that is none")
        self.number(int(digits))

    def text(self, length: int) -> None:
        """Push text of so many bytes."""
        text = self.take(length).decode("utf-8")
        self._spend(sys.getsizeof(text))
        self.stack.append(text)

    def byte_string(self, length: int) -> None:
        """Skip bytes and push that there were some: nobody reads them."""
        self.take(length)
        self.stack.append(_BYTES)

    # Stack and memo.

    def mark(self) -> None:
        """Remember where a container begins."""
        self._spend(48)
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        """Take what was pushed since the last mark."""
        start = self.marks.pop()
        if start > len(self.stack):
            self.invalid("a mark above the stack")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop(self) -> Any:
        """Take the topmost value, never one from below a mark."""
        if self.marks and self.marks[-1] >= len(self.stack):
            self.invalid("a value is taken from below a mark")
        return self.stack.pop()

    def discard(self) -> None:
        """Drop the topmost value, or the mark that lies on top."""
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def put(self, index: int) -> None:
        """Remember the topmost value, unless nobody will ask for it: pickles remember nearly everything."""
        value = self.stack[-1]
        if index >= len(self._fetched) or self._fetched[index]:
            self._spend(96)
            self.memo[index] = value

    def memoize(self) -> None:
        """Remember the topmost value under the next number."""
        self.put(self.memoized)
        self.memoized += 1

    def get(self, index: int) -> None:
        """Push a remembered value."""
        if index not in self.memo:
            self.invalid(f"remembered value {index} was never put")
        self.stack.append(self.memo[index])

    # Containers.

    def make_tuple(self, items: list[Any]) -> None:
        """Push a tuple."""
        self._spend(56 + 8 * len(items))
        self.stack.append(tuple(items))

    def short_tuple(self, length: int) -> None:
        """Push a tuple of the topmost values."""
        items = [self.pop() for _ in range(length)]
        items.reverse()
        self.make_tuple(items)

    def empty(self, container: list[Any] | dict[Any, Any]) -> None:
        """Push a fresh container."""
        self._spend(64)
        self.stack.append(container)

    def extend(self, items: list[Any]) -> None:
        """Add items to the list on top; those of an opaque value are dropped."""
        target = self.stack[-1]
        if type(target) is list:
            self._spend(40 + 18 * len(items))
            target.extend(items)
        elif type(target) is not Opaque:
            self.invalid(f"items for a {type(target).__name__}")

    def set_items(self, items: list[Any]) -> None:
        """Add keys and values, in turn, to the dictionary on top; those of an opaque value are dropped."""
        target = self.stack[-1]
        if len(items) % 2:
            self.invalid("a key without a value")
        if type(target) is dict:
            self._spend(170 + 36 * len(items))
            for position in range(0, len(items), 2):
                check_key(items[position], self._spend)
                target[items[position]] = items[position + 1]
        elif type(target) is not Opaque:
            self.invalid(f"keys for a {type(target).__name__}")

    def set_item(self) -> None:
        """Add one key and value."""
        value = self.pop()
        key = self.pop()
        self.set_items([key, value])

    # Names, and what is done with them.

    def name(self, module: Any, name: Any) -> None:
        """Push a name as an opaque value, if weights may carry it."""
        if type(module) is not str or type(name) is not str:
            self.invalid("a name that is no text")
        self._spend(120 + len(module) + len(name))
        self.stack.append(Opaque(qualified_name(module, name)))

    def stack_global(self) -> None:
        """Push the name whose module and name lie on top."""
        name = self.pop()
        self.name(self.pop(), name)

    def call(self) -> None:
        """Ask the builder what a named class or function of these arguments stands for."""
        arguments = self.pop()
        named = self.pop()
        if type(named) is not Opaque or type(arguments) is not tuple:
            self.invalid("a call of what is no name")
        self.stack.append(self._builder.call(named.name, arguments))
        if sys.getrefcount(arguments) == _SOLE:
            self._give_back(arguments)

    def call_with_keywords(self) -> None:
        """Call, leaving keyword arguments out: no builder has a use for them."""
        if type(self.pop()) is not dict:
            self.invalid("keyword arguments that are no dictionary")
        self.call()

    def build(self) -> None:
        """Ask the builder to give the value on top its state."""
        state = self.pop()
        self._builder.build(self.stack[-1], state)
        if sys.getrefcount(state) == _SOLE:
            self._give_back(state)

    def _give_back(self, value: Any) -> None:
        """Give back what was spent on a container that nobody else holds: it ends here, its content may not."""
        if type(value) is tuple:
            self._budget.give_back(56 + 8 * len(value))
        elif type(value) is dict:
            self._budget.give_back(64 + (170 + 72 * len(value) if value else 0))

    def persistent(self) -> None:
        """Ask the builder what the persistent id on top stands for."""
        self._spend(100)
        identity = self.pop()
        self.stack.append(self._builder.persistent(identity))
        if sys.getrefcount(identity) == _SOLE:
            self._give_back(identity)

    def protocol(self, version: int) -> None:
        """Refuse protocols that CPython does not have."""
        if version > pickle.HIGHEST_PROTOCOL:
            self.invalid(f"protocol {version}")

    def frame(self, length: int) -> None:
        """Refuse a frame beyond the end; its length says nothing else."""
        if self.at + length > len(self.raw):
            self.invalid(f"a frame of {length} bytes")

    def done(self) -> None:
        """Stop."""
        self.is_done = True

    def push(self, value: Any) -> None:
        """Push a value that costs nothing."""
        self.stack.append(value)

    def unknown(self) -> None:
        """Refuse an operation that no state dictionary is written with."""
        self.invalid(f"operation {self.raw[self.at - 1]:#04x} is not one that weights are written with")


def fetched_indices(raw: bytes) -> bytearray:
    """Return for each memo index whether it may be asked for: every place that could be a GET, read as one.

    An index beyond the table is not one that a pickle of this length gives by counting; it counts as asked for.
    """
    found = bytearray(max(len(raw), 256))
    found[:256] = bytes((1,)) * 256  # those of BINGET, one byte each
    for match in _LONG_GET.finditer(raw):
        index = int.from_bytes(match[1], "little")
        if index < len(found):
            found[index] = 1
    return found

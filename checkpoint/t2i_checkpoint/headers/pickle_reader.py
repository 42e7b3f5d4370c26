"""Pickles as data: read without importing or calling anything that a pickle names.

Knows the operations that binary pickles of protocol 1 to 5 use for state dictionaries, and refuses the rest (text
persistent ids, INST, OBJ, extension codes, out-of-band buffers). The work is done by `pickle_machine.py`.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Any

from t2i_checkpoint.headers.faults import HeaderError, HeaderFault
from t2i_checkpoint.headers.pickle_machine import Builder, PickleMachine
from t2i_checkpoint.headers.pickle_values import Budget, Opaque, check_tree

__all__ = ["Opaque", "read_pickle", "run_pickle"]

MAX_OPERATIONS = 1_500_000  # an SDXL checkpoint with optimizer and EMA takes half of it
_SET = Opaque("builtins.set")
_FROZENSET = Opaque("builtins.frozenset")


def read_pickle(raw: bytes, builder: Builder, budget: Budget) -> Any:
    """Return the pickled value as a tree; raises HeaderError. `budget` bounds memory, the operations' number time."""
    value = run_pickle(raw, builder, budget)
    check_tree(value)
    return value


def run_pickle(raw: bytes, builder: Builder, budget: Budget) -> Any:
    """Return the pickled value, which may contain itself: only for readers that go by known fields."""
    machine = PickleMachine(raw, builder, budget)
    try:
        for _ in range(MAX_OPERATIONS):
            operation = _OPERATIONS[raw[machine.at]]
            machine.at += 1
            operation(machine)
            if machine.is_done:
                return machine.result()
    except (IndexError, struct.error):
        machine.invalid("it ends, or takes a value, where there is none")
    except UnicodeDecodeError:
        machine.invalid("text that is not UTF-8")
    raise HeaderError(HeaderFault.PICKLE_TOO_LARGE, f"more than {MAX_OPERATIONS} operations")


_Operation = Callable[[PickleMachine], None]


def _with(layout: str, use: Callable[[PickleMachine, int], None]) -> _Operation:
    """Return an operation that reads one number and uses it."""
    number = struct.Struct("<" + layout)

    def operation(machine: PickleMachine) -> None:
        (value,) = number.unpack_from(machine.raw, machine.at)
        machine.at += number.size
        use(machine, value)

    return operation


def _table() -> tuple[_Operation, ...]:
    machine = PickleMachine
    known: dict[bytes, _Operation] = {
        pickle.PROTO: _with("B", machine.protocol),
        pickle.FRAME: _with("Q", machine.frame),
        pickle.STOP: machine.done,
        pickle.NONE: lambda m: m.push(None),
        pickle.NEWTRUE: lambda m: m.push(True),
        pickle.NEWFALSE: lambda m: m.push(False),
        pickle.EMPTY_TUPLE: lambda m: m.push(()),
        pickle.EMPTY_SET: lambda m: m.push(_SET),
        pickle.INT: machine.text_integer,
        pickle.LONG: machine.text_integer,
        pickle.BININT: _with("i", machine.number),
        pickle.BININT1: _with("B", machine.push),  # CPython keeps these integers once
        pickle.BININT2: _with("H", machine.number),
        pickle.LONG1: _with("B", machine.long),
        pickle.LONG4: _with("i", machine.long),
        pickle.BINFLOAT: machine.floating,
        pickle.SHORT_BINUNICODE: _with("B", machine.text),
        pickle.BINUNICODE: _with("I", machine.text),
        pickle.BINUNICODE8: _with("Q", machine.text),
        pickle.SHORT_BINSTRING: _with("B", machine.text),
        pickle.BINSTRING: _with("i", machine.text),
        pickle.SHORT_BINBYTES: _with("B", machine.byte_string),
        pickle.BINBYTES: _with("I", machine.byte_string),
        pickle.BINBYTES8: _with("Q", machine.byte_string),
        pickle.BYTEARRAY8: _with("Q", machine.byte_string),
        pickle.MARK: machine.mark,
        pickle.POP: machine.discard,
        pickle.POP_MARK: lambda m: m.since_mark().clear(),
        pickle.DUP: lambda m: m.push(m.stack[-1]),
        pickle.BINPUT: _with("B", machine.put),
        pickle.LONG_BINPUT: _with("I", machine.put),
        pickle.MEMOIZE: machine.memoize,
        pickle.BINGET: _with("B", machine.get),
        pickle.LONG_BINGET: _with("I", machine.get),
        pickle.TUPLE: lambda m: m.make_tuple(m.since_mark()),
        pickle.TUPLE1: lambda m: m.short_tuple(1),
        pickle.TUPLE2: lambda m: m.short_tuple(2),
        pickle.TUPLE3: lambda m: m.short_tuple(3),
        pickle.EMPTY_LIST: lambda m: m.empty([]),
        pickle.EMPTY_DICT: lambda m: m.empty({}),
        pickle.APPEND: lambda m: m.extend([m.pop()]),
        pickle.APPENDS: lambda m: m.extend(m.since_mark()),
        pickle.ADDITEMS: lambda m: m.extend(m.since_mark()),
        pickle.SETITEM: machine.set_item,
        pickle.SETITEMS: lambda m: m.set_items(m.since_mark()),
        pickle.FROZENSET: lambda m: m.push((m.since_mark(), _FROZENSET)[1]),
        pickle.GLOBAL: lambda m: m.name(m.line(), m.line()),
        pickle.STACK_GLOBAL: machine.stack_global,
        pickle.REDUCE: machine.call,
        pickle.NEWOBJ: machine.call,
        pickle.NEWOBJ_EX: machine.call_with_keywords,
        pickle.BUILD: machine.build,
        pickle.BINPERSID: machine.persistent,
    }
    return tuple(known.get(bytes((code,)), machine.unknown) for code in range(256))


_OPERATIONS = _table()

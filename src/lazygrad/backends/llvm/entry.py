"""Entry: a plan as a built-in function. In: a record of int64 (addresses, slots); out: a callable of 30 ns.

Two pieces of native code, compiled once and cached as all others: `bind` for `forward()` and `backward()` of a bound
plan, `bind_call` for a prepared plan called with Python numbers. All that a plan needs is in its record (the built-in's
`self`), so that making one costs a microsecond. Whatever is unusual goes to Python, through the callables in the record.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from . import externs, jit
from .entry_text import CALL, CALLED, PLAN, PREPARED

# fields of the record of `bind`, by position
WRITE, ACCUMULATE, INPUTS, GRADIENTS, FLAGS, RESULT, SLOW, FAULT = range(8)
ARGS, POINTERS, GRADS, STATES, ARENA, OFFSET, BUSY, SPARE = range(8, 16)
HEAD = 16                                       # then the slots: the inputs', the gradients'
RELEASE = 1                                     # FLAGS: give up the GIL while the body runs

# fields of the record of `bind_call`
BODY, ARGUMENTS, OUTPUTS = 0, 1, 2              # 4 to 8 as above: FLAGS, RESULT, SLOW, FAULT, ARGS
LEAVES = 3
# 9 POINTERS, 12 ARENA, 14 BUSY as above
AS_RESULT, AS_TUPLE = 2, 4                      # FLAGS: return the object RESULT; return a tuple of the outputs
KINDS = {"float32": 0, "float64": 1, "int64": 2, "bool": 3}    # bool: outputs only


@cache
def data_offset() -> int:
    """Where an ndarray object keeps the pointer to its data, found by looking (behind the object head)."""
    probes = [np.zeros(3, np.int64), np.zeros(5, np.int64)]
    head = object.__basicsize__
    for offset in (head, *range(head, head + 64, 8)):
        if all(ctypes.c_int64.from_address(id(a) + offset).value == a.__array_interface__["data"][0] for a in probes):
            return offset
    raise RuntimeError("this Python's arrays do not keep their data pointer in their object")


def _fill(text: str, **values: object) -> str:
    """A stub with its placeholders replaced: what is given, and reading the address of each outside function."""
    for name, symbol in CALLED.items():                 # (a placeholder that begins with another's name comes first in `values`)
        values[name] = (f"%{name}p = getelementptr ptr, ptr %externs, i64 {externs.INDEX[symbol]}\n"
                        f"  %{name} = load ptr, ptr %{name}p")
    for name, value in values.items():         # no name begins another (string.Template would import `re`)
        text = text.replace("$" + name, str(value))
    return text


def plan_text() -> str:
    """The LLVM text of `plan(self, nothing)`."""
    return _fill(PLAN, data=data_offset())


def prepared_text() -> str:
    """The LLVM text of `prepared(self, arguments, count)`."""
    return _fill(PREPARED, data=data_offset(), type=object.__basicsize__ - 8,
                 clong=f"i{8 * ctypes.sizeof(ctypes.c_long)}")


class LayoutError(RuntimeError):
    """Python keeps its objects in another way than is known here."""


def places(kind: type, names: tuple[str, ...]) -> dict[str, int]:
    """Where objects of a class keep what is in their slots, found by looking. Raises LayoutError where they do not keep it themselves."""
    found = {}
    for name in names:
        probe, held = kind.__new__(kind), object()
        setattr(probe, name, held)
        words = (ctypes.c_int64 * (kind.__basicsize__ // 8)).from_address(id(probe))
        at = [8 * i for i, word in enumerate(words) if word == id(held)]
        setattr(probe, name, None)
        if len(at) != 1:
            raise LayoutError(f"objects of {kind.__name__} do not keep {name!r} in a place of their own")
        found[name] = at[0]
    return found


@cache
def layout() -> dict[str, int]:
    """Where Python's own objects keep what `called` reads: type, reference count, the items of a list."""
    head = object.__basicsize__
    filled, probe = [None] * 3, object()
    filled[1] = probe
    items = ctypes.c_int64.from_address(id(filled) + head + 8).value
    several = [probe] * 5
    good = (ctypes.c_int64.from_address(items + 8).value == id(probe)
            and ctypes.c_int64.from_address(id(probe) + head - 8).value == id(object)
            and ctypes.c_int32.from_address(id(probe) + head - 16).value == sys.getrefcount(probe) - 1)
    del several
    if not good:
        raise LayoutError("this Python's objects are laid out in another way")
    return {"type": head - 8, "count": head - 16, "items": head + 8}


_SLOTS: dict[str, dict[str, int]] = {}


def call_text() -> str:
    """The LLVM text of `called(self, arguments, count)`."""
    return _fill(CALL, data=data_offset(), IncAt=externs.INDEX["Py_IncRef"], **{f"{kind}_{name}": at for kind, names in _SLOTS.items() for name, at in names.items()}, **layout())


class _MethodDef(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("method", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


_METH_NOARGS, _METH_FASTCALL = 0x4, 0x80

# text, calling convention, level of the code generator (0: compiled 13 ms sooner, once a machine, and 6 ns slower)
_STUBS = {"plan": (plan_text, _METH_NOARGS, 1), "prepared": (prepared_text, _METH_FASTCALL, 0), "called": (call_text, _METH_FASTCALL, 1)}
_FOREVER: list[tuple] = []                      # code and definitions that built-in functions point to


@cache
def _stub(symbol: str) -> Callable[[np.ndarray, tuple], Any]:
    """The maker of built-in functions over `plan` or `prepared`: called with the record and what is to live with it.

    Two threads may compile one twice; built-ins of either stay good.
    """
    text, flags, opt = _STUBS[symbol]
    loaded = jit.native(text(), opt).loaded
    definition = _MethodDef(symbol.encode(), loaded.address(symbol), flags, None)
    _FOREVER.append((loaded, definition))
    new = ctypes.pythonapi.PyCFunction_NewEx
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.py_object)(
        ctypes.cast(new, ctypes.c_void_p).value)
    at = ctypes.addressof(definition)
    return lambda record, keep: new(at, record, keep)


def _record(record: np.ndarray) -> None:
    if record.dtype != np.int64 or record.ndim != 1 or len(record) < HEAD or not record.flags.c_contiguous:
        raise ValueError("entry: a record is a contiguous int64 vector of at least 16 numbers")


def bind(record: np.ndarray, keep: tuple = ()) -> Any:
    """The built-in function without arguments over a record; it keeps `record` and `keep` alive, and nothing else.

    record[...] (int64; addresses and `id`s as they are):

    | 0 WRITE | the body | 1 ACCUMULATE | the body that adds to gradients, or 0 |
    | 2 INPUTS | n | 3 GRADIENTS | g | 4 FLAGS | RELEASE or 0 |
    | 5 RESULT | the object returned (0: always slow) | 6 SLOW | called without arguments instead of the body |
    | 7 FAULT | called without arguments where the body has left a fault; its result is returned |
    | 8 ARGS | the address of the body's args: [0] externs, [1] arena, [2] address of the fault cell, [3..] inputs |
    | 9 POINTERS | 10 GRADS | 11 STATES | the tables by slot |
    | 12 ARENA | the address of int64 {busy, base}, or 0 | 13 OFFSET | the position in args of the first gradient |
    | 14 BUSY | set while the body runs without the GIL | 16... | n slots of inputs, g slots of gradients |

    SLOW is called when the record or the arena is busy, an input or gradient pointer is null, a gradient's state is 2,
    states differ, or there is no body for the state. Else: states 0, the body WRITE, then states 1; states 1, the body
    ACCUMULATE. After a fault the states are left as they were. The objects and the code that the record names must be
    in `keep` (or otherwise live as long).
    """
    _record(record)
    return _stub("plan")(record, (*keep, record))


def bind_call(record: np.ndarray, keep: tuple = ()) -> Any:
    """The built-in function of n Python numbers over a record; it keeps `record` and `keep` alive.

    record[...]:

    | 0 BODY | the body | 1 ARGUMENTS | n | 2 OUTPUTS | k | 3 LEAVES | m |
    | 4 FLAGS | RELEASE; AS_RESULT: return RESULT; AS_TUPLE: return a tuple of k numbers; neither: output 0 |
    | 5 RESULT | 6 SLOW | called with the same arguments | 7 FAULT | called without arguments | 8 ARGS | as in `bind` |
    | 9 POINTERS | the table by slot | 10, 11 | set here (the types float and int) | 12 ARENA | 14 BUSY | as in `bind` |
    | 16... | n pairs (kind, address of the 0-d input); k pairs (kind, address of the 0-d output); m pairs (slot, position
      in args) of leaves that the plan also reads |

    Kinds are those of KINDS. A float goes to float32 and float64 inputs, an int to all; everything else (bool, arrays,
    NumPy numbers, a float for an int64, an int that does not fit) goes to SLOW, as does another number of arguments, a
    busy record or arena, a null leaf and a body of 0. Outputs come back as float, int or bool. The positions of inputs
    and outputs in args are filled by the caller, once.
    """
    _record(record)
    record[10], record[11] = id(float), id(int)
    return _stub("prepared")(record, (*keep, record))


# the record of `bind_tensors`: where its rows begin
ROWS = 24
ROW = 6                                         # words of a result: leaf, array, what the array lies in, slot, Term, address


def bind_tensors(record: np.ndarray, kinds: dict[str, tuple[type, tuple[str, ...]]], keep: tuple = ()) -> Any:
    """The built-in function (code, lasti, *tensors) over a record: checks the tensors, runs, gives tensors; None where it does not apply.

    `kinds`: the classes "tensor" (term, a, b, code, lasti), "leaf" (slot, graph) and "term" (aval), with the slots that it reads or writes.
    Raises LayoutError where Python keeps its objects in another way than is known here. record[...]:

    | 0 BODY | 1 n arguments | 2 m inputs | 3 k results | 4 FLAGS | RELEASE must be 0; AS_TUPLE: a tuple of the results |
    | 5 SCOPE | the graph of all arguments | 6, 7 CODES | the user's code objects that it is called from | 8 ARGS | as in `bind`, of its own |
    | 9 POINTERS | 10 the list of buffers | 11 STATES | 12 ARENA | 13 the list of gradients | 14 BUSY | 15 the list of views, all by slot |
    | 17, 18 | the classes of tensors and leaves | 19 TURN | which set of results is next, 0 or 1 |
    | 20 OUTS | the position in args of the first result | 21 | None | 24... | n avals; n words of scratch; m inputs: the number of an argument, or
      -1 - slot; two sets of k rows of `ROW` words (leaf 0: there is none) |

    A set is used again where nobody but its rows refers to its leaves and arrays. Everything that the record names must be in `keep`.
    """
    _record(record)
    if not _SLOTS:
        _SLOTS.update({name: places(kind, slots) for name, (kind, slots) in kinds.items()})
        layout()
    return _stub("called")(record, (*keep, record))

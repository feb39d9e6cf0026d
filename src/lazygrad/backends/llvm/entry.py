"""Entry: a plan as a built-in function. In: a record of int64 (addresses, slots); out: a callable of 30 ns.

Two pieces of native code, compiled once and cached as all others: `bind` for `forward()` and `backward()` of a bound
plan, `bind_call` for a prepared plan called with Python numbers. All that a plan needs is in its record (the built-in's
`self`), so that making one costs a microsecond. Whatever is unusual goes to Python, through the callables in the record.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from string import Template
from typing import Any

import numpy as np

from . import externs, jit

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

# `$data` is where an ndarray keeps its data pointer; every call out goes through the externs table, args[0]
_PLAN = Template("""
define ptr @plan(ptr %self, ptr %none) nounwind {
entry:
  %place = getelementptr i8, ptr %self, i64 $data
  %r = load ptr, ptr %place
  %argsp = getelementptr i64, ptr %r, i64 8
  %args = load ptr, ptr %argsp
  %externs = load ptr, ptr %args
  %busyp = getelementptr i64, ptr %r, i64 14
  %busy = load i64, ptr %busyp
  %resultp = getelementptr i64, ptr %r, i64 5
  %result = load ptr, ptr %resultp
  %idle = icmp eq i64 %busy, 0
  %has = icmp ne ptr %result, null
  %go = and i1 %idle, %has
  br i1 %go, label %arena, label %slow

arena:
  %arenap = getelementptr i64, ptr %r, i64 12
  %cell = load ptr, ptr %arenap
  %without = icmp eq ptr %cell, null
  br i1 %without, label %inputs, label %taken
taken:
  %lock = load i64, ptr %cell
  %free = icmp eq i64 %lock, 0
  br i1 %free, label %base, label %slow
base:
  %basep = getelementptr i64, ptr %cell, i64 1
  %address = load i64, ptr %basep
  %arg1 = getelementptr i64, ptr %args, i64 1
  store i64 %address, ptr %arg1
  br label %inputs

inputs:
  %np = getelementptr i64, ptr %r, i64 2
  %n = load i64, ptr %np
  %gp = getelementptr i64, ptr %r, i64 3
  %g = load i64, ptr %gp
  %pointersp = getelementptr i64, ptr %r, i64 9
  %pointers = load ptr, ptr %pointersp
  %slots = getelementptr i64, ptr %r, i64 16
  %first = getelementptr i64, ptr %args, i64 3
  br label %input
input:
  %i = phi i64 [0, %inputs], [%i1, %filled]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %fill, label %gradients
fill:
  %slotp = getelementptr i64, ptr %slots, i64 %i
  %slot = load i64, ptr %slotp
  %fromp = getelementptr i64, ptr %pointers, i64 %slot
  %from = load i64, ptr %fromp
  %there = icmp ne i64 %from, 0
  br i1 %there, label %filled, label %slow
filled:
  %intop = getelementptr i64, ptr %first, i64 %i
  store i64 %from, ptr %intop
  %i1 = add i64 %i, 1
  br label %input

gradients:
  %write = load ptr, ptr %r
  %plain = icmp eq i64 %g, 0
  br i1 %plain, label %chosen, label %states
states:
  %accp = getelementptr i64, ptr %r, i64 1
  %accumulate = load ptr, ptr %accp
  %gradsp = getelementptr i64, ptr %r, i64 10
  %grads = load ptr, ptr %gradsp
  %statesp = getelementptr i64, ptr %r, i64 11
  %table = load ptr, ptr %statesp
  %offsetp = getelementptr i64, ptr %r, i64 13
  %offset = load i64, ptr %offsetp
  %gout = getelementptr i64, ptr %args, i64 %offset
  %gslots = getelementptr i64, ptr %slots, i64 %n
  %s0 = load i64, ptr %gslots
  %st0p = getelementptr i8, ptr %table, i64 %s0
  %st0 = load i8, ptr %st0p
  %known = icmp ult i8 %st0, 2
  br i1 %known, label %gradient, label %slow
gradient:
  %j = phi i64 [0, %states], [%j1, %placed]
  %jmore = icmp slt i64 %j, %g
  br i1 %jmore, label %place1, label %picked
place1:
  %gslotp = getelementptr i64, ptr %gslots, i64 %j
  %gslot = load i64, ptr %gslotp
  %stp = getelementptr i8, ptr %table, i64 %gslot
  %st = load i8, ptr %stp
  %gfromp = getelementptr i64, ptr %grads, i64 %gslot
  %gfrom = load i64, ptr %gfromp
  %alike = icmp eq i8 %st, %st0
  %gthere = icmp ne i64 %gfrom, 0
  %fine = and i1 %alike, %gthere
  br i1 %fine, label %placed, label %slow
placed:
  %gintop = getelementptr i64, ptr %gout, i64 %j
  store i64 %gfrom, ptr %gintop
  %j1 = add i64 %j, 1
  br label %gradient
picked:
  %fresh = icmp eq i8 %st0, 0
  %body0 = select i1 %fresh, ptr %write, ptr %accumulate
  br label %chosen

chosen:
  %body = phi ptr [%write, %gradients], [%body0, %picked]
  %exists = icmp ne ptr %body, null
  br i1 %exists, label %run, label %slow
run:
  %faultp = getelementptr i64, ptr %args, i64 2
  %faultcell = load ptr, ptr %faultp
  store i64 0, ptr %faultcell
  %flagsp = getelementptr i64, ptr %r, i64 4
  %flags = load i64, ptr %flagsp
  %bit = and i64 %flags, 1
  %hold = icmp eq i64 %bit, 0
  br i1 %hold, label %held, label %released
held:
  call void %body(ptr %args)
  br label %ran
released:
  store i64 1, ptr %busyp
  br i1 %without, label %leave, label %lockarena
lockarena:
  store i64 1, ptr %cell
  br label %leave
leave:
  $Save
  %thread = call ptr %Save()
  call void %body(ptr %args)
  $Restore
  call void %Restore(ptr %thread)
  store i64 0, ptr %busyp
  br i1 %without, label %ran, label %unlock
unlock:
  store i64 0, ptr %cell
  br label %ran

ran:
  %code = load i64, ptr %faultcell
  %clean = icmp eq i64 %code, 0
  br i1 %clean, label %mark, label %fault
mark:
  %ktablep = getelementptr i64, ptr %r, i64 11
  %ktable = load ptr, ptr %ktablep
  %kslots = getelementptr i64, ptr %slots, i64 %n
  br i1 %plain, label %done, label %marks
marks:
  %k = phi i64 [0, %mark], [%k1, %marks]
  %kslotp = getelementptr i64, ptr %kslots, i64 %k
  %kslot = load i64, ptr %kslotp
  %kstp = getelementptr i8, ptr %ktable, i64 %kslot
  store i8 1, ptr %kstp
  %k1 = add i64 %k, 1
  %kmore = icmp slt i64 %k1, %g
  br i1 %kmore, label %marks, label %done
done:
  $Inc
  call void %Inc(ptr %result)
  ret ptr %result
slow:
  %slowp = getelementptr i64, ptr %r, i64 6
  %slowf = load ptr, ptr %slowp
  br label %leavepy
fault:
  %faultfp = getelementptr i64, ptr %r, i64 7
  %faultf = load ptr, ptr %faultfp
  br label %leavepy
leavepy:
  %py = phi ptr [%slowf, %slow], [%faultf, %fault]
  $Call
  %out = call ptr %Call(ptr %py)
  ret ptr %out
}
""")

_CALL = Template("""
define ptr @prepared(ptr %self, ptr %given, i64 %count) nounwind {
entry:
  %place = getelementptr i8, ptr %self, i64 $data
  %r = load ptr, ptr %place
  %argsp = getelementptr i64, ptr %r, i64 8
  %args = load ptr, ptr %argsp
  %externs = load ptr, ptr %args
  %busyp = getelementptr i64, ptr %r, i64 14
  %busy = load i64, ptr %busyp
  %idle = icmp eq i64 %busy, 0
  %np = getelementptr i64, ptr %r, i64 1
  %n = load i64, ptr %np
  %right = icmp eq i64 %count, %n
  %go = and i1 %idle, %right
  %rows = getelementptr i64, ptr %r, i64 16
  br i1 %go, label %arena, label %slow

arena:
  %arenap = getelementptr i64, ptr %r, i64 12
  %cell = load ptr, ptr %arenap
  %without = icmp eq ptr %cell, null
  br i1 %without, label %leaves, label %taken
taken:
  %lock = load i64, ptr %cell
  %free = icmp eq i64 %lock, 0
  br i1 %free, label %base, label %slow
base:
  %basep = getelementptr i64, ptr %cell, i64 1
  %address = load i64, ptr %basep
  %arg1 = getelementptr i64, ptr %args, i64 1
  store i64 %address, ptr %arg1
  br label %leaves

leaves:
  %mp = getelementptr i64, ptr %r, i64 3
  %m = load i64, ptr %mp
  %kp = getelementptr i64, ptr %r, i64 2
  %k = load i64, ptr %kp
  %nk = add i64 %n, %k
  %nk2 = shl i64 %nk, 1
  %leafrows = getelementptr i64, ptr %rows, i64 %nk2
  %pointersp = getelementptr i64, ptr %r, i64 9
  %pointers = load ptr, ptr %pointersp
  br label %leaf
leaf:
  %l = phi i64 [0, %leaves], [%l1, %leafset]
  %lmore = icmp slt i64 %l, %m
  br i1 %lmore, label %leafget, label %numbers
leafget:
  %l2 = shl i64 %l, 1
  %lslotp = getelementptr i64, ptr %leafrows, i64 %l2
  %lslot = load i64, ptr %lslotp
  %lposp = getelementptr i64, ptr %lslotp, i64 1
  %lpos = load i64, ptr %lposp
  %lfromp = getelementptr i64, ptr %pointers, i64 %lslot
  %lfrom = load i64, ptr %lfromp
  %lthere = icmp ne i64 %lfrom, 0
  br i1 %lthere, label %leafset, label %slow
leafset:
  %lintop = getelementptr i64, ptr %args, i64 %lpos
  store i64 %lfrom, ptr %lintop
  %l1 = add i64 %l, 1
  br label %leaf

numbers:
  br label %number
number:
  %i = phi i64 [0, %numbers], [%i1, %numberset]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %look, label %run
look:
  %op = getelementptr ptr, ptr %given, i64 %i
  %o = load ptr, ptr %op
  %typep = getelementptr i8, ptr %o, i64 $type
  %type = load i64, ptr %typep
  %i2 = shl i64 %i, 1
  %kindp = getelementptr i64, ptr %rows, i64 %i2
  %kind = load i64, ptr %kindp
  %intop = getelementptr i64, ptr %kindp, i64 1
  %into = load ptr, ptr %intop
  %floatp = getelementptr i64, ptr %r, i64 10
  %floattype = load i64, ptr %floatp
  %isfloat = icmp eq i64 %type, %floattype
  br i1 %isfloat, label %afloat, label %maybeint
afloat:
  %isint64 = icmp eq i64 %kind, 2
  br i1 %isint64, label %slow, label %todouble
maybeint:
  %intp = getelementptr i64, ptr %r, i64 11
  %inttype = load i64, ptr %intp
  %isint = icmp eq i64 %type, %inttype
  br i1 %isint, label %anint, label %slow
anint:
  %wants = icmp eq i64 %kind, 2
  br i1 %wants, label %tolong, label %todouble
tolong:
  $AsLong
  %long = call i64 %AsLong(ptr %o)
  store i64 %long, ptr %into
  %odd0 = icmp eq i64 %long, -1
  br i1 %odd0, label %check, label %numberset
todouble:
  $AsDouble
  %double = call double %AsDouble(ptr %o)
  %isf32 = icmp eq i64 %kind, 0
  br i1 %isf32, label %single, label %full
single:
  %short = fptrunc double %double to float
  store float %short, ptr %into
  br label %doubleset
full:
  store double %double, ptr %into
  br label %doubleset
doubleset:
  %odd1 = fcmp oeq double %double, -1.0
  br i1 %odd1, label %check, label %numberset
check:
  $Occurred
  %error = call ptr %Occurred()
  %bad = icmp ne ptr %error, null
  br i1 %bad, label %clear, label %numberset
clear:
  $Clear
  call void %Clear()
  br label %slow
numberset:
  %i1 = add i64 %i, 1
  br label %number

run:
  %body = load ptr, ptr %r
  %faultp = getelementptr i64, ptr %args, i64 2
  %faultcell = load ptr, ptr %faultp
  %flagsp = getelementptr i64, ptr %r, i64 4
  %flags = load i64, ptr %flagsp
  %exists = icmp ne ptr %body, null
  br i1 %exists, label %start, label %slow
start:
  store i64 0, ptr %faultcell
  %bit = and i64 %flags, 1
  %hold = icmp eq i64 %bit, 0
  br i1 %hold, label %held, label %released
held:
  call void %body(ptr %args)
  br label %ran
released:
  store i64 1, ptr %busyp
  br i1 %without, label %leave, label %lockarena
lockarena:
  store i64 1, ptr %cell
  br label %leave
leave:
  $Save
  %thread = call ptr %Save()
  call void %body(ptr %args)
  $Restore
  call void %Restore(ptr %thread)
  store i64 0, ptr %busyp
  br i1 %without, label %ran, label %unlock
unlock:
  store i64 0, ptr %cell
  br label %ran

ran:
  %code = load i64, ptr %faultcell
  %clean = icmp eq i64 %code, 0
  br i1 %clean, label %answer, label %fault
answer:
  %n2 = shl i64 %n, 1
  %outrows = getelementptr i64, ptr %rows, i64 %n2
  %rbit = and i64 %flags, 2
  %asresult = icmp ne i64 %rbit, 0
  br i1 %asresult, label %same, label %numbersout
same:
  %resultp = getelementptr i64, ptr %r, i64 5
  %result = load ptr, ptr %resultp
  $Inc
  call void %Inc(ptr %result)
  ret ptr %result
numbersout:
  %tbit = and i64 %flags, 4
  %astuple = icmp ne i64 %tbit, 0
  br i1 %astuple, label %tuple, label %alone
alone:
  %only = call ptr @number(ptr %externs, ptr %outrows)
  ret ptr %only
tuple:
  $NewTuple
  %made = call ptr %NewTuple(i64 %k)
  %nomemory = icmp eq ptr %made, null
  br i1 %nomemory, label %fail, label %item
item:
  %j = phi i64 [0, %tuple], [%j1, %itemset]
  %jmore = icmp slt i64 %j, %k
  br i1 %jmore, label %itemget, label %finish
itemget:
  %j2 = shl i64 %j, 1
  %row = getelementptr i64, ptr %outrows, i64 %j2
  %one = call ptr @number(ptr %externs, ptr %row)
  %none = icmp eq ptr %one, null
  br i1 %none, label %drop, label %itemset
itemset:
  $SetItem
  %rc = call i32 %SetItem(ptr %made, i64 %j, ptr %one)
  %j1 = add i64 %j, 1
  br label %item
finish:
  ret ptr %made
drop:
  $Dec
  call void %Dec(ptr %made)
  br label %fail
fail:
  ret ptr null
slow:
  %slowp = getelementptr i64, ptr %r, i64 6
  %slowf = load ptr, ptr %slowp
  $Vector
  %slowout = call ptr %Vector(ptr %slowf, ptr %given, i64 %count, ptr null)
  ret ptr %slowout
fault:
  %faultfp = getelementptr i64, ptr %r, i64 7
  %faultf = load ptr, ptr %faultfp
  $Call
  %faultout = call ptr %Call(ptr %faultf)
  ret ptr %faultout
}

define internal ptr @number(ptr %externs, ptr %row) nounwind {
  %kind = load i64, ptr %row
  %fromp = getelementptr i64, ptr %row, i64 1
  %from = load ptr, ptr %fromp
  switch i64 %kind, label %single [ i64 1, label %double i64 2, label %long i64 3, label %bool ]
single:
  %f = load float, ptr %from
  %fd = fpext float %f to double
  br label %float
double:
  %d = load double, ptr %from
  br label %float
float:
  %x = phi double [%fd, %single], [%d, %double]
  $FromDouble
  %xo = call ptr %FromDouble(double %x)
  ret ptr %xo
long:
  %i = load i64, ptr %from
  $FromLong
  %io = call ptr %FromLong(i64 %i)
  ret ptr %io
bool:
  %b = load i8, ptr %from
  %bl = zext i8 %b to $clong
  $FromBool
  %bo = call ptr %FromBool($clong %bl)
  ret ptr %bo
}
""")

_CALLED = {
    "Save": "PyEval_SaveThread", "Restore": "PyEval_RestoreThread", "Inc": "Py_IncRef", "Dec": "Py_DecRef",
    "Call": "PyObject_CallNoArgs", "Vector": "PyObject_Vectorcall", "AsDouble": "PyFloat_AsDouble",
    "FromDouble": "PyFloat_FromDouble", "AsLong": "PyLong_AsLongLong", "FromLong": "PyLong_FromLongLong",
    "FromBool": "PyBool_FromLong", "NewTuple": "PyTuple_New", "SetItem": "PyTuple_SetItem",
    "Occurred": "PyErr_Occurred", "Clear": "PyErr_Clear",
}


@cache
def data_offset() -> int:
    """Where an ndarray object keeps the pointer to its data, found by looking (behind the object head)."""
    probes = [np.zeros(3, np.int64), np.zeros(5, np.int64)]
    head = object.__basicsize__
    for offset in (head, *range(head, head + 64, 8)):
        if all(ctypes.c_int64.from_address(id(a) + offset).value == a.__array_interface__["data"][0] for a in probes):
            return offset
    raise RuntimeError("this Python's arrays do not keep their data pointer in their object")


def _loads() -> dict[str, str]:
    """Reading the address of each outside function from the table."""
    return {name: f"%{name}p = getelementptr ptr, ptr %externs, i64 {externs.INDEX[symbol]}\n"
                  f"  %{name} = load ptr, ptr %{name}p" for name, symbol in _CALLED.items()}


def plan_text() -> str:
    """The LLVM text of `plan(self, nothing)`."""
    return _PLAN.substitute(_loads(), data=data_offset())


def prepared_text() -> str:
    """The LLVM text of `prepared(self, arguments, count)`."""
    return _CALL.substitute(_loads(), data=data_offset(), type=object.__basicsize__ - 8,
                            clong=f"i{8 * ctypes.sizeof(ctypes.c_long)}")


class _MethodDef(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("method", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


_METH_NOARGS, _METH_FASTCALL = 0x4, 0x80

_FOREVER: list[tuple] = []                      # code and definitions that built-in functions point to


@cache
def _stub(symbol: str) -> Callable[[np.ndarray, tuple], Any]:
    """The maker of built-in functions over `plan` or `prepared`: called with the record and what is to live with it.

    Two threads may compile one twice; built-ins of either stay good.
    """
    text, flags = {"plan": (plan_text, _METH_NOARGS), "prepared": (prepared_text, _METH_FASTCALL)}[symbol]
    loaded = jit.native(text(), 1).loaded
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

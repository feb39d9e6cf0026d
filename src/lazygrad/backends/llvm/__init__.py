"""The CPU backend: a Program becomes native code. In: `ir.program.Program`; out: `Executable`, an address and a driver.

It sees buffers, kernels and steps, never the names of Prims. `caps` is what it can do, `available()` whether it works
here; LLVM itself is imported only when something has to be compiled.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DeviceError
from ...ir.program import Caps, Conv, Gemm, Host, Program, every
from .. import host
from . import externs, jit, target

if TYPE_CHECKING:
    from .known import Known

BODY = "body"                      # the symbol of a program's function
EPILOGUE = 1 << 14                 # elements of a product from which it is worth not to store it


@functools.cache
def reason() -> str:
    """Why there is no native code here, "" where there is."""
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} objects have another layout than CPython's"
    if target.arch() not in ("x86_64", "aarch64"):
        return f"no code is made for {target.arch() or 'a 32-bit process'}"
    if importlib.util.find_spec("llvmlite") is None:
        return "llvmlite is not installed"
    return ""


def available() -> bool:
    """Whether programs can become native code here."""
    return not reason()


@functools.cache
def _caps() -> Caps:
    from .scalars import CAPS_OPS

    ops = frozenset(CAPS_OPS)
    return Caps("llvm", ops, frozenset(dtype for _, dtype in ops), externs.gemm_dtypes(), epilogue=EPILOGUE, chunks=True,
                convolves=_scratch if target.host().has & {"fma", "neon"} else None)


def _scratch(step: Conv, dtype: np.dtype) -> int:
    from .convolution import scratch

    return scratch(step, dtype)


def __getattr__(name: str) -> Any:
    if name == "caps":             # made when first asked for: the table of scalar operations is an import of its own
        return _caps()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _emit(program: Program) -> Any:
    from .program import emit

    return emit(program, target.host(), BODY)


def view(program: Program, number: int, args: np.ndarray) -> np.ndarray:
    """The array over buffer `number`, at the addresses of `args`. It holds no reference to the memory."""
    b = program.buffers[number]
    if b.aval.size == 0:
        return np.empty(b.aval.shape, b.aval.dtype)
    if b.kind == "temp":
        address = int(args[1]) + b.offset
    else:
        address = int(args[3 + b.number + (len(program.inputs) if b.kind == "output" else 0)])
    memory = (ctypes.c_char * b.aval.nbytes).from_address(address)
    return np.frombuffer(memory, b.aval.dtype).reshape(b.aval.shape)


class Executable:
    """A program that runs. Keep it as long as the address `native` is in use.

    `native`: the address of `void body(ptr args)`, None where Host steps need Python. `seconds`: spent on compiling,
    `from_cache`: all code came from the disk. `regions`: whether threads share some of it. `arena`, `work`, `faults` are the program's.
    """

    __slots__ = ("_code", "_make", "_parts", "_program", "arena", "faults", "from_cache", "native", "regions", "seconds", "work")

    def __init__(self, program: Program) -> None:
        emitted = _emit(program)
        functions = [p for p in emitted.parts if not isinstance(p, Host)]
        self._take(program, jit.native(emitted.text) if functions else None, emitted.parts, emitted.regions)
        self._program: Program | None = program

    @classmethod
    def recalled(cls, found: Known, code: jit.Native, make: Callable[[], Program]) -> Executable:
        """An executable whose program is made only when somebody looks at it."""
        exe = cls.__new__(cls)
        exe._take(found, code, (BODY,), found.regions)
        exe._program, exe._make = None, make
        return exe

    def _take(self, about: Program | Known, code: jit.Native | None, parts: tuple[str | Host, ...], regions: bool) -> None:
        self.arena, self.work, self.faults, self.regions = about.arena, about.work, about.faults, regions
        if regions:
            from . import pool

            pool.prepare()
        self._code = code
        self.seconds = code.seconds if code else 0.0
        self.from_cache = code.from_cache if code else True
        places = [p if isinstance(p, Host) else code.loaded.address(p) for p in parts]
        self.native: int | None = places[0] if parts == (BODY,) else None
        self._parts: list[Callable[[int], None] | Host] = [
            p if isinstance(p, Host) else ctypes.CFUNCTYPE(None, ctypes.c_void_p)(p) for p in places]

    @property
    def program(self) -> Program:
        """The program."""
        if self._program is None:
            self._program = self._make()
        return self._program

    def run(self, args: np.ndarray) -> None:
        """Run on int64 `args`: externs, arena, address of the fault cell, inputs, outputs. The GIL is released in code.

        The fault cell is cleared first; a fault (its value: code + 1) ends the run.
        """
        address = args.ctypes.data
        fault = ctypes.c_int64.from_address(int(args[2]))
        fault.value = 0
        for part in self._parts:
            if isinstance(part, Host):
                self._host(part, args)
                continue
            part(address)
            if fault.value:
                return

    def _host(self, step: Host, args: np.ndarray) -> None:
        inputs = [view(self.program, b, args) for b in step.inputs]
        avals = [self.program.buffers[b].aval for b in step.outs]
        for b, made in zip(step.outs, host.results(step, inputs, avals), strict=True):
            np.copyto(view(self.program, b, args), made)

    @property
    def text(self) -> str:
        """The LLVM text (written anew: no plan keeps its text)."""
        emitted = _emit(self.program)
        hosts = "".join(f"; between the functions, by NumPy: {p.prim}\n" for p in emitted.parts if isinstance(p, Host))
        return hosts + emitted.text

    def __repr__(self) -> str:
        return f"<Executable of {len(self.program.steps)} steps, {'cached' if self.from_cache else 'compiled'}>"


def recall(request: str, make: Callable[[], Program]) -> Executable:
    """`build(make())`, without `make` where the same request was built before on this machine.

    `request`: a text that decides what `make` returns. Raises DeviceError where `available()` is false.
    """
    from . import known

    at = known.key(request) if available() else None
    found = known.recall(at) if at is not None else None
    if found is not None and not (found.blas and externs.missing_blas()):
        code = jit.kept(found.code)
        if code is not None:
            return Executable.recalled(found, code, make)
    program = make()
    exe = build(program)
    if at is not None and exe.native is not None:
        blas = any(isinstance(step, Gemm) for step in every(program))
        known.remember(at, known.Known(program.arena, program.work, blas, exe.regions, exe._code.key, program.faults))
    return exe


def build(program: Program) -> Executable:
    """Make a program run: its code from the cache of objects, or compiled now.

    Raises DeviceError where `available()` is false.
    """
    if not available():
        raise DeviceError("compile", "a program", reason(), "pip install llvmlite")
    if any(isinstance(step, Gemm) for step in every(program)) and externs.missing_blas():
        raise DeviceError("compile", "a matrix product", "there is no BLAS", "install SciPy")
    return Executable(program)

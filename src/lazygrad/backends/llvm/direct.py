"""Direct: llvmlite's library called without its Python half, whose import takes longer than compiling a small program.

Only for releases whose functions are known to take these arguments, and only while nobody else has imported the binding;
otherwise `entries()` is None and the caller goes through llvmlite.binding. In: LLVM text; out: an object of this CPU.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from ctypes import POINTER, byref, c_bool, c_char_p, c_int, c_size_t, c_void_p, string_at
from functools import cache
from typing import Any

RELEASES = ("0.47.", "0.50.")           # tested; every other release goes by llvmlite.binding
NAMES = {"darwin": "libllvmlite.dylib", "win32": "llvmlite.dll"}
SIGNATURES: dict[str, tuple[Any, tuple]] = {
    "InitializeNativeTarget": (None, ()),
    "InitializeNativeAsmPrinter": (None, ()),
    "GetHostCPUName": (None, (POINTER(c_void_p),)),
    "GetHostCPUFeatures": (c_int, (POINTER(c_void_p),)),
    "GetProcessTriple": (None, (POINTER(c_void_p),)),
    "GetTargetFromTriple": (c_void_p, (c_char_p, POINTER(c_void_p))),
    "CreateTargetMachine": (c_void_p, (c_void_p, c_char_p, c_char_p, c_char_p, c_int, c_char_p, c_char_p, c_int, c_int, c_char_p)),
    "CreateTargetMachineData": (c_void_p, (c_void_p,)),
    "CopyStringRepOfTargetData": (None, (c_void_p, POINTER(c_void_p))),
    "DisposeTargetData": (None, (c_void_p,)),
    "ContextCreate": (c_void_p, ()),
    "ContextDispose": (None, (c_void_p,)),
    "ParseAssembly": (c_void_p, (c_void_p, c_char_p, POINTER(c_void_p))),
    "VerifyModule": (c_bool, (c_void_p, POINTER(c_void_p))),
    "SetTarget": (None, (c_void_p, c_char_p)),
    "SetDataLayout": (None, (c_void_p, c_char_p)),
    "DisposeModule": (None, (c_void_p,)),
    "TargetMachineEmitToMemory": (c_void_p, (c_void_p, c_void_p, c_int, POINTER(c_void_p))),
    "GetBufferStart": (c_void_p, (c_void_p,)),
    "GetBufferSize": (c_size_t, (c_void_p,)),
    "DisposeMemoryBuffer": (None, (c_void_p,)),
    "DisposeString": (None, (c_void_p,)),
}


@cache
def release() -> str:
    """The release of the llvmlite that would be imported, read from its version file ("" where there is none)."""
    spec = importlib.util.find_spec("llvmlite")
    if spec is None or not spec.origin:
        return ""
    try:
        with open(os.path.join(os.path.dirname(spec.origin), "_version.py"), encoding="utf-8") as file:
            for line in file:
                if line.startswith("version_version"):
                    return line.split("'")[1]
    except (OSError, IndexError, UnicodeDecodeError):
        pass
    return ""


@cache
def _library() -> dict[str, Any] | None:
    if not release().startswith(RELEASES):
        return None
    spec = importlib.util.find_spec("llvmlite")
    path = os.path.join(os.path.dirname(spec.origin), "binding", NAMES.get(sys.platform, "libllvmlite.so"))
    try:
        loaded = ctypes.CDLL(path)
        out = {}
        for name, (result, arguments) in SIGNATURES.items():
            out[name] = function = getattr(loaded, f"LLVMPY_{name}")
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    out["InitializeNativeTarget"]()
    out["InitializeNativeAsmPrinter"]()
    return out


def entries() -> dict[str, Any] | None:
    """The functions of LLVM by name, or None where llvmlite.binding has to be used."""
    return None if "llvmlite.binding" in sys.modules else _library()


def _taken(llvm: dict[str, Any], text: c_void_p) -> bytes:
    """The bytes of a string that LLVM made, which is given back."""
    if not text.value:
        return b""
    out = string_at(text.value)
    llvm["DisposeString"](text)
    return out


def _text(llvm: dict[str, Any], function: str, *args: Any) -> bytes:
    out = c_void_p()
    llvm[function](*args, byref(out))
    return _taken(llvm, out)


@cache
def _machine(opt: int, worker: int) -> tuple[int, bytes, bytes]:
    """(code generator of this CPU, its triple, its data layout): one for each level and each thread that compiles at once, for ever."""
    llvm = _library()
    error = c_void_p()
    triple = _text(llvm, "GetProcessTriple")
    target = llvm["GetTargetFromTriple"](triple, byref(error))
    if not target:
        raise RuntimeError(_taken(llvm, error).decode(errors="replace"))
    made = llvm["CreateTargetMachine"](target, triple, _text(llvm, "GetHostCPUName"), _text(llvm, "GetHostCPUFeatures"),
                                       opt, b"pic", b"small", 0, 0, b"")
    if not made:
        raise RuntimeError("there is no code generator for this CPU")
    data = llvm["CreateTargetMachineData"](made)
    layout = _text(llvm, "CopyStringRepOfTargetData", data)
    llvm["DisposeTargetData"](data)
    return made, triple, layout


def compiled(text: str, opt: int, worker: int = 0) -> bytes:
    """The object of LLVM text for this CPU. Raises RuntimeError where the text is not valid; of each worker there is one at a time."""
    llvm = _library()
    context = llvm["ContextCreate"]()
    module = None
    try:
        error = c_void_p()
        module = llvm["ParseAssembly"](context, text.encode(), byref(error))
        if error.value:
            raise RuntimeError(_taken(llvm, error).decode(errors="replace"))
        if llvm["VerifyModule"](module, byref(error)):          # an invalid module would abort the process
            raise RuntimeError(_taken(llvm, error).decode(errors="replace"))
        _taken(llvm, error)
        machine, triple, layout = _machine(opt, worker)
        llvm["SetTarget"](module, triple)
        llvm["SetDataLayout"](module, layout)
        error = c_void_p()
        buffer = llvm["TargetMachineEmitToMemory"](machine, module, 1, byref(error))
        if not buffer:
            raise RuntimeError(_taken(llvm, error).decode(errors="replace"))
        try:
            return string_at(llvm["GetBufferStart"](buffer), llvm["GetBufferSize"](buffer))
        finally:
            llvm["DisposeMemoryBuffer"](buffer)
    finally:
        if module:
            llvm["DisposeModule"](module)
        llvm["ContextDispose"](context)

"""Externs: the outside functions that native code calls, as one table of addresses. `NAMES[i]` is entry i, for ever.

Code never links against the outside: it loads `table()[i]`, whose address is `args[0]` of every body, so object code
holds no address and is shared through the disk. Names are looked up on first use; a name not found here is 0.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from functools import cache
from typing import NamedTuple

import numpy as np

BLAS = ("sgemm", "dgemm")                  # Fortran interface: 13 pointers (OpenBLAS reads no hidden string lengths)
LIBM1 = ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
         "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "lgamma", "tgamma", "cbrt", "sqrt", "floor", "ceil",
         "trunc", "rint", "nearbyint", "round", "roundeven")
LIBM2 = ("pow", "hypot", "atan2", "fmod", "remainder", "nextafter", "copysign", "fmin", "fmax", "ldexp")
LIBM3 = ("fma",)
MEMORY = ("memcpy", "memset", "memmove")
PYTHON = ("Py_IncRef", "Py_DecRef", "PyEval_SaveThread", "PyEval_RestoreThread", "PyObject_CallNoArgs",
          "PyObject_Vectorcall", "PyFloat_AsDouble", "PyFloat_FromDouble", "PyLong_AsLongLong", "PyLong_FromLongLong",
          "PyBool_FromLong", "PyTuple_New", "PyTuple_SetItem", "PyErr_Occurred", "PyErr_Clear",
          "PyGILState_Ensure", "PyGILState_Release", "PyErr_CheckSignals")
LATER = ("region", "pool",                 # of the thread pool: 0 until it is made
         "blas_get", "blas_set", "blas_cell")    # how many threads BLAS takes, with BLAS; 0 where it has no such setting
_LIBM = tuple(n + suffix for n in LIBM1 + LIBM2 + LIBM3 for suffix in ("", "f"))
NAMES = BLAS + _LIBM + MEMORY + PYTHON + LATER
INDEX = {n: i for i, n in enumerate(NAMES)}


class Blas(NamedTuple):
    """Where matrix products come from: library file (or "" for SciPy's table, None for none), symbols, integers."""

    file: str | None
    symbols: tuple[str, str] = ("", "")
    ilp64: bool = False


ACCELERATE = "/System/Library/Frameworks/Accelerate.framework/Accelerate"
WHEELS = (                                 # what NumPy's wheels call their OpenBLAS: part of its name, symbols, ILP64
    ("scipy_openblas64_", ("scipy_sgemm_64_", "scipy_dgemm_64_"), True),
    ("openblas64_", ("sgemm_64_", "dgemm_64_"), True),
    ("scipy_openblas", ("scipy_sgemm_", "scipy_dgemm_"), False),
    ("openblas", ("sgemm_", "dgemm_"), False),
)


@cache
def blas_kind() -> Blas:
    """Which BLAS there is: the OpenBLAS inside NumPy's wheel, Accelerate, SciPy's, or none. Nothing is loaded.
    """
    package = os.path.dirname(np.__file__)
    for folder in (package + ".libs", os.path.join(package, ".dylibs")):
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        for part, symbols, ilp64 in WHEELS:
            for name in names:
                if part in name:
                    return Blas(os.path.join(folder, name), symbols, ilp64)
    if sys.platform == "darwin":
        return Blas(ACCELERATE, ("sgemm_", "dgemm_"), False)
    return Blas("" if importlib.util.find_spec("scipy") else None)


def _address(function: ctypes._CFuncPtr) -> int:
    return ctypes.c_void_p.from_buffer(function).value or 0      # half the time of ctypes.cast


def _capsule(capsule: object) -> int:
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return pointer(capsule, name(capsule)) or 0


@cache
def _blas() -> tuple[int, int]:
    """The addresses of sgemm and dgemm, 0 where there is none."""
    kind = blas_kind()
    try:
        if kind.file:
            library = ctypes.CDLL(kind.file)
            return _address(getattr(library, kind.symbols[0])), _address(getattr(library, kind.symbols[1]))
        if kind.file is not None:
            from scipy.linalg import cython_blas

            return tuple(_capsule(cython_blas.__pyx_capi__[n]) for n in BLAS)
    except (OSError, AttributeError, ImportError, KeyError):
        pass
    return 0, 0


THREADS = ("openblas_get_num_threads", "openblas_set_num_threads")
CELL = np.zeros(3, np.int64)               # lock, products that run, the number of threads before the first of them


@cache
def _blas_threads() -> tuple[int, int]:
    """The addresses of OpenBLAS's functions that get and set its number of threads: one number for the whole process, NumPy included."""
    kind = blas_kind()
    files = [kind.file] if kind.file else []
    if kind.file == "":
        import scipy

        folder = os.path.dirname(scipy.__file__) + ".libs"
        files = [os.path.join(folder, f) for f in sorted(os.listdir(folder)) if "openblas" in f] if os.path.isdir(folder) else []
    for file in files:
        try:
            library = ctypes.CDLL(file)
        except OSError:
            continue
        for name in ("{}", "scipy_{}64_", "scipy_{}", "{}64_"):
            get, put = [getattr(library, name.format(f), None) for f in THREADS]
            if get is not None and put is not None:
                return _address(get), _address(put)
    return 0, 0


def _child() -> None:
    """In the child of a fork no product runs."""
    if CELL[1]:
        put = _blas_threads()[1]
        if put:
            ctypes.CFUNCTYPE(None, ctypes.c_int)(put)(int(CELL[2]))
    CELL[:] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_child)


@cache
def gemm_dtypes() -> frozenset[str]:
    """The dtypes that BLAS multiplies. SciPy's table is taken as given until it is used (its import is slow)."""
    if blas_kind().file == "":
        return frozenset({"float32", "float64"})
    return frozenset(d for d, a in zip(("float32", "float64"), _blas(), strict=True) if a)


def _libraries() -> list[ctypes.CDLL]:
    names: tuple[str | None, ...] = (None, "libm.so.6", "libm.so")
    if sys.platform == "darwin":
        names = (None, "/usr/lib/libSystem.B.dylib")
    elif sys.platform == "win32":
        names = ("ucrtbase", "msvcrt")
    out = []
    for name in names:
        try:
            out.append(ctypes.CDLL(name))
        except (OSError, TypeError):
            continue
    return out


_made: list[np.ndarray] = []           # the first table made is the table, whichever thread was first


@cache
def _table() -> np.ndarray:
    libraries = _libraries()
    out = np.zeros(len(NAMES), np.int64)
    for name in NAMES[len(BLAS):-len(LATER)]:
        for library in ([ctypes.pythonapi] if name in PYTHON else libraries):
            function = getattr(library, name, None)
            if function is not None:
                out[INDEX[name]] = _address(function)
                break
    _made.append(out)
    return _made[0]


def table(blas: bool = False) -> np.ndarray:
    """The addresses, int64[len(NAMES)]; always the same array, never freed. `blas` makes sure that BLAS is in it.

    >>> bool(table()[INDEX["exp"]]) and table() is table()
    True
    """
    out = _table()
    if blas and not out[0]:
        out[:len(BLAS)] = _blas()
        out[INDEX["blas_get"]], out[INDEX["blas_set"]] = _blas_threads()
        out[INDEX["blas_cell"]] = CELL.ctypes.data
    return out


def missing_blas() -> bool:
    """Whether there is no BLAS, after trying to load it into the table."""
    return not table(blas=True)[0]


def missing(names: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """The names among `names` (all that there are from the start by default) that this system lacks."""
    addresses = table()
    return tuple(n for n in (NAMES[len(BLAS):-len(LATER)] if names is None else names) if not addresses[INDEX[n]])

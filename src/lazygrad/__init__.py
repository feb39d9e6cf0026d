"""lazygrad: automatic differentiation of scalars and tensors, lazy and compiled.

>>> import lazygrad as lg
>>> x = lg.tensor([1.0, 2.0])
>>> (x * x).sum().backward()
>>> x.grad.value
array([2., 4.], dtype=float32)
"""

from __future__ import annotations

import importlib
import math
from typing import Any

from . import dtypes, errors, functions
from .context import no_grad
from .dtypes import (
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .graph import Graph, asarray, tensor
from .tensor import Tensor

__version__ = "0.1.0"
__array_api_version__ = "2025.12"

bool = dtypes.bool_
e, pi, inf, nan, newaxis = math.e, math.pi, math.inf, math.nan, None
SPACES = ("fft", "linalg", "nn", "numpy", "random", "scipy", "sparse", "special", "testing", "tree")     # modules of further functions, imported when they are first named

__all__ = [
    "Graph",
    "Tensor",
    "WgpuDevice",
    "asarray",
    "bool",
    "complex64",
    "complex128",
    "debug_nans",
    "dtypes",
    "e",
    "errors",
    "float16",
    "float32",
    "float64",
    "inf",
    "int8",
    "int16",
    "int32",
    "int64",
    "nan",
    "newaxis",
    "no_grad",
    "pi",
    "tensor",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]
__all__ += [name for name in functions.FUNCTIONS if name not in __all__]

# what lies in modules that are imported when it is first named
ELSEWHERE = {
    "debug_nans": "debug",
    **dict.fromkeys(("root", "fixed_point", "linear_solve", "minimize", "odeint"), "solvers"),
    **dict.fromkeys(("grad", "value_and_grad", "vjp", "jvp", "jacrev", "jacfwd", "jacobian", "hessian", "hvp", "vmap", "cond", "switch",
                     "while_loop", "fori_loop", "scan", "map", "compile",
                     "checkpoint", "custom_vjp", "custom_jvp"), "transforms"),
    **dict.fromkeys(("apply_along_axis", "vectorize"), "transforms.along"),
    **dict.fromkeys(("get_num_threads", "set_num_threads"), "backends.llvm.pool"),
    **dict.fromkeys(("mgrid", "ogrid", "r_", "c_", "s_", "index_exp"), "functions.grids"),
}
__all__ += ELSEWHERE


def __getattr__(name: str) -> Any:
    """The public functions, made on first use."""
    if name in functions.FUNCTIONS:
        found = globals()[name] = functions.FUNCTIONS[name]
        return found
    if name in SPACES:
        return importlib.import_module(f".{name}", __name__)
    if name in ELSEWHERE:
        found = globals()[name] = getattr(importlib.import_module(f".{ELSEWHERE[name]}", __name__), name)
        return found
    if name == "WgpuDevice":                 # the GPU's half is imported when it is first named
        from .backends.wgsl.device import WgpuDevice
        globals()[name] = WgpuDevice
        return WgpuDevice
    raise AttributeError(f"module 'lazygrad' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__", "__array_api_version__", *SPACES})

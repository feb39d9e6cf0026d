"""The GPU backend: a Program becomes WGSL shaders, run through WebGPU (PyPI `wgpu`) on a GPU of any maker.

In: `ir.program.Program` and a `WgpuDevice`; out: `Executable`. It sees buffers, kernels and steps, never the names of Prims.
`caps(traits)` is what a device's shaders can do. `wgpu` itself is imported when a device is made.
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

from ...ir.program import Caps
from .traits import Traits

THREADS, SOFTWARE_THREADS = 1 << 16, 1 << 8       # threads that keep a GPU, and a CPU that plays one, busy
TURNS, SOFTWARE_TURNS = 1 << 24, 60000            # of one loop: a watchdog ends longer kernels; llvmpipe ends loops after 65535 steps
PLACES = {"WgpuDevice": "device", "doctor": "doctor", "build": "program", "Bound": "program", "Executable": "program",
          "download": "storage", "nbytes": "storage", "upload": "storage"}


@functools.cache
def caps(traits: Traits) -> Caps:
    """What can be asked of a device with these traits."""
    from . import scalars

    ops = scalars.caps_ops(traits)
    floats = [name for name, has in (("float32", True), ("float16", traits.float16), ("float64", traits.float64)) if has]
    return Caps("wgsl", ops, frozenset([dtype for _, dtype in ops]), frozenset(floats), max_buffers=traits.buffers, grid=True,
                threads=SOFTWARE_THREADS if traits.software else THREADS, rows=not traits.software, epilogue=True,
                turns=SOFTWARE_TURNS if traits.software else TURNS)


def __getattr__(name: str) -> Any:
    if name in PLACES:             # imported when first asked for
        return getattr(import_module(f".{PLACES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""What the GPU tests share: the device, and a run of Terms on it.

The device is the adapter that `WgpuDevice()` takes (in CI, Mesa's software Vulkan). None is a failure, never a skip.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from lazygrad import compiler
from lazygrad.errors import DeviceError
from lazygrad.ir.term import Term


@functools.cache
def _device() -> Any:
    try:
        from lazygrad.backends.wgsl import WgpuDevice

        return WgpuDevice()
    except (DeviceError, ImportError) as e:
        return e


def device() -> Any:
    """The one device of this process's tests."""
    found = _device()
    if isinstance(found, Exception):
        pytest.fail(f"no GPU adapter, and the tests of the GPU backend need one (Mesa's software Vulkan will do): {found}", pytrace=False)
    return found


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints which adapter the GPU tests used, for a conftest to import."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, ())]
    if any("test_gpu" in r.nodeid for r in reports):
        found = _device()
        terminalreporter.write_line(f"GPU tests ran on: {found} {getattr(found, 'info', '')}")


class Ran:
    """Terms compiled for the device and run once over new buffers; those of the outputs start as NaN."""

    def __init__(self, roots: Sequence[Term], sources: Sequence[Term], values: Sequence[np.ndarray],
                 into: Sequence[int | None] | None = None) -> None:
        from lazygrad.backends import wgsl

        self.device = device()
        self.into = tuple(into or (None,) * len(roots))
        self.program = compiler.compile(roots, sources, self.into, wgsl.caps(self.device.traits))
        self.executable = wgsl.build(self.program, self.device)
        self.avals = [s.aval for s in sources], [r.aval for r in roots]
        self.held = [self.device.allocate(wgsl.nbytes(a)) for a in self.avals[0]]
        self.made = [None if i is not None else self.device.allocate(wgsl.nbytes(a)) for a, i in zip(self.avals[1], self.into, strict=True)]
        self.bound = self.executable.bind(self.held, self.made)
        self.run(values)

    def run(self, values: Sequence[np.ndarray]) -> None:
        """Uploads the inputs and runs, over outputs and temporaries full of NaN."""
        from lazygrad.backends import wgsl

        for buffer, value in zip(self.held, values, strict=True):
            wgsl.upload(self.device, buffer, np.asarray(value))
        for buffer in [*self.made, *self.bound.temporaries]:
            if buffer is not None:
                self.device.write(buffer, np.full(buffer.size // 4, 0xFFFFFFFF, np.uint32))
        self.bound.run()

    @property
    def inputs(self) -> list[np.ndarray]:
        """The inputs as they are after the run."""
        from lazygrad.backends import wgsl

        return [wgsl.download(self.device, b, a) for b, a in zip(self.held, self.avals[0], strict=True)]

    @property
    def outputs(self) -> list[np.ndarray]:
        """The results."""
        from lazygrad.backends import wgsl

        where = [b if i is None else self.held[i] for b, i in zip(self.made, self.into, strict=True)]
        return [wgsl.download(self.device, b, a) for b, a in zip(where, self.avals[1], strict=True)]

    @property
    def fault(self) -> tuple[str, str] | None:
        """What a Check reported since the last look."""
        return self.executable.faulted()

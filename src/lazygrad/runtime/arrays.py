"""Arrays where they live: NumPy's on the host, `DeviceArray` on a GPU, and the few operations that leaves and gradients need of both.

A DeviceArray owns a buffer of a device; its values are those of the last submission that wrote the buffer. Reading waits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.aval import Aval
from . import memory


class DeviceArray:
    """An array in the memory of a GPU, of the shape and dtype of `aval`."""

    __slots__ = ("aval", "buffer", "device")

    def __init__(self, device: Any, buffer: Any, aval: Aval) -> None:
        self.device, self.buffer, self.aval = device, buffer, aval

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype:
        return self.aval.dtype

    @property
    def nbytes(self) -> int:
        return self.aval.nbytes

    def numpy(self) -> np.ndarray:
        """A host copy, after everything submitted has run. Raises IndexingError for an index error of a run before."""
        from . import gpu
        return gpu.read(self)

    def write(self, array: np.ndarray) -> None:
        """Overwrites all values; shape and dtype must be the array's own."""
        from ..backends.wgsl import storage
        storage.upload(self.device, self.buffer, array)


def allocate(device: Any, av: Aval) -> tuple[Any, int]:
    """An uninitialised array of `av` on a device, and its address (0 where the host has none)."""
    if device == "cpu":
        return memory.allocate(av)
    from . import gpu
    return gpu.empty(device, av), 0


def place(array: np.ndarray, device: Any, av: Aval) -> tuple[Any, int]:
    """A copy of a host array on a device, and its address."""
    mine, at = allocate(device, av)
    if mine.__class__ is DeviceArray:
        mine.write(array)
    else:
        mine[...] = array
    return mine, at


def home(array: Any) -> Any:
    """The device an array lies on."""
    return array.device if array.__class__ is DeviceArray else "cpu"


def host(array: Any) -> np.ndarray:
    """The values as a NumPy array: the array itself if it is one (not to be kept, nor written), else a copy."""
    return array.numpy() if array.__class__ is DeviceArray else array


def duplicate(array: Any) -> Any:
    """A copy on the same device."""
    if array.__class__ is not DeviceArray:
        return array.copy()
    made, _ = allocate(array.device, array.aval)
    assign(made, array)
    return made


def assign(target: Any, values: Any) -> None:
    """Copies `values` (of the same shape; an array on any device) into `target`."""
    if target.__class__ is not DeviceArray:
        np.copyto(target, host(values), casting="same_kind")
    elif values.__class__ is DeviceArray and values.device is target.device and values.dtype == target.dtype:
        if values.buffer is not target.buffer:
            target.device.copy(values.buffer, target.buffer, min(values.buffer.size, target.buffer.size))
    else:
        target.write(host(values).astype(target.dtype, casting="same_kind", copy=False))


def fill(target: Any, value: float) -> None:
    """Gives all elements one value."""
    if target.__class__ is DeviceArray:
        target.write(np.full(target.shape, value, target.dtype))
    else:
        target.fill(value)

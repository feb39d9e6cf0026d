"""Storage: arrays to device buffers and back. A buffer holds the words of `traits.stored(dtype)`, row-major.

In: a device, a buffer, an array or an Aval; out: bytes on the device, or a NumPy array. 32-bit and 64-bit numbers and float16
travel as they are; bool and the small integers are widened on the way up and narrowed on the way down.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.aval import Aval
from .traits import stored

WORD = 4             # transfers are whole words
UNIT = 16            # the size of a buffer is a multiple of this: a vec4 may run past the last element


def nbytes(aval: Aval) -> int:
    """The size of the buffer of a value: its stored elements, rounded up to 16 bytes, at least 16.

    >>> from lazygrad.ir.aval import aval
    >>> nbytes(aval((5,), np.dtype("bool"))), nbytes(aval((), np.dtype("float64"))), nbytes(aval((0, 3), np.dtype("int8")))
    (32, 16, 16)
    """
    return max(-(-aval.size * stored(aval.dtype).itemsize // UNIT) * UNIT, UNIT)


def words(array: np.ndarray) -> np.ndarray:
    """The contiguous one-dimensional array that is sent for `array`: a view of it where nothing has to change.

    >>> words(np.array([[True, False]]))
    array([1, 0], dtype=uint32)
    """
    flat = np.ascontiguousarray(array, stored(array.dtype)).reshape(-1)
    if flat.nbytes % WORD:                      # an odd number of halves
        flat = np.append(flat, flat[-1:])
    return flat


def upload(device: Any, buffer: Any, array: np.ndarray) -> None:
    """Write `array` to the start of `buffer`. Never waits for the device."""
    if array.size:
        device.write(buffer, words(array))


def download(device: Any, buffer: Any, aval: Aval) -> np.ndarray:
    """A new array with the value in `buffer`. Waits until everything submitted before has run."""
    if not aval.size:
        return np.empty(aval.shape, aval.dtype)
    held = stored(aval.dtype)
    count = aval.size * held.itemsize
    read = device.read(buffer, -(-count // WORD) * WORD)
    return read[:count].view(held).astype(aval.dtype, copy=False).reshape(aval.shape)

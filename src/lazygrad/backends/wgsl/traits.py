"""What the modules of the WebGPU backend agree on: the traits of a device, how dtypes are stored, a shader, a launch."""

from __future__ import annotations

import numpy as np

from ...ir.record import record

WORDS = {"bool": "uint32", "uint8": "uint32", "uint16": "uint32", "int8": "int32", "int16": "int32"}
GRID = 65535                     # workgroups along one dimension of a dispatch, on every device


@record
class Traits:
    """What code is generated for. Two devices with equal Traits get equal shaders.

    `software`: the adapter runs on the CPU: barriers cost dear, so one thread takes a whole row. `invocations`: threads of a
    workgroup at most; `shared`: bytes of workgroup memory; `buffers`: storage buffers of one shader that fusion keeps to, beside the
    one that takes faults; `bindings`: storage bindings that the device takes in all (large buffers have several); `binding`: bytes
    of one binding at most; `alignment`: of a binding's offset in bytes. `fast_math` drops NumPy's meaning of NaN, infinities and
    signed zeros.
    """

    software: bool
    float16: bool
    float64: bool
    int64: bool
    subgroups: bool
    invocations: int = 256
    shared: int = 16384
    buffers: int = 7
    bindings: int = 8
    binding: int = 128 << 20
    alignment: int = 256
    fast_math: bool = False


def stored(dtype: np.dtype) -> np.dtype:
    """The dtype in which a device buffer holds `dtype`: WGSL has no storage below 32 bits but float16.

    >>> stored(np.dtype("bool")), stored(np.dtype("int8")), stored(np.dtype("float16"))
    (dtype('uint32'), dtype('int32'), dtype('float16'))
    """
    return np.dtype(WORDS.get(dtype.name, dtype.name))


@record
class Binding:
    """One `@binding`: segment `segment` of parameter `param`'s buffer. A buffer larger than `Traits.binding` bytes has several."""

    param: int
    writes: bool
    segment: int = 0


@record
class Shader:
    """A WGSL module and how it is launched.

    `bindings[i]` is bound at `@group(0) @binding(i)`; segment s of a parameter starts at byte s * `segment_bytes` of its
    buffer. With `faults` one more binding follows, a `read_write` u32 array whose element 0 takes (with atomicMax) code + 1
    of a Check that failed. `grids`: the launches in order, each (x, y, z) workgroups and a first index; with more than one
    launch a last binding is a uniform `vec4<u32>` whose x is the first index of the launch (long work is cut so that no
    dispatch runs for seconds; so are grids past 65535 x 65535). With `windows` (of each launch: for every parameter, the segment
    from which those of the bindings are counted) the uniform is an array of vec4s and holds the launch's `words`.
    """

    source: str
    bindings: tuple[Binding, ...]
    grids: tuple[tuple[int, int, int, int], ...]
    faults: bool = False
    segment_bytes: int = 1 << 62
    windows: tuple[dict[int, int], ...] = ()
    words: tuple[tuple[int, ...], ...] = ()

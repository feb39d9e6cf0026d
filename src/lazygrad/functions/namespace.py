"""The namespace about itself, as the Array API's inspection functions ask: devices, dtypes, capabilities; and DLPack's way in."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError
from ..graph import asarray
from ..runtime.devices import resolve
from ..tensor import Tensor
from .inquiry import KINDS
from .table import FUNCTIONS, plain


class Info:
    """What `lazygrad.__array_namespace_info__()` gives (Array API 2025.12, inspection)."""

    def capabilities(self) -> dict[str, Any]:
        """What the namespace can do. Masks as indices and shapes that depend on data evaluate what they need."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": None}

    def default_device(self) -> str:
        """Where tensors are made unless they say otherwise."""
        return "cpu"

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype]:
        """The dtypes that Python's numbers become, and that of indices."""
        resolve(device)
        return {"real floating": dtypes.DEFAULT_FLOAT, "complex floating": dtypes.DEFAULT_COMPLEX,
                "integral": dtypes.DEFAULT_INT, "indexing": dtypes.int64}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, np.dtype]:
        """The dtypes of a device by name; of a kind ("integral", ...) or a tuple of kinds if one is given.

        float16 is left out: the standard has no such dtype, and says that only its own may stand here.
        """
        device = resolve(device)
        kinds = (kind,) if isinstance(kind, str) else kind
        for k in kinds or ():
            if k not in KINDS:
                raise DTypeError("dtypes", f"kind {k!r}", "there is no such kind", "use one of " + ", ".join(KINDS))
        letters = "".join([KINDS[k] for k in kinds]) if kinds else "biufc"
        held = {d.name for d in dtypes.DTYPES}
        if device != "cpu":
            from ..backends import wgsl
            held = wgsl.caps(device.traits).dtypes
        return {d.name: d for d in dtypes.DTYPES if d.kind in letters and d.name in held and d != dtypes.float16}

    def devices(self) -> tuple[Any, ...]:
        """The devices there are: "cpu" and the GPUs by their strings. No GPU is opened."""
        from ..backends.wgsl import adapters
        return ("cpu", *[f"gpu:{i}" for i in range(len(adapters.adapters()))])


@plain()
def __array_namespace_info__():
    """The namespace about itself: its `capabilities`, `default_device`, `default_dtypes`, `devices` and `dtypes`.

    >>> import lazygrad as lg
    >>> lg.__array_namespace_info__().default_dtypes()["integral"]
    dtype('int64')
    """
    return Info()


@plain()
def from_dlpack(x, /, *, device=None, copy=None):
    """A tensor with the values of any array that speaks DLPack (NumPy, PyTorch, JAX, ...); always a copy.

    Raises ValueError for `copy=False`: values from outside are always copied.

    >>> import lazygrad as lg, numpy as np
    >>> lg.from_dlpack(np.array([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """
    if isinstance(x, Tensor):
        return asarray(x, device=device, copy=copy)
    return asarray(np.from_dlpack(x), device=device, copy=copy)


@plain()
def array(obj, dtype=None, *, copy=True, ndmin=0, device=None):
    """A tensor with the values of `obj`, as `asarray` makes it, with leading axes of size 1 up to `ndmin`.

    >>> import lazygrad as lg
    >>> lg.array([1.0, 2.0], ndmin=2).shape
    (1, 2)
    """
    x = asarray(obj, dtype=dtype, device=device)
    return x if x.ndim >= ndmin else FUNCTIONS["reshape"](x, (1,) * (ndmin - x.ndim) + x.shape)


@plain()
def copy(x):
    """x: tensors do not change, so a copy is the tensor itself.

    >>> import lazygrad as lg
    >>> lg.copy(lg.asarray([1.0])).tolist()
    [1.0]
    """
    return FUNCTIONS["positive"](x)


Tensor.copy = copy

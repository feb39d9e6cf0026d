"""debug_nans: NonFiniteError as soon as a NaN or an infinity is computed, by `forward`, `backward`, `value` or a compiled function.

In: nothing; it stands in for the methods that compute while it is on, so that off it costs nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import NonFiniteError
from .history import history, symbolic
from .nans import described, explain_nan, finite
from .runtime.slots import Leaf
from .tensor import Tensor
from .transforms import trace, tree
from .transforms.compiled import Compiled

_forward, _backward, _call = Tensor.forward, Tensor.backward, Compiled.__call__


def _watched_forward(self: Tensor) -> Tensor:
    _forward(self)
    if not finite(self._array()):
        raise NonFiniteError("forward", explain_nan(self))
    return self


def _watched_backward(self: Tensor, ct: Any = None, create_graph: bool = False) -> None:
    _backward(self, ct, create_graph)
    if not finite(self._array()):
        raise NonFiniteError("backward", explain_nan(self))
    for x in [h for h in history(self) if h.a.__class__ is Leaf and h.requires_grad]:
        g = x.grad
        if g is not None and not finite(g._array()):
            (d,) = symbolic(self, [x], None)
            raise NonFiniteError("backward", f"the gradient of {x.name or 'a leaf'}", explain_nan(d))


def _watched_call(self: Compiled, *args: Any, **kwargs: Any) -> Any:
    out = _call(self, *args, **kwargs)
    places = tree.paths(out)
    for i, h in enumerate(tree.leaves(out)):
        if h.a.__class__ is Leaf and not finite(h._array()):             # inside another transform it is an expression, seen later
            name = getattr(self.function, "__name__", "the function")
            raise NonFiniteError("compile", f"{name} returned {described(h._array())}{places[i] and ' at ' + places[i]}", _origin(self, args, kwargs, i))
    return out


def _origin(self: Compiled, args: tuple, kwargs: dict[str, Any], i: int) -> str:
    """Where result i of a compiled function got its NaN: the function runs once more as it is written, so that its lines are known."""
    def tensors(v: Any) -> Any:
        return trace.tensor_of(v, "compile") if isinstance(v, np.ndarray) else v

    result = tree.leaves(self.function(*tree.map(tensors, args), **tree.map(tensors, kwargs)))[i]
    return explain_nan(trace.tensor_of(result, "compile"))


class debug_nans:
    """Watches all that computes (`forward`, `backward`, `value`, compiled functions) from the call on, or within a `with` block: NaN and
    infinity raise NonFiniteError, which names the operation, the line and the operands.

    `debug_nans(False)` ends it. Off, it costs nothing. A compiled function with such a result runs once more, uncompiled.

    >>> import lazygrad as lg
    >>> with debug_nans():
    ...     try:
    ...         lg.log(lg.tensor(2.0) - 3.0).forward()
    ...     except lg.errors.NonFiniteError as error:
    ...         print(str(error).split(" at ")[0])
    forward: log made float32[] 1 nan from float32[] in [-1, -1]
    """

    def __init__(self, on: bool = True) -> None:
        self.before = Tensor.forward, Tensor.backward, Compiled.__call__
        self._set((_watched_forward, _watched_backward, _watched_call) if on else (_forward, _backward, _call))

    @staticmethod
    def _set(methods: tuple[Any, Any, Any]) -> None:
        Tensor.forward, Tensor.backward, Compiled.__call__ = methods

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        self._set(self.before)

"""Functions given by the user applied by pieces, over axes and to coordinates, under NumPy's names.

In: functions of tensors, arrays, conditions. Out: tensors. The functions are called on whole tensors: they work elementwise.
"""

from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ..tensor import Tensor
from .promotion import one_axis
from .selection import beside, tensor_of
from .table import FUNCTIONS, plain


@plain()
def piecewise(x, condlist, funclist, *args, **kwargs):
    """For each element the function (or number) of the last condition that holds; of a further entry of `funclist` (or 0) where none does.

    Every function is called on the whole of x, with the further arguments; what it gives elsewhere, NaN included, reaches neither values
    nor derivatives. The result has x's dtype.

    >>> import lazygrad as lg
    >>> x = lg.asarray([-2.0, 0.0, 4.0])
    >>> lg.piecewise(x, [x < 0, x > 0], [lambda x: -x, lg.sqrt]).tolist()
    [2.0, 0.0, 2.0]
    """
    x = tensor_of(x)
    if isinstance(condlist, Tensor | np.ndarray | bool) or not any([isinstance(c, Tensor | np.ndarray | list | tuple) for c in condlist]):
        condlist = [condlist]
    conditions = [c if isinstance(c, Tensor) else beside(x, np.asarray(c, bool)) for c in condlist]
    functions = list(funclist)
    if len(functions) not in (len(conditions), len(conditions) + 1):
        raise ShapeError("piecewise", f"{len(conditions)} conditions and {len(functions)} functions", "they come in pairs, and one function more is for the rest", "pass as many")
    made = [f(x, *args, **kwargs) if callable(f) else f for f in functions]
    out = FUNCTIONS["copyto"](x, made.pop() if len(made) > len(conditions) else 0)
    for c, value in zip(conditions, made, strict=True):
        out = FUNCTIONS["copyto"](out, value, c)
    return out


@plain()
def apply_over_axes(func, x, axes):
    """func(x, axis) for one axis after another; axes that it removes are put back with size 1.

    >>> import lazygrad as lg
    >>> lg.apply_over_axes(lg.sum, lg.ones((2, 3, 4)), [0, 2]).tolist()
    [[[8.0], [8.0], [8.0]]]
    """
    x = tensor_of(x)
    for axis in axes if isinstance(axes, list | tuple) else (axes,):
        y = func(x, one_axis("apply_over_axes", axis, x.ndim))
        if y.ndim not in (x.ndim, x.ndim - 1):
            raise ShapeError("apply_over_axes", f"a result of {y.shape} from {x.shape}", "the function must keep all axes or remove one", "use another function")
        x = y if y.ndim == x.ndim else FUNCTIONS["expand_dims"](y, axis)
    return x


@plain()
def fromfunction(function, shape, *, dtype=float, **kwargs):
    """function(i, j, ...) of the coordinates of an array of `shape`, as `indices` gives them.

    >>> import lazygrad as lg
    >>> lg.fromfunction(lambda i, j: i + j, (2, 2), dtype=int).tolist()
    [[0, 1], [1, 2]]
    """
    return function(*FUNCTIONS["unstack"](FUNCTIONS["indices"](shape, dtype)), **kwargs)

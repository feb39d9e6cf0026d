"""Functions of lines and of numbers applied to whole arrays, under NumPy's names: they are traced once, and batched.

In: a function of tensors, arrays. Out: tensors. A function that asks for values is called for every line instead.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError, StructureError, TraceError
from ..functions import FUNCTIONS
from ..functions.promotion import broadcast_shapes, one_axis
from ..functions.selection import tensor_of, weak
from ..tensor import Tensor
from .vectorized import vmap


def apply_along_axis(func1d: Callable[..., Any], axis: int, x: Any, *args: Any, **kwargs: Any) -> Tensor:
    """func1d(line, *args, **kwargs) of every line of x along `axis`: the axes of its result stand where the line's axis was.

    The function is traced once and batched by `vmap`; if it asks for the values of its lines, it is called for each of them.

    >>> import lazygrad as lg
    >>> lg.apply_along_axis(lambda line: line.max() - line.min(), 1, lg.asarray([[1.0, 5.0], [2.0, 3.0]])).tolist()
    [4.0, 1.0]
    """
    x = tensor_of(x)
    k = one_axis("apply_along_axis", axis, x.ndim)
    lines = FUNCTIONS["moveaxis"](x, k, -1)
    rest = lines.shape[:-1]
    if 0 in rest:
        raise ShapeError("apply_along_axis", f"axis {k} of {x.shape}", "there are no lines", "pass an array with elements")
    flat = FUNCTIONS["reshape"](lines, (-1, x.shape[k]) if x.size else (int(np.prod(rest)), x.shape[k]))
    call = lambda line: func1d(line, *args, **kwargs)
    try:
        out = vmap(call)(flat)
    except TraceError:
        out = FUNCTIONS["stack"]([weak("apply_along_axis", x, call(line)) for line in flat])
    if not isinstance(out, Tensor):
        raise StructureError("apply_along_axis", type(out).__name__, "the function must return one array", "return an array or a number")
    result = out.shape[1:]
    out = FUNCTIONS["reshape"](out, (*rest, *result))
    n = len(result)
    return FUNCTIONS["moveaxis"](out, tuple(range(out.ndim - n, out.ndim)), tuple(range(k, k + n))) if n else out


# ---- vectorize --------------------------------------------------------------------------------------------------------

CORE = r"\(\s*(?:\w+\s*(?:,\s*\w+\s*)*)?\)"


def dimensions(signature: str) -> tuple[list[tuple[str, ...]], int]:
    """The names of the core axes of every argument, and the number of results, of NumPy's "(m,n),(n)->(m)"."""
    if not re.fullmatch(rf"\s*{CORE}\s*(,\s*{CORE}\s*)*->\s*{CORE}\s*(,\s*{CORE}\s*)*", signature):
        raise StructureError("vectorize", f"signature {signature!r}", "it is none", 'write it as "(m,n),(n)->(m)"')
    left, right = signature.split("->")
    return [tuple(re.findall(r"\w+", part)) for part in re.findall(CORE, left)], len(re.findall(CORE, right))


def vectorize(function: Callable[..., Any] | None = None, *, signature: str | None = None, excluded: Sequence[int] = ()) -> Callable[..., Any]:
    """The function of numbers (or arrays, as `signature` says) as one of arrays that broadcast. Also a decorator.

    `signature`: "(n),(n)->()" names the last axes that the function itself takes. `excluded`: positions of arguments that are passed on
    as they are. Traced once and batched by `vmap`, never a loop.

    >>> import lazygrad as lg
    >>> lg.vectorize(lambda x, y: x * y + 1)(lg.asarray([1.0, 2.0]), lg.asarray([[3.0], [4.0]])).tolist()
    [[4.0, 7.0], [5.0, 9.0]]
    """
    if function is None:
        return functools.partial(vectorize, signature=signature, excluded=excluded)
    core = None if signature is None else dimensions(signature)[0]

    @functools.wraps(function)
    def mapped(*args: Any) -> Any:
        moving = [i for i in range(len(args)) if i not in excluded]
        if core is not None and len(core) != len(moving):
            raise StructureError("vectorize", f"{len(moving)} arguments", f"the signature {signature!r} names {len(core)}", "pass as many")
        first = next((args[i] for i in moving if isinstance(args[i], Tensor)), None)
        given = [tensor_of(args[i]) if first is None else weak("vectorize", first, args[i]) for i in moving]
        inner = [len(core[j]) if core is not None else 0 for j in range(len(moving))]
        for x, n, i in zip(given, inner, moving, strict=True):
            if x.ndim < n:
                raise ShapeError("vectorize", f"argument {i} of {x.shape}", f"the function takes {n} axes of it", "pass more axes")
        batch = broadcast_shapes("vectorize", *[x.shape[:x.ndim - n] for x, n in zip(given, inner, strict=True)])
        axes, values = [], []
        for x, n in zip(given, inner, strict=True):
            lead, own = x.shape[:x.ndim - n], x.shape[x.ndim - n:]
            axes.append(0 if lead else None)                   # what is the same for all stays as it is
            values.append(FUNCTIONS["reshape"](FUNCTIONS["broadcast_to"](x, (*batch, *own)), (int(np.prod(batch)), *own)) if lead else x)

        def call(*xs: Any) -> Any:
            whole = list(args)
            for i, x in zip(moving, xs, strict=True):
                whole[i] = x
            return function(*whole)
        if not any(a == 0 for a in axes):
            return call(*values)
        out = vmap(call, tuple(axes))(*values)
        back = lambda y: FUNCTIONS["reshape"](y, (*batch, *y.shape[1:]))
        return tuple([back(y) for y in out]) if isinstance(out, (tuple, list)) else back(out)
    return mapped


__all__ = ["apply_along_axis", "vectorize"]

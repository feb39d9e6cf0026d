"""checkpoint: what a function computes is not kept for the backward pass, which computes it again."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..context import user_frame
from ..errors import StructureError
from ..prims.call import Again
from . import trace as T
from .calls import Operands, Results, bodies, called
from .derivatives import guarded, transform

Policy = Callable[[str, tuple[int, ...], np.dtype], bool]


def checkpoint(function: Callable[..., Any], policy: Policy | str | None = None) -> Callable[..., Any]:
    """The same function, of which derivatives in reverse mode keep the arguments only and compute everything else again: less
    memory for more work.

    `policy` says what is kept beside the arguments: None or "nothing"; "dots": products of matrices and factorizations; or a
    function of an operation's name, its shape and dtype. What the function closes over is differentiated as well. Peak memory is in
    `graph.explain`. (Chen et al. 2016, Training deep nets with sublinear memory cost.)

    >>> import lazygrad as lg
    >>> block = lg.checkpoint(lambda x: lg.sin(lg.sin(x)))
    >>> lg.grad(lambda x: block(block(x)))(0.0).item()
    1.0
    """
    code, at = transform("checkpoint", function)
    if policy not in (None, "nothing", "dots") and not callable(policy):
        error = StructureError("checkpoint", f"policy {policy!r}", "there is no such policy", 'pass "nothing", "dots" or a function of (operation, shape, dtype)')
        T.noted(error, code, at)
        raise error
    rule = Again(None if policy == "nothing" else policy)

    @functools.wraps(function)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        code, at = user_frame(sys._getframe(1))
        return _checkpointed(code, at, function, rule, args, kwargs)
    return checkpointed


@guarded
def _checkpointed(code: Any, at: int, function: Callable[..., Any], rule: Again, args: tuple, kwargs: dict[str, Any]) -> Any:
    own = Operands("checkpoint", (args, kwargs))
    with T.Trace("checkpoint", concrete=True) as trace:
        args, kwargs = own.around([trace.placeholder(h, h.term) for h in own.tensors])
        out = trace.call(function, args, kwargs)
        del args, kwargs
        results = Results("checkpoint", out, T.of_same_graph(*own.tensors))
        (body,), others = bodies([(results.terms, trace.terms)])
        kept = [*own.tensors, *T.captured(results.terms, trace.terms, results.handles)]
        return called(body, rule, [*[h.term for h in own.tensors], *others], kept, results.form, code, at)


__all__ = ["checkpoint"]

"""Calls: a user's function as one Term that keeps its own derivative (`custom`, `remat`).

In: a function and its arguments. Out: the arguments' tensors, the Bodies of what was traced over one list of parameters, and the
tensors of the results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import StructureError
from ..ir.function import Body
from ..ir.term import Term
from ..prims.call import Rule, call
from ..prims.control import picked
from ..prims.leaf import closed, leaf, opened
from ..tensor import Tensor
from . import trace as T
from . import tree

WIDER = -(1 << 47)                     # slots of parameters until a Body over more of them is closed


class Operands:
    """Arguments in containers: tensors and arrays become tensors, everything else is passed on as it is."""

    def __init__(self, op: str, args: Any) -> None:
        self.leaves, self.form = tree.flatten(args)
        self.places = [i for i, v in enumerate(self.leaves) if isinstance(v, (Tensor, np.ndarray, np.generic)) or hasattr(v, "__dlpack__")]
        graph = T.of_same_graph(*self.leaves)
        self.tensors = [T.tensor_of(self.leaves[i], op, graph) for i in self.places]

    def around(self, tensors: Sequence[Any], rest: Any = None) -> Any:
        """The containers around other tensors. `rest`: a function of what is no tensor."""
        out = list(self.leaves) if rest is None else [rest(v) for v in self.leaves]
        for i, h in zip(self.places, tensors, strict=True):
            out[i] = h
        return tree.unflatten(self.form, out)


class Results:
    """What a function returned: tensors in containers."""

    def __init__(self, op: str, out: Any, graph: Any) -> None:
        leaves, self.form = tree.flatten(out)
        strange = [type(v).__name__ for v in leaves if not T.is_data(v)]
        if strange:
            raise StructureError(op, strange[0], "the function must return arrays and numbers")
        self.handles = [T.tensor_of(v, op, graph) for v in leaves]
        self.terms = [h.term for h in self.handles]


def bodies(parts: Sequence[tuple[Sequence[Term], Sequence[Term]]]) -> tuple[list[Body], list[Term]]:
    """Pairs (results, placeholders) as Bodies that all take the same Terms after their placeholders, and those Terms."""
    made = [T.close(results, places) for results, places in parts]
    others = list(dict.fromkeys([t for _, taken in made for t in taken]))
    out = []
    for (body, taken), (_, places) in zip(made, parts, strict=True):
        if taken != others:
            params = [leaf(WIDER - k, None, t.aval, True) for k, t in enumerate([*places, *others])]
            found = dict(zip(others, params[len(places):], strict=True))
            body = closed(params, opened(body, [*params[:len(places)], *[found[t] for t in taken]]))
        out.append(body)
    return out, others


def called(body: Body, rule: Rule, args: Sequence[Term], kept: Sequence[Tensor], form: Any, code: Any, at: int) -> Any:
    """The results of the call of a Body, in containers."""
    return tree.unflatten(form, T.wrapped(picked(call(*args, body=body, rule=rule)), kept, code, at))

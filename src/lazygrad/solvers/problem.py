"""Problems: a user's function as a Body over its unknown, its arguments and the tensors it closes over.

So derivatives of a solution flow to all of them, and equal problems are equal Bodies: their solvers are made, and compiled, once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from ..context import user_frame
from ..errors import DTypeError, ShapeError, StructureError
from ..functions import FUNCTIONS
from ..ir.function import Body
from ..tensor import Tensor
from ..transforms import derivatives, tree
from ..transforms import trace as T
from ..transforms.custom import custom_jvp


class Names:
    """The public functions by their names."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in FUNCTIONS:
            raise AttributeError(name)
        return FUNCTIONS[name]


N = Names()
ATTACHED: dict[tuple, Any] = {}
KEPT = 256                         # problems whose rules are kept


class Problem:
    """`operands`: the tensors that the function reads beside its unknowns: leaves of its arguments, then what it closes over."""

    def __init__(self, op: str, f: Callable[..., Any], unknowns: Sequence[Tensor], args: Sequence[Any], names: str = "the function") -> None:
        derivatives.transform(op, f, 4)
        leaves, form = tree.flatten(tuple(args))
        graph = T.of_same_graph(*unknowns, *leaves)
        data = [T.is_data(v) for v in leaves]
        given = [T.tensor_of(v, op, graph) for v, d in zip(leaves, data, strict=True) if d]
        with T.Trace(op, concrete=False) as trace:
            xs = [trace.placeholder(h) for h in unknowns]
            it = iter([trace.placeholder(h) for h in given])
            inner = tree.unflatten(form, [next(it) if d else v for v, d in zip(leaves, data, strict=True)])
            out = trace.call(f, [*xs, *inner], {})
            del xs, it, inner
            found, self.form = tree.flatten(out)
            if any([not T.is_data(v) for v in found]):
                raise StructureError(op, type(next(v for v in found if not T.is_data(v))).__name__, f"{names} must return arrays and numbers")
            handles = [T.tensor_of(v, op, graph) for v in found]
            self.body, taken = T.close([h.term for h in handles], trace.terms)
            captured = T.captured([h.term for h in handles], trace.terms, handles)
            self.operands = [*given, *T.wrapped(taken, captured, *user_frame(sys._getframe(1)))]
            del out, found, handles
        self.op, self.results = op, self.body.gives

    def alike(self, x: Tensor, what: str) -> None:
        """The one result has the type of the unknown."""
        if len(self.results) != 1 or self.results[0].shape != x.shape:
            raise ShapeError(self.op, f"x {x.term.aval}, {what} {', '.join(map(str, self.results))}", "they must have one shape", "return an array like x")
        if self.results[0].dtype != x.dtype:
            raise DTypeError(self.op, f"x {x.term.aval}, {what} {self.results[0]}", "the dtypes differ", f"start with {self.results[0].dtype.name}")

    def fixed(self) -> list[Tensor]:
        """The operands, through which no derivative flows."""
        return [h.detach() if h.requires_grad else h for h in self.operands]


def apply(body: Body, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The results of a Body as tensors."""
    terms = T.inside(body.results, body.params, [h.term for h in tensors])
    return T.wrapped(terms, list(tensors), *user_frame(sys._getframe(1)))


def unknown(op: str, x: Any, like: Sequence[Any]) -> Tensor:
    """The start as a floating tensor."""
    h = T.tensor_of(x, op, T.of_same_graph(x, *tree.leaves(tuple(like))))
    if h.dtype.kind != "f":
        if h.dtype.kind in "iu":
            return h.astype("float32")
        raise DTypeError(op, f"a start of {h.dtype}", "real floating numbers are expected", "cast it")
    return h


def attach(x: Tensor, body: Body, operands: Sequence[Tensor]) -> Tensor:
    """`x`, where body(x, *operands) = 0, with its derivative by the operands: the implicit function theorem.

    dx = -(∂F/∂x)⁻¹ ∂F/∂p dp, by a dense factorization; the rule contains the solution itself, so it holds to any order.
    """
    key = ("root", body)
    rule = ATTACHED.get(key)
    if rule is None:
        if len(ATTACHED) >= KEPT:
            ATTACHED.clear()
        rule = ATTACHED[key] = _implicit(body)
    return rule(x.detach() if x.requires_grad else x, *operands)


def _implicit(body: Body) -> Any:
    @custom_jvp
    def solution(x: Tensor, *operands: Tensor) -> Tensor:
        return x

    @solution.defjvp
    def rule(primals: Sequence[Tensor], tangents: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        start, *operands = primals
        x = solution(start, *operands)
        floats = [k for k, h in enumerate(operands) if h.dtype.kind in "fc"]

        def at(*moving: Tensor) -> Tensor:
            whole = list(operands)
            for k, h in zip(floats, moving, strict=True):
                whole[k] = h
            return apply(body, [x, *whole])[0]
        moved = derivatives.jvp(at, [operands[k] for k in floats], [tangents[1 + k] for k in floats])[1]
        return x, -solved(derivatives.jacobian(lambda v: apply(body, [v, *operands])[0])(x), moved)
    return solution


def solved(matrix: Tensor, right: Tensor) -> Tensor:
    """The solution of the linear system of a Jacobian (*shape, *shape) for a right side (*shape)."""
    n = right.size
    return N.solve(matrix.reshape((n, n)), right.reshape((n,))).reshape(right.shape)

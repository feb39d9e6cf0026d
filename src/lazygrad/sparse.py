"""Sparse Jacobians and Hessians (`lazygrad.sparse`): the pattern read from the graph, columns coloured, as many products as colours.

In: a function of one array. Out: SciPy's sparse arrays. Two columns without a common row may share a product, as each of its
entries then belongs to one of them (Curtis, Powell, Reid 1974; Gebremedhin, Manne, Pothen 2005, for the colouring).
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse

from . import reference
from .ad.batch import batch
from .ad.control import stand_ins
from .context import user_frame
from .errors import GradientError, StructureError
from .ir.aval import Aval, aval
from .ir.term import MEMOS, Term, toposort
from .prims import REGISTRY
from .prims.base import Elementwise, Index, Partials, Reduction, Scan, Scatter
from .prims.leaf import source
from .transforms import derivatives, tree
from .transforms import trace as T

Pattern = scipy.sparse.csr_array         # bool, (elements of a Term, elements of x)
PLANS: dict[tuple, Compressed] = {}
MEMOS.append(PLANS)
LINE = 1 << 22                           # entries of the exact pattern of running sums; beyond it whole lines are taken


# ---- the pattern -----------------------------------------------------------------------------------------------------------

def patterns(roots: Sequence[Term], x: Term) -> list[Pattern]:
    """For each root, which of its elements may depend on which elements of `x`, differentiably. Iterative; never too small.

    Exact for elementwise operations, movement, reductions, running sums, and indexing by constants; a product of matrices
    depends on whole rows and columns; what runs on whole arrays (decompositions, loops) makes every element depend on all.
    """
    n = x.aval.size
    found: dict[Term, Pattern] = {x: scipy.sparse.identity(n, bool, "csr")}
    for t in toposort(roots):
        if t in found or not any(a in found for a in t.args):
            continue
        parts = [found.get(a) for a in t.args]
        rule = RULES.get(t.op.name) or _by_form(t)
        out = rule(t, parts, n)
        if out is not None:
            found[t] = out
    none = lambda r: scipy.sparse.csr_array((r.aval.size, n), dtype=bool)
    return [found[r] if r in found else none(r) for r in roots]


def _by_form(t: Term) -> Callable[..., Pattern | None]:
    form = t.op.lowering
    if not t.op.differentiable:
        return lambda t, parts, n: None
    if isinstance(form, Elementwise) or isinstance(t.op.derivative, Partials):
        return _pointwise
    if isinstance(form, Index) and form.moves:
        return _moved
    if isinstance(form, Reduction):
        return _reduced
    if isinstance(form, Scan):
        return _running
    if isinstance(form, Scatter):
        return _scattered
    return _all


def union(parts: Sequence[Pattern | None]) -> Pattern:
    found = [p for p in parts if p is not None]
    total = found[0]
    for p in found[1:]:
        total = total + p
    return total


def _pointwise(t: Term, parts: list[Pattern | None], n: int) -> Pattern:
    return union(parts)


def _all(t: Term, parts: list[Pattern | None], n: int) -> Pattern:
    """Every element depends on whatever any argument depends on."""
    columns = np.zeros(n, bool)
    for p in parts:
        if p is not None:
            columns[p.indices] = True
    row = scipy.sparse.csr_array(columns[None, :])
    return _taken(row, np.zeros(t.aval.size, np.int64))


def _taken(p: Pattern, rows: np.ndarray) -> Pattern:
    """The rows of a pattern at these numbers."""
    return scipy.sparse.csr_array(p[rows]) if len(rows) else scipy.sparse.csr_array((0, p.shape[1]), dtype=bool)


def _moved(t: Term, parts: list[Pattern | None], n: int) -> Pattern:
    """Movement of the numbers 1, 2, ... says where every element comes from; 0 is padding."""
    numbers, blocks, start = [], [scipy.sparse.csr_array((1, n), dtype=bool)], 1
    for a, p in zip(t.args, parts, strict=True):
        numbers.append(np.arange(start, start + a.aval.size).reshape(a.aval.shape))
        blocks.append(scipy.sparse.csr_array((a.aval.size, n), dtype=bool) if p is None else p)
        start += a.aval.size
    out = np.asarray(t.op.numpy(*numbers, **t.keywords))
    return _taken(scipy.sparse.csr_array(scipy.sparse.vstack(blocks)), out.ravel())


def joined(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], p: Pattern) -> Pattern:
    """Rows of `p` united: row rows[k] of the result has row columns[k] of p in it."""
    incidence = scipy.sparse.csr_array((np.ones(len(rows), np.int32), (rows, columns)), shape)
    return scipy.sparse.csr_array((incidence @ p.astype(np.int32)).astype(bool))


def _reduced(t: Term, parts: list[Pattern | None], n: int) -> Pattern:
    shape, axes = t.args[0].aval.shape, t.keywords["axes"]
    out = np.arange(t.aval.size).reshape([1 if a in axes else s for a, s in enumerate(shape)])
    rows = np.broadcast_to(out, shape).ravel()
    return joined(rows, np.arange(len(rows)), (t.aval.size, len(rows)), parts[0])


def _running(t: Term, parts: list[Pattern | None], n: int) -> Pattern:
    axis, reverse, shape = t.keywords["axis"], t.keywords["reverse"], t.aval.shape
    length = shape[axis]
    numbers = np.moveaxis(np.arange(t.aval.size).reshape(shape), axis, -1).reshape(-1, length)
    i, j = np.indices((length, length)).reshape(2, -1)
    if t.aval.size * length <= LINE:
        keep = j >= i if reverse else j <= i
        i, j = i[keep], j[keep]
    return joined(numbers[:, i].ravel(), numbers[:, j].ravel(), (t.aval.size, t.aval.size), parts[0])


def constant_value(t: Term) -> np.ndarray | None:
    """The value of a Term that reads no leaf."""
    return None if any(u.op is source for u in toposort([t])) else reference.evaluate([t], {})[0]


def _indices(ts: Sequence[Term]) -> list[np.ndarray] | None:
    found = [constant_value(t) for t in ts]
    return None if any(f is None for f in found) else found


def _gathered(t: Term, parts: list[Pattern | None], n: int) -> Pattern:
    at = _indices(t.args[1:])
    if parts[0] is None or at is None:
        return _all(t, parts[:1], n)
    out = t.op.numpy(np.arange(t.args[0].aval.size).reshape(t.args[0].aval.shape), *at, **t.keywords)
    return _taken(parts[0], np.asarray(out).ravel())


def _scattered(t: Term, parts: list[Pattern | None], n: int) -> Pattern:
    target, *indices, updates = t.args
    at = _indices(indices)
    if at is None:
        return _all(t, [parts[0], parts[-1]], n)
    found = [parts[0]]
    if parts[-1] is not None:
        places = REGISTRY["gather"].numpy(np.arange(target.aval.size).reshape(target.aval.shape), *at, **t.keywords).ravel()
        found.append(joined(places, np.arange(updates.aval.size), (t.aval.size, updates.aval.size), parts[-1]))
    return union(found)


def _product(t: Term, parts: list[Pattern | None], n: int) -> Pattern:
    """Element (i, j) depends on row i of the left factor and column j of the right one."""
    found = []
    for p, a, axis in zip(parts, t.args, (-1, -2), strict=True):
        if p is None:
            continue
        kept = np.expand_dims(np.arange(math.prod(s for k, s in enumerate(a.aval.shape) if k != a.aval.ndim + axis)).reshape(
            [s for k, s in enumerate(a.aval.shape) if k != a.aval.ndim + axis]), axis)
        rows = np.broadcast_to(kept, a.aval.shape).ravel()
        lines = joined(rows, np.arange(len(rows)), (kept.size, len(rows)), p)
        found.append(_taken(lines, np.broadcast_to(kept, t.aval.shape).ravel()))
    return union(found)


def _chosen(t: Term, parts: list[Pattern | None], n: int) -> Pattern | None:
    """`where`: the condition has no derivative."""
    found = [p for p in parts[1:] if p is not None]
    return union(found) if found else None


RULES: dict[str, Callable[..., Pattern | None]] = {"gather": _gathered, "matmul": _product, "where": _chosen}


# ---- colours ---------------------------------------------------------------------------------------------------------------

def colours(pattern: Pattern) -> np.ndarray:
    """A number for every column so that no two columns with a common row have the same: greedy, columns of many neighbours first.

    >>> colours(scipy.sparse.csr_array(np.eye(4, dtype=bool))).tolist()
    [0, 0, 0, 0]
    """
    p = pattern.astype(np.int32)
    near = scipy.sparse.csr_array(p.T @ p)
    out = np.full(pattern.shape[1], -1)
    degree = np.diff(near.indptr)
    taken = np.full(len(out) + 1, -1)
    for j in np.argsort(-degree, kind="stable"):
        used = out[near.indices[near.indptr[j]:near.indptr[j + 1]]]
        taken[used[used >= 0]] = j
        k = 0
        while taken[k] == j:
            k += 1
        out[j] = k
    return out


# ---- compressed products ---------------------------------------------------------------------------------------------------

class Compressed:
    """The pattern of ∂root/∂x, its colours, and the Terms that compute one product for each colour, over `seeds`."""

    def __init__(self, root: Term, x: Term) -> None:
        self.pattern = patterns([root], x)[0]
        self.pattern.sum_duplicates()
        self.pattern.sort_indices()
        columns, rows = colours(self.pattern), colours(scipy.sparse.csr_array(self.pattern.T))
        self.forward = columns.max(initial=-1) <= rows.max(initial=-1)
        self.colour = columns if self.forward else rows
        self.count = int(self.colour.max(initial=-1)) + 1
        moving: Aval = (x if self.forward else root).aval
        seeds = np.zeros((self.count, moving.size), moving.dtype)
        seeds[self.colour, np.arange(moving.size)] = 1
        self.seeds = seeds.reshape(self.count, *moving.shape)
        (stand,) = stand_ins([moving])
        (one,) = derivatives.pushed([root], [x], [stand]) if self.forward else derivatives.pulled([root], [stand], [x])
        (self.stack,) = stand_ins([aval(self.seeds.shape, moving.dtype)], 1)
        (self.products,) = batch([one], {stand: self.stack}, self.count)

    def assembled(self, products: np.ndarray) -> scipy.sparse.csr_array:
        """The Jacobian from its products (colours, elements)."""
        flat = products.reshape(self.count, -1)
        rows = np.repeat(np.arange(self.pattern.shape[0]), np.diff(self.pattern.indptr))
        columns = self.pattern.indices
        data = flat[self.colour[columns], rows] if self.forward else flat[self.colour[rows], columns]
        return scipy.sparse.csr_array((data, columns.copy(), self.pattern.indptr.copy()), self.pattern.shape)


def _one(op: str, function: Callable[..., Any], argnum: int, args: tuple, kwargs: dict[str, Any], code: Any, at: int, work: Callable[..., Any]) -> Any:
    """Traces the function and gives `work` its one output, the placeholder of its argument, and the way to actual values."""
    call = derivatives.Call(op, args, argnum, code, at)
    if len(call.tensors) != 1:
        raise StructureError(op, f"{len(call.tensors)} arrays", "the argument must be one array", "concatenate them")
    with T.Trace(op, concrete=True) as trace:
        result = call.run(trace, function, kwargs, False)
        if len(result.terms) != 1:
            raise StructureError(op, tree.text(result.form), "the function must return one array", "concatenate the results")
        return work(result, result.terms[0], result.places[0])


def _computed(result: derivatives.Result, root: Term, x: Term) -> scipy.sparse.csr_array:
    key = (root, x)
    plan = PLANS.get(key)
    if plan is None:
        plan = PLANS[key] = Compressed(root, x)
    if not plan.count:
        return scipy.sparse.csr_array(plan.pattern.shape, dtype=root.aval.dtype)
    seeds = T.of_same_graph(*result.call.operands).leaf(plan.seeds, False, sys._getframe(1))
    (term,) = T.inside([plan.products], [x, plan.stack], [result.call.tensors[0].term, seeds.term])
    (handle,) = T.wrapped([term], [*result.kept, seeds], result.call.code, result.call.at)
    return plan.assembled(handle.value)


def _checked(op: str, root: Term) -> Term:
    if not root.aval.inexact:
        raise GradientError(op, str(root.aval), "an integer output has no derivative")
    return root


def jacobian(function: Callable[..., Any], argnum: int = 0) -> Callable[..., scipy.sparse.csr_array]:
    """The Jacobian of a function of one array as a sparse matrix (output elements, input elements), both in row-major order.

    Computed by as many products as its columns (forward) or rows (reverse), whichever are fewer, need colours, all in one plan.
    The pattern and the plan are found again at the next call.

    >>> import lazygrad as lg
    >>> jac = lg.sparse.jacobian(lambda x: x[1:] * x[:-1])(lg.asarray([1.0, 2.0, 3.0]))
    >>> jac.toarray(), jac.nnz
    (array([[2., 1., 0.],
           [0., 3., 2.]], dtype=float32), 4)
    """
    return _made("sparse.jacobian", function, argnum, lambda result, root, x: _computed(result, _checked("sparse.jacobian", root), x))


def hessian(function: Callable[..., Any], argnum: int = 0) -> Callable[..., scipy.sparse.csr_array]:
    """The Hessian of a scalar function of one array as a sparse matrix: the sparse Jacobian of its gradient.

    >>> import lazygrad as lg
    >>> lg.sparse.hessian(lambda x: (x[1:] * x[:-1] ** 2).sum())(lg.asarray([1.0, 2.0, 3.0])).toarray()
    array([[4., 2., 0.],
           [2., 6., 4.],
           [0., 4., 0.]], dtype=float32)
    """
    def work(result: derivatives.Result, root: Term, x: Term) -> scipy.sparse.csr_array:
        root = derivatives.scalar("sparse.hessian", result)
        return _computed(result, derivatives.pulled([root], [derivatives.constant(1, (), root.aval.dtype)], [x])[0], x)
    return _made("sparse.hessian", function, argnum, work)


def pattern(function: Callable[..., Any], argnum: int = 0) -> Callable[..., scipy.sparse.csr_array]:
    """Which elements of the output may depend on which elements of the argument: a sparse bool matrix.

    >>> import lazygrad as lg
    >>> lg.sparse.pattern(lambda x: lg.cumsum(x, axis=0))(lg.zeros(3)).toarray().astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [1, 1, 1]])
    """
    return _made("sparse.pattern", function, argnum, lambda result, root, x: patterns([root], x)[0])


def _made(op: str, function: Callable[..., Any], argnum: int, work: Callable[..., Any]) -> Callable[..., Any]:
    derivatives.transform(op, function, 3)

    @functools.wraps(function, updated=())
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        code, at = user_frame(sys._getframe(1))
        try:
            return _one(op, function, argnum, args, kwargs, code, at, work)
        except Exception as error:
            T.noted(error, code, at)
            raise
    return differentiated


__all__ = ["colours", "hessian", "jacobian", "pattern"]

"""Derivatives of functions: grad, vjp, jvp and what is made of them, over nested containers of tensors, arrays and numbers.

The function runs once on placeholders; derivatives are taken of the Terms it made, and the actual arguments put in. Nothing is
computed before a value is asked for. Arguments that are differentiated are tensors inside of the function, the others are
passed on as they are.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..context import user_frame
from ..errors import GradientError, ShapeError, StructureError
from ..ir.term import MEMOS, Term
from ..prims import movement as M
from ..prims.elementwise import conj
from ..prims.leaf import constant, filled
from ..tensor import Tensor
from . import trace as T
from . import tree

Argnums = int | tuple[int, ...] | list[int]
DERIVED: dict[tuple, tuple[Term, ...]] = {}          # what was differentiated before
MEMOS.append(DERIVED)


# ---- one run of the user's function -------------------------------------------------------------------------------------------

class Call:
    """The arguments of one use of a transform: which are differentiated, their tensors, and what the function made of placeholders."""

    def __init__(self, op: str, args: Sequence[Any], argnums: Argnums, code: Any, at: int) -> None:
        self.op, self.code, self.at = op, code, at
        self.numbers = _numbers(op, argnums, len(args))
        self.args = list(args)
        leaves, self.forms, self.counts = [], [], []
        for n in self.numbers:
            found, form = tree.flatten(args[n])
            leaves += found
            self.forms.append(form)
            self.counts.append(len(found))
        graph = T.of_same_graph(*leaves, *args)
        self.tensors = [self._differentiable(v, graph) for v in leaves]
        self.operands = [h for h in args if isinstance(h, Tensor)] + self.tensors

    def _differentiable(self, v: Any, graph: Any) -> Tensor:
        if not T.is_data(v):
            raise GradientError(self.op, type(v).__name__, "an argument that is differentiated holds arrays and numbers only",
                                "name the others out of argnums, or close over them")
        h = T.tensor_of(v, self.op, graph)
        if not h.term.aval.inexact:
            raise GradientError(self.op, f"an argument of {h.dtype}", "there is no derivative by integers or bools", "cast it to a floating dtype, or leave it out of argnums")
        return h

    def run(self, trace: T.Trace, function: Callable[..., Any], kwargs: dict[str, Any], has_aux: bool) -> Result:
        """Calls the function with placeholders for the arguments that are differentiated."""
        places = [trace.placeholder(h, h.term) for h in self.tensors]
        args = list(self.args)
        start = 0
        for n, form, count in zip(self.numbers, self.forms, self.counts, strict=True):
            args[n] = tree.unflatten(form, places[start:start + count])
            start += count
        del places
        out = trace.call(function, args, kwargs)
        del args
        aux = None
        if has_aux:
            if not isinstance(out, tuple) or len(out) != 2:
                raise StructureError(self.op, type(out).__name__, "with has_aux the function returns a pair", "return (value, aux)")
            out, aux = out
        return Result(self, trace, out, aux, has_aux)

    def split(self, items: Sequence[Any]) -> list[Any]:
        """Items for all leaves, in the containers of the arguments that are differentiated."""
        out, start = [], 0
        for form, count in zip(self.forms, self.counts, strict=True):
            out.append(tree.unflatten(form, items[start:start + count]))
            start += count
        return out


class Result:
    """What the function returned, as Terms over placeholders."""

    def __init__(self, call: Call, trace: T.Trace, out: Any, aux: Any, has_aux: bool) -> None:
        self.call, self.places = call, trace.terms
        leaves, self.form = tree.flatten(out)
        strange = [type(v).__name__ for v in leaves if not T.is_data(v)]
        if strange:
            raise StructureError(call.op, strange[0], "the function must return arrays and numbers", "return anything else by has_aux")
        graph = T.of_same_graph(*leaves, *call.operands)
        handles = [T.tensor_of(v, call.op, graph) for v in leaves]
        self.terms = [h.term for h in handles]
        self.aux, self.aux_form, self.aux_at = None, None, []
        if has_aux:
            self.aux, self.aux_form = tree.flatten(aux)
            self.aux_at = [i for i, v in enumerate(self.aux) if isinstance(v, Tensor)]
            more = [self.aux[i] for i in self.aux_at]
            self.aux_terms = [h.term for h in more]
            for i in self.aux_at:
                self.aux[i] = None
            handles += more
        self.kept = [*call.operands, *T.captured([*self.terms, *(self.aux_terms if has_aux else [])], self.places, handles)]

    def actual(self, terms: Sequence[Term]) -> list[Tensor]:
        """Tensors of Terms over the placeholders, with the actual arguments in their place."""
        found = T.inside(terms, self.places, [h.term for h in self.call.tensors])
        return T.wrapped(found, self.kept, self.call.code, self.call.at)

    def value(self) -> Any:
        return tree.unflatten(self.form, self.actual(self.terms))

    def auxiliary(self) -> Any:
        for i, h in zip(self.aux_at, self.actual(self.aux_terms), strict=True):
            self.aux[i] = h
        return tree.unflatten(self.aux_form, self.aux)


def _numbers(op: str, argnums: Argnums, count: int) -> list[int]:
    """The positions that `argnums` names, from the front."""
    numbers = list(argnums) if isinstance(argnums, (tuple, list)) else [argnums]
    out = []
    for n in numbers:
        k = operator.index(n)
        if not -count <= k < count:
            raise StructureError(op, f"argnums {argnums!r}", f"the call has {count} positional argument{'s' * (count != 1)}", "count from 0, and pass these by position")
        out.append(k % count)
    if len(set(out)) != len(out):
        raise StructureError(op, f"argnums {argnums!r}", "an argument is named twice")
    return out


def transform(op: str, function: Callable[..., Any], level: int = 2) -> tuple[Any, int]:
    """The user's position; a function that is none is an error."""
    if not callable(function):
        raise StructureError(op, type(function).__name__, "a function is expected")
    return user_frame(sys._getframe(level))


def guarded(run: Callable[..., Any]) -> Callable[..., Any]:
    """A function (code, at, *args): errors of ours that leave it name the user's line."""
    @functools.wraps(run)
    def wrapper(code: Any, at: int, *args: Any) -> Any:
        try:
            return run(code, at, *args)
        except Exception as error:
            T.noted(error, code, at)
            raise
    return wrapper


# ---- Terms, differentiated and remembered --------------------------------------------------------------------------------------

def pulled(roots: Sequence[Term], cts: Sequence[Term], wrt: Sequence[Term]) -> tuple[Term, ...]:
    """The cotangents of `wrt`; zeros where nothing depends on one."""
    key = ("vjp", tuple(roots), tuple(cts), tuple(wrt))
    found = DERIVED.get(key)
    if found is None:
        from ..ad import vjp
        found = DERIVED[key] = tuple([filled(w.aval, 0) if g is None else g for g, w in zip(vjp(roots, cts, wrt), wrt, strict=True)])
    return found


def pushed(roots: Sequence[Term], wrt: Sequence[Term], tangents: Sequence[Term]) -> tuple[Term, ...]:
    """The tangents of `roots`; zeros where one does not depend on `wrt`."""
    key = ("jvp", tuple(roots), tuple(wrt), tuple(tangents))
    found = DERIVED.get(key)
    if found is None:
        from ..ad import jvp
        moved = jvp(roots, dict(zip(wrt, tangents, strict=True)))
        found = DERIVED[key] = tuple([filled(r.aval, 0) if t is None else t for t, r in zip(moved, roots, strict=True)])
    return found


def scalar(op: str, result: Result, holomorphic: bool = False) -> Term:
    """The one real number that a function to `grad` returns; a complex one where it says that it is holomorphic."""
    if len(result.terms) != 1 or not str(result.form).startswith("PyTreeSpec(*"):
        raise GradientError(op, tree.text(result.form), "the function must return one number", "return a sum, or use jacobian; return more by has_aux")
    (t,) = result.terms
    if t.aval.ndim:
        raise GradientError(op, str(t.aval), "the function must return one number, not an array", "sum it, or use jacobian or vjp")
    if holomorphic:
        _complex(op, [*result.places, t])
        return t
    if t.aval.dtype.kind == "c":
        raise GradientError(op, str(t.aval), "a complex number has no gradient",
                            "differentiate its real part, its absolute value, use vjp, or say holomorphic=True where f is")
    if t.aval.dtype.kind != "f":
        raise GradientError(op, str(t.aval), "an integer has no derivative", "return a floating number")
    return t


def _complex(op: str, terms: Sequence[Term]) -> None:
    """GradientError where a function that is said to be holomorphic takes or gives real numbers."""
    for t in terms:
        if t.aval.dtype.kind != "c":
            raise GradientError(op, str(t.aval), "a holomorphic function takes and gives complex numbers", "cast it to a complex dtype, or leave holomorphic out")


# ---- gradients --------------------------------------------------------------------------------------------------------------

def value_and_grad(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False) -> Callable[..., Any]:
    """A function that gives (f(*args), gradient): the gradient in the form of the argument(s) that `argnums` names.

    With `has_aux` the function returns (value, aux), the new one ((value, aux), gradient). Complex arguments: the direction of
    steepest ascent, as in PyTorch; with `holomorphic`, of a function of complex numbers that has one: its derivative f'.
    GradientError where f does not return one real number (holomorphic: complex) or an argument is integer.

    >>> import lazygrad as lg
    >>> value, (dx, dy) = lg.value_and_grad(lambda x, y: (x * x * y).sum(), (0, 1))(3.0, lg.asarray([1.0, 2.0]))
    >>> value.item(), dx.item(), dy.tolist()
    (27.0, 18.0, [9.0, 9.0])
    """
    transform("value_and_grad", function)

    @functools.wraps(function)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        code, at = user_frame(sys._getframe(1))
        value, gradient, aux = _gradient(code, at, "value_and_grad", function, argnums, (has_aux, holomorphic), args, kwargs)
        return ((value, aux), gradient) if has_aux else (value, gradient)
    return differentiated


def grad(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False) -> Callable[..., Any]:
    """The gradient of a function that returns one real number, as a function; in the form of the argument(s) that `argnums` names.

    With `has_aux` the function returns (value, aux), the new one (gradient, aux). Nests with every transform, to any order.
    `holomorphic`: see `value_and_grad`.

    >>> import lazygrad as lg
    >>> lg.grad(lambda x: x ** 3)(2.0).item(), lg.grad(lg.grad(lambda x: x ** 3))(2.0).item()
    (12.0, 12.0)
    >>> lg.grad(lambda p: (p["w"] * p["b"]).sum())({"w": 2.0, "b": 3.0})["b"].item()
    2.0
    >>> lg.grad(lambda z: z * z, holomorphic=True)(1 + 2j).item(), lg.grad(lambda z: lg.abs(z) ** 2)(1 + 2j).item()
    ((2+4j), (2+4j))
    """
    transform("grad", function)

    @functools.wraps(function)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        code, at = user_frame(sys._getframe(1))
        _, gradient, aux = _gradient(code, at, "grad", function, argnums, (has_aux, holomorphic), args, kwargs)
        return (gradient, aux) if has_aux else gradient
    return differentiated


@guarded
def _gradient(code: Any, at: int, op: str, function: Callable[..., Any], argnums: Argnums, how: tuple[bool, bool], args: tuple, kwargs: dict) -> tuple[Any, Any, Any]:
    has_aux, holomorphic = how
    call = Call(op, args, argnums, code, at)
    del args
    with T.Trace(op, concrete=True) as trace:
        result = call.run(trace, function, kwargs, has_aux)
        root = scalar(op, result, holomorphic)
        gradients = pulled([root], [constant(1, (), root.aval.dtype)], result.places)
        found = result.actual([root, *(map(conj, gradients) if holomorphic else gradients)])       # pulled: the conjugate of f'
    gradients = call.split(found[1:])
    gradient = tuple(gradients) if isinstance(argnums, (tuple, list)) else gradients[0]
    return found[0], gradient, result.auxiliary() if has_aux else None


# ---- products with Jacobians --------------------------------------------------------------------------------------------------

def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """(f(*primals), pull): `pull(ct)`, for a cotangent in the form of the output, gives a tuple of cotangents of the primals.

    With `has_aux`: (value, pull, aux).

    >>> import lazygrad as lg
    >>> y, pull = lg.vjp(lambda x, w: x * w, 3.0, 2.0)
    >>> y.item(), [g.item() for g in pull(10.0)]
    (6.0, [20.0, 30.0])
    """
    code, at = transform("vjp", function)
    return _vjp(code, at, function, primals, has_aux)


@guarded
def _vjp(code: Any, at: int, function: Callable[..., Any], primals: tuple, has_aux: bool) -> tuple[Any, ...]:
    call = Call("vjp", primals, tuple(range(len(primals))), code, at)
    del primals
    with T.Trace("vjp", concrete=True) as trace:
        result = call.run(trace, function, {}, has_aux)
        value = result.value()
        aux = result.auxiliary() if has_aux else None
    # later calls of `pull` come when the placeholders stand for something else: the Terms over the actual arguments are kept, as a function
    body, others = T.close(result.terms, result.places)

    def pull(ct: Any) -> tuple[Any, ...]:
        here = user_frame(sys._getframe(1))
        return tuple(_pull(*here, call, result, body, others, ct))
    return (value, pull, aux) if has_aux else (value, pull)


def matched(op: str, what: str, v: Any, form: Any, avals: Sequence[Any], graph: Any) -> list[Tensor]:
    """The leaves of tangents or cotangents as tensors of these types; Python numbers and other float widths are cast."""
    leaves, found = tree.flatten(v)
    if found != form:
        raise StructureError(op, f"{what} {tree.text(found)}", f"the form is {tree.text(form)}", f"pass {what} in the containers of what they belong to")
    out = []
    for leaf, av in zip(leaves, avals, strict=True):
        h = T.tensor_of(leaf, op, graph)
        if h.shape != av.shape:
            raise ShapeError(op, f"{what} of shape {h.shape}", f"the value's shape is {av.shape}", "pass one of that shape")
        if h.dtype != av.dtype:
            weak = type(leaf) in (bool, int, float, complex) or not av.inexact
            if (not weak and h.dtype.kind in "fc") or (h.dtype.kind == "c" and av.dtype.kind != "c"):
                raise GradientError(op, f"{what} of {h.dtype}", f"the value is {av.dtype}", f"cast it with astype({av.dtype.name!r})")
            h = h.astype(av.dtype)
        out.append(h)
    return out


@guarded
def _pull(code: Any, at: int, call: Call, result: Result, body: Any, others: list[Term], ct: Any) -> list[Any]:
    avals = [t.aval for t in result.terms]
    given = matched("vjp", "cotangents", ct, result.form, avals, T.of_same_graph(*call.operands))
    with T.Trace("vjp", concrete=True) as trace:
        cts = [trace.placeholder(av).term for av in avals]
        n = len(call.tensors)
        wrt = body.params[:n]
        roots = [(r, c) for r, c in zip(body.results, cts, strict=True) if r.aval.inexact]
        found = pulled([r for r, _ in roots], [c for _, c in roots], wrt)
        terms = T.inside(found, [*body.params, *cts], [*[h.term for h in call.tensors], *others, *[h.term for h in given]])
    return call.split(T.wrapped(terms, [*result.kept, *given], code, at))


def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> tuple[Any, ...]:
    """(f(*primals), its derivative along `tangents`), the latter in the form of the output. With `has_aux`: (value, tangent, aux).

    >>> import lazygrad as lg
    >>> y, dy = lg.jvp(lambda x, w: x * w, (3.0, 2.0), (1.0, 10.0))
    >>> y.item(), dy.item()
    (6.0, 32.0)
    """
    code, at = transform("jvp", function)
    return _jvp(code, at, function, primals, tangents, has_aux)


@guarded
def _jvp(code: Any, at: int, function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool) -> tuple[Any, ...]:
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise StructureError("jvp", f"{type(primals).__name__} and {type(tangents).__name__}", "primals and tangents are tuples", "jvp(f, (x,), (t,))")
    call = Call("jvp", primals, tuple(range(len(primals))), code, at)
    form = tree.structure(tuple(primals))
    given = matched("jvp", "tangents", tuple(tangents), form, [h.term.aval for h in call.tensors], T.of_same_graph(*call.operands))
    del primals
    with T.Trace("jvp", concrete=True) as trace:
        result = call.run(trace, function, {}, has_aux)
        with T.Trace("jvp", concrete=True) as second:
            ts = [second.placeholder(h, h.term).term for h in given]
            moved = pushed(result.terms, result.places, ts)
            found = T.inside([*result.terms, *moved], [*result.places, *ts], [h.term for h in (*call.tensors, *given)])
        handles = T.wrapped(found, [*result.kept, *given], code, at)
        n = len(result.terms)
        value, tangent = (tree.unflatten(result.form, part) for part in (handles[:n], handles[n:]))
    return (value, tangent, result.auxiliary()) if has_aux else (value, tangent)


def hvp(function: Callable[..., Any], x: Any, v: Any) -> Any:
    """The product of the Hessian of a scalar function at `x` with `v`, both in the form of its argument: forward over reverse.

    >>> import lazygrad as lg
    >>> lg.hvp(lambda x: (x ** 3).sum(), lg.asarray([1.0, 2.0]), lg.asarray([1.0, 10.0])).tolist()
    [6.0, 120.0]
    """
    transform("hvp", function)
    return jvp(grad(function), (x,), (v,))[1]


# ---- whole Jacobians ------------------------------------------------------------------------------------------------------------

def _identity(avals: Sequence[Any]) -> list[Term]:
    """One for every element of the arrays together: the basis as arrays (n, *shape) of every one."""
    from ..ad.batch import known_basis
    n = sum([av.size for av in avals])
    out, start = [], 0
    for av in avals:
        rows = constant(0, (n, av.size), av.dtype)
        eye = _eye(av.size, av.dtype)
        parts = [constant(0, (start, av.size), av.dtype)] * (start > 0) + [eye]
        after = n - start - av.size
        parts += [constant(0, (after, av.size), av.dtype)] * (after > 0)
        rows = parts[0] if len(parts) == 1 else M.concatenate(*parts, axis=0)
        out.append(M.reshape(rows, shape=(n, *av.shape)))
        if len(avals) == 1:
            known_basis(out[0])
        start += av.size
    return out


def _eye(n: int, dtype: np.dtype) -> Term:
    from ..prims.elementwise import cast, eq
    from ..prims.leaf import iota
    i = iota(size=n, dtype=np.dtype("int64"))
    wide = (n, n)
    return cast(eq(M.broadcast_to(M.reshape(i, shape=(n, 1)), shape=wide), M.broadcast_to(M.reshape(i, shape=(1, n)), shape=wide)), dtype=dtype)


def jacrev(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False) -> Callable[..., Any]:
    """The Jacobian in reverse mode, as a function: for every leaf of the output one (*output shape, *argument shape) for every leaf of
    the argument(s), in the containers of the output around those of the argument. One plan, whatever the sizes. Complex numbers: of
    functions that are `holomorphic` only, which have one derivative.

    >>> import lazygrad as lg
    >>> lg.jacrev(lambda x: x * x)(lg.asarray([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    return _jacobian("jacrev", function, argnums, (has_aux, holomorphic), False)


def jacfwd(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False) -> Callable[..., Any]:
    """The Jacobian in forward mode; what `jacrev` gives, cheaper where inputs are fewer than outputs.

    >>> import lazygrad as lg
    >>> lg.jacfwd(lambda t: lg.stack([lg.cos(t), lg.sin(t)]))(0.0).tolist()
    [-0.0, 1.0]
    """
    return _jacobian("jacfwd", function, argnums, (has_aux, holomorphic), True)


def jacobian(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False) -> Callable[..., Any]:
    """The Jacobian, forward where the inputs have no more elements than the outputs, else in reverse; see `jacrev`.

    >>> import lazygrad as lg
    >>> lg.jacobian(lambda x: (x * x).sum())(lg.asarray([1.0, 2.0])).tolist()
    [2.0, 4.0]
    """
    return _jacobian("jacobian", function, argnums, (has_aux, holomorphic), None)


def hessian(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False) -> Callable[..., Any]:
    """The matrix of second derivatives of a scalar function: forward over reverse.

    >>> import lazygrad as lg
    >>> lg.hessian(lambda x: x[0] ** 2 * x[1])(lg.asarray([3.0, 2.0])).tolist()
    [[4.0, 6.0], [6.0, 0.0]]
    """
    return jacfwd(jacrev(function, argnums, has_aux, holomorphic), argnums, has_aux, holomorphic)


def _jacobian(op: str, function: Callable[..., Any], argnums: Argnums, how: tuple[bool, bool], forward: bool | None) -> Callable[..., Any]:
    transform(op, function, 3)

    @functools.wraps(function)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        code, at = user_frame(sys._getframe(1))
        return _rows(code, at, op, function, argnums, how, forward, args, kwargs)
    return differentiated


@guarded
def _rows(code: Any, at: int, op: str, function: Callable[..., Any], argnums: Argnums, how: tuple[bool, bool], forward: bool | None, args: tuple,
          kwargs: dict) -> Any:
    has_aux, holomorphic = how
    call = Call(op, args, argnums, code, at)
    del args
    with T.Trace(op, concrete=True) as trace:
        result = call.run(trace, function, kwargs, has_aux)
        for t in result.terms:
            if not t.aval.inexact:
                raise GradientError(op, str(t.aval), "an integer output has no derivative", "return it by has_aux")
        ins = [h.term.aval for h in call.tensors]
        outs = [t.aval for t in result.terms]
        if holomorphic:
            _complex(op, [*result.places, *result.terms])
        for av in () if holomorphic else (*ins, *outs):
            if av.dtype.kind == "c":                       # four real numbers an entry; one complex number only where f is holomorphic
                raise GradientError(op, str(av), "a complex number has no one derivative", "use vjp or jvp, give real and imaginary parts apart, or say holomorphic=True where f is")
        small = sum([a.size for a in ins]) <= sum([a.size for a in outs])
        terms = _jacobians(tuple(result.terms), tuple(result.places), small if forward is None else forward)
        handles = result.actual(terms)
    n = len(ins)
    blocks = []
    for i in range(len(outs)):
        parts = call.split(handles[i * n:(i + 1) * n])
        blocks.append(tuple(parts) if isinstance(argnums, (tuple, list)) else parts[0])
    found = tree.unflatten(result.form, blocks)
    return (found, result.auxiliary()) if has_aux else found


def _jacobians(roots: tuple[Term, ...], wrt: tuple[Term, ...], forward: bool) -> tuple[Term, ...]:
    """∂root/∂w of shape (*root, *w) for every pair, roots first: one batch over a basis."""
    key = ("jacobian", roots, wrt, forward)
    found = DERIVED.get(key)
    if found is not None:
        return found
    from ..ad.batch import batch
    from ..ad.control import stand_ins
    moving = wrt if forward else roots
    seeds = stand_ins([t.aval for t in moving])
    made = list(pushed(roots, wrt, seeds) if forward else pulled(roots, seeds, wrt))
    basis = _identity([t.aval for t in moving])
    n = sum([t.aval.size for t in moving])
    rows = batch(made, dict(zip(seeds, basis, strict=True)), n)
    out = []
    start = [sum([t.aval.size for t in moving[:k]]) for k in range(len(moving))]
    for r in range(len(roots)):
        for w in range(len(wrt)):
            k, other = (w, r) if forward else (r, w)
            size = moving[k].aval.size
            whole = rows[other]
            rest = whole.aval.shape[1:]
            part = M.slice_(whole, start=(start[k], *(0,) * len(rest)), step=(1,) * whole.aval.ndim, shape=(size, *rest)) if size != n else whole
            part = M.reshape(part, shape=(*moving[k].aval.shape, *rest))
            if not forward and part.aval.dtype.kind == "c":        # pulled: the conjugate
                part = conj(part)
            if forward:                                    # (*w, *root) -> (*root, *w)
                a = moving[k].aval.ndim
                part = M.permute(part, axes=(*range(a, a + len(rest)), *range(a)))
            out.append(part)
    found = DERIVED[key] = tuple(out)
    return found


__all__ = ["grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp", "value_and_grad", "vjp"]

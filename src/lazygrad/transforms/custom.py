"""custom_vjp, custom_jvp: functions whose derivative is given by a rule. They work in every mode, transform and order.

The function and its rule are traced when the function is called, and become one Term. The rule is differentiated again for
higher orders, and transposed for the mode that it was not written for.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..context import user_frame
from ..errors import DTypeError, GradientError, ShapeError, StructureError
from ..ir.function import Body
from ..ir.term import MEMOS, Term
from ..prims.call import Pull, Push, Rule, Same
from ..prims.leaf import filled
from ..tensor import Tensor
from . import trace as T
from . import tree
from .calls import Operands, Results, bodies, called
from .derivatives import _numbers as positions
from .derivatives import guarded, transform

MADE: dict[tuple, tuple[Body, Rule, list[Term]]] = {}
MEMOS.append(MADE)
_own = threading.local()


def tracing() -> list[tuple]:
    """The functions, with their arguments' types, whose rules this thread is tracing."""
    found = getattr(_own, "tracing", None)
    if found is None:
        found = _own.tracing = []
    return found


class _Custom:
    """A function with a place for its rule."""

    op = "custom"
    define = ""

    def __init__(self, function: Callable[..., Any], nondiff_argnums: int | Sequence[int] = ()) -> None:
        transform(self.op, function)
        self.function = function
        self.apart = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)
        self.rules: tuple[Callable[..., Any], ...] = ()
        functools.update_wrapper(self, function)

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        code, at = user_frame(sys._getframe(1))
        return self.run(code, at, args, kwargs)

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def run(self, code: Any, at: int, args: tuple, kwargs: dict[str, Any]) -> Any:
        return _run(code, at, self, args, kwargs)

    def split(self, args: tuple, kwargs: dict[str, Any]) -> tuple[list[Any], list[Any], Callable[[Sequence[Any]], list[Any]]]:
        """(arguments that are differentiated, the others, a function that puts other ones in the place of the former)."""
        if not self.rules:
            raise GradientError(self.op, self.name, "it has no rule yet", f"call {self.name}.{self.define}")
        if kwargs:
            bound = inspect.signature(self.function).bind(*args, **kwargs)
            bound.apply_defaults()
            if bound.kwargs:
                raise StructureError(self.op, f"{self.name}({', '.join(bound.kwargs)}=...)", "arguments by keyword only have no place in a rule", "let them be passed by position")
            args = bound.args
        apart = set(positions(self.op, self.apart, len(args)))
        mine = [i for i in range(len(args)) if i not in apart]

        def whole(given: Sequence[Any]) -> list[Any]:
            out = list(args)
            for i, v in zip(mine, given, strict=True):
                out[i] = v
            return out
        return [args[i] for i in mine], [args[i] for i in sorted(apart)], whole


@guarded
def _run(code: Any, at: int, self: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    given, others, whole = self.split(args, kwargs)
    own = Operands(self.op, tuple(given))
    del args, kwargs, given
    if not any([h.term.needs_grad for h in own.tensors]):
        return self.function(*whole(own.around(own.tensors)))
    graph = T.of_same_graph(*own.tensors)
    with T.Trace(self.op, concrete=True) as trace:
        inside = own.around([trace.placeholder(h, h.term) for h in own.tensors])
        places = list(trace.terms)
        out = Results(self.op, trace.call(self.function, whole(inside), {}), graph)
        key = self, own.form, tuple([h.term.aval for h in own.tensors])
        if key in tracing():                     # the rule calls the function itself, of which it is the rule
            ((body,), taken), rule, handles = bodies([(out.terms, places)]), Same(self, len(places)), out.handles
        else:
            tracing().append(key)
            try:
                body, rule, taken, handles = self.traced(trace, own, places, inside, others, out, whole)
            finally:
                tracing().pop()
        del inside
        kept = [*own.tensors, *T.captured([h.term for h in handles], trace.terms, handles)]
        actual = [h.term for h in own.tensors]
        return called(body, rule, [*actual, *T.inside(taken, places, actual)], kept, out.form, code, at)


def _alike(op: str, what: str, name: str, found: Results, out: Results) -> None:
    """The rule's results have the form and types of the function's."""
    if found.form != out.form:
        raise StructureError(op, f"{what} of {name}: {tree.text(found.form)}", f"the function returns {tree.text(out.form)}", "return the same from both")
    for t, u in zip(found.terms, out.terms, strict=True):
        if t.aval is not u.aval:
            kind = ShapeError if t.aval.shape != u.aval.shape else DTypeError
            raise kind(op, f"{what} of {name}: {t.aval}", f"the function returns {u.aval}", "return the same from both")


def _pair(op: str, what: str, name: str, v: Any) -> Any:
    if not isinstance(v, tuple) or len(v) != 2:
        raise StructureError(op, f"{what} of {name}: {type(v).__name__}", "it must return a pair", "return (result, residuals)" if op == "custom_vjp" else "return (result, tangent)")
    return v


def _fitted(op: str, name: str, h: Tensor, t: Term, what: str) -> Tensor:
    """A derivative of the type of its value."""
    if h.shape != t.aval.shape:
        raise ShapeError(op, f"a {what} of shape {h.shape} from the rule of {name}", f"the value's shape is {t.aval.shape}", "sum over the axes that were broadcast")
    if h.dtype == t.aval.dtype:
        return h
    if h.dtype.kind == "c" and t.aval.dtype.kind != "c":
        raise DTypeError(op, f"a {what} of {h.dtype} from the rule of {name}", f"the value is {t.aval.dtype}", "take its real part")
    return h.astype(t.aval.dtype)


class custom_vjp(_Custom):
    """A function with a rule for reverse mode: `f.defvjp(forward, backward)`.

    `forward(*args)` gives (result, residuals), residuals any containers; `backward(residuals, ct)` a tuple with one cotangent for each
    argument, in its form, or None for zero. Arguments that `nondiff_argnums` names (functions, settings) are passed to `backward`
    first. Python numbers among the arguments are passed on as they are. Tensors that the function closes over have no derivative
    through it: GradientError where one is asked for.

    >>> import lazygrad as lg
    >>> @lg.custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda _, ct: (lg.clip(ct, -1.0, 1.0),))
    >>> lg.grad(lambda x: 5.0 * clipped(x))(3.0).item()
    1.0
    """

    op, define = "custom_vjp", "defvjp(forward, backward)"

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Gives the rule."""
        self.rules = forward, backward

    def traced(self, trace: T.Trace, own: Operands, places: list[Term], inside: Any, others: list[Any], out: Results, whole: Any) -> tuple:
        forward, backward = self.rules
        result, kept = _pair(self.op, "the forward rule", self.name, trace.call(forward, whole(inside), {}))
        graph = T.of_same_graph(*own.tensors)
        again = Results(self.op, result, graph)
        _alike(self.op, "the forward rule", self.name, again, out)
        residuals = Operands(self.op, kept)
        stand = [trace.placeholder(h, h.term) for h in residuals.tensors]
        zeros = [filled(t.aval, 0) for t in out.terms]
        cts = [trace.placeholder(t.aval) if t.aval.inexact else T.wrapped([z], [], *user_frame(sys._getframe(1)))[0]
               for t, z in zip(out.terms, zeros, strict=True)]
        found = trace.call(backward, [*others, residuals.around(stand), tree.unflatten(out.form, cts)], {})
        if not isinstance(found, (tuple, list)) or len(found) != len(inside):
            came = f"{len(found)} cotangents" if isinstance(found, (tuple, list)) else type(found).__name__
            raise StructureError(self.op, f"the backward rule of {self.name}: {came}", f"it must return a tuple of {len(inside)}", "give one for each argument, None for zero")
        gives, gradients = self.cotangents(found, own, inside, graph)
        lists = out.terms, [*again.terms, *[h.term for h in residuals.tensors]], [h.term for h in gradients]
        moving = [h.term for h, t in zip(cts, out.terms, strict=True) if t.aval.inexact]
        key = (self, *map(tuple, lists), tuple(places), tuple(moving), gives)
        made = MADE.get(key)
        if made is None:
            (body, first, second), taken = bodies([(lists[0], places), (lists[1], places), (lists[2], [*[h.term for h in stand], *moving])])
            made = MADE[key] = body, Pull(self, len(places), first, second, gives), taken
        return *made, [*out.handles, *again.handles, *residuals.tensors, *gradients]

    def cotangents(self, found: Sequence[Any], own: Operands, inside: Any, graph: Any) -> tuple[tuple[bool, ...], list[Tensor]]:
        """(which tensors among the arguments get a cotangent, these)."""
        gives, out = [], []
        for k, (g, a) in enumerate(zip(found, inside, strict=True)):
            leaves, form = tree.flatten(a)
            given = [None] * len(leaves) if g is None else self.leaves(k, g, form)
            for v, c in zip(leaves, given, strict=True):
                if not isinstance(v, Tensor):                    # a number that was passed on
                    continue
                gives.append(c is not None and v.term.aval.inexact)
                if gives[-1]:
                    out.append(_fitted(self.op, self.name, T.tensor_of(c, self.op, graph), v.term, "cotangent"))
        return tuple(gives), out

    def leaves(self, k: int, g: Any, form: Any) -> list[Any]:
        leaves, shape = tree.flatten(g)
        if shape != form:
            raise StructureError(self.op, f"the backward rule of {self.name}: {tree.text(shape)} for argument {k}", f"the argument's form is {tree.text(form)}", "return the same containers")
        return leaves


class custom_jvp(_Custom):
    """A function with a rule for forward mode: `f.defjvp(rule)`, also as a decorator.

    `rule(primals, tangents)` gets two tuples and gives (result, tangent of the result). Arguments that `nondiff_argnums` names are passed
    first. Reverse mode is the transpose of the rule, which has to be linear in the tangents. What `custom_vjp` says of numbers and
    of closed-over tensors holds here too.

    >>> import lazygrad as lg
    >>> @lg.custom_jvp
    ... def log1pexp(x):
    ...     return lg.log(1 + lg.exp(x))
    >>> @log1pexp.defjvp
    ... def rule(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), t * lg.sigmoid(x)
    >>> lg.grad(log1pexp)(1000.0).item()
    1.0
    """

    op, define = "custom_jvp", "defjvp(rule)"

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Gives the rule, and returns it."""
        self.rules = (rule,)
        return rule

    def traced(self, trace: T.Trace, own: Operands, places: list[Term], inside: Any, others: list[Any], out: Results, whole: Any) -> tuple:
        graph = T.of_same_graph(*own.tensors)
        position = user_frame(sys._getframe(1))
        tangents = [trace.placeholder(h.term.aval) if h.term.aval.inexact else T.wrapped([filled(h.term.aval, 0)], [], *position)[0] for h in own.tensors]
        moved = own.around(tangents, lambda v: 0.0 if type(v) in (bool, int, float, complex) else v)
        result, pushed = _pair(self.op, "the rule", self.name, trace.call(self.rules[0], [*others, inside, moved], {}))
        again, change = Results(self.op, result, graph), Results(self.op, pushed, graph)
        _alike(self.op, "the rule", self.name, again, out)
        if change.form != out.form:
            raise StructureError(self.op, f"the rule of {self.name}: a tangent {tree.text(change.form)}", f"the function returns {tree.text(out.form)}", "return a tangent for each result")
        pairs = [(h, t) for h, t in zip(change.handles, out.terms, strict=True) if t.aval.inexact]
        changes = [_fitted(self.op, self.name, h, t, "tangent") for h, t in pairs]
        moving = [h.term for h, own_ in zip(tangents, own.tensors, strict=True) if own_.term.aval.inexact]
        key = (self, tuple(out.terms), tuple([h.term for h in changes]), tuple(places), tuple(moving))
        made = MADE.get(key)
        if made is None:
            (body, push), taken = bodies([(out.terms, places), ([h.term for h in changes], [*places, *moving])])
            made = MADE[key] = body, Push(self, len(places), push), taken
        return *made, [*out.handles, *changes]


__all__ = ["custom_jvp", "custom_vjp"]

"""From rules to functions: a Term -> Term rule becomes a function on handles, by a memo of raw calls.

On a hit (the call was seen before on these Terms) a function is one dictionary look-up and one small object, however many
primitives it is made of; promotion, broadcasting and checks run on a miss only. Nothing is ever computed here.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from . import dtypes
from .context import BARRED, PACKAGE, USERS, barred, source_line, user_frame
from .errors import DataError, LazygradError
from .ir.aval import Aval
from .ir.term import MEMOS, SWEEPS, Term, substitute, term, toposort
from .prims.base import REGISTRY, Prim
from .prims.leaf import filled
from .tensor import DeepTensor, Tensor, adopt, graph_of, mismatch

Operand = Term | bool | int | float | complex       # a parameter that takes a tensor or a weakly typed Python number
Terms = tuple[Operand, ...]                         # a parameter that takes a list or tuple of them

FUNCTIONS: dict[str, Callable] = {}                 # every lifted function by name
DISTINCT = 8                # different numbers one call may bake into Terms; later ones become leaves (runtime values)
SITES: dict[tuple, int] = {}
SWEEPS.append(SITES.clear)

NUMBERS = (bool, int, float, complex)
PLAIN = frozenset((int, str, type(None), type, type(Ellipsis), *{type(d) for d in dtypes.DTYPES}))    # classes of statics that are their own key
EXACT = (bool, int, float)       # numbers that their truth, text and class tell apart (1+0j and 1-0j are not)
_MISSING = object()


# ---- static parameters ----------------------------------------------------------------------------------------------

def normal(v: Any) -> Any:
    """A static argument as the rule gets it: lists as tuples, NumPy integers as Python's.

    >>> normal([1, [np.int64(2), 3]])
    (1, (2, 3))
    """
    if isinstance(v, (list, tuple)):
        items = [normal(i) for i in v]
        return type(v)(*items) if hasattr(v, "_fields") else tuple(items)
    if isinstance(v, np.bool_):
        return bool(v)
    if isinstance(v, np.integer):
        return int(v)
    if isinstance(v, slice):
        return slice(normal(v.start), normal(v.stop), normal(v.step))
    return v


def frozen(v: Any) -> Any:
    """A hashable key of a static argument that keeps 1, 1.0, True and -0.0 apart.

    >>> frozen((1, 2)) == frozen((True, 2)), frozen([1]) == frozen((1,)), frozen(0.0) == frozen(-0.0)
    (False, True, False)
    """
    kind = v.__class__
    if kind in PLAIN:
        return v
    if kind is tuple or kind is list:
        return tuple([i if i.__class__ in PLAIN else frozen(i) for i in v])
    if kind is bool:
        return (bool, v)
    if kind is float or kind is complex:
        if v != v:
            raise TypeError("NaN is no key")
        return (kind, repr(v))
    if kind is slice:
        a, b, c = v.start, v.stop, v.step
        if a.__class__ in PLAIN and b.__class__ in PLAIN and c.__class__ in PLAIN:
            return (slice, a, b, c)
        return (slice, frozen(a), frozen(b), frozen(c))
    if isinstance(v, np.integer):
        return int(v)
    if isinstance(v, np.generic):
        return (kind, v.tobytes())
    hash(v)
    return v


def number_key(v: Any) -> tuple:
    """The key of a Python number (or None) beside tensors; TypeError for anything else, and for NaN."""
    kind = v.__class__
    if kind in EXACT and v == v:
        return kind, v or repr(v)
    if v is None or (kind is complex and v == v):
        return kind, repr(v)
    raise TypeError("no number")


def terms_key(xs: Any) -> tuple:
    """The key of a list or tuple of tensors and numbers; TypeError for anything else."""
    if xs.__class__ is not list and xs.__class__ is not tuple:
        raise TypeError("no list")
    return tuple([x.term if isinstance(x, Tensor) else number_key(x) for x in xs])


# ---- the slow way ---------------------------------------------------------------------------------------------------

class Lifted:
    """One rule with its parameters and memos. `memo` serves the fast way; `flat` keeps what must not take it.

    A rule with a true attribute `by_aval` promises that what it does with operands of one aval depends on that aval alone;
    where it makes one Prim of them as they are, `direct` keeps that Prim, and new Terms are made without the rule. An
    attribute `result` makes of the list of several results what the user gets (the `_make` of a named tuple).
    """

    def __init__(self, rule: Callable, name: str) -> None:
        self.rule, self.name = rule, name
        self.signature = inspect.signature(rule)
        self.kinds: dict[str, str] = {}
        for p in self.signature.parameters.values():
            text = p.annotation if isinstance(p.annotation, str) else \
                "Operand" if p.annotation == Operand else "Terms" if p.annotation == Terms else getattr(p.annotation, "__name__", "")
            words = set(re.findall(r"\w+", text))
            self.kinds[p.name] = "terms" if "Terms" in words else "operand" if "Operand" in words else "term" if "Term" in words else "static"
        self.memo: dict[Any, Term] = {}
        self.wide: dict[Any, Any] = {}
        self.memo_numbers: dict[Any, Term] = {}
        self.memo_reflected: dict[Any, Term] = {}
        self.flat: dict[Any, Any] = {}
        self.direct: dict[Aval, tuple[Prim, Aval]] = {}
        self.by_aval = getattr(rule, "by_aval", False)
        self.pack = getattr(rule, "result", tuple)
        self.parameters = tuple(self.signature.parameters.values())
        MEMOS.extend((self.memo, self.memo_numbers, self.memo_reflected, self.flat, self.wide))

    def bound(self, args: tuple, kwargs: dict) -> dict[str, Any]:
        """All arguments of a call by name."""
        found = self.signature.bind(*args, **kwargs)
        found.apply_defaults()
        return found.arguments

    def __call__(self, given: dict[str, Any], code: Any, at: int, remember: tuple[dict, Any] | None = None) -> Any:
        """Converts the operands, looks the call up by Terms, runs the rule if it is new, and makes the handles."""
        first = next(_tensors(given, self.kinds), None)
        graph = graph_of(first)
        held: list[Tensor] = []
        values: dict[str, Any] = {}
        key: list[Any] = []
        numbers: list[tuple[str, int | None]] = []
        stopping = bool(BARRED) and barred()
        plain = True

        def operand(v: Any, name: str, i: int | None, weak: bool) -> Any:
            nonlocal plain
            if v is None:
                key.append(None)
                return None
            if not isinstance(v, Tensor):
                if weak and v.__class__ not in NUMBERS and isinstance(v, NUMBERS) and not isinstance(v, np.generic):
                    v = v.__int__() if isinstance(v, int) else complex(v) if isinstance(v, complex) else float(v)
                if weak and v.__class__ in NUMBERS:
                    if v != v:
                        plain = False
                    key.append((v.__class__, repr(v)))
                    numbers.append((name, i))
                    return v
                v = adopt(v, graph, self.name)
            held.append(v)
            t = v.term
            if stopping and t.needs_grad:
                t = REGISTRY["stop_gradient"](t)
            key.append(t)
            return t

        for p in self.parameters:
            v, kind = given[p.name], self.kinds[p.name]
            if kind == "static":
                v = values[p.name] = normal(v)
                try:
                    key.append(frozen(v))
                except TypeError:
                    plain = False
            elif kind == "terms" or p.kind is p.VAR_POSITIONAL:
                if isinstance(v, Tensor) or not isinstance(v, Iterable) or isinstance(v, (str, np.ndarray)):
                    raise _type_error(self.name, v, "a list or tuple of tensors is expected")
                items = tuple([operand(u, p.name, i, kind != "term") for i, u in enumerate(v)])
                key.append(len(items))
                values[p.name] = items
            else:
                values[p.name] = operand(v, p.name, None, kind == "operand")

        numbers_are_leaves = False
        found = _MISSING
        if plain:
            try:
                found = self.flat.get(tuple(key), _MISSING)
            except TypeError:
                plain = False
        if found is _MISSING:
            if numbers and first is not None and any(isinstance(_at(values, n), (int, float, complex)) and not isinstance(_at(values, n), bool) for n in numbers):
                site = (id(self), *[k for k in key if isinstance(k, Term)], *[n for n, _ in numbers])
                met = SITES[site] = SITES.get(site, 0) + 1
                numbers_are_leaves = met > DISTINCT
            if numbers_are_leaves:
                plain, remember = False, None
                partner = held[0].term.aval.dtype
                for n in numbers:
                    h = _number_leaf(_at(values, n), partner, graph)
                    if h is not None:
                        held.append(h)
                        _put(values, n, h.term)
            if len({h.term.graph for h in held} - {None}) > 1:
                self.joined(held, values, code, at)
            call = inspect.BoundArguments(self.signature, values)
            try:
                found = self.rule(*call.args, **call.kwargs)
            except Exception as error:
                _note(error, code, at)
                raise
            if found.__class__ is list:
                found = tuple(found)
            if plain:
                self.flat[tuple(key)] = found
        if remember is not None and plain and not stopping:
            if remember[0] is self.wide or (found.__class__ is not tuple and found.depth > max([h.term.depth for h in held], default=-1)):
                remember[0][remember[1]] = found
            if self.by_aval and len(held) == 1:
                self.learn(found, held[0].term)
        if found.__class__ is tuple:
            return self.pack([self.handle(t, held, code, at) for t in found])
        return self.handle(found, held, code, at)

    def joined(self, held: list[Tensor], values: dict[str, Any], code: Any, at: int) -> None:
        """Operands of several graphs: constants made on a device join any graph there, the rest must agree."""
        base: Tensor | None = None
        for h in held:
            if h.term.graph is None:
                continue
            free = unplaced(h.term)
            if free is not None and all(k.device == h.device for k in held if k.term.graph is not None):
                for name, v in values.items():
                    values[name] = free if v is h.term else tuple([free if u is h.term else u for u in v]) if v.__class__ is tuple else v
            elif base is None:
                base = h
            elif h.term.graph != base.term.graph:
                error = mismatch(self.name, base, h)
                _note(error, code, at)
                raise error

    def quick(self, args: tuple, kwargs: dict, held: tuple, memo: dict, key: Any, frame: Any) -> Any:
        """A call not met before whose operands are tensors of one graph: no conversions are needed."""
        code, at = user_frame(frame)
        found = memo.get(key)
        if found is None:
            found = self.flat.get(key)
        if found is None:
            try:
                found = self.rule(*args, **kwargs)
            except Exception as error:
                _note(error, code, at)
                raise
            if self.by_aval:
                self.learn(found, *args)
            if isinstance(found, Term):
                for h in held:
                    if found.depth <= h.term.depth:
                        self.flat[key] = found
                        break
                else:
                    memo[key] = found
                    h = found.handle()
                    h.term, h.a, h.b, h.code, h.lasti = found, held[0], held[1] if len(held) > 1 else None, code, at
                    return h
            else:
                found = self.flat[key] = tuple(found)
        if found.__class__ is tuple:
            return self.pack([self.handle(t, held, code, at) for t in found])
        return self.handle(found, held, code, at)

    def learn(self, found: Any, *args: Term) -> None:
        """Keeps the Prim that the rule makes of operands like these, if it is one Prim of the operands as they are."""
        av = args[0].aval
        if found.__class__ is tuple or found.params or len(found.args) != len(self.parameters) or any([a.aval is not av for a in found.args]):
            return
        if all([a is b for a, b in zip(found.args, args, strict=False)]):
            self.direct[av] = found.op, found.aval

    def known(self, found: Any, operands: tuple, frame: Any) -> Any:
        """The handles of a call that `wide` knows."""
        code = frame.f_code
        code, at = (code, frame.f_lasti) if code.co_filename in USERS else user_frame(frame)
        held = [x for x in operands if isinstance(x, Tensor)]
        if found.__class__ is tuple:
            return self.pack([self.handle(t, held, code, at) for t in found])
        return self.handle(found, held, code, at)

    def changing(self, x: Tensor, y: int | float) -> Tensor | None:
        """A leaf for a number that keeps changing at this call, None for the first few numbers, and beside what belongs to no graph."""
        if x.term.graph is None:
            return None
        site = (self.name, x.term, y.__class__)
        met = SITES[site] = SITES.get(site, 0) + 1
        return _number_leaf(y, x.term.aval.dtype, graph_of(x)) if met > DISTINCT else None

    def handle(self, t: Term, held: Sequence[Tensor], code: Any, at: int) -> Tensor:
        # a result no deeper than its operands (x.reshape of its own shape) would let handles chain without a deep one
        depth, make = t.depth, t.handle
        for k in held:
            if k.term.depth >= depth:
                make = DeepTensor
        h = make()
        h.term, h.code, h.lasti = t, code, at
        n = len(held)
        h.a = held[0] if n else None
        h.b = None if n < 2 else held[1] if n == 2 else tuple(held[1:])
        return h


def unplaced(t: Term) -> Term | None:
    """`t` without the device it was made for, if it depends on no leaf."""
    below = toposort([t])
    if any(u.op.name == "source" for u in below):
        return None
    return substitute([t], {u: u.args[0] for u in below if u.op.scoped})[0]


def _number_leaf(v: bool | int | float | complex, partner: np.dtype, graph: Any) -> Tensor | None:
    """A 0-d leaf of the dtype that `v` takes beside `partner`; None where it does not fit (the rule has an error for that)."""
    dtype = dtypes.weak(v, partner)
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= v <= np.iinfo(dtype).max:
        return None
    if -3e38 < abs(v) < 3e38 and dtype.itemsize >= 4:
        return graph.leaf(np.asarray(v, dtype), False, sys._getframe(1))
    with np.errstate(all="ignore"):
        return graph.leaf(np.asarray(v).astype(dtype), False, sys._getframe(1))


def _at(values: dict, place: tuple[str, int | None]) -> Any:
    name, i = place
    return values[name] if i is None else values[name][i]


def _put(values: dict, place: tuple[str, int | None], v: Any) -> None:
    name, i = place
    values[name] = v if i is None else (*values[name][:i], v, *values[name][i + 1:])


def _tensors(given: dict[str, Any], kinds: dict[str, str]):
    for name, v in given.items():
        if kinds[name] == "static":
            continue
        for u in v if isinstance(v, (tuple, list)) else (v,):
            if isinstance(u, Tensor) and u.term.graph is not None:
                yield u


def _type_error(name: str, v: Any, wrong: str) -> LazygradError:
    return DataError(name, type(v).__name__, wrong)


def _note(error: Exception, code: Any, at: int) -> None:
    """Adds the user's line to an error (once)."""
    if not any(note.startswith("  at ") for note in getattr(error, "__notes__", ())):
        error.add_note(f"  at {source_line(code, at)}")


# ---- the fast way ---------------------------------------------------------------------------------------------------

# locals end in an underscore: parameters are named by the rules
HANDLE = """
    h_ = t_.handle(); h_.term = t_; h_.a = {a}; h_.b = {b}; f_ = frame({level}); c_ = f_.f_code
    if c_.co_filename in USERS: h_.code = c_; h_.lasti = f_.f_lasti
    else: h_.code, h_.lasti = user_frame(f_)
    return h_
"""


def _handle(a: str, b: str, level: int = 1, indent: int = 4) -> str:
    """The text that makes the handle of `t_` on the operands `a` and `b`."""
    return HANDLE.format(a=a, b=b, level=level).replace("\n    ", "\n" + " " * indent)


UNARY = """
def function{signature}:
    k_ = None
    if BARRED: return slow(({x}, {positional}), {{{keywords}}}, None)
    try:
        if {usual}: k_ = {x}.term; t_ = memo[k_]
        else: k_ = {key}; t_ = memo[k_]
    except (KeyError, AttributeError, TypeError): pass
    else:
""" + _handle("{x}", "None", 1, 8) + """
    return slow(({x}, {positional}), {{{keywords}}}, k_)
def slow(args, kwargs, key):
    if key is not None:
        x = args[0]
        d = direct.get(key.aval) if direct and x.__class__ in HANDLES and key is x.term else None
        if d is not None:
            t_ = memo[key] = term(d[0], (key,), (), d[1])
""" + _handle("x", "None", 2, 12) + """
        return lifted.quick((x.term, *[v if v.__class__ in PLAIN else normal(v) for v in args[1:]]),
                            {{k: v if v.__class__ in PLAIN else normal(v) for k, v in kwargs.items()}}, (x,), memo, key, frame(2))
    code, at = user_frame(frame(2))
    return lifted(lifted.bound(args, kwargs), code, at)
"""

TWO_TERMS = """
    if y.__class__ in HANDLES and not BARRED{test}:
        k = a, b = x.term, y.term
        if a.graph == b.graph or a.graph is None or b.graph is None:
            d = direct.get(a.aval) if a.aval is b.aval else None
            if d is None: return lifted.quick(k, NOTHING, (x, y), memo, k, frame(2))
            t_ = memo[k] = term(d[0], k, (), d[1])
""" + _handle("x", "y", 2, 12)

BINARY = """
def function({x}, {y}{marker}):
    if BARRED: return slow({x}, {y})
    try:
        if isinstance({y}, Tensor): t_ = memo[{x}.term, {y}.term]; k_ = {y}
        else: t_ = numbers[{x}.term, {y} or repr({y}), {y}.__class__]; k_ = None
    except (KeyError, TypeError, ValueError, AttributeError): pass
    else:
""" + _handle("{x}", "k_", 1, 8) + """
    return slow({x}, {y})
def slow(x, y):
""" + TWO_TERMS.format(test=" and x.__class__ in HANDLES") + """
    code, at = user_frame(frame(2))
    if x.__class__ not in HANDLES: remember = None
    elif y.__class__ in HANDLES: remember = memo, (x.term, y.term)
    elif y.__class__ in EXACT: remember = numbers, (x.term, y or repr(y), y.__class__)
    else: remember = None
    return lifted({{first: x, second: y}}, code, at, remember)
"""

# a number that is exact in every float dtype's range, beside a tensor of floats: the constant of the tensor's own aval
OPERATOR = """
def operator(x, y):
    if BARRED: return slow(x, y)
    try:
        if isinstance(y, Tensor): t_ = memo[x.term, y.term]; k_ = y
        else: t_ = numbers[x.term, y or repr(y), y.__class__]; k_ = None
    except (KeyError, TypeError, ValueError): pass
    else:
""" + _handle("x", "k_", 1, 8) + """
    return slow(x, y)
def roperator(x, y):
    if BARRED: return reflected_slow(x, y)
    try: t_ = reflected[x.term, y or repr(y), y.__class__]
    except (KeyError, TypeError, ValueError): pass
    else:
""" + _handle("x", "None", 1, 8) + """
    return reflected_slow(x, y)
def slow(x, y):
""" + TWO_TERMS.format(test="") + """
    kind = y.__class__
    if not BARRED and (kind is float or kind is int):
        k = lifted.changing(x, y)
        if k is not None: return lifted.quick((x.term, k.term), NOTHING, (x, k), memo, (x.term, k.term), frame(2))
        a = x.term; d = direct.get(a.aval)
        if d is not None and a.aval.inexact and -9e15 < y < 9e15:
            t_ = numbers[a, y or repr(y), kind] = term(d[0], (a, filled(a.aval, y)), (), d[1])
""" + _handle("x", "None", 2, 12) + """
    if not acceptable(y): return NotImplemented
    code, at = user_frame(frame(2))
    if kind in HANDLES: remember = memo, (x.term, y.term)
    elif kind in EXACT: remember = numbers, (x.term, y or repr(y), kind)
    else: remember = None
    return lifted({first: x, second: y}, code, at, remember)
def reflected_slow(x, y):
    kind = y.__class__
    if not BARRED and (kind is float or kind is int):
        k = lifted.changing(x, y)
        if k is not None: return lifted.quick((k.term, x.term), NOTHING, (k, x), memo, (k.term, x.term), frame(2))
        a = x.term; d = direct.get(a.aval)
        if d is not None and a.aval.inexact and -9e15 < y < 9e15:
            t_ = reflected[a, y or repr(y), kind] = term(d[0], (filled(a.aval, y), a), (), d[1])
""" + _handle("x", "None", 2, 12) + """
    if not acceptable(y): return NotImplemented
    code, at = user_frame(frame(2))
    remember = (reflected, (x.term, y or repr(y), kind)) if kind in EXACT else None
    return lifted({first: y, second: x}, code, at, remember)
"""

WIDE = """
def function{signature}:
    k_ = None
    if not BARRED:
        try: k_ = {key}; t_ = wide[k_]
        except (KeyError, AttributeError, TypeError): pass
        else: return lifted.known(t_, ({operands}), frame(1))
    code_, at_ = user_frame(frame(1))
    return lifted({{{given}}}, code_, at_, None if k_ is None else (wide, k_))
"""

GENERAL = """
def function(*args, **kwargs):
    code, at = user_frame(frame(1))
    return lifted(lifted.bound(args, kwargs), code, at)
"""

HANDLES = frozenset((Tensor, DeepTensor))
RESERVED = ("slow", "repr", "isinstance", "first", "second", "code_", "at_", "tuple")       # other names the fast way uses
REFLECTED = frozenset(("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift", "divmod"))


def acceptable(y: Any) -> bool:
    """Whether an operator takes `y` as its other operand; Python asks y's own class otherwise."""
    return isinstance(y, (*NUMBERS, Tensor, np.ndarray, np.generic, list, tuple)) or hasattr(y, "__array__") or hasattr(y, "__dlpack__")


@functools.cache
def _compiled(source: str) -> Any:
    """The code of a template; functions of one signature share it."""
    return compile(source, f"{PACKAGE.root}<lift>", "exec")


def operation(method: str | Iterable[str] = (), operator: str | None = None, name: str | None = None) -> Callable[[Callable], Callable]:
    """A decorator: the rule becomes a function on tensors, a method under each name of `method`, and an operator.

    Parameters annotated `Term` arrive as Terms, `Operand` as Terms or plain Python numbers, `Terms` as a tuple of those; all
    others are static. `operator="add"` attaches `__add__` and `__radd__`. The rule returns a Term or a tuple of Terms.
    """
    methods = (method,) if isinstance(method, str) else tuple(method)

    def lift(rule: Callable) -> Callable:
        public = name or rule.__name__
        lifted = Lifted(rule, public)
        scope: dict[str, Any] = dict(
            lifted=lifted, memo=lifted.memo, numbers=lifted.memo_numbers, reflected=lifted.memo_reflected, PLAIN=PLAIN,
            frame=sys._getframe, user_frame=user_frame, USERS=USERS, BARRED=BARRED, wide=lifted.wide, direct=lifted.direct, term=term, filled=filled,
            number_key=number_key, terms_key=terms_key, Tensor=Tensor, HANDLES=HANDLES, NUMBERS=NUMBERS, EXACT=EXACT,
            frozen=frozen, normal=normal, acceptable=acceptable, NOTHING={})
        parameters = list(lifted.signature.parameters.values())
        operands = [p for p in parameters if lifted.kinds[p.name] in ("term", "operand")]
        positional = all(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in operands)
        varied = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters) or "terms" in lifted.kinds.values()
        varied = varied or any(p.name in scope or p.name in RESERVED for p in parameters)
        if len(operands) == 2 == len(parameters) and positional and not varied:
            marker = ", /" if operands[1].kind is inspect.Parameter.POSITIONAL_ONLY else ""
            scope.update(first=operands[0].name, second=operands[1].name)
            source = BINARY.format(x=operands[0].name, y=operands[1].name, marker=marker)
        elif len(operands) == 1 and parameters[0] is operands[0] and positional and not varied:
            source = UNARY.format(x=operands[0].name, **_texts(parameters, scope))
        elif any(p.kind is p.VAR_KEYWORD for p in parameters) or any(p.name in scope or p.name in RESERVED for p in parameters):
            source = GENERAL
        else:
            source = WIDE.format(**_wide_texts(parameters, lifted.kinds, scope))
        exec(_compiled(source), scope)
        function = functools.update_wrapper(scope["function"], rule)
        FUNCTIONS[public] = function
        function.rule = rule
        for m in methods:
            setattr(Tensor, m, function)
        if operator is not None and len(operands) == 1:
            setattr(Tensor, f"__{operator}__", function)
        elif operator is not None:
            scope = {**scope, "first": operands[0].name, "second": operands[1].name}
            exec(_compiled(OPERATOR), scope)
            for prefix in ("", "r") if operator in REFLECTED else ("",):
                attached = scope[f"{prefix}operator"]
                attached.__name__ = attached.__qualname__ = f"__{prefix}{operator}__"
                setattr(Tensor, attached.__name__, attached)
        return function

    return lift


def _texts(parameters: list[inspect.Parameter], scope: dict[str, Any]) -> dict[str, str]:
    """The parts of UNARY: its signature, the test that all statics have their defaults, the key, the arguments passed on."""
    x = parameters[0]
    words, usual, positional, keywords, key, star = [x.name], [], [], [], [f"{x.name}.term"], False
    if x.kind is x.POSITIONAL_ONLY and (len(parameters) == 1 or parameters[1].kind is not x.kind):
        words.append("/")
    for i, p in enumerate(parameters[1:], 1):
        if p.kind is p.KEYWORD_ONLY and not star:
            star = True
            words.append("*")
        if p.default is p.empty:
            words.append(p.name)
            usual.append("False")
        else:
            scope[f"default_{p.name}"] = p.default
            words.append(f"{p.name}=default_{p.name}")
            usual.append(f"{p.name} is default_{p.name}")
        key.append(f"{p.name} if {p.name}.__class__ in PLAIN else frozen({p.name})")
        if star:
            keywords.append(f"'{p.name}': {p.name}")
        else:
            positional.append(f"{p.name}, ")
        following = parameters[i + 1].kind if i + 1 < len(parameters) else None
        if p.kind is p.POSITIONAL_ONLY and following is not p.kind:
            words.append("/")
    return {"signature": f"({', '.join(words)})", "usual": " and ".join(usual) or "True", "key": f"({', '.join(key)},)",
            "positional": "".join(positional), "keywords": ", ".join(keywords)}


def _wide_texts(parameters: list[inspect.Parameter], kinds: dict[str, str], scope: dict[str, Any]) -> dict[str, str]:
    """The parts of WIDE: its signature, the key of a call, the operands, all arguments by name."""
    words, key, operands = [], [], []
    named = False
    for i, p in enumerate(parameters):
        n, kind = p.name, kinds[p.name]
        if p.kind is p.KEYWORD_ONLY and not named:
            named = True
            words.append("*")
        if p.kind is p.VAR_POSITIONAL:
            named = True
            words.append(f"*{n}")
            key.append(f"tuple([x_.term for x_ in {n}])" if kind == "term" else f"terms_key({n})")
            operands.append(f"*{n}, ")
            continue
        if p.default is not p.empty:
            scope[f"default_{n}"] = p.default
        words.append(n if p.default is p.empty else f"{n}=default_{n}")
        following = parameters[i + 1].kind if i + 1 < len(parameters) else None
        if p.kind is p.POSITIONAL_ONLY and following is not p.kind:
            words.append("/")
        if kind == "static":
            key.append(f"{n} if {n}.__class__ in PLAIN else frozen({n})")
        elif kind == "terms":
            key.append(f"terms_key({n})")
            operands.append(f"*{n}, ")
        else:
            # where a Term is expected a number is data: a leaf of its own at every call, never part of a key
            other = f"number_key({n})" if kind == "operand" else f"None if {n} is None else {n}.term"
            key.append(f"{n}.term if isinstance({n}, Tensor) else {other}")
            operands.append(f"{n}, ")
    return {"signature": f"({', '.join(words)})", "key": f"({', '.join(key)},)" if key else "()", "operands": "".join(operands),
            "given": ", ".join([f"'{p.name}': {p.name}" for p in parameters])}

"""compile: a function of containers of arrays, traced once for every form, shape and dtype of its arguments, then one native call.

Whatever the function does with tensors, derivatives and updates included, becomes one plan: one call of machine code on the CPU,
one submission on a GPU. Its Python runs when it is traced and not again.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import optree

from ..context import PACKAGE, user_frame
from ..data import to_array
from ..errors import GraphError, IndexingError, StructureError
from ..graph import default_graph
from ..history import history
from ..ir.aval import Aval, aval
from ..ir.function import PARAMETER
from ..ir.term import Term, toposort
from ..prims.leaf import parameter, source
from ..runtime import plans, quick
from ..runtime.called import Called, Past
from ..runtime.devices import DEVICES
from ..runtime.memory import SMALL
from ..runtime.quick import Quick
from ..runtime.slots import EXACT_COUNTS, Leaf
from ..tensor import DeepTensor, Tensor, store
from . import trace as T
from . import tree
from .derivatives import guarded, transform

HANDLES = (Tensor, DeepTensor)
NUMBERS = {bool: np.dtype("bool"), int: np.dtype("int64"), float: np.dtype("float32"), complex: np.dtype("complex64")}
SEVERAL = 4                # calls with leaves before a built-in is made for them
KINDS = {"tensor": (Tensor, ("term", "a", "b", "code", "lasti")), "leaf": (Leaf, ("slot", "graph")), "term": (Term, ("aval",))}
MANY = 16                  # traces of one function from which one more is worth a warning


class RetraceWarning(UserWarning):
    """A compiled function is traced again and again: an argument that should be data changes its form."""


class CacheInfo(NamedTuple):
    """`traces`: how often the function was traced; `entries`: the kinds of arguments it is compiled for."""

    traces: int
    entries: list[str]


class Entry:
    """One trace: its plan over arguments and leaves, and how results go back into containers."""

    def __init__(self, roots: list[Term], form: Any, captured: list[Tensor], places: int) -> None:
        self.roots, self.form, self.captured = roots, form, captured
        slots: dict[int, Any] = {}
        for h in captured:
            if h.a.__class__ is Leaf:
                slots[h.a.slot] = h.a
        self.captured_leaves = list(slots.values())
        key, sources = plans.canonical(roots)
        self.device = plans.device_among([t for t in sources if t.graph is not None])
        self.avals = [r.aval for r in roots]
        self.order = [PARAMETER - t.params[0] if t.params[0] <= PARAMETER else -1 for t in sources]      # which argument each source is
        self.slots = [t.params[0] if k < 0 else 0 for t, k in zip(sources, self.order, strict=True)]
        self.takes = [(i, k) for i, k in enumerate(self.order) if k >= 0]
        self.key, self.sources = key, sources
        self.plain = list(range(places))
        self.single = form == tree.structure(0)
        self.flat = form == tree.structure(tuple([0] * len(roots)))  # a tuple of arrays
        self.called: dict[Any, Called] = {}                          # by device
        self.own: dict[int, Tensor] = {}                             # leaves that data is copied into, by argument
        self.lock = threading.RLock()
        self.small = EXACT_COUNTS and 0 < sum([av.nbytes for av in self.avals]) < SMALL
        self.past: deque[Past] = deque()                             # results of the last two calls
        self.quick: Quick | None = None
        self.calls = 0                                               # with leaves, as long as it is not quick

    def call(self, called: Called, slots: Sequence[int], scope: Any, frame: Any) -> Any:
        """One run, its results in their containers. The leaves of small results that nobody holds any more serve again."""
        if not self.small or called.plan.device != "cpu":
            return self.wrap(called.run(slots), scope, frame)
        if self.quick is not None:
            self.quick.settle(self.past)
        past = None
        if len(self.past) > 1:
            try:
                past = self.past.popleft()                           # no other thread has it now
            except IndexError:
                past = None
        if past is None or past.scope() is not scope or not past.free():
            made = called.run(slots)
            out, handles = self.handles(made, scope, frame)
            self.past.append(Past(scope, handles, made))
            return out
        made = past.made
        found = called.run(slots, made)
        if found is not made:                                        # another thread was inside
            return self.wrap(found, scope, frame)
        c = frame.f_code
        code, lasti = user_frame(frame) if PACKAGE[c.co_filename] else (c, frame.f_lasti)
        handles = []
        for leaf, _, _, _, t in past.rows:
            h = t.handle()
            h.term, h.a, h.b, h.code, h.lasti = t, leaf, None, code, lasti
            handles.append(h)
        self.past.append(past)
        return handles[0] if self.single else self.form.unflatten(handles)

    def quickened(self, called: Called, avals: tuple, leaves: list[Leaf], scope: Any, code: Any) -> Quick | None:
        """The built-in for arguments like these, made once they have come a few times."""
        if self.quick is None:
            self.calls += 1
            if self.calls < SEVERAL or len(avals) != len(leaves) or PACKAGE[code.co_filename]:
                return None
            self.quick = quick.made(called, avals, self.order, self.slots, len(self.avals), KINDS)
            if self.quick is None:
                self.calls = -sys.maxsize
                return None
        if len(avals) != len(leaves) or PACKAGE[code.co_filename]:
            return None
        self.quick.renew(self.past, scope, code)
        return self.quick

    def on(self, device: Any) -> Called:
        """The plan on a device, compiled."""
        found = self.called.get(device)
        if found is None:
            into = (None,) * len(self.roots)

            def make() -> plans.Plan:
                return plans.Plan(plans.Variant(self.roots, self.sources, into, device))
            found = self.called[device] = Called(plans.find(("run", device, into, self.key), len(self.key), make))
        return found

    def scope(self) -> Any:
        """Where results go if no argument says so."""
        return self.captured_leaves[0].graph if self.captured_leaves else default_graph()

    def wrap(self, found: list[tuple[Any, int]], scope: Any, frame: Any) -> Any:
        """Arrays as tensors in the containers of the results."""
        return self.handles(found, scope, frame)[0]

    def handles(self, found: list[tuple[Any, int]], scope: Any, frame: Any) -> tuple[Any, list[Tensor]]:
        """Arrays as tensors: in the containers of the results, and in a row."""
        new = scope._handle
        made = [new(array, at, av, False, frame) for (array, at), av in zip(found, self.avals, strict=True)]
        return made[0] if self.single else self.form.unflatten(made), made

    def leaf(self, k: int, scope: Any, v: Any) -> Tensor:
        """A leaf with the value of argument k that is no leaf itself; each argument has one, written again at every call."""
        array = v._held() if isinstance(v, Tensor) else v if v.__class__ is np.ndarray else np.asarray(v, NUMBERS[type(v)]) if type(v) in NUMBERS else to_array(v, None, "compile")
        h = self.own.get(k)
        if h is None or h.a.graph is not scope or array.__class__ is not np.ndarray:
            h = scope.holding(array, sys._getframe(1))
            if array.__class__ is np.ndarray:
                self.own[k] = h
        else:
            store(h, array)
        return h


def compile(function: Callable[..., Any], static_argnums: int | Sequence[int] = (), static_argnames: str | Sequence[str] = ()) -> Callable[..., Any]:
    """The function as compiled code: traced once for every form, shape, dtype and device of its arguments.

    Arguments and results are containers of tensors, NumPy arrays and Python numbers; numbers are data (float32, int64, bool), not
    part of the code. Whatever is no data (strings, functions, None), and what `static_argnums` and `static_argnames` name, is: it must
    be hashable, and another value is another trace. Tensors from outside are read at every call, NumPy arrays from outside are
    constants. Results are tensors with memory of their own and no history: take derivatives inside (`lg.grad` in the function),
    or of the compiled function (`lg.grad(lg.compile(f))`). Memory of results that nobody holds any more serves the next ones.

    Python in the function, prints and `if` included, runs when it is traced only; asking for a value is a TraceError that
    names the line. `f.cache_info()` lists what it is compiled for.

    >>> import lazygrad as lg
    >>> @lg.compile
    ... def step(w, x, y):
    ...     loss, g = lg.value_and_grad(lambda w: ((x @ w - y) ** 2).mean())(w)
    ...     return w - 0.1 * g, loss
    >>> w, x, y = lg.zeros(2), lg.asarray([[1.0, 0.0], [0.0, 1.0]]), lg.asarray([1.0, 2.0])
    >>> for _ in range(200):
    ...     w, loss = step(w, x, y)
    >>> w.value.round(3)
    array([1., 2.], dtype=float32)
    """
    transform("compile", function)
    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    made = Compiled(function, numbers, names)
    functools.update_wrapper(made, function, updated=())          # not the state of a function that is compiled itself
    return made


def rows(args: tuple) -> tuple[tuple, list[Leaf]] | None:
    """(types, leaves) of arguments that are leaves, or lists and tuples of them (counted in the types); None for others."""
    key: list[Any] = []
    leaves: list[Leaf] = []
    for v in args:
        c = v.__class__
        if c is Tensor:
            a = v.a
            if a.__class__ is not Leaf:
                return None
            key.append(v.term.aval)
            leaves.append(a)
            continue
        if c is not list and c is not tuple:
            return None
        key.append(len(v) if c is list else -1 - len(v))
        for u in v:
            if u.__class__ is not Tensor:
                return None
            a = u.a
            if a.__class__ is not Leaf:
                return None
            key.append(u.term.aval)
            leaves.append(a)
    return tuple(key), leaves


class Static:
    """A static argument in the place of its value: containers do not look inside."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and type(self.value) is type(other.value) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))

    def __repr__(self) -> str:
        return repr(self.value)


class Compiled:
    """What `compile` makes: the function, and its entries by the kinds of arguments."""

    def __init__(self, function: Callable[..., Any], numbers: tuple[int, ...], names: tuple[str, ...]) -> None:
        self.function, self.numbers, self.names = function, numbers, names
        self.entries: dict[tuple, Entry] = {}
        self.flat: dict[tuple, tuple[Entry, Called]] = {}      # calls with leaves on the CPU as arguments, by `rows`
        self.traces = 0
        self.lock = threading.RLock()
        self.last: Callable[..., Any] | None = None            # the built-in of the last entry that has one
        self.last_form: Any = None                             # of its results, where they are not what it gives

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.last is not None and not kwargs:
            frame = sys._getframe(1)
            out = self.last(frame.f_code, frame.f_lasti, *args)
            if out is not None:
                return out if self.last_form is None else self.last_form.unflatten(out)
        if not kwargs:                                   # leaves on the CPU, alone or in lists and tuples
            found = rows(args)
            if found is not None:
                key, leaves = found
                fast = self.flat.get(key)
                if fast is not None and (not DEVICES or all([a.graph.device == "cpu" for a in leaves])):
                    entry, called = fast
                    slots = [a.slot for a in leaves]
                    if entry.order != entry.plain:
                        slots = [slots[k] if k >= 0 else s for k, s in zip(entry.order, entry.slots, strict=True)]
                    scope, frame = leaves[0].graph if leaves else entry.scope(), sys._getframe(1)
                    out = entry.call(called, slots, scope, frame)
                    if entry.small:
                        found = entry.quickened(called, key, leaves, scope, frame.f_code)
                        if found is not None:
                            self.last, self.last_form = found.call, None if entry.single or entry.flat else entry.form
                    return out
        return self._flattened(sys._getframe(1), args, kwargs)

    def _flattened(self, frame: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """A call with containers."""
        if self.numbers or self.names:
            args, kwargs = self._marked(args, kwargs)
        leaves, form = optree.tree_flatten((args, kwargs), namespace=tree.SPACE)
        key: list[Any] = [form]
        plain = True
        for v in leaves:
            c = v.__class__
            if c is Tensor or c is DeepTensor:
                t = v.term
                key.append(t.aval)
                if v.a.__class__ is not Leaf:
                    plain = False
                elif DEVICES:
                    key.append(DEVICES.get(t.graph))
            elif c is np.ndarray:
                key.append((v.shape, v.dtype))
            elif c in NUMBERS:
                key.append(c)
            else:
                plain = False
                key.append(None)
        try:
            entry = self.entries[tuple(key)] if plain else None
        except (KeyError, TypeError):
            entry = None
        if entry is None:
            return _called(*user_frame(frame), self, args, kwargs)
        return self.run(entry, leaves, frame)

    def run(self, entry: Entry, leaves: list[Any], frame: Any) -> Any:
        """One call on leaves that the entry is made for."""
        slots = list(entry.slots)
        scope = None
        for i, k in entry.takes:
            v = leaves[k]
            if v.__class__ in HANDLES and v.a.__class__ is Leaf:
                slots[i] = v.a.slot
                if scope is None:
                    scope = v.a.graph
        if scope is None:
            scope = next((v.a.graph for v in leaves if v.__class__ in HANDLES and v.a.__class__ is Leaf), None) or entry.scope()
        with entry.lock:
            held = []
            for i, k in entry.takes:
                v = leaves[k]
                if not (v.__class__ in HANDLES and v.a.__class__ is Leaf):
                    h = entry.leaf(k, scope, v)
                    held.append(h)
                    slots[i] = h.a.slot
            called = entry.called.get(scope.device) or entry.on(scope.device)
            if held:
                found = called.run(slots)                    # their leaves are written again by the next call
        return entry.wrap(found, scope, frame) if held else entry.call(called, slots, scope, frame)

    # -- the first call with arguments of a kind, and calls inside of other transforms

    def _marked(self, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """The arguments with static ones wrapped."""
        names = self.names
        if names and args:
            given = list(inspect.signature(self.function).parameters)
            at = {given.index(n) for n in names if n in given}
        else:
            at = set()
        at |= {n % len(args) if args else n for n in self.numbers}
        return (tuple([Static(a) if i in at else a for i, a in enumerate(args)]), {k: Static(v) if k in names else v for k, v in kwargs.items()})

    def cache_info(self) -> CacheInfo:
        """What the function is compiled for."""
        return CacheInfo(self.traces, [" ".join(map(_text, k)) for k in self.entries])

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else functools.partial(self, instance)


def _text(part: Any) -> str:
    return part.__name__ if isinstance(part, type) else tree.text(part) if isinstance(part, optree.PyTreeSpec) else str(part)


def kind(v: Any) -> Aval | None:
    """The type of a leaf that is data; None for what is static."""
    if isinstance(v, Tensor):
        return v.term.aval
    if type(v) in NUMBERS:
        return aval((), NUMBERS[type(v)])
    if isinstance(v, Static) or not T.is_data(v):
        return None
    array = to_array(v, None, "compile")
    return aval(array.shape, array.dtype)


@guarded
def _called(code: Any, at: int, self: Compiled, args: tuple, kwargs: dict[str, Any]) -> Any:
    leaves, form = tree.flatten((args, kwargs))
    avals = [kind(v) for v in leaves]
    traced = _placeholders([v.term for v in leaves if isinstance(v, Tensor)])
    key: list[Any] = [form]
    for v, av in zip(leaves, avals, strict=True):
        if av is not None:
            key.append(av if isinstance(v, Tensor) else type(v) if type(v) in NUMBERS else (av.shape, av.dtype))
            if isinstance(v, Tensor) and DEVICES and not traced:
                key.append(DEVICES.get(v.term.graph))
            continue
        if not isinstance(v, Static):
            v = Static(v)
        try:
            hash(v)
        except TypeError:
            raise StructureError("compile", type(v.value).__name__, "a static argument must be hashable", "pass arrays as data, the rest as tuples") from None
        key.append(v)
    entry = self.entries.get(tuple(key))
    if entry is None:
        with self.lock:
            entry = self.entries.get(tuple(key))
            if entry is None:
                entry = _traced(code, at, self, leaves, avals, form)
                if _placeholders(entry.roots):                # it closes over what an outer transform traces: good for this call only
                    traced = True
                else:
                    _warn(self, tuple(key))
                    self.entries[tuple(key)] = entry
    if traced:
        return _inlined(code, at, entry, leaves, avals)
    try:
        out = self.run(entry, [v for v, av in zip(leaves, avals, strict=True) if av is not None], _frame())
        found = None if kwargs or "cpu" not in entry.called else rows(args)
        if found is not None:
            self.flat[found[0]] = entry, entry.called["cpu"]
        return out
    except IndexingError as error:
        T.noted(error, code, at)
        raise


def _frame() -> Any:
    """The user's frame."""
    frame = sys._getframe(1)
    while PACKAGE[frame.f_code.co_filename] and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _placeholders(terms: Sequence[Term]) -> bool:
    """Whether these Terms depend on what a transform is tracing."""
    return any([t.op is source and t.params[0] <= T.PLACEHOLDER for t in toposort([t for t in terms if t.op is not source or t.params[0] < 0])])


def _traced(code: Any, at: int, self: Compiled, leaves: list[Any], avals: list[Aval | None], form: Any) -> Entry:
    """Runs the function on placeholders."""
    self.traces += 1
    scopes = {h.term.graph for h in leaves if isinstance(h, Tensor) and h.term.graph is not None}
    if len({DEVICES.get(s, "cpu") for s in scopes}) > 1:
        raise GraphError("compile", " and ".join(sorted({str(DEVICES.get(s, "cpu")) for s in scopes})), "arguments lie on two devices", "move them to one with x.to(device)")
    with T.Trace("compile", concrete=False) as trace:
        number = T.number_of(leaves)
        places = [v.value if isinstance(v, Static) else v if av is None else trace.placeholder_in(number, av) for v, av in zip(leaves, avals, strict=True)]
        args, kwargs = tree.unflatten(form, places)
        del places
        out = trace.call(self.function, args, kwargs)
        del args, kwargs
        found, out_form = tree.flatten(out)
        strange = [type(v).__name__ for v in found if not T.is_data(v)]
        if strange:
            raise StructureError("compile", strange[0], "the function must return arrays and numbers", "return what is known without it from another function")
        graph = T.of_same_graph(*found)
        handles = [T.tensor_of(v, "compile", graph) for v in found]
        terms = [h.term for h in handles]
        captured = T.captured(terms, trace.terms, handles)
        roots = T.inside(terms, trace.terms, [parameter(k, t.aval) for k, t in enumerate(trace.terms)])
        entry = Entry.__new__(Entry)
        if _placeholders(roots):
            entry.roots, entry.form, entry.captured = list(roots), out_form, captured
            return entry
        leaf_tensors = _leaves(captured)
        entry.__init__(list(roots), out_form, [*captured, *leaf_tensors], len(trace.terms))
    return entry


def _leaves(handles: Sequence[Tensor]) -> list[Tensor]:
    """The leaves that these tensors read."""
    return [h for h in history(*handles) if h.a.__class__ is Leaf]


def _inlined(code: Any, at: int, entry: Entry, leaves: list[Any], avals: list[Aval | None]) -> Any:
    """The results as expressions of the arguments: inside of another transform."""
    data = [v for v, av in zip(leaves, avals, strict=True) if av is not None]
    graph = T.of_same_graph(*data)
    handles = [T.tensor_of(np.asarray(v, NUMBERS[type(v)]) if type(v) in NUMBERS else v, "compile", graph) for v in data]
    places = [parameter(k, h.term.aval) for k, h in enumerate(handles)]
    terms = T.inside(entry.roots, places, [h.term for h in handles])
    return tree.unflatten(entry.form, T.wrapped(terms, [*handles, *entry.captured], code, at))


def _warn(self: Compiled, key: tuple) -> None:
    if len(self.entries) != MANY:
        return
    last = list(self.entries)[-1]
    changed = [f"{_text(a)} became {_text(b)}" for a, b in zip(last, key, strict=False) if a != b] or [f"{len(last)} parts became {len(key)}"]
    warnings.warn(RetraceWarning(f"compile: {getattr(self.function, '__name__', 'the function')} was traced {self.traces} times; the last time {changed[0]}: "
                                 "pad what changes its shape, pass numbers as data"), stacklevel=6)


__all__ = ["Compiled", "RetraceWarning", "compile"]

"""Graph: a scope of leaves with a device, names and settings. It owns no node: an expression lives as long as its handles.

In: data. Out: leaf tensors, plans over several tensors (`forward`, `compile`), and the graph as text or picture.
"""

from __future__ import annotations

import heapq
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import remembered
from .context import PACKAGE, user_frame
from .data import dtype_of, to_array
from .errors import DataError, DeviceError, GraphError
from .ir.aval import Aval, aval
from .ir.term import MEMOS, SWEEPS, Term
from .prims import leaf as leaves
from .runtime import gradients, plans, tiers
from .runtime.arrays import duplicate, host, place
from .runtime.devices import DEVICES, resolve
from .runtime.memory import allocate
from .runtime.slots import Leaf, states
from .tensor import LAST, Tensor, _function, adopt, graph_of, holds_tensors, now, repr_short, store, touch

GRAPHS: weakref.WeakValueDictionary[int, Scope] = weakref.WeakValueDictionary()
REMEMBERED = 4                       # graphs whose last backward is kept for gradients of intermediates
_numbers: dict[Any, list[int]] = {}        # recycled numbers of scopes, by device
_made = 0
_lock = threading.RLock()
_default: Graph | None = None

LEAVES: dict[tuple, Term] = {}       # (slot, graph, aval, wants a gradient) -> source Term
UPDATES: dict[tuple, plans.Binding] = {}
MEMOS.extend((LEAVES, UPDATES))


class Scope:
    """The leaves of one graph on one device, with a number of its own: Terms carry it, so operands of two graphs or two devices
    are told apart by one comparison. A Graph is the scope of its own device."""

    owner: Any

    def __init__(self, owner: Graph | None, device: Any) -> None:
        global _made
        if owner is not None:
            self.owner = owner
        self.device = device
        self.slots: set[int] = set() if owner is None else owner.slots
        with _lock:                  # numbers are recycled: a fresh graph each step finds last step's Terms
            key = device if device == "cpu" else id(device)
            free = _numbers.setdefault(key, [])
            if free:
                self.number = heapq.heappop(free)
            else:
                self.number, _made = _made, _made + 1
            self.key = key
            if device != "cpu":
                DEVICES[self.number] = device
            GRAPHS[self.number] = self
            dropped = [LAST.pop(next(iter(LAST)), None) for _ in range(len(LAST) - REMEMBERED)]
        del dropped
        if device != "cpu":
            remembered.made_on(device)

    def __del__(self) -> None:
        if _numbers is not None and hasattr(self, "key"):      # None: interpreter shutdown
            heapq.heappush(_numbers[self.key], self.number)

    def leaf(self, array: np.ndarray, requires_grad: bool, frame: Any) -> Tensor:
        """A leaf with a copy of `array`. DTypeError where the device has no values of its dtype."""
        av = aval(array.shape, array.dtype)
        if self.device == "cpu":
            mine, at = allocate(av)
            mine[...] = array
        else:
            from .runtime.gpu import check_dtype
            check_dtype(self.device, av.dtype, "tensor")
            mine, at = place(array, self.device, av)
        return self._handle(mine, at, av, requires_grad, frame)

    def over(self, array: Any, at: int, av: Aval, frame: Any) -> Tensor:
        """A leaf that shares `array` (a DeviceArray, or aligned and padded at address `at`), without gradient."""
        return self._handle(array, at, av, False, frame)

    def holding(self, array: Any, frame: Any) -> Tensor:
        """A leaf with a copy of an array of this scope's device, without gradient."""
        if array.__class__ is np.ndarray:            # of the host, or what the host has computed
            return self.leaf(array, False, frame)
        return self._handle(duplicate(array), 0, array.aval, False, frame)

    def _handle(self, array: Any, at: int, av: Aval, requires_grad: bool, frame: Any) -> Tensor:
        a = Leaf(self, array, at, av)
        key = (a.slot, self.number, av, requires_grad)
        t = LEAVES.get(key)
        if t is None:
            t = LEAVES[key] = leaves.leaf(a.slot, self.number, av, requires_grad)
        h = t.handle()
        h.term, h.a, h.b = t, a, None
        c = frame.f_code
        if PACKAGE[c.co_filename]:
            h.code, h.lasti = user_frame(frame)
        else:
            h.code, h.lasti = c, frame.f_lasti
        return h

    def __repr__(self) -> str:
        return f"Graph({self.owner.number}, device='{self.device}')"


class Graph(Scope):
    """A scope of tensors.

    `device`: "cpu", "gpu", "gpu:1" or a WgpuDevice; where tensors are made unless they say otherwise.

    >>> graph = Graph()
    >>> x, y = graph.tensor([1.0, 2.0]), graph.tensor([3.0, 4.0])
    >>> z = (x + y) * x
    >>> z.backward()
    >>> z.value, x.grad.value, y.grad.value
    (array([ 4., 12.], dtype=float32), array([5., 8.], dtype=float32), array([1., 2.], dtype=float32))
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.others: Any = {}                # scopes on other devices by device; weak once there is one
        self.permanent: set[Scope] | tuple = ()
        super().__init__(None, resolve(device))

    @property
    def owner(self) -> Graph:
        """The graph of this scope: itself (an attribute would be a cycle)."""
        return self

    def on(self, device: Any) -> Scope:
        """The scope of this graph's tensors on a device; lives as long as one of them."""
        device = resolve(device)
        if device == self.device:
            return self
        key = device if device == "cpu" else id(device)
        found = self.others.get(key)
        if found is None:
            self.others = self.others or weakref.WeakValueDictionary()
            found = self.others[key] = Scope(self, device)
        return found

    def kept(self, device: Any) -> Scope:
        """`on(device)`, kept as long as this graph: for expressions without leaves."""
        found = self.on(device)
        if found is not self:
            self.permanent = {*self.permanent, found}
        return found

    def numbers(self) -> list[int]:
        """The numbers of all scopes of this graph."""
        return [self.number, *[s.number for s in self.others.values()]]

    # -- leaves

    def tensor(self, obj: Any, dtype: Any = None, device: Any = None, name: str | None = None, requires_grad: bool = True) -> Tensor:
        """A leaf with a copy of `obj`: numbers, nested lists, NumPy arrays, anything with `__array__` or `__dlpack__`.

        Python floats become float32, integers int64; arrays keep their dtype. Integers and booleans never want a gradient.
        `device`: the graph's own if left out. Raises DataError for what is no array of numbers, DTypeError for an unknown
        dtype or one that the device lacks.
        """
        scope = self if device is None else self.on(device)
        h = scope.leaf(to_array(obj, dtype), requires_grad, sys._getframe(1))
        if name is not None:
            h._name = name
        return h

    def zero_grad(self) -> None:
        """Forgets the gradients of all tensors of the graph."""
        for slot in [s for s in self.slots if states[s]]:
            gradients.forget(slot)
        for number in self.numbers():
            LAST.pop(number, None)

    # -- plans over several tensors

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Computes several tensors in one plan and returns them."""
        roots = tuple([h.term for h in tensors])
        self._mine("forward", tensors)
        binding = UPDATES.get(roots)
        if binding is None:
            roots = tuple(plans.known(roots))
            binding = UPDATES[roots] = plans.values(roots)
        stamp = now()
        for h, array in zip(tensors, binding.run(), strict=True):
            h._value, h.stamp = array, stamp
        return tensors

    def compile(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor] | Tensor, updates: Sequence[tuple[Tensor, Any]] = ()) -> Prepared:
        """A prepared function of leaves: `f(*values)` sets the inputs, computes the outputs and writes the updates.

        `updates`: pairs (leaf, new tensor); all are computed from the old values. The function returns Python numbers for
        0-d outputs and new NumPy arrays otherwise, a tuple if `outputs` holds several. The inputs' own values do not change
        (but for an input that is also updated).

        >>> g = Graph()
        >>> x, n = g.tensor(0.0), g.tensor(0)
        >>> f = g.compile([x], [x * x], updates=[(n, n + 1)])
        >>> f(3.0), f(4.0), n.item()
        (9.0, 16.0, 2)
        """
        outs = tuple(outputs) if isinstance(outputs, (list, tuple)) else (outputs,)
        many = len(outs) != 1
        self._mine("compile", [*inputs, *outs])
        pairs = [(old, new if isinstance(new, Tensor) else self.tensor(new, old.dtype, requires_grad=False)) for old, new in updates]
        self._mine("compile", [h for pair in pairs for h in pair])
        for h in [*inputs, *(old for old, _ in pairs)]:
            if not h.is_leaf:
                raise GraphError("compile", repr_short(h), "inputs and targets of updates must be leaves", "make it with graph.tensor")
        for old, new in pairs:
            old._check(new.shape, new.dtype)
        return Prepared(self, tuple(inputs), outs, [(old, _as_dtype(new, old)) for old, new in pairs], many)

    def _mine(self, op: str, tensors: Sequence[Tensor]) -> None:
        for h in tensors:
            if not isinstance(h, Tensor):
                raise DataError(op, type(h).__name__, "a tensor is expected")
            if h.term.graph is not None and h.term.graph != self.number and h.graph is not self:
                raise GraphError(op, f"{self!r} with a tensor of {h.graph!r}", "the tensor belongs to another graph")
        found = {h.device: h for h in tensors if h.term.graph is not None}
        if len(found) > 1:
            raise DeviceError(op, " and ".join(map(str, found)), "the tensors lie on two devices", "move them to one with x.to(device)")

    # -- to look at

    def tensors(self) -> list[Tensor]:
        """The live tensors of this graph, operands before users."""
        from .picture import live
        return live(self)

    def __str__(self) -> str:
        from .picture import listing
        return listing(self)

    def to_dot(self) -> str:
        """The graph in Graphviz's language."""
        from .picture import dot
        return dot(self)

    def _repr_svg_(self) -> str:
        from .picture import svg
        return svg(self)

    def _repr_html_(self) -> str:
        from .picture import html
        return html(self)

    def explain(self, z: Tensor, *more: Tensor) -> str:
        """What becomes of `z`: terms, passes, kernels, code, buffers and bytes, as text."""
        from .picture import explain
        return explain((z, *more))

    def profile(self, *tensors: Tensor, rounds: int = 10) -> str:
        """The time of every kernel of the tensors' plan, slowest first, as text; of the last backward if none are given.

        On a CPU also what share of the machine's own speed a kernel reaches: of copying memory that no cache holds (more than 100 % where its
        data lies in one), or of multiplying float32 or float64 matrices, whichever is more. Both are measured once, in 0.1 s.
        """
        from .runtime.profile import profile
        self._mine("profile", tensors)
        roots = plans.known([h.term for h in tensors])
        if not tensors:
            last = next((LAST[n] for n in self.numbers() if n in LAST), None)
            if last is None:
                raise GraphError("profile", repr(self), "nothing was run backward yet", "name the tensors: graph.profile(z)")
            root, ct = last if last.__class__ is tuple else (last, None)
            (top,) = plans.known([root.term])
            leaves_ = [t for t in plans.canonical([top])[1] if t.needs_grad]
            found = plans.derivative(top, None if ct is None else ct.term, leaves_)
            roots = [top, *(g for g in found if g is not None)]
        rows = profile(roots, plans.canonical(roots)[1], rounds, plans.device_among(roots))
        total = sum(r.seconds for r in rows)
        return "\n".join([f"{total * 1e6:10.1f} us  in {len(rows)} steps", *map(str, sorted(rows, key=lambda r: -r.seconds))])


def default_graph() -> Graph:
    """The graph of `lazygrad.tensor` and `lazygrad.asarray`."""
    global _default
    if _default is None:
        with _lock:
            if _default is None:
                _default = Graph()
    return _default


def _as_dtype(new: Tensor, old: Tensor) -> Tensor:
    return new if new.dtype == old.dtype else _function("astype")(new, old.dtype)


def update(h: Tensor, new: Tensor) -> None:
    """Computes `new` into the leaf `h`."""
    if new.term.graph is not None and new.term.graph != h.term.graph:
        if new.graph is h.graph:
            raise DeviceError("set", f"{h.device} with {new.device}", "the tensors lie on two devices", f"move it: x.to('{h.device}')")
        raise GraphError("set", f"{h.graph!r} with a tensor of {new.graph!r}", "the tensors belong to two graphs")
    new = _as_dtype(new, h)
    key = (h.term, new.term)
    binding = UPDATES.get(key)
    if binding is None:
        key = h.term, *plans.known([new.term])
        binding = UPDATES[key] = plans.values((), [key])
    binding.run()


class Prepared:
    """A function made by `Graph.compile`. It keeps the tensors it was made of alive; its arguments go to leaves of its own."""

    def __init__(self, graph: Graph, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], pairs: list[tuple[Tensor, Tensor]],
                 many: bool) -> None:
        self.graph, self.declared, self.outputs, self.pairs, self.many = graph, inputs, outputs, pairs, many
        updated = {old.a.slot for old, _ in pairs}
        frame = sys._getframe(1)
        # an argument does not change its leaf, unless the leaf is updated as well
        self.inputs = tuple([h if h.a.slot in updated else graph_of(h).holding(h._held(), frame) for h in inputs])
        self.slots = [h.a.slot for h in self.inputs]
        self.binding = plans.values([h.term for h in outputs], [(old.term, new.term) for old, new in pairs],
                                    moved={h.a.slot: slot for h, slot in zip(inputs, self.slots, strict=True)})
        self.scalars = [not h.ndim for h in outputs]
        self.fast: Callable | None = None
        if getattr(self.binding.plan, "device", None) != "cpu":
            self.binding.go_native()
        elif tiers.native():
            self.binding.go_native()
            if not updated.intersection(self.slots):
                self.fast = tiers.bind_numbers(self.binding.plan, self.binding.slots, self.binding.targets, self.slots,
                                               [h.term.aval for h in self.inputs], many, _Slow(self))

    def __call__(self, *args: Any) -> Any:
        """Runs on the arguments: Python numbers for 0-d outputs, new NumPy arrays otherwise."""
        out = self.general(*args) if self.fast is None else self.fast(*args)
        if self.pairs:
            touch()
        return out

    def general(self, *args: Any) -> Any:
        """The way for arguments of any kind."""
        if len(args) != len(self.inputs):
            raise DataError("compile", f"{len(args)} arguments", f"{len(self.inputs)} inputs were declared")
        for h, v in zip(self.inputs, args, strict=True):
            store(h, v._held() if isinstance(v, Tensor) else v)
        found = self.binding.run()
        own = self.binding.handed(found)
        out = [a.item() if scalar else a if own else a.copy() for a, scalar in zip(map(host, found), self.scalars, strict=True)]
        return tuple(out) if self.many else out[0]


class _Slow:
    """The general way, without keeping the prepared function alive through its own built-in."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = weakref.ref(prepared)

    def __call__(self, *args: Any) -> Any:
        return self.prepared().general(*args)


def tensor(obj: Any, dtype: Any = None, device: Any = None, name: str | None = None, requires_grad: bool = True) -> Tensor:
    """A leaf of the default graph; see `Graph.tensor`.

    >>> tensor([1.0, 2.0])
    Tensor([1., 2.], dtype=float32, device=cpu)
    """
    h = default_graph().tensor(obj, dtype, device, name, requires_grad)
    h.code, h.lasti = user_frame(sys._getframe(1))
    return h


def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """`obj` as a tensor: itself if it is one (cast if another dtype is asked for), the stack of a list with tensors in it, else a leaf
    of the default graph.

    Raises ValueError for `copy=False` on anything but a tensor: values are always copied in.
    """
    if isinstance(obj, Tensor):
        if device is not None:
            obj = obj.to(device)
        same = dtype is None or dtype_of(dtype) == obj.dtype
        if copy:
            return obj.graph.tensor(obj, dtype, obj.device)
        return obj if same else _function("astype")(obj, dtype_of(dtype))
    if obj.__class__ in (list, tuple) and holds_tensors(obj):
        return asarray(adopt(obj, default_graph(), "asarray"), dtype=dtype, device=device)
    if copy is False:
        raise DataError("asarray", type(obj).__name__, "values from outside are always copied", "leave copy out")
    h = default_graph().tensor(obj, dtype, device)
    h.code, h.lasti = user_frame(sys._getframe(1))
    return h


def _sweep() -> None:
    """Bound plans go with the Terms; nothing else is kept here."""
    UPDATES.clear()


SWEEPS.append(_sweep)

"""Tensor: a small mutable handle on an immutable Term. It holds its operands (which keep leaves alive), the user's position
in the source, and the value once it was computed. Operators and methods are attached by `lift.operation`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import dtypes
from .context import PACKAGE, no_grad, source_line, user_frame
from .data import dtype_of, to_array
from .errors import (
    DataError,
    DeviceError,
    DTypeError,
    GradientError,
    GraphError,
    IndexingError,
    LazygradError,
    LinAlgError,
    ShapeError,
)
from .ir.term import Term, register_handles, release
from .prims.base import REGISTRY
from .runtime import gradients, plans, slots
from .runtime.arrays import DeviceArray, assign, duplicate, host
from .runtime.devices import device_of, resolve
from .runtime.slots import BUFFERS, Leaf

STAMP = 0                                  # moves whenever the data of any leaf changes
DEEP = 256                                 # depth from which `forward` starts from values that are known, not from the leaves
AT_RUN_TIME = (IndexingError, LinAlgError)         # errors that depend on values: the line is found in the history
LAST: dict[int | None, Any] = {}           # graph number -> the root of its last backward, or (root, cotangent)


def touch() -> None:
    """Marks every computed value as possibly stale."""
    global STAMP
    STAMP = slots.tick()


def now() -> int:
    """The present stamp."""
    return STAMP


def graph_of(h: Tensor | None) -> Any:
    """The Scope of a handle: its graph on its device; the default graph of none."""
    from .graph import GRAPHS, default_graph
    if h is None or h.term.graph is None:
        return default_graph()
    return GRAPHS[h.term.graph]


def adopt(obj: Any, graph: Any, op: str) -> Tensor:
    """Data that stands beside a tensor: a leaf of its graph that wants no gradient; a list with tensors in it: their stack."""
    if obj.__class__ in (list, tuple) and holds_tensors(obj):
        return _function("stack")([adopt(v, graph, op) if not isinstance(v, Tensor) else v for v in obj])
    return graph.leaf(to_array(obj, None, op), False, sys._getframe(1))


def holds_tensors(items: Any) -> bool:
    """Whether a nested list has a tensor in it."""
    stack = [items]
    while stack:
        for v in stack.pop():
            if isinstance(v, Tensor):
                return True
            if v.__class__ in (list, tuple):
                stack.append(v)
    return False


def wrap(term: Term, a: Any = None, b: Any = None) -> Tensor:
    """A handle on `term` whose history goes through the handles `a` and `b` (a tuple where there are more)."""
    h = term.handle()
    h.term, h.a, h.b = term, a, b
    h.code, h.lasti = user_frame(sys._getframe(1))
    return h


# ---- the handle -----------------------------------------------------------------------------------------------------

class Tensor:
    """An array that is not computed yet, or is: an expression over the leaves of a graph.

    Made by `graph.tensor`, `lazygrad.tensor` and by operations on tensors. Nothing runs before `forward`, `backward`, or a
    look at a value.
    """

    __slots__ = ("__weakref__", "_name", "_value", "a", "b", "code", "lasti", "stamp", "term")
    links = ("a", "b", "term")
    __array_priority__ = 1000
    __hash__ = object.__hash__
    term: Term

    # -- what it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.term.aval.shape

    @property
    def dtype(self) -> np.dtype:
        return self.term.aval.dtype

    @property
    def ndim(self) -> int:
        return self.term.aval.ndim

    @property
    def size(self) -> int:
        return self.term.aval.size

    @property
    def nbytes(self) -> int:
        return self.term.aval.nbytes

    @property
    def itemsize(self) -> int:
        """The bytes of an element."""
        return self.term.aval.dtype.itemsize

    @property
    def device(self) -> Any:
        """"cpu", or the WgpuDevice that the tensor lies on."""
        return device_of(self.term.graph)

    @property
    def graph(self) -> Any:
        return graph_of(self).owner

    @property
    def requires_grad(self) -> bool:
        """Whether a derivative flows from here to a leaf that wants one."""
        return self.term.needs_grad

    @property
    def is_leaf(self) -> bool:
        return self.a.__class__ is Leaf

    @property
    def name(self) -> str | None:
        return getattr(self, "_name", None)

    @name.setter
    def name(self, name: str | None) -> None:
        self._name = name

    @property
    def T(self) -> Tensor:
        """The transpose: all axes reversed."""
        return _function("permute_dims")(self, tuple(range(self.ndim))[::-1])

    @property
    def mT(self) -> Tensor:
        """The transpose of each matrix: the last two axes swapped."""
        return _function("matrix_transpose")(self)

    # -- running

    def forward(self) -> Tensor:
        """Computes the tensor and returns it."""
        t, stamp = self.term, STAMP
        call = t.forward
        if call is None:
            if t.depth > DEEP:
                from .history import computed_above
                found = computed_above(self, stamp)
                if found is not None:
                    self._value, self.stamp = found, stamp
                    return self
            call = plans.forward(t)
        try:
            self._value = call()
        except AT_RUN_TIME as error:
            self._blame(error)
            raise
        self.stamp = stamp
        return self

    def _blame(self, error: IndexingError | LinAlgError | GradientError) -> None:
        from .history import blame
        blame(self, error)

    def backward(self, ct: Any = None, create_graph: bool = False) -> None:
        """Adds the gradient of `(self * ct).sum()` to `.grad` of every leaf that wants one; computes the value as well.

        `ct`: an array of this shape, ones if left out. With `create_graph` the gradients are expressions that can be
        differentiated again. Raises GradientError where no derivative exists, ShapeError for a `ct` of another shape.
        """
        t = self.term
        if ct is None and not create_graph:
            call = t.backward
            if call is None:
                self._differentiable("backward")
                try:
                    call = plans.backward(t)
                except GradientError as error:                # a derivative that some op has not
                    self._blame(error)
                    raise
            stamp = STAMP
            try:
                self._value = call()
            except AT_RUN_TIME as error:
                self._blame(error)
                raise
            self.stamp = stamp
            LAST[t.graph] = self
            return
        self._differentiable("backward")
        cotangent = None if ct is None else self._cotangent(ct)
        if create_graph:
            from .history import accumulate_symbolic
            accumulate_symbolic(self, cotangent)
        else:
            assert cotangent is not None
            call = plans.WITH_COTANGENT.get((t, cotangent.term)) or plans.backward(t, cotangent.term)
            stamp = STAMP
            try:
                self._value = call()
            except AT_RUN_TIME as error:
                self._blame(error)
                raise
            self.stamp = stamp
        LAST[t.graph] = self if cotangent is None else (self, cotangent)

    def gradient(self, *xs: Tensor, ct: Any = None) -> tuple[Tensor, ...]:
        """The gradients of `(self * ct).sum()` with respect to `xs` as expressions: nothing runs, and they can be
        differentiated again. Zeros for an `x` that `self` does not depend on.

        >>> import lazygrad as lg
        >>> x = lg.tensor(3.0)
        >>> (g,) = (x * x * x).gradient(x)
        >>> g.item(), g.gradient(x)[0].item()
        (27.0, 18.0)
        """
        from .history import symbolic
        self._differentiable("gradient")
        try:
            return symbolic(self, xs, None if ct is None else self._cotangent(ct))
        except GradientError as error:                        # a derivative that some op has not
            self._blame(error)
            raise

    def _differentiable(self, op: str) -> None:
        if not self.term.needs_grad:
            if self.dtype.kind not in "fc":
                raise GradientError(op, repr_short(self), f"{self.dtype} values have no derivative", "differentiate a floating tensor")
            raise GradientError(op, repr_short(self), "it depends on no tensor that requires a gradient",
                                "make one with requires_grad=True, and outside of no_grad")

    def _cotangent(self, ct: Any) -> Tensor:
        if not isinstance(ct, Tensor):
            array = to_array(ct, op="backward")
            if array.shape != self.shape:
                raise ShapeError("backward", f"a cotangent of shape {array.shape}", f"the tensor's shape is {self.shape}", "pass an array of that shape")
            return graph_of(self).leaf(to_array(array, self.dtype, "backward"), False, sys._getframe(2))
        if ct.term.graph is not None and ct.term.graph != self.term.graph:
            raise mismatch("backward", self, ct)
        if ct.shape != self.shape:
            raise ShapeError("backward", f"a cotangent of shape {ct.shape}", f"the tensor's shape is {self.shape}", "pass an array of that shape")
        return ct if ct.dtype == self.dtype else _function("astype")(ct, self.dtype)

    def _held(self) -> Any:
        """The present value where it lies, computed if need be: not to be kept, nor written."""
        a = self.a
        if a.__class__ is Leaf:
            return BUFFERS[a.slot]
        if getattr(self, "stamp", -1) != STAMP:
            self.forward()
        found = self._value
        return BUFFERS[self.term.params[0]] if found is None else found      # None: an expression that is just a leaf

    def _array(self) -> np.ndarray:
        """The present value on the host, without a copy if it is there: not to be kept, nor written."""
        found = self._held()
        if found.__class__ is np.ndarray:
            return found
        try:
            return found.numpy()
        except AT_RUN_TIME as error:                  # a GPU reports an index error when a value is read
            self._blame(error)
            raise

    @property
    def value(self) -> np.ndarray:
        """The value as a NumPy array of its own (a copy); computed if it is not known."""
        found = self._held()
        return found.copy() if found.__class__ is np.ndarray else self._array()

    def explain_nan(self) -> str:
        """The first operation that made a NaN or an infinity here: its line and the ranges of its operands, as text."""
        from .nans import explain_nan
        return explain_nan(self)

    # -- gradients

    @property
    def grad(self) -> Tensor | None:
        """The gradient after `backward`, None before.

        Of a leaf it accumulates over calls; once read it is a snapshot that never changes. Of any other tensor it is that of
        the graph's last backward, computed when it is read, at the present values of the leaves.
        """
        a = self.a
        if a.__class__ is not Leaf:
            from .history import of_intermediate
            return of_intermediate(self)
        slot = a.slot
        if not slots.states[slot]:
            return None
        view = slots.VIEWS[slot]
        array = gradients.shown(slot)
        if view is None and array is not None:
            view = slots.VIEWS[slot] = a.graph.over(array, slots.grads[slot], self.term.aval, sys._getframe(1))
        return view

    @grad.setter
    def grad(self, value: Any) -> None:
        a = self.a
        if a.__class__ is not Leaf:
            raise GradientError("grad", repr_short(self), "only a leaf's gradient can be set")
        if value is None:
            gradients.forget(a.slot)
            return
        array = value._held() if isinstance(value, Tensor) else to_array(value, op="grad")
        if array.shape != self.shape:
            raise ShapeError("grad", f"shape {array.shape}", f"the tensor's shape is {self.shape}")
        gradients.put(a.slot, self.term.aval, duplicate(array))

    def set(self, new: Any) -> Tensor:
        """Gives a leaf new values, in place: an array, a number, or a tensor (computed into the leaf). Returns the leaf.

        Raises ShapeError for another shape, DTypeError where the values do not fit the dtype, GraphError off leaves.
        """
        a = self.a
        if a.__class__ is not Leaf:
            raise GraphError("set", repr_short(self), "only leaves have values of their own", "set one of the tensors it was computed from")
        if isinstance(new, Tensor):
            self._check(new.shape, new.dtype)
            if new.term is not self.term:
                from .graph import update
                update(self, new)
        else:
            store(self, new)
        touch()
        return self

    def _check(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        if shape != self.shape:
            raise ShapeError("set", f"values of shape {shape}", f"the leaf's shape is {self.shape}", "make a new tensor")
        if not np.can_cast(dtype, self.dtype, "same_kind"):
            raise DTypeError("set", f"values of dtype {dtype}", f"the leaf's dtype is {self.dtype}", f"cast them with astype({self.dtype.name!r})")

    def detach(self) -> Tensor:
        """The same values, through which no derivative flows."""
        return _function("stop_gradient")(self)

    def to(self, device: Any) -> Tensor:
        """The tensor on another device: itself if it is there already.

        The result is an expression like any other: it follows its source, and derivatives flow back through it.
        """
        device = resolve(device)
        if device == self.device:
            return self
        source = self.term.graph
        scope = self.graph.kept(device) if source is None else self.graph.on(device)
        if device != "cpu":
            from .runtime.gpu import check_dtype
            check_dtype(device, self.dtype, "to")
        return wrap(REGISTRY["place"](self.term, scope=scope.number, source=source), self, scope)       # the handle keeps the scope

    # -- as Python and NumPy see it

    def item(self) -> bool | int | float | complex:
        """The only element as a Python number; ShapeError where there are more."""
        if self.size != 1:
            raise ShapeError("item", repr_short(self), f"{self.size} elements are not one number", "index it first")
        return self._array().item()

    def tolist(self) -> Any:
        return self._array().tolist()

    def numpy(self) -> np.ndarray:
        return self.value

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError("bool", repr_short(self), f"the truth of {self.size} elements is ambiguous", "use .any() or .all()")
        return bool(self._array().item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.ndim:
            raise DTypeError("index", repr_short(self), "only integer scalars index")
        return int(self._array())

    def __len__(self) -> int:
        if not self.ndim:
            raise DataError("len", repr_short(self), "a scalar has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise DataError("iter", repr_short(self), "a scalar cannot be iterated over")
        return (self[i] for i in range(self.shape[0]))

    def __contains__(self, v: Any) -> bool:
        return bool(np.any(self._array() == (v._array() if isinstance(v, Tensor) else v)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a tensor's values can only be copied: np.array(x)")
        return np.array(self._array(), dtype)

    def to_device(self, device: Any, /, *, stream: Any = None) -> Tensor:
        """`to(device)`, under the Array API's name. DeviceError for a stream: devices here have none."""
        if stream is not None:
            raise DeviceError("to_device", f"stream={stream!r}", "devices here have no streams", "leave it out")
        return self.to(device)

    def __dlpack__(self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None) -> Any:
        """A DLPack capsule over a host copy of the values; BufferError for another device.

        With `copy=False` it shares the memory that the values lie in now (a later run may write there); BufferError on a GPU.
        """
        if copy is False and self.device != "cpu":
            raise BufferError(f"values on {self.device} must be copied to the host: leave copy out")
        array = self._array() if copy is False else self.value
        return array.__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        import lazygrad
        return lazygrad

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from .interop import ufunc_call
        return ufunc_call(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from .interop import function_call
        return function_call(func, types, args, kwargs)

    def __setitem__(self, key: Any, value: Any) -> None:
        rebind(self, _function("setitem")(copied(self), key, value))

    def __reduce__(self) -> tuple:
        return restored, (self.value, self.is_leaf and self.requires_grad, self.name)

    def __copy__(self) -> Tensor:
        return copied(self)

    def __deepcopy__(self, memo: dict) -> Tensor:
        h = self.graph.tensor(self.value, name=self.name, requires_grad=self.is_leaf and self.requires_grad)
        memo[id(self)] = h
        return h

    def __str__(self) -> str:
        return str(self._array())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.size == 1 else format(str(self), spec)

    def __repr__(self) -> str:
        text = np.array2string(self._array(), separator=", ", prefix="Tensor(")
        return f"Tensor({text}, dtype={self.dtype.name}, device={self.device})"


class DeepTensor(Tensor):
    """A handle that releases its history through a queue: every 64th level of a chain is one."""

    __slots__ = ()
    __del__ = release


register_handles(Tensor, DeepTensor)


def copied(h: Tensor) -> Tensor:
    """Another handle on the same expression."""
    new = object.__new__(h.__class__)
    for field in ("term", "a", "b", "code", "lasti", "_name", "_value", "stamp"):
        if hasattr(h, field):
            setattr(new, field, getattr(h, field))
    return new


def rebind(h: Tensor, new: Tensor) -> None:
    """Moves a handle on to the expression of `new`, which must not have it among its operands (but may have a copy of it)."""
    h.__class__ = new.__class__
    h.a, h.b, h.code, h.lasti = new.a, new.b, new.code, new.lasti
    h.term = new.term
    h.stamp = -1


def restored(array: np.ndarray, requires_grad: bool, name: str | None) -> Tensor:
    """A pickled tensor: a leaf of the default graph."""
    from .graph import default_graph
    return default_graph().tensor(array, name=name, requires_grad=requires_grad)


def repr_short(h: Tensor) -> str:
    """How errors name a tensor: name, dtype and shape, no values."""
    return f"{h.name + ': ' if h.name else ''}{h.dtype.name}{list(h.shape)}"


def store(h: Tensor, new: Any) -> None:
    """Copies numbers, or an array of any device, into a leaf's buffer."""
    buffer = BUFFERS[h.a.slot]
    if new.__class__ is np.ndarray and new.shape == buffer.shape and new.dtype == buffer.dtype:      # the usual case
        if buffer.__class__ is np.ndarray:
            buffer[...] = new
        else:
            buffer.write(new)
        return
    if buffer.__class__ is np.ndarray:
        convert(h, buffer, host(new))
    elif new.__class__ is DeviceArray and new.dtype == buffer.dtype:
        h._check(new.shape, new.dtype)
        assign(buffer, new)
    else:
        array = np.empty(buffer.shape, buffer.dtype)
        convert(h, array, host(new))
        buffer.write(array)


def convert(h: Tensor, buffer: np.ndarray, new: Any) -> None:
    """Copies what may become values of the leaf `h` into `buffer`, an array of its shape and dtype."""
    if isinstance(new, (bool, int, float, complex)) and not isinstance(new, np.generic):
        if h.ndim:
            h._check((), h.dtype)
        if dtypes.weak(new, h.dtype) != h.dtype:
            h._check((), dtypes.weak(new, h.dtype))
        try:
            buffer[()] = new
        except OverflowError as error:
            raise DTypeError("set", repr(new), f"it does not fit {h.dtype}") from error
        return
    array = to_array(new, op="set")
    weak = not isinstance(new, (np.ndarray, np.generic)) and array.dtype.kind in "biu" and h.dtype.kind in "iufc"
    h._check(array.shape, h.dtype if weak else array.dtype)
    with np.errstate(all="ignore"):
        np.copyto(buffer, array, casting="unsafe" if weak else "same_kind")


def mismatch(op: str, x: Tensor, y: Tensor) -> LazygradError:
    """The error for operands of two devices or two graphs."""
    if x.graph is y.graph:
        return DeviceError(op, f"{x.device} with {y.device}", "the operands lie on two devices", f"move one: x.to('{x.device}')")
    return GraphError(op, f"{x.graph!r} with {y.graph!r}", "the operands belong to two graphs", "make one in the other's graph: graph.tensor(x)")


def _function(name: str) -> Any:
    from .lift import FUNCTIONS
    found = FUNCTIONS.get(name)
    if found is None:
        import lazygrad
        found = getattr(lazygrad, name)
    return found


__all__ = ["LAST", "PACKAGE", "DeepTensor", "Tensor", "adopt", "copied", "dtype_of", "graph_of", "no_grad", "source_line", "store",
           "to_array", "touch", "user_frame", "wrap"]

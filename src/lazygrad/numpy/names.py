"""From a function of NumPy (or SciPy) to the one here with its signature, and NumPy's rule for Python's numbers.

In: a function, a ufunc, or any other object of a module. Out: the function here, an object with a ufunc's methods, or the object itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import interop
from ..doubles import call
from ..tensor import Tensor


def function_for(theirs: Any) -> Any:
    """What stands for an object of NumPy here."""
    if isinstance(theirs, np.ufunc):
        return Ufunc(theirs) if interop.lookup(theirs.__name__) is not None else theirs
    if isinstance(theirs, type) or not callable(theirs) or not hasattr(theirs, "_implementation"):
        return theirs
    name = theirs.__name__
    if name in interop.COMPUTED:
        return computing(theirs)
    if name in interop.IN_PLACE:
        return writing(theirs)
    found = interop.lookup(name, theirs.__module__ or "")
    return theirs if found is None else answering(theirs, found)


def described(function: Callable, theirs: Any, found: Callable) -> Callable:
    """`function` with NumPy's name and signature and the documentation of the function here."""
    function.__name__ = function.__qualname__ = theirs.__name__
    function.__doc__ = found.__doc__
    signature = interop.parameters(theirs)[0]
    if signature is not None:
        function.__signature__ = signature
    return function


def answering(theirs: Any, found: Callable) -> Callable:
    def run(*args: Any, **kwargs: Any) -> Any:
        return interop.translated(theirs, found, args, kwargs)

    def function(*args: Any, **kwargs: Any) -> Any:
        return call(run, args, kwargs)

    def of_lists(sample: Any, *args: Any, **kwargs: Any) -> Any:
        return function([v if isinstance(v, Tensor) else np.asarray(v) for v in sample] if type(sample) in (list, tuple) else sample, *args, **kwargs)
    return described(of_lists if theirs.__name__ == "histogramdd" else function, theirs, found)           # a list there is one of arrays


def computing(theirs: Any) -> Callable:
    @functools.wraps(theirs)
    def function(*args: Any, **kwargs: Any) -> Any:
        return theirs(*interop.evaluated(args), **interop.evaluated(kwargs))
    return function


def writing(theirs: Any) -> Callable:
    @functools.wraps(theirs)
    def function(*args: Any, **kwargs: Any) -> Any:
        return interop.changed(theirs, args, kwargs)
    return function


class Ufunc:
    """A ufunc of NumPy on tensors: a function with the methods reduce, accumulate, outer and at.

    >>> import lazygrad.numpy as np
    >>> np.add.reduce([1.0, 2.0]).item(), np.maximum(1, np.array([0.5, 2.0])).tolist()
    (3.0, [1.0, 2.0])
    """

    def __init__(self, theirs: np.ufunc) -> None:
        self.theirs = theirs
        self.__name__ = self.__qualname__ = theirs.__name__
        self.__doc__ = interop.lookup(theirs.__name__).__doc__
        self.nin, self.nout, self.nargs, self.identity, self.signature = theirs.nin, theirs.nout, theirs.nargs, theirs.identity, theirs.signature

    def _run(self, method: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        if "out" in kwargs and not isinstance(kwargs["out"], tuple):
            kwargs = {**kwargs, "out": None if kwargs["out"] is None else (kwargs["out"],)}
        if method == "__call__" and len(args) > self.nin:
            args, kwargs = args[:self.nin], {**kwargs, "out": args[self.nin:]}
        run = lambda *xs, **named: interop.ufunc_call(self.theirs, method, xs, dict(named))
        return call(run, args, kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._run("__call__", args, kwargs)

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False, **kwargs: Any) -> Tensor:
        """The function applied to all elements along `axis`, one after another."""
        return self._run("reduce", (array,), {"axis": axis, "dtype": dtype, "out": out, "keepdims": keepdims, **kwargs})

    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Tensor:
        """The results of `reduce` up to each element."""
        return self._run("accumulate", (array,), {"axis": axis, "dtype": dtype, "out": out})

    def outer(self, x: Any, y: Any, /, **kwargs: Any) -> Tensor:
        """The function of all pairs of an element of x and one of y."""
        return self._run("outer", (x, y), kwargs)

    def at(self, x: Any, indices: Any, *values: Any) -> None:
        """x moves on to the value that the function gives at `indices`, applied once for every time that one occurs."""
        self._run("at", (x, indices, *values), {})

    def __repr__(self) -> str:
        return f"<lazygrad.numpy.{self.__name__}>"



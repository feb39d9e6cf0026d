"""Checks for the derivatives of your own functions (`lazygrad.testing`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import DataError, GradientError
from .tensor import Tensor
from .transforms import derivatives, tree

WIDE = {"f": np.float64, "c": np.complex128}


def check_grads(f: Callable[..., Any], args: Sequence[Any], order: int = 2, modes: Sequence[str] = ("fwd", "rev"), eps: float | None = None,
                rtol: float | None = None, atol: float | None = None) -> None:
    """Compares the derivatives of f at `args` with difference quotients, up to `order`, in the given modes. Raises AssertionError.

    Every array of `args` (containers may nest) is moved along a random direction, the same at every call: forward mode must give
    the central difference (step `eps`, 1e-6 times the size of the argument by default), reverse mode the same number for a
    random cotangent. Orders above the first check the derivatives as functions again, in both modes. Floating arguments are
    taken in float64 or complex128 (with PyTorch's convention for complex gradients), others as they are. The error names the
    argument, the mode, the order and both numbers. `rtol` 1e-5, `atol` 1e-7 by default, ten times that for each order more.

    >>> import lazygrad as lg
    >>> check_grads(lambda x, y: (lg.sin(x) * y).sum(), (lg.asarray([0.3, 0.7]), 2.0))
    >>> check_grads(lambda x: lg.stop_gradient(x) * x, (3.0,), order=1, modes=("rev",))       # doctest: +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: check_grads: args[0]: order 1, reverse: ... by derivative, ... by differences
    """
    unknown = [m for m in modes if m not in ("fwd", "rev")]
    if unknown or not isinstance(args, (tuple, list)):
        raise DataError("check_grads", f"modes {modes!r}, args {type(args).__name__}", 'modes are "fwd" and "rev", args a tuple', "check_grads(f, (x, y))")
    leaves, form = tree.flatten(tuple(args))
    wide = [_wide(v) for v in leaves]
    names = [f"args{p}" for p in tree.paths(tuple(args))]
    _check(f, wide, form, names, 1, order, tuple(modes), eps, 1e-5 if rtol is None else rtol, 1e-7 if atol is None else atol, np.random.default_rng(0), "")


def _wide(v: Any) -> np.ndarray:
    a = np.asarray(v.value if isinstance(v, Tensor) else v)
    return a.astype(WIDE[a.dtype.kind]) if a.dtype.kind in WIDE else a


def _random(rng: np.random.Generator, a: np.ndarray) -> np.ndarray:
    d = rng.normal(size=a.shape)
    return (d + 1j * rng.normal(size=a.shape) if a.dtype.kind == "c" else d).astype(a.dtype)


def _inner(ct: Sequence[np.ndarray], t: Sequence[np.ndarray]) -> float:
    """Re <ct, t>."""
    return float(sum([np.vdot(c, d).real for c, d in zip(ct, t, strict=True)]))


def _check(f: Callable[..., Any], at: list[np.ndarray], form: Any, names: list[str], level: int, order: int, modes: tuple[str, ...], eps: float | None,
           rtol: float, atol: float, rng: np.random.Generator, before: str) -> None:
    floats = [k for k, a in enumerate(at) if a.dtype.kind in "fc"]

    def call(*moving: Any) -> list[Any]:
        """The floating results of f as a list, a function of the floating arguments."""
        whole = list(at)
        for k, v in zip(floats, moving, strict=True):
            whole[k] = v
        return [v for v in tree.leaves(f(*tree.unflatten(form, whole))) if not isinstance(v, Tensor) or v.dtype.kind in "fc"]

    def numbers(*moving: np.ndarray) -> list[np.ndarray]:
        return [np.asarray(v.value if isinstance(v, Tensor) else v) for v in call(*moving)]

    start = [at[k] for k in floats]
    outs = numbers(*start)
    cts = [_random(rng, o) for o in outs]
    for j, k in enumerate(floats):
        t = [np.zeros_like(a) for a in start]
        t[j] = _random(rng, start[j])
        h = eps or 1e-6 * max(1.0, float(np.abs(start[j]).max(initial=0.0)))
        up, down = [[a + s * h * d for a, d in zip(start, t, strict=True)] for s in (1, -1)]
        slope = [(a - b) / (2 * h) for a, b in zip(numbers(*up), numbers(*down), strict=True)]
        want = _inner(cts, slope)
        for mode in modes:
            if mode == "fwd":
                _, moved = derivatives.jvp(call, tuple(start), tuple(t))
                got = _inner(cts, [m.value for m in moved])
            else:
                _, pull = derivatives.vjp(call, *start)
                got = _inner([pull(cts)[j].value], [t[j]])
            if not abs(got - want) <= atol + rtol * max(abs(want), abs(got)):
                way = "forward" if mode == "fwd" else "reverse"
                raise AssertionError(f"check_grads: {names[k]}: order {level}, {before}{way}: {got:.10g} by derivative, {want:.10g} by differences")
    if level == order:
        return
    t = [_random(rng, a) for a in start]
    inner = tree.structure(tuple(start))
    own = [names[k] for k in floats]
    for mode in modes:
        if mode == "fwd":
            g: Callable[..., Any] = lambda *xs: derivatives.jvp(call, xs, tuple(t))[1]
        else:
            g = lambda *xs: derivatives.vjp(call, *xs)[1](cts)
        way = "forward" if mode == "fwd" else "reverse"
        _check(g, start, inner, own, level + 1, order, modes, eps, 10 * rtol, 10 * atol, rng, f"{before}{way}, then ")


def check_holomorphic(f: Callable[..., Any], args: Sequence[Any], rtol: float = 1e-8) -> None:
    """Checks that f is complex differentiable at `args`: along i v it changes by i times what it does along v (Cauchy and Riemann), for
    a random v, the same at every call. Raises AssertionError; GradientError where f takes or gives real numbers.

    >>> import lazygrad as lg
    >>> check_holomorphic(lambda z: lg.exp(z) * z, (lg.asarray([1 + 2j]),))
    >>> check_holomorphic(lambda z: z * lg.conj(z), (lg.asarray([1 + 2j]),))       # doctest: +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: check_holomorphic: the derivative along i v is ... from i times that along v: f is not holomorphic at args
    """
    leaves, form = tree.flatten(tuple(args))
    at = [_wide(v) for v in leaves]
    rng = np.random.default_rng(0)
    for a in at:
        if a.dtype.kind != "c":
            raise GradientError("check_holomorphic", str(a.dtype), "a holomorphic function takes complex numbers", "cast it to a complex dtype")

    def call(*xs: Any) -> list[Any]:
        return tree.leaves(f(*tree.unflatten(form, list(xs))))

    v = [_random(rng, a) for a in at]
    along, across = [[np.asarray(d.value) for d in derivatives.jvp(call, tuple(at), tuple(t))[1]] for t in (v, [1j * d for d in v])]
    for d, e in zip(along, across, strict=True):
        if d.dtype.kind != "c":
            raise GradientError("check_holomorphic", str(d.dtype), "a holomorphic function gives complex numbers", "leave out parts and absolute values")
        off = float(np.abs(e - 1j * d).max(initial=0.0))
        if not off <= rtol * float(np.abs(d).max(initial=1.0)):
            raise AssertionError(f"check_holomorphic: the derivative along i v is {off:.3g} from i times that along v: f is not holomorphic at args")


__all__ = ["check_grads", "check_holomorphic"]

"""odeint: ordinary differential equations by the Dormand-Prince pair of order 5(4), steps adapted; gradients through the steps or by the adjoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ir.function import Body
from ..tensor import Tensor
from ..transforms import derivatives, tree
from ..transforms import trace as T
from ..transforms.control import scan, while_loop
from ..transforms.custom import custom_vjp
from .problem import ATTACHED, KEPT, N, Problem, apply

# Dormand and Prince 1980, table 2
NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = ((1 / 5,), (3 / 40, 9 / 40), (44 / 45, -56 / 15, 32 / 9), (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
          (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656), (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84))
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0


def _sum(pairs: Sequence[tuple[float, Tensor]]) -> Tensor:
    total = None
    for c, k in pairs:
        if c:
            total = c * k if total is None else total + c * k
    return total


def step(f: Callable[[Tensor, Tensor], Tensor], y: Tensor, t: Tensor, h: Tensor, first: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(y at t + h, the estimated error, f there): the last stage is the first of the next step."""
    ks = [first]
    new = y
    for c, row in zip(NODES, STAGES, strict=True):
        new = y + h * _sum(list(zip(row, ks, strict=True)))
        ks.append(f(new, t + c * h))
    return new, h * _sum(list(zip(ERROR, ks, strict=True))), ks[-1]


def advance(f: Callable[[Tensor, Tensor], Tensor], y: Tensor, t0: Tensor, t1: Tensor, h: Tensor, rtol: float, atol: float, most: int) -> tuple[Tensor, Tensor]:
    """(y at t1, the next step's size) from y at t0; NaN where `most` steps are not enough."""
    way = N.where(t1 >= t0, 1.0, -1.0).astype(y.dtype)

    def going(s: tuple) -> Tensor:
        return ((t1 - s[1]) * way > 0) & (s[4] < most)

    def one(s: tuple) -> tuple:
        y, t, h, k, count = s
        left = N.abs(t1 - t)
        last = N.abs(h) >= left
        size = N.where(last, left, N.abs(h)) * way
        # where the step ends is data, how far it is estimated to be wrong is not differentiated
        new, error, k2 = step(f, y, t, N.where(last, t1 - t, size), k)
        ratio = N.stop_gradient(N.sqrt(N.mean(N.square(error / (atol + rtol * N.maximum(N.abs(y), N.abs(new)))))) if y.size else N.zeros((), y.dtype))
        good = ratio <= 1
        factor = N.where(N.isfinite(ratio), N.clip(SAFETY * N.maximum(ratio, 1e-10) ** -0.2, SHRINK, GROW), SHRINK)
        held = N.where(last & good, N.maximum(N.abs(h), N.abs(size) * factor), N.abs(size) * factor)
        return N.where(good, new, y), N.where(good, N.where(last, t1, t + size), t), N.stop_gradient(held), N.where(good, k2, k), count + 1
    out = while_loop(going, one, (y, t0, h, f(y, t0), np.int32(0)))
    return N.where((t1 - out[1]) * way > 0, np.nan, out[0]).astype(y.dtype), out[2]


def guess(f: Callable[[Tensor, Tensor], Tensor], y: Tensor, t: Tensor, end: Tensor, rtol: float, atol: float) -> Tensor:
    """The size of the first step (Hairer, Nørsett, Wanner I, section II.4, simplified)."""
    scale = atol + rtol * N.abs(y)
    size, speed = [N.sqrt(N.mean(N.square(v / scale))) for v in (y, f(y, t))] if y.size else [N.zeros((), y.dtype)] * 2
    h = N.where((size > 1e-5) & (speed > 1e-5), 0.01 * size / N.where(speed > 1e-5, speed, 1.0), 1e-6)
    return N.stop_gradient(N.minimum(h, N.maximum(N.abs(end - t), 1e-12))).astype(y.dtype)


def integrate(f: Callable[[Tensor, Tensor], Tensor], y0: Tensor, t: Tensor, rtol: float, atol: float, most: int) -> Tensor:
    """y at every time of t (n,), stacked (n, size)."""
    h = guess(f, N.stop_gradient(y0), t[0], t[-1], rtol, atol)

    def next_(c: tuple, end: Tensor) -> tuple:
        y, now, h = c
        y, h = advance(f, y, now, end, h, rtol, atol, most)
        return (y, end, h), y
    _, ys = scan(next_, (y0, t[0], h), t[1:])
    return N.concat([y0.reshape((1, y0.size)), ys], axis=0)


def odeint(f: Callable[..., Any], y0: Any, t: Any, *args: Any, rtol: float | None = None, atol: float | None = None, adjoint: bool = False, mxstep: int = 100_000) -> Any:
    """The solution of dy/dt = f(y, t, *args) with y(t[0]) = y0 at the times `t` (n,), rising or falling: the containers of y0, every array
    with a leading axis of n.

    Dormand and Prince's pair of order 5(4); the estimated error of each step stays below atol + rtol |y| (1.4e-8 each in float64,
    1e-5 in float32, by default). One native loop. NaN from where more than `mxstep` steps would be needed between two times. It
    differentiates by y0, t, `args` and what f closes over: through the accepted steps, in both modes and to any order, in memory bounded
    by checkpoints; or, with `adjoint=True`, in reverse by integrating the adjoint equation backwards, in memory that does not grow
    with the steps, accurate as the tolerances say.

    >>> import lazygrad as lg, numpy as np
    >>> lg.odeint(lambda y, t, k: -k * y, np.float64(1.0), np.array([0.0, 1.0]), 2.0).value.round(6)
    array([1.      , 0.135335])
    """
    code, at = derivatives.transform("odeint", f)
    return _odeint(code, at, f, y0, t, args, rtol, atol, adjoint, mxstep)


@derivatives.guarded
def _odeint(code: Any, at: int, f: Callable[..., Any], y0: Any, t: Any, args: tuple, rtol: float | None, atol: float | None, adjoint: bool, mxstep: int) -> Any:
    leaves, form = tree.flatten(y0)
    graph = T.of_same_graph(*leaves, t, *tree.leaves(args))
    handles = [T.tensor_of(v, "odeint", graph) for v in leaves]
    times = T.tensor_of(t, "odeint", graph)
    if times.ndim != 1 or not times.size:
        raise ShapeError("odeint", f"t {times.term.aval}", "it is a list of times", "pass a 1-d array, the first is where y0 holds")
    shapes = [h.shape for h in handles]
    sizes = [h.size for h in handles]
    # one vector of one dtype: the widest of y0's
    dtype = np.result_type(*[h.dtype if h.dtype.kind == "f" else np.float32 for h in handles]) if handles else np.dtype("float32")
    joined = lambda parts: N.concat([p.astype(dtype).reshape((p.size,)) for p in parts], axis=0)

    def parted(v: Tensor) -> Any:
        out, start = [], 0
        for shape, size in zip(shapes, sizes, strict=True):
            out.append(v[start:start + size].reshape(shape))
            start += size
        return tree.unflatten(form, out)

    def flat(v: Tensor, s: Tensor, *rest: Any) -> Tensor:
        found, other = tree.flatten(f(parted(v), s, *rest))
        if other != form:
            raise ShapeError("odeint", f"y {tree.text(form)}, f(y, t) {tree.text(other)}", "the derivative has the containers of y")
        parts = [T.tensor_of(p, "odeint", graph) for p in found]
        for p, shape in zip(parts, shapes, strict=True):
            if p.shape != shape:
                raise ShapeError("odeint", f"y {shape}, f(y, t) {p.shape}", "the derivative has the shape of y", "return one number for each of y")
        return joined(parts)
    start, times = joined(handles), times.astype(dtype)
    problem = Problem("odeint", flat, [start, times[0]], args)
    r, a = [(1.4e-8 if dtype == np.float64 else 1e-5) if v is None else float(v) for v in (rtol, atol)]
    if adjoint:
        key = ("adjoint", problem.body, r, a, mxstep)
        rule = ATTACHED.get(key)
        if rule is None:
            if len(ATTACHED) >= KEPT:
                ATTACHED.clear()
            rule = ATTACHED[key] = _adjoint(problem.body, r, a, mxstep)
        ys = rule(start, times, *problem.operands)
    else:
        ys = integrate(lambda v, s: apply(problem.body, [v, s, *problem.operands])[0], start, times, r, a, mxstep)
    out, first = [], 0
    for h, shape, size in zip(handles, shapes, sizes, strict=True):
        out.append(ys[:, first:first + size].reshape((times.size, *shape)).astype(h.dtype if h.dtype.kind == "f" else dtype))
        first += size
    return tree.unflatten(form, out)


def _adjoint(body: Body, rtol: float, atol: float, most: int) -> Any:
    """odeint with the adjoint equation for reverse mode: ā' = -ā ∂f/∂y, p̄' = -ā ∂f/∂p (Pontryagin 1962; Chen et al. 2018)."""
    def right(y: Tensor, t: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return apply(body, [y, t, *operands])[0]

    @custom_vjp
    def solution(y0: Tensor, t: Tensor, *operands: Tensor) -> Tensor:
        return integrate(lambda y, s: right(y, s, operands), y0, t, rtol, atol, most)

    def forward(y0: Tensor, t: Tensor, *operands: Tensor) -> tuple:
        ys = solution(y0, t, *operands)
        return ys, (ys, t, operands)

    def backward(kept: tuple, ct: Tensor) -> tuple:
        ys, t, operands = kept
        n = ys.shape[1]
        floats = [k for k, h in enumerate(operands) if h.dtype.kind == "f"]
        sizes = [operands[k].size for k in floats]

        def whole(moving: Sequence[Tensor]) -> list[Tensor]:
            out = list(operands)
            for k, h in zip(floats, moving, strict=True):
                out[k] = h
            return out

        def back(z: Tensor, s: Tensor) -> Tensor:
            y, a = z[:n], z[n:2 * n]
            value, pull = derivatives.vjp(lambda y, *moving: right(y, s, whole(moving)), y, *[operands[k] for k in floats])
            dy, *dp = pull(-a)
            return N.concat([value, dy, *[p.reshape((p.size,)).astype(z.dtype) for p in dp]], axis=0)

        def segment(c: tuple, x: tuple) -> tuple:
            a, p = c
            y1, late, early, gradient = x
            a = a + gradient
            slope = N.sum(a * right(y1, late, operands))               # by the time where this value is taken
            z = N.concat([y1, a, p], axis=0)
            h = guess(back, z, late, early, rtol, atol)
            z, _ = advance(back, z, late, early, h, rtol, atol, most)
            return (z[n:2 * n], z[2 * n:]), N.stack([N.sum(gradient * right(y1, late, operands)), slope])
        zeros = N.zeros((sum(sizes),), ys.dtype)
        (a, p), rates = scan(segment, (N.zeros((n,), ys.dtype), zeros), (ys[1:], t[1:], t[:-1], ct[1:]), reverse=True)
        first = -N.sum(a * right(ys[0], t[0], operands))
        dt = N.concat([first.reshape((1,)), rates[:, 0]], axis=0)
        found: list[Any] = [None] * len(operands)
        start = 0
        for k, size in zip(floats, sizes, strict=True):
            found[k] = p[start:start + size].reshape(operands[k].shape).astype(operands[k].dtype)
            start += size
        return a + ct[0], dt, *found
    solution.defvjp(forward, backward)
    return solution

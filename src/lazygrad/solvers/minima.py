"""minimize: BFGS, L-BFGS and Newton-CG as loops of the graph; the minimum differentiates by the parameters of the function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import ShapeError, StructureError
from ..tensor import Tensor
from ..transforms import derivatives
from ..transforms.control import fori_loop, while_loop
from .problem import N, Problem, apply, attach, unknown
from .roots import norm

MEMORY = 10                  # pairs that L-BFGS keeps
ARMIJO = 1e-4
CURVATURE = 0.9
TRIALS = 30                  # of one line search
YES, NO = np.bool_(True), np.bool_(False)


class MinimizeResult(NamedTuple):
    """`x`: the minimum, differentiable by the parameters; `fun`: the value there; `jac`: the gradient; `success`, `nit`."""

    x: Tensor
    fun: Tensor
    jac: Tensor
    success: Tensor
    nit: Tensor


def dot(a: Tensor, b: Tensor) -> Tensor:
    return N.sum(a * b)


def search(value_and_slope: Callable[[Tensor], tuple], x: Tensor, f: Tensor, g: Tensor, d: Tensor) -> tuple:
    """(x, f, g) at a step along d: the weak Wolfe conditions by bisection and doubling (Lewis and Overton 2013, algorithm 2.6)."""
    slope = dot(g, d)

    def at(t: Tensor) -> tuple:
        v = x + t * d
        return (v, *value_and_slope(v))

    def low(s: tuple) -> Tensor:
        return s[3][1] <= f + ARMIJO * s[2] * slope

    def going(s: tuple) -> Tensor:
        good = low(s) & (dot(s[3][2], d) >= CURVATURE * slope)
        return ~good & (s[4] < TRIALS)

    def step(s: tuple) -> tuple:
        below, above, t, _, k = s
        down = low(s)
        below, above = N.where(down, t, below), N.where(down, above, t)
        t = N.where(N.isfinite(above), (below + above) / 2, 2 * below)
        return below, above, t, at(t), k + 1
    one = N.ones((), x.dtype)
    found = while_loop(going, step, (N.zeros((), x.dtype), N.full((), np.inf, dtype=x.dtype), one, at(one), np.int32(0)))
    # where no step was good, one that at least goes down
    better = found[3][1] <= f
    return tuple([N.where(better, a, b) for a, b in zip(found[3], (x, f, g), strict=True)])


def _bfgs(fg: Callable[[Tensor], tuple], x: Tensor, tol: float, maxiter: int) -> tuple:
    """Nocedal and Wright 2006, algorithm 6.1, with the scaling of (6.20)."""
    n = x.size
    eye = N.eye(n, dtype=x.dtype)
    f, g = fg(x)

    def step(s: tuple) -> tuple:
        x, f, g, h, k, _ = s
        d = -(h @ g)
        x2, f2, g2 = search(fg, x, f, g, d)
        move, y = x2 - x, g2 - g
        sy = dot(move, y)
        good = sy > 1e-10 * N.sqrt(dot(move, move) * dot(y, y))
        rho = N.where(good, 1 / N.where(good, sy, 1.0), 0.0)
        h = N.where(good & (k == 0), eye * (sy / N.where(good, dot(y, y), 1.0)), h)
        left = eye - rho * N.outer(move, y)
        new = left @ h @ left.T + rho * N.outer(move, move)
        return x2, f2, g2, N.where(good, new, h), k + 1, (f2 < f)
    return while_loop(lambda s: (norm(s[2]) > tol) & (s[4] < maxiter) & s[5], step, (x, f, g, eye, np.int32(0), YES))


def _lbfgs(fg: Callable[[Tensor], tuple], x: Tensor, tol: float, maxiter: int) -> tuple:
    """Nocedal and Wright 2006, algorithms 7.4 and 7.5; pairs that are not there have weight 0."""
    n = x.size
    f, g = fg(x)
    none = N.zeros((MEMORY, n), x.dtype)

    def direction(g: Tensor, ss: Tensor, ys: Tensor, rhos: Tensor, k: Tensor, gamma: Tensor) -> Tensor:
        def back(i: Tensor, c: tuple) -> tuple:
            q, alphas = c
            j = (k - 1 - i) % MEMORY
            a = rhos[j] * dot(ss[j], q)
            return q - a * ys[j], alphas.at[j].set(a)
        q, alphas = fori_loop(0, MEMORY, back, (g, N.zeros((MEMORY,), x.dtype)))

        def forth(i: Tensor, r: Tensor) -> Tensor:
            j = (k + i) % MEMORY
            return r + (alphas[j] - rhos[j] * dot(ys[j], r)) * ss[j]
        return -fori_loop(0, MEMORY, forth, gamma * q)

    def step(s: tuple) -> tuple:
        x, f, g, (ss, ys, rhos, gamma), k, _ = s
        x2, f2, g2 = search(fg, x, f, g, direction(g, ss, ys, rhos, k, gamma))
        move, y = x2 - x, g2 - g
        sy = dot(move, y)
        good = sy > 1e-10 * N.sqrt(dot(move, move) * dot(y, y))
        j = k % MEMORY
        rho = N.where(good, 1 / N.where(good, sy, 1.0), 0.0)
        gamma = N.where(good, sy / N.where(good, dot(y, y), 1.0), gamma)
        return x2, f2, g2, (ss.at[j].set(move), ys.at[j].set(y), rhos.at[j].set(rho), gamma), k + 1, (f2 < f)
    held = (none, none, N.zeros((MEMORY,), x.dtype), N.ones((), x.dtype))
    return while_loop(lambda s: (norm(s[2]) > tol) & (s[4] < maxiter) & s[5], step, (x, f, g, held, np.int32(0), YES))


def _newton_cg(fg: Callable[[Tensor], tuple], x: Tensor, tol: float, maxiter: int) -> tuple:
    """Nocedal and Wright 2006, algorithm 7.1: conjugate gradients on the Newton equations, ended by negative curvature."""
    f, g = fg(x)

    def direction(x: Tensor, g: Tensor) -> Tensor:
        gg = dot(g, g)
        small = gg * N.minimum(0.25, N.sqrt(N.sqrt(gg)) ** 2)

        def inner(s: tuple) -> tuple:
            z, r, p, rr, k, _ = s
            q = derivatives.jvp(lambda v: fg(v)[1], (x,), (p,))[1]
            curve = dot(p, q)
            bad = curve <= 1e-12 * dot(p, p)
            alpha = rr / N.where(bad, 1.0, curve)
            first = N.where(k == 0, -g, z)
            r2 = r + alpha * q
            new = dot(r2, r2)
            return N.where(bad, first, z + alpha * p), r2, (new / rr) * p - r2, new, k + 1, bad
        start = (N.zeros_like(g), g, -g, gg, np.int32(0), NO)
        return while_loop(lambda s: ~s[5] & (s[3] > small) & (s[4] < 2 * x.size), inner, start)[0]

    def step(s: tuple) -> tuple:
        x, f, g, k, _ = s
        x2, f2, g2 = search(fg, x, f, g, direction(x, g))
        return x2, f2, g2, k + 1, (f2 < f)
    out = while_loop(lambda s: (norm(s[2]) > tol) & (s[3] < maxiter) & s[4], step, (x, f, g, np.int32(0), YES))
    return (*out[:3], None, out[3])


METHODS = {"BFGS": _bfgs, "L-BFGS": _lbfgs, "Newton-CG": _newton_cg}


@derivatives.guarded
def _minimize(code: Any, at: int, f: Callable[..., Any], x0: Any, args: tuple, method: str, tol: float | None, maxiter: int | None) -> MinimizeResult:
    if method not in METHODS:
        raise StructureError("minimize", f"method={method!r}", "there is no such method", "pass one of " + ", ".join(map(repr, METHODS)))
    x = unknown("minimize", x0, args)
    flat = x.reshape((x.size,))
    problem = Problem("minimize", lambda v, *rest: f(v.reshape(x.shape), *rest), [flat], args)
    if len(problem.results) != 1 or problem.results[0].shape or problem.results[0].dtype.kind != "f":
        raise ShapeError("minimize", ", ".join(map(str, problem.results)), "the function must return one real number", "sum it")
    stationary = Problem("minimize", derivatives.grad(lambda v, *rest: f(v.reshape(x.shape), *rest)), [flat], args)
    stationary.alike(flat, "its gradient")
    fixed, small = problem.fixed(), float(np.finfo(x.dtype).eps ** (1 / 3) if tol is None else tol)
    # the gradient may close over other tensors than the value: both are one function of the value's operands
    fg = lambda v: derivatives.value_and_grad(lambda u: apply(problem.body, [u, *fixed])[0])(v)
    start = flat.detach() if flat.requires_grad else flat
    found = METHODS[method](fg, start, small, maxiter if maxiter is not None else 200 * max(1, x.size))
    best = attach(found[0], stationary.body, stationary.operands)
    value = apply(problem.body, [best, *problem.operands])[0]
    return MinimizeResult(best.reshape(x.shape), value, found[2].reshape(x.shape), norm(found[2]) <= small, found[4])


def minimize(f: Callable[..., Any], x0: Any, *args: Any, method: str = "BFGS", tol: float | None = None, maxiter: int | None = None) -> MinimizeResult:
    """A local minimum of f(x, *args), one real number, from x0 (any shape): "BFGS", "L-BFGS" (large problems) or "Newton-CG".

    One compiled loop, gradients by reverse mode. Stops when max |gradient| <= tol (eps**(1/3) by default), or when no step goes down any
    more; `success` says which. The minimum differentiates by `args` and by what f closes over, to any order, by the implicit
    function theorem at ∇f = 0 (a dense Hessian), not through the iterations.

    >>> import lazygrad as lg
    >>> found = lg.minimize(lambda x, a: (x[0] - a) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2, lg.asarray([-1.0, 1.0]), 1.0)
    >>> found.x.value.round(2).tolist(), found.success.item()
    ([1.0, 1.0], True)
    """
    code, at = derivatives.transform("minimize", f)
    return _minimize(code, at, f, x0, args, method, tol, maxiter)

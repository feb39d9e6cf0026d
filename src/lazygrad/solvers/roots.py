"""root and fixed_point: equations solved by Newton's method and by iteration, with derivatives by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..tensor import Tensor
from ..transforms import derivatives
from ..transforms.control import while_loop
from .problem import N, Problem, apply, attach, solved, unknown

HALVINGS = 12                # of a Newton step that makes things worse


class RootResult(NamedTuple):
    """`x`: the solution, differentiable; `success`: whether it was found (bool); `nit`: iterations (int32)."""

    x: Tensor
    success: Tensor
    nit: Tensor


def tolerance(x: Tensor, tol: float | None) -> float:
    """What counts as zero: about the square root of the precision cubed, if nothing is asked for."""
    return float(np.finfo(x.dtype).eps ** 0.75) if tol is None else float(tol)


def norm(v: Tensor) -> Tensor:
    """The largest absolute value."""
    return N.max(N.abs(v)) if v.size else N.sum(v)


@derivatives.guarded
def _root(code: Any, at: int, f: Callable[..., Any], x0: Any, args: tuple, tol: float | None, maxiter: int) -> RootResult:
    x = unknown("root", x0, args)
    problem = Problem("root", f, [x], args)
    problem.alike(x, "f(x)")
    body, fixed, small = problem.body, problem.fixed(), tolerance(x, tol)

    def residual(v: Tensor) -> Tensor:
        return apply(body, [v, *fixed])[0]

    def going(s: tuple) -> Tensor:
        return (norm(s[1]) > small) & (s[2] < maxiter) & N.isfinite(norm(s[1]))

    def step(s: tuple) -> tuple:
        v, r, k = s
        d = solved(derivatives.jacobian(residual)(v), r)
        size = norm(r)

        def worse(t: tuple) -> Tensor:
            now = norm(t[1])
            return ~(now <= (1 - 1e-4 * t[0]) * size) & (t[0] > 0.5 ** HALVINGS)

        def halved(t: tuple) -> tuple:
            h = t[0] * 0.5
            return h, residual(v - h * d)
        h, after = while_loop(worse, halved, (N.ones((), x.dtype), residual(v - d)))
        return v - h * d, after, k + 1
    start = x.detach() if x.requires_grad else x
    found, left, count = while_loop(going, step, (start, residual(start), np.int32(0)))
    return RootResult(attach(found, body, problem.operands), norm(left) <= small, count)


def root(f: Callable[..., Any], x0: Any, *args: Any, tol: float | None = None, maxiter: int = 50) -> RootResult:
    """An x with f(x, *args) = 0, from the start x0: Newton's method with a dense Jacobian, halving steps that make things worse.

    x and f(x) are arrays of one shape and real floating dtype. Stops when max |f| <= tol (eps**0.75 by default); `success` says whether it
    did. The solution differentiates by `args` and by what f closes over, to any order in both modes, not through the
    iterations: dx = -(∂f/∂x)⁻¹ df. It does not depend on x0. LinAlgError where the Jacobian is singular.

    >>> import lazygrad as lg
    >>> abs(lg.root(lambda x, a: x * x - a, 1.0, 2.0).x.item() - 2 ** 0.5) < 1e-5
    True
    >>> lg.grad(lambda a: lg.root(lambda x, a: x * x - a, 1.0, a).x)(4.0).item()       # d sqrt(a)/da
    0.25
    """
    code, at = derivatives.transform("root", f)
    return _root(code, at, f, x0, args, tol, maxiter)


@derivatives.guarded
def _fixed_point(code: Any, at: int, f: Callable[..., Any], x0: Any, args: tuple, tol: float | None, maxiter: int) -> RootResult:
    x = unknown("fixed_point", x0, args)
    Problem("fixed_point", f, [x], args).alike(x, "f(x)")
    problem = Problem("fixed_point", lambda v, *rest: v - f(v, *rest), [x], args)
    body, fixed, small = problem.body, problem.fixed(), tolerance(x, tol)

    def left(v: Tensor) -> Tensor:
        return apply(body, [v, *fixed])[0]

    def going(s: tuple) -> Tensor:
        return (norm(s[1]) > small * N.maximum(norm(s[0]), 1.0)) & (s[2] < maxiter) & N.isfinite(norm(s[1]))

    def step(s: tuple) -> tuple:
        v = s[0] - s[1]
        return v, left(v), s[2] + 1
    start = x.detach() if x.requires_grad else x
    found, rest, count = while_loop(going, step, (start, left(start), np.int32(0)))
    return RootResult(attach(found, body, problem.operands), norm(rest) <= small * N.maximum(norm(found), 1.0), count)


def fixed_point(f: Callable[..., Any], x0: Any, *args: Any, tol: float | None = None, maxiter: int = 10_000) -> RootResult:
    """An x with f(x, *args) = x, by iteration from x0 (f must contract). As `root` otherwise: dx = (1 - ∂f/∂x)⁻¹ df.

    Stops when max |f(x) - x| <= tol * max(1, max |x|).

    >>> import lazygrad as lg
    >>> x = lg.fixed_point(lg.cos, 1.0).x
    >>> abs(x - lg.cos(x)).item() < 1e-5
    True
    """
    code, at = derivatives.transform("fixed_point", f)
    return _fixed_point(code, at, f, x0, args, tol, maxiter)

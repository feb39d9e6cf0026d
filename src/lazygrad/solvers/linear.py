"""linear_solve: a linear system given by a matrix or by its products with vectors; the latter by conjugate gradients or BiCGSTAB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError, StructureError
from ..ir.function import Body
from ..tensor import Tensor
from ..transforms import derivatives
from ..transforms import trace as T
from ..transforms.control import while_loop
from ..transforms.custom import custom_vjp
from .problem import ATTACHED, KEPT, N, Problem, apply, unknown

METHODS = ("cg", "bicgstab")


def dot(a: Tensor, b: Tensor) -> Tensor:
    return N.sum(a * b)


def conjugate_gradients(product: Callable[[Tensor], Tensor], b: Tensor, small: Tensor, maxiter: int) -> Tensor:
    """Hestenes and Stiefel 1952; for symmetric positive definite systems."""
    def step(s: tuple) -> tuple:
        x, r, p, rr, k = s
        q = product(p)
        alpha = rr / dot(p, q)
        r2 = r - alpha * q
        new = dot(r2, r2)
        return x + alpha * p, r2, r2 + (new / rr) * p, new, k + 1
    return while_loop(lambda s: (s[3] > small) & (s[4] < maxiter), step, (N.zeros_like(b), b, b, dot(b, b), np.int32(0)))[0]


def stabilized(product: Callable[[Tensor], Tensor], b: Tensor, small: Tensor, maxiter: int) -> Tensor:
    """BiCGSTAB, van der Vorst 1992; for any system."""
    one = N.ones((), b.dtype)

    def step(s: tuple) -> tuple:
        x, r, p, v, rho, alpha, omega, k = s
        new = dot(b, r)
        p = r + (new / rho) * (alpha / omega) * (p - omega * v)
        v = product(p)
        alpha = new / dot(b, v)
        half = r - alpha * v
        t = product(half)
        tt = dot(t, t)
        omega = N.where(tt > 0, dot(t, half) / N.where(tt > 0, tt, 1.0), 0.0)
        r = half - omega * t
        return x + alpha * p + omega * half, r, p, v, new, alpha, N.where(omega == 0, 1.0, omega), k + 1
    zero = N.zeros_like(b)
    return while_loop(lambda s: (dot(s[1], s[1]) > small) & (s[7] < maxiter), step, (zero, b, zero, zero, one, one, one, np.int32(0)))[0]


def linear_solve(a: Any, b: Any, *args: Any, method: str = "cg", tol: float | None = None, maxiter: int | None = None) -> Tensor:
    """The x of A x = b, for a matrix `a` (n, n), or for a function a(x, *args) that gives the product A x.

    A matrix is factored (`linalg.solve`). A function is used as it is: `method` "cg" for symmetric positive definite A, "bicgstab" for
    others; stops at ‖A x - b‖ <= tol ‖b‖ (eps**0.75 by default) or after `maxiter` products (ten times the size). x and b have one shape.
    Derivatives flow to b, `args` and what the function closes over, by a second solution: b̄ = A⁻ᵀ x̄, Ā = -b̄ xᵀ.

    >>> import lazygrad as lg
    >>> lg.linear_solve(lambda x, k: k * x, lg.asarray([2.0, 4.0]), 2.0).tolist()
    [1.0, 2.0]
    """
    code, at = derivatives.transform("linear_solve", a if callable(a) else len)
    if not callable(a):
        try:
            return N.solve(a, b)
        except Exception as error:
            T.noted(error, code, at)
            raise
    return _solve(code, at, a, b, args, method, tol, maxiter)


@derivatives.guarded
def _solve(code: Any, at: int, a: Callable[..., Any], b: Any, args: tuple, method: str, tol: float | None, maxiter: int | None) -> Tensor:
    if method not in METHODS:
        raise StructureError("linear_solve", f"method={method!r}", "there is no such method", "pass " + " or ".join(map(repr, METHODS)))
    right = unknown("linear_solve", b, args)
    problem = Problem("linear_solve", a, [right], args)
    if len(problem.results) != 1 or problem.results[0] is not right.term.aval:
        raise ShapeError("linear_solve", f"b {right.term.aval}, A x {', '.join(map(str, problem.results))}", "they must have one type")
    small = float(np.finfo(right.dtype).eps ** 0.75) if tol is None else float(tol)
    key = ("linear", problem.body, method, small, maxiter)
    rule = ATTACHED.get(key)
    if rule is None:
        if len(ATTACHED) >= KEPT:
            ATTACHED.clear()
        rule = ATTACHED[key] = _rule(problem.body, method, small, maxiter or 10 * right.size)
    return rule(right, *problem.operands)


def _rule(body: Body, method: str, tol: float, maxiter: int) -> Any:
    """The solution for an operator; its rule uses the solution for the transposed one, and that one's uses this."""
    iterate = conjugate_gradients if method == "cg" else stabilized

    def product(x: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return apply(body, [x, *operands])[0]

    def adjoint(x: Tensor, operands: Sequence[Tensor]) -> Tensor:
        return derivatives.vjp(lambda v: product(v, operands), N.zeros_like(x))[1](x)[0]

    def made(multiply: Callable[[Tensor, Sequence[Tensor]], Tensor]) -> Any:
        @custom_vjp
        def solution(b: Tensor, *operands: Tensor) -> Tensor:
            return iterate(lambda v: multiply(v, operands), b, tol * tol * dot(b, b), maxiter)
        return solution
    straight, turned = made(product), made(adjoint)

    def give(one: Any, other: Any, multiply: Callable[[Tensor, Sequence[Tensor]], Tensor]) -> None:
        def forward(b: Tensor, *operands: Tensor) -> tuple:
            x = one(b, *operands)
            return x, (x, operands)

        def backward(kept: tuple, ct: Tensor) -> tuple:
            x, operands = kept
            back = other(ct, *operands)
            floats = [k for k, h in enumerate(operands) if h.dtype.kind in "fc"]

            def at(*moving: Tensor) -> Tensor:
                whole = list(operands)
                for k, h in zip(floats, moving, strict=True):
                    whole[k] = h
                return multiply(x, whole)
            found: list[Any] = [None] * len(operands)
            if floats:
                for k, g in zip(floats, derivatives.vjp(at, *[operands[k] for k in floats])[1](-back), strict=True):
                    found[k] = g
            return back, *found
        one.defvjp(forward, backward)
    give(straight, turned, product)
    give(turned, straight, adjoint)
    return straight

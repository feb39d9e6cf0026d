"""Hypergeometric functions and orthogonal polynomials, which SciPy computes on the host, with derivatives by their argument (DLMF 13, 15, 18).

Parameters of hypergeometric functions are arrays, without derivatives: asking for one is a GradientError. The degree and the parameters of
a polynomial are numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ir.aval import Aval
from ..ir.term import Term
from . import elementwise as E
from .base import Host, Partials, Prim
from .elementwise import div, mul, neg, scale, times
from .integrals import constant_order
from .special import in_double, shifted

# ---- hypergeometric functions ------------------------------------------------------------------------------------------


def _row(name: str, parameters: int, slope: Callable[..., Term]) -> Prim:
    """f(*parameters, x) with the derivative c slope(*args) by x."""
    refuse = constant_order(name, "a parameter")

    def rule(o: Term, *args: Term) -> tuple[Callable[[Term], Term], ...]:
        return *[refuse] * parameters, lambda c: times(c, slope(*args))
    return Prim(name, in_double(name), E.same(name, "f"), Host(), Partials(rule))


hyp0f1 = _row("hyp0f1", 1, lambda v, x: div(hyp0f1(shifted(v, 1), x), v))
hyp1f1 = _row("hyp1f1", 2, lambda a, b, x: mul(div(a, b), hyp1f1(shifted(a, 1), shifted(b, 1), x)))
hyperu = _row("hyperu", 2, lambda a, b, x: neg(mul(a, hyperu(shifted(a, 1), shifted(b, 1), x))))
hyp2f1 = _row("hyp2f1", 3, lambda a, b, c, x: mul(div(mul(a, b), c), hyp2f1(shifted(a, 1), shifted(b, 1), shifted(c, 1), x)))

# ---- orthogonal polynomials: a derivative is one of a lower degree ---------------------------------------------------------


def _polynomial(name: str, names: tuple[str, ...], lower: Callable[..., tuple[float, Prim, dict]]) -> Prim:
    """A row of degree n >= 0: `lower(n, ...)` gives factor, Prim and parameters of the derivative, for n > 0."""
    def numpy(x: np.ndarray, **static: float) -> np.ndarray:
        import scipy.special
        return np.asarray(getattr(scipy.special, name)(*static.values(), x)).astype(x.dtype, copy=False)

    def d(c: Term, x: Term, static: dict) -> Term:
        if static["n"] == 0:
            return scale(c, 0)
        factor, prim, parameters = lower(**static)
        return times(c, scale(prim(x, **parameters), factor))

    def infer(x: Aval, **static: float) -> Aval:
        return E.same(name, "f")(x)

    return Prim(name, numpy, infer, Host(), Partials(lambda o, x, **static: (lambda c: d(c, x, static),)), names)


eval_jacobi = _polynomial("eval_jacobi", ("n", "alpha", "beta"), lambda n, alpha, beta: (
    (n + alpha + beta + 1) / 2, eval_jacobi, {"n": n - 1, "alpha": alpha + 1, "beta": beta + 1}))
eval_gegenbauer = _polynomial("eval_gegenbauer", ("n", "alpha"), lambda n, alpha: (2 * alpha, eval_gegenbauer, {"n": n - 1, "alpha": alpha + 1}))
eval_genlaguerre = _polynomial("eval_genlaguerre", ("n", "alpha"), lambda n, alpha: (-1.0, eval_genlaguerre, {"n": n - 1, "alpha": alpha + 1}))
eval_legendre = _polynomial("eval_legendre", ("n",), lambda n: (1.0, eval_gegenbauer, {"n": n - 1, "alpha": 1.5}))
eval_laguerre = _polynomial("eval_laguerre", ("n",), lambda n: (-1.0, eval_genlaguerre, {"n": n - 1, "alpha": 1.0}))
eval_chebyt = _polynomial("eval_chebyt", ("n",), lambda n: (float(n), eval_chebyu, {"n": n - 1}))
eval_chebyu = _polynomial("eval_chebyu", ("n",), lambda n: (2.0, eval_gegenbauer, {"n": n - 1, "alpha": 2.0}))
eval_hermite = _polynomial("eval_hermite", ("n",), lambda n: (2.0 * n, eval_hermite, {"n": n - 1}))
eval_hermitenorm = _polynomial("eval_hermitenorm", ("n",), lambda n: (float(n), eval_hermitenorm, {"n": n - 1}))

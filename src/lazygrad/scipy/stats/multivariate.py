"""Distributions of vectors: normal, Dirichlet, multinomial. Densities differentiate by values and parameters.

In: values with the components along the last axis (Dirichlet: the first, as in SciPy), parameters. Out: one number for each vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lazygrad as lg
from lazygrad import special as S

from ...errors import ShapeError
from ...tensor import Tensor
from .family import by_scipy, tensors

LOG_2PI = math.log(2 * math.pi)


class Vectors:
    """A distribution of vectors; called with parameters it gives a frozen one."""

    parameters: tuple[str, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> FrozenVectors:
        return FrozenVectors(self, args, kwargs)

    def __repr__(self) -> str:
        return f"<lazygrad.scipy.stats.{type(self).__name__.lower()}>"


class FrozenVectors:
    """A distribution of vectors with its parameters."""

    def __init__(self, distribution: Vectors, args: tuple, kwargs: dict[str, Any]) -> None:
        self.dist, self.args, self.kwargs = distribution, args, kwargs

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self.dist, name)
        if name in ("mean", "var", "cov", "entropy"):
            return lambda: method(*self.args, **self.kwargs)
        if name == "rvs":
            return lambda size=1, random_state=None: method(*self.args, size=size, random_state=random_state, **self.kwargs)
        return lambda x: method(x, *self.args, **self.kwargs)


# ---- normal -----------------------------------------------------------------------------------------------------------

class MultivariateNormal(Vectors):
    """The normal distribution of vectors (d,) with mean (d,) and covariance: a matrix (d, d), variances (d,) or one for all."""

    def _root(self, x: Any, mean: Any, cov: Any) -> tuple[Tensor | None, Tensor]:
        """x less the mean, with the components last, and the lower Cholesky factor of the covariance."""
        given = [v for v in (x, cov, mean) if v is not None]
        found = iter(tensors(*given))
        x, cov, mean = [None if v is None else next(found) for v in (x, cov, mean)]
        d = cov.shape[-1] if cov.ndim == 2 else mean.size if mean is not None else max(cov.size, 1)
        if cov.ndim < 2:
            cov = lg.diag(lg.broadcast_to(cov, (d,)))
        if cov.shape != (d, d) or (mean is not None and mean.size not in (1, d)):
            raise ShapeError("multivariate_normal", f"mean {None if mean is None else mean.shape} and covariance {cov.shape}", "they do not fit", "pass (d,) and (d, d)")
        if x is not None:
            x = lg.reshape(x, (1,)) if x.ndim == 0 else lg.expand_dims(x, -1) if d == 1 and x.ndim == 1 else x
            if x.shape[-1] != d:
                raise ShapeError("multivariate_normal", f"values {x.shape} of {d} components", "the last axis has others", "put the components last")
            x = x if mean is None else x - mean
        return x, lg.linalg.cholesky(cov)

    def logpdf(self, x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Tensor:
        """The logarithm of the density: (..., d) -> (...). LinAlgError for a covariance that is not positive definite."""
        y, root = self._root(x, mean, cov)
        d = root.shape[-1]
        z = lg.linalg.solve_triangular(root, lg.reshape(y, (math.prod(y.shape[:-1]), d)).T, lower=True)
        out = -0.5 * (d * LOG_2PI + lg.sum(lg.square(z), axis=0)) - lg.sum(lg.log(lg.diagonal(root)))
        return lg.reshape(out, y.shape[:-1])

    def pdf(self, x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Tensor:
        """The density: (..., d) -> (...)."""
        return lg.exp(self.logpdf(x, mean, cov))

    def entropy(self, mean: Any = None, cov: Any = 1) -> Tensor:
        """The differential entropy."""
        root = self._root(None, mean, cov)[1]
        return 0.5 * root.shape[-1] * (LOG_2PI + 1) + lg.sum(lg.log(lg.diagonal(root)))

    def rvs(self, mean: Any = None, cov: Any = 1, size: Any = 1, random_state: Any = None) -> Tensor:
        """Random vectors by SciPy, without derivative. Evaluates the parameters."""
        return by_scipy("multivariate_normal", "rvs", (mean, cov), {"size": size, "random_state": random_state})


# ---- Dirichlet ----------------------------------------------------------------------------------------------------------

class Dirichlet(Vectors):
    """The Dirichlet distribution of probabilities x (k,) or (k, n), of which the last may be left out, with concentrations alpha (k,).

    Values that do not sum to 1 are not looked for.
    """

    def logpdf(self, x: Any, alpha: Any) -> Tensor:
        """The logarithm of the density: (k, ...) -> (...)."""
        x, a = tensors(x, alpha)
        if a.ndim != 1 or not x.ndim or x.shape[0] not in (a.size, a.size - 1):
            raise ShapeError("dirichlet", f"values {x.shape} with concentrations {a.shape}", "they do not fit", "pass (k, ...) and (k,)")
        if x.shape[0] == a.size - 1:
            x = lg.concatenate([x, 1 - lg.sum(x, axis=0, keepdims=True)], 0)
        weights = lg.reshape(a - 1, (a.size, *[1] * (x.ndim - 1)))
        return lg.sum(S.xlogy(weights, x), axis=0) + S.gammaln(lg.sum(a)) - lg.sum(S.gammaln(a))

    def pdf(self, x: Any, alpha: Any) -> Tensor:
        """The density: (k, ...) -> (...)."""
        return lg.exp(self.logpdf(x, alpha))

    def mean(self, alpha: Any) -> Tensor:
        """The means (k,)."""
        a, = tensors(alpha)
        return a / lg.sum(a)

    def var(self, alpha: Any) -> Tensor:
        """The variances (k,)."""
        a, = tensors(alpha)
        total = lg.sum(a)
        return a * (total - a) / (lg.square(total) * (total + 1))

    def entropy(self, alpha: Any) -> Tensor:
        """The differential entropy."""
        a, = tensors(alpha)
        total = lg.sum(a)
        return lg.sum(S.gammaln(a)) - S.gammaln(total) + (total - a.size) * S.psi(total) - lg.sum((a - 1) * S.psi(a))

    def rvs(self, alpha: Any, size: Any = 1, random_state: Any = None) -> Tensor:
        """Random vectors by SciPy, without derivative. Evaluates the parameters."""
        return by_scipy("dirichlet", "rvs", (alpha,), {"size": size, "random_state": random_state})


# ---- multinomial --------------------------------------------------------------------------------------------------------

class Multinomial(Vectors):
    """The distribution of how often each of k outcomes of probabilities p (..., k) occurs in n trials."""

    def logpmf(self, x: Any, n: Any, p: Any) -> Tensor:
        """The logarithm of the probability of counts (..., k), -inf where they do not sum to n."""
        x, n, p = tensors(x, n, p)
        possible = (lg.sum(x, axis=-1) == n) & lg.all(x >= 0, axis=-1)
        safe = lg.where(x >= 0, x, 0.0)
        out = S.gammaln(n + 1) + lg.sum(S.xlogy(safe, p) - S.gammaln(safe + 1), axis=-1)
        return lg.where(possible, out, -math.inf)

    def pmf(self, x: Any, n: Any, p: Any) -> Tensor:
        """The probability of counts (..., k)."""
        return lg.exp(self.logpmf(x, n, p))

    def rvs(self, n: Any, p: Any, size: Any = None, random_state: Any = None) -> Tensor:
        """Random counts by SciPy, without derivative. Evaluates the parameters."""
        return by_scipy("multinomial", "rvs", (n, p), {"size": size, "random_state": random_state})


multivariate_normal, dirichlet, multinomial = MultivariateNormal(), Dirichlet(), Multinomial()

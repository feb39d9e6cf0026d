"""Families of distributions as records of formulas, and their methods under SciPy's names.

In: values, shape parameters, loc and scale, as tensors, arrays or numbers that broadcast. Out: tensors. Outside of the support densities
are 0; parameters that are none give NaN. What is outside, or none, reaches no derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import lazygrad as lg

from ...doubles import arrays
from ...errors import DataError
from ...interop import evaluated
from ...ir.record import record
from ...tensor import Tensor

Formula = Callable[..., Any]


@record
class Family:
    """A distribution in standard form, of shape parameters `shapes`, between `low` and `high` (numbers, or formulas of the shapes).

    Formulas of a value and the shapes: `logpdf` (`logpmf` of a discrete one), `cdf`, `ppf`, ...; those that are None follow from the
    others. Formulas of the shapes: `valid`, `mean`, `var`, `entropy`.
    """

    name: str
    shapes: tuple[str, ...]
    low: Any
    high: Any
    logpdf: Formula
    cdf: Formula
    sf: Formula | None = None
    logcdf: Formula | None = None
    logsf: Formula | None = None
    ppf: Formula | None = None
    isf: Formula | None = None
    mean: Formula | None = None
    var: Formula | None = None
    entropy: Formula | None = None
    valid: Formula | None = None
    inner: Any = 0.5                           # a value inside, from the lower end where that is finite
    discrete: bool = False


def of(v: Any, shapes: tuple) -> Any:
    return v(*shapes) if callable(v) else v


def is_number(v: Any, k: int) -> bool:
    """Whether v is Python's number k: loc and scale that change nothing."""
    return type(v) in (int, float) and v == k


def tensors(*given: Any) -> list[Tensor]:
    """Data as floating tensors. Numbers take the dtype of the first floating array, else they are float64; so do integers."""
    numbers = [type(v) in (bool, int, float) for v in given]
    found = iter(arrays(*[v if isinstance(v, Tensor) else np.asarray(v) for v, n in zip(given, numbers, strict=True) if not n]))
    out = [v if n else next(found) for v, n in zip(given, numbers, strict=True)]
    out = [v.astype(np.float64) if isinstance(v, Tensor) and v.dtype.kind in "biu" else v for v in out]
    dtype = next((v.dtype for v in out if isinstance(v, Tensor)), np.float64)
    return [v if isinstance(v, Tensor) else lg.full((), float(v), dtype) for v in out]


# ---- methods ----------------------------------------------------------------------------------------------------------

class Distribution:
    """A family with its methods. Called with parameters it gives a frozen distribution, whose methods take values only."""

    def __init__(self, family: Family) -> None:
        self.family, self.name = family, family.name
        self.__doc__ = f"The distribution scipy.stats.{family.name}; its shape parameters: {', '.join(family.shapes) or 'none'}."

    def __call__(self, *args: Any, **kwargs: Any) -> Frozen:
        return Frozen(self, *self._parameters(args, kwargs))

    def __repr__(self) -> str:
        return f"<lazygrad.scipy.stats.{self.name}>"

    def _parameters(self, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, Any, Any]:
        """Shape parameters, loc and scale of a call."""
        names = (*self.family.shapes, "loc") if self.family.discrete else (*self.family.shapes, "loc", "scale")
        found = dict(zip(names, args, strict=False))
        for k, v in kwargs.items():
            if k not in names or k in found:
                raise DataError(self.name, f"{k}={type(v).__name__}", "there is no such parameter, or it is given twice", f"the parameters are {', '.join(names)}")
            found[k] = v
        missing = [s for s in self.family.shapes if s not in found]
        if missing or len(args) > len(names):
            raise DataError(self.name, f"{len(args)} parameters", f"{missing[0]} is missing" if missing else "they are too many", f"the parameters are {', '.join(names)}")
        return tuple([found[s] for s in self.family.shapes]), found.get("loc", 0), found.get("scale", 1)

    def _together(self, x: Any, shapes: tuple, loc: Any, scale: Any) -> tuple[Tensor, tuple, Any, Any]:
        """All arguments as tensors, but for a loc of 0 and a scale of 1."""
        kept = [k for k in (loc, scale) if not ((is_number(k, 0) and k is loc) or (is_number(k, 1) and k is scale))]
        x, *rest = tensors(x, *shapes, *kept)
        n = len(shapes)
        further = iter(rest[n:])
        return x, tuple(rest[:n]), loc if is_number(loc, 0) else next(further), scale if is_number(scale, 1) else next(further)

    def _standard(self, x: Tensor, shapes: tuple, loc: Any, scale: Any) -> tuple[Tensor, Any, Any, Tensor]:
        """x in standard form, the ends of the support, and whether the parameters (and x) are any."""
        f = self.family
        y = x if is_number(loc, 0) else x - loc
        y = y if is_number(scale, 1) else y / scale
        valid = y == y                         # not NaN
        for s in shapes:
            valid = valid & (s == s)
        valid = valid if f.valid is None else valid & f.valid(*shapes)
        return y, of(f.low, shapes), of(f.high, shapes), valid if is_number(scale, 1) else valid & (scale > 0)

    def _inside(self, y: Tensor, inside: Any, low: Any) -> Tensor:
        """y where it is inside, a value that is inside elsewhere."""
        return lg.where(inside, y, low + self.family.inner if not isinstance(low, float) or math.isfinite(low) else self.family.inner)

    def _density(self, x: Any, shapes: tuple, loc: Any, scale: Any, log: bool) -> Tensor:
        y, low, high, valid = self._standard(x, shapes, loc, scale)
        inside = (y >= low) & (y <= high) & lg.isfinite(y)
        inside = inside & (lg.floor(y) == y) if self.family.discrete else inside
        out = self.family.logpdf(self._inside(y, inside, low), *shapes)
        out = out if log else lg.exp(out)
        if not is_number(scale, 1):
            out = out - lg.log(scale) if log else out / scale
        return lg.where(valid, lg.where(inside, out, -math.inf if log else 0.0), math.nan)

    def _probability(self, name: str, x: Any, shapes: tuple, loc: Any, scale: Any) -> Tensor:
        y, low, high, valid = self._standard(x, shapes, loc, scale)
        y = lg.floor(y) if self.family.discrete else y
        before = (y < low) | (y == -math.inf)
        inside = ~before & (y < high)
        below, above = {"cdf": (0.0, 1.0), "sf": (1.0, 0.0), "logcdf": (-math.inf, 0.0), "logsf": (0.0, -math.inf)}[name]
        out = self._formula(name)(self._inside(y, inside, low), *shapes)
        return lg.where(valid, lg.where(inside, out, lg.where(before, below, above)), math.nan)

    def _formula(self, name: str) -> Formula:
        f = self.family
        found = getattr(f, name)
        if found is not None:
            return found
        if name == "sf":
            return lambda y, *s: 1 - f.cdf(y, *s)
        plain = self._formula(name.removeprefix("log"))
        if f.sf is None:
            return lambda y, *s: lg.log(plain(y, *s))
        other = f.sf if name == "logcdf" else f.cdf

        def log(y: Tensor, *s: Tensor) -> Tensor:
            """The logarithm of the smaller tail, or of 1 less the other."""
            p, q = plain(y, *s), other(y, *s)
            small = p < 0.5
            return lg.where(small, lg.log(lg.where(small, p, 1.0)), lg.log1p(-lg.where(small, 0.0, q)))
        return log

    def _quantile(self, name: str, q: Any, shapes: tuple, loc: Any, scale: Any) -> Tensor:
        f = self.family
        inside = (q > 0) & (q < 1)
        p = lg.where(inside, q, 0.5)
        formula = getattr(f, name) or (lambda p, *s: f.ppf(1 - p, *s))
        first, last = (of(f.low, shapes), of(f.high, shapes)) if name == "ppf" else (of(f.high, shapes), of(f.low, shapes))
        out = lg.where(inside, formula(p, *shapes), lg.where(q == 0, first, lg.where(q == 1, last, math.nan)))
        if f.valid is not None:
            out = lg.where(f.valid(*shapes), out, math.nan)
        return out * scale + loc

    def _call(self, run: Callable[..., Any], x: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        return run(*self._together(x, *self._parameters(args, kwargs)))

    def cdf(self, x: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The probability of values up to x."""
        return self._call(lambda *a: self._probability("cdf", *a), x, args, kwargs)

    def sf(self, x: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The probability of values above x, exact where it is small if the family has a formula for it."""
        return self._call(lambda *a: self._probability("sf", *a), x, args, kwargs)

    def logcdf(self, x: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The logarithm of `cdf`."""
        return self._call(lambda *a: self._probability("logcdf", *a), x, args, kwargs)

    def logsf(self, x: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The logarithm of `sf`."""
        return self._call(lambda *a: self._probability("logsf", *a), x, args, kwargs)

    def _moment(self, name: str, args: tuple, kwargs: dict[str, Any], power: int) -> Tensor:
        f = self.family
        shapes, loc, scale = self._parameters(args, kwargs)
        first = next(iter((*shapes, loc, scale)))
        _, shapes, loc, scale = self._together(first, shapes, loc, scale)
        found = getattr(f, name)
        if found is None:
            raise DataError(self.name, name, "there is no closed form for it here")
        out = found(*shapes)
        out = out if isinstance(out, Tensor) else lg.full((), out, next((v.dtype for v in (*shapes, loc, scale) if isinstance(v, Tensor)), np.float64))
        if not is_number(scale, 1):
            out = out + lg.log(scale) if name == "entropy" else out * scale ** power
        out = out if is_number(loc, 0) or name != "mean" else out + loc
        return lg.where(f.valid(*shapes), out, math.nan) if f.valid is not None else out

    def mean(self, *args: Any, **kwargs: Any) -> Tensor:
        """The mean."""
        return self._moment("mean", args, kwargs, 1)

    def var(self, *args: Any, **kwargs: Any) -> Tensor:
        """The variance."""
        return self._moment("var", args, kwargs, 2)

    def std(self, *args: Any, **kwargs: Any) -> Tensor:
        """The standard deviation."""
        return lg.sqrt(self.var(*args, **kwargs))

    def entropy(self, *args: Any, **kwargs: Any) -> Tensor:
        """The differential entropy."""
        return self._moment("entropy", args, kwargs, 0)

    def rvs(self, *args: Any, size: Any = 1, random_state: Any = None, **kwargs: Any) -> Tensor:
        """Random values by SciPy, without derivative; `lazygrad.random` has lazy ones that differentiate. Evaluates the parameters."""
        return by_scipy(self.name, "rvs", args, {"size": size, "random_state": random_state, **kwargs})


class Continuous(Distribution):
    """A continuous distribution: densities, probabilities, quantiles."""

    def pdf(self, x: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The density at x."""
        return self._call(lambda *a: self._density(*a, log=False), x, args, kwargs)

    def logpdf(self, x: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The logarithm of the density at x."""
        return self._call(lambda *a: self._density(*a, log=True), x, args, kwargs)

    def ppf(self, q: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The value up to which the probability is q."""
        return self._call(lambda *a: self._quantile("ppf", *a), q, args, kwargs)

    def isf(self, q: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The value above which the probability is q."""
        return self._call(lambda *a: self._quantile("isf", *a), q, args, kwargs)

    def median(self, *args: Any, **kwargs: Any) -> Tensor:
        """The value with as much probability above as below."""
        return self.ppf(0.5, *args, **kwargs)

    def interval(self, confidence: Any, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """The ends of the middle part of a probability."""
        return self.ppf((1 - confidence) / 2, *args, **kwargs), self.ppf((1 + confidence) / 2, *args, **kwargs)


class Discrete(Distribution):
    """A distribution of integers: probabilities of each and up to each. Derivatives are those by the parameters."""

    def pmf(self, k: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The probability of k; 0 for what is no integer."""
        return self._call(lambda *a: self._density(*a, log=False), k, args, kwargs)

    def logpmf(self, k: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The logarithm of the probability of k."""
        return self._call(lambda *a: self._density(*a, log=True), k, args, kwargs)

    def ppf(self, q: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The smallest value up to which the probability is q or more, by SciPy: evaluates, without derivative."""
        return by_scipy(self.name, "ppf", (q, *args), kwargs)


def by_scipy(name: str, method: str, args: tuple, kwargs: dict[str, Any]) -> Tensor:
    """A method of SciPy's distribution on values."""
    import scipy.stats
    found = getattr(getattr(scipy.stats, name), method)
    return lg.asarray(np.asarray(found(*evaluated(args), **evaluated(kwargs))))


class Frozen:
    """A distribution with its parameters: norm(1.0, 2.0).pdf(x)."""

    def __init__(self, distribution: Distribution, shapes: tuple, loc: Any, scale: Any) -> None:
        self.dist, self.args = distribution, (*shapes, loc) if distribution.family.discrete else (*shapes, loc, scale)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self.dist, name)
        if name in ("mean", "var", "std", "entropy", "median"):
            return lambda: method(*self.args)
        if name == "rvs":
            return lambda size=1, random_state=None: method(*self.args, size=size, random_state=random_state)
        return lambda x: method(x, *self.args)

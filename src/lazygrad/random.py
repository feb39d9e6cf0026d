"""Random numbers from explicit keys: the same key gives the same numbers on every device, in any order of calls.

A draw takes a key, a shape, and parameters that broadcast; it is a lazy expression over them, and differentiates by them where its
distribution is continuous. Bits, integers and uniform numbers are equal bit for bit on every device; what is made of them by
functions (logarithms, cosines) agrees to the rounding of those.

>>> import lazygrad as lg
>>> key = lg.random.key(0)
>>> first, second = lg.random.split(key)
>>> lg.random.normal(first, (2, 3)).shape
(2, 3)
"""

from __future__ import annotations

from .functions.random_choice import categorical, choice, permutation
from .functions.random_continuous import (
    cauchy,
    exponential,
    gumbel,
    laplace,
    logistic,
    lognormal,
    multivariate_normal,
    normal,
    pareto,
    rayleigh,
    triangular,
    weibull,
)
from .functions.random_counts import bernoulli, geometric, rademacher
from .functions.random_generator import Generator
from .functions.random_keys import fold_in, key, split
from .functions.random_uniform import bits, randint, uniform

__all__ = [
    "Generator", "bernoulli", "bits", "categorical", "cauchy", "choice", "exponential", "fold_in", "geometric", "gumbel", "key", "laplace",
    "logistic", "lognormal", "multivariate_normal", "normal", "pareto", "permutation", "rademacher", "randint", "rayleigh", "split",
    "triangular", "uniform", "weibull",
]

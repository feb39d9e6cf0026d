"""Random numbers from explicit keys: the same key gives the same numbers on every device, in any order of calls.

A draw takes a key, a shape, and parameters that broadcast; it is a lazy expression over them, and differentiates by them where its
distribution is continuous. Bits, integers and uniform numbers are equal bit for bit on every device; what is made of them by
functions (logarithms, cosines) agrees to the rounding of those. Distributions that are drawn by trying until a proposal is accepted
(gamma and its kin, von Mises, the counts) agree likewise, but where a comparison falls within such a rounding, about once in a million
draws in float32.

>>> import lazygrad as lg
>>> key = lg.random.key(0)
>>> first, second = lg.random.split(key)
>>> lg.random.normal(first, (2, 3)).shape
(2, 3)
"""

from __future__ import annotations

from .functions.random_choice import categorical, choice, permutation, shuffle
from .functions.random_continuous import (
    cauchy,
    exponential,
    gumbel,
    laplace,
    logistic,
    lognormal,
    maxwell,
    normal,
    pareto,
    power,
    rayleigh,
    triangular,
    weibull,
)
from .functions.random_counts import (
    bernoulli,
    binomial,
    geometric,
    hypergeometric,
    logseries,
    multinomial,
    multivariate_hypergeometric,
    negative_binomial,
    poisson,
    rademacher,
    zipf,
)
from .functions.random_gamma import beta, chisquare, dirichlet, f, gamma, loggamma, t
from .functions.random_generator import Generator, default_rng
from .functions.random_implicit import truncated_normal, von_mises, wald
from .functions.random_keys import fold_in, key, split
from .functions.random_uniform import bits, randint, uniform
from .functions.random_vectors import multivariate_normal

__all__ = [
    "Generator", "bernoulli", "beta", "binomial", "bits", "categorical", "cauchy", "chisquare", "choice", "default_rng", "dirichlet",
    "exponential", "f", "fold_in", "gamma", "geometric", "gumbel", "hypergeometric", "key", "laplace", "loggamma", "logistic", "lognormal",
    "logseries", "maxwell", "multinomial", "multivariate_hypergeometric", "multivariate_normal", "negative_binomial", "normal", "pareto", "permutation", "poisson", "power", "rademacher",
    "randint", "rayleigh", "shuffle", "split", "t", "triangular", "truncated_normal", "uniform", "von_mises", "wald", "weibull",
    "zipf",
]

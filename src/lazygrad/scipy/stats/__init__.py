"""lazygrad.scipy.stats: distributions and summaries under SciPy's names; densities differentiate by all their parameters.

>>> from lazygrad.scipy.stats import gamma
>>> round(gamma.pdf(2.0, 1.0).item(), 4), round(gamma(1.0, scale=2.0).cdf(2.0).item(), 4)
(0.1353, 0.6321)
"""

from .continuous import (
    beta,
    cauchy,
    chi2,
    expon,
    f,
    gamma,
    gumbel_l,
    gumbel_r,
    halfnorm,
    invgamma,
    laplace,
    logistic,
    lognorm,
    norm,
    pareto,
    rayleigh,
    t,
    uniform,
    weibull_min,
)
from .discrete import bernoulli, binom, geom, nbinom, poisson
from .multivariate import dirichlet, multinomial, multivariate_normal
from .summaries import entropy, gmean, hmean, iqr, kurtosis, moment, pearsonr, sem, skew, variation, zscore

__all__ = ["bernoulli", "beta", "binom", "cauchy", "chi2", "dirichlet", "entropy", "expon", "f", "gamma", "geom", "gmean", "gumbel_l", "gumbel_r",
           "halfnorm", "hmean", "invgamma", "iqr", "kurtosis", "laplace", "logistic", "lognorm", "moment", "multinomial", "multivariate_normal",
           "nbinom", "norm", "pareto", "pearsonr", "poisson", "rayleigh", "sem", "skew", "t", "uniform", "variation", "weibull_min", "zscore"]

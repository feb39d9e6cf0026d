"""Sample arguments of the special functions: rows of the form of samples.py, whose table takes them up (import that module first)."""

from __future__ import annotations

import numpy as np
from samples import SHAPES, Arg, Row

from lazygrad.prims import (  # noqa: F401  (they register)
    bessel,
    elliptic,
    hypergeometric,
    implicit,
    incomplete,
    integrals,
    normal,
    probabilities,
    special,
)

NAMES = {
    ("real",): "erfcx erfi rgamma dawsn log_ndtr j0 j1 i0 i1 i0e i1e expi airy_ai airy_aip airy_bi airy_bip si shi fresnel_s fresnel_c wrightomega wofz",
    ("positive",): "gamma gammasgn exp1 y0 y1 k0 k1 k0e k1e ci chi spence",
    ("unit",): "erfinv",
    ("real", "real"): "owens_t",
    ("positive", "real"): "stdtr",
    ("positive", "positive"): "beta betaln poch gammaincc",
    ("above one", "unit"): "binom",
}

SAMPLES: dict[str, list[Row]] = {name: [Row(tuple([Arg(s, d) for d in domains])) for s in SHAPES] for domains, names in NAMES.items()
                                 for name in names.split()}

SAMPLES.update({name: [Row((Arg(s, "positive"), Arg(s, "positive")), {"k": k}) for s in SHAPES[:3] for k in (0, 1)]
                for name in ("jv", "yv", "iv", "kv", "ive", "kve")})


def fractions(shape):
    """Between 0.1 and 0.9."""
    return Row((Arg(shape),), make=lambda rng, dtype: (np.asarray(rng.uniform(0.1, 0.9, shape)).astype(dtype),))


def beta_arguments(shape, i, j):
    return Row((Arg(shape), Arg(shape), Arg(shape)), {"i": i, "j": j}, make=lambda rng, dtype: tuple(
        [np.asarray(rng.uniform(low, high, shape)).astype(dtype) for low, high in ((0.3, 3.0), (0.3, 3.0), (0.1, 0.9))]))


SAMPLES["ndtri"] = [fractions(s) for s in SHAPES]
SAMPLES["erfcinv"] = [fractions(s) for s in SHAPES]
for _name in ("gammaincinv", "gammainccinv"):
    SAMPLES[_name] = [Row((Arg(s), Arg(s)), make=lambda rng, dtype, s=s: tuple(
        [np.asarray(rng.uniform(low, high, s)).astype(dtype) for low, high in ((0.5, 3.0), (0.1, 0.9))])) for s in SHAPES]
SAMPLES["betaincinv"] = [Row((Arg(s), Arg(s), Arg(s)), make=lambda rng, dtype, s=s: tuple(
    [np.asarray(rng.uniform(low, high, s)).astype(dtype) for low, high in ((0.5, 3.0), (0.5, 3.0), (0.2, 0.8))])) for s in SHAPES]
SAMPLES["expn"] = [Row((Arg(s, "positive"),), {"n": n}) for s in SHAPES for n in (0, 1, 3)]
SAMPLES["gammainc"] = [Row((Arg(s, "positive"), Arg(s, "positive")), {"k": k}) for s in SHAPES for k in (0, 1)] + [
    Row((Arg((4,), "positive"), Arg((4,), "above one")), {"k": k}) for k in (0, 2)]
SAMPLES["betainc"] = [beta_arguments(s, i, j) for s in SHAPES for i, j in ((0, 0), (1, 0))] + [beta_arguments((4,), i, j) for i, j in ((0, 2), (1, 1))]
SAMPLES["zeta"] = [Row((Arg(s, "above one"), Arg(s, "positive")), {"k": k}) for s in SHAPES for k in (0, 1)]
for _letter in "jyik":
    SAMPLES[f"spherical_{_letter}n"] = [Row((Arg(s, "positive"),), {"n": n}) for s in SHAPES[:3] for n in (0, 1, 3)]

# draws as functions of their parameters: difference quotients of a draw are those of its quantile (test_random_gamma.py)
SAMPLES["ndtri_exp"] = [Row((Arg(s),), make=lambda rng, dtype, s=s: (np.asarray(-rng.uniform(0.1, 30, s)).astype(dtype),)) for s in SHAPES]
SAMPLES["gamma_spread"] = [Row((Arg(s, "positive"), Arg(s, "positive")), {"k": k, "log": log}) for s in SHAPES[:3] for k, log in ((1, False), (2, True))]
SAMPLES["gamma_draw"] = [Row((Arg(s, "positive"), Arg(s, "positive")), {"log": log}, smooth=False) for s in SHAPES for log in (False, True)]
SAMPLES["vonmises_cumulant"] = [Row((Arg(s, "positive"),), {"k": k}) for s in SHAPES[:3] for k in (1, 3)]
SAMPLES["vonmises_spread"] = [Row((Arg(s, "positive"), Arg(s, "unit")), {"k": k}) for s in SHAPES[:3] for k in (1, 2)]
SAMPLES["vonmises_draw"] = [Row((Arg(s, "positive"), Arg(s, "unit")), smooth=False) for s in SHAPES]
SAMPLES["wald_draw"] = [Row((Arg(s, "positive"), Arg(s, "positive"), Arg(s, "positive")), smooth=False) for s in SHAPES]

# ---- integrals, elliptic and hypergeometric functions, polynomials (parameters without derivatives: test_special_integrals.py) ----------
SAMPLES["betaincc"] = [Row(r.args, make=r.make) for r in SAMPLES["betainc"][:3]]
SAMPLES["betainccinv"] = SAMPLES["betaincinv"]
SAMPLES["stdtrit"] = [Row((Arg(s), Arg(s)), make=lambda rng, dtype, s=s: tuple(
    [np.asarray(rng.uniform(low, high, s)).astype(dtype) for low, high in ((1.0, 6.0), (0.1, 0.9))])) for s in SHAPES]
SAMPLES["lambertw"] = [Row((Arg(s, "positive"),), {"k": 0}) for s in SHAPES]
SAMPLES["lambertw"] += [Row((Arg((4,)),), {"k": -1}, make=lambda rng, dtype: (
    (rng.uniform(-0.3, -0.05, 4) + (0.3j if dtype.kind == "c" else 0)).astype(dtype),))]
SAMPLES["voigt"] = [Row((Arg(s), Arg(s, "positive"), Arg(s, "positive")), {"imaginary": i}) for s in SHAPES[:3] for i in (False, True)]
SAMPLES.update({name: [Row((Arg(s, "positive"), Arg(s, "positive")), smooth=False) for s in SHAPES] for name in ("struve", "modstruve", "hyp0f1")})
SAMPLES.update({name: [Row((Arg(s, "positive"), Arg(s, "positive"), Arg(s, "positive")), smooth=False) for s in SHAPES] for name in ("hyp1f1", "hyperu")})
SAMPLES["hyp2f1"] = [Row((Arg(s, "positive"), Arg(s, "positive"), Arg(s, "positive"), Arg(s, "unit")), smooth=False) for s in SHAPES]
SAMPLES.update({name: [Row((Arg(s, domain),), {"k": k}) for s in SHAPES[:3] for k in (0, 1)] for name, domain in (
    ("ellipk", "unit"), ("ellipe", "unit"), ("ellipkm1", "positive"))})
SAMPLES.update({name: [Row((Arg(s), Arg(s)), {"k": k}, make=lambda rng, dtype, s=s: (
    np.asarray(rng.uniform(-5, 5, s)).astype(dtype), np.asarray(rng.uniform(-2, 0.9, s)).astype(dtype))) for s in SHAPES[:3] for k in (0, 1)]
    for name in ("ellipkinc", "ellipeinc")})
SAMPLES.update({f"eval_{name}": [Row((Arg((2, 3), "unit"),), {"n": n, **dict.fromkeys(names.split(), 0.7)}) for n in (0, 1, 5)] for name, names in (
    ("legendre", ""), ("chebyt", ""), ("chebyu", ""), ("hermite", ""), ("hermitenorm", ""), ("laguerre", ""), ("genlaguerre", "alpha"),
    ("gegenbauer", "alpha"), ("jacobi", "alpha beta"))})

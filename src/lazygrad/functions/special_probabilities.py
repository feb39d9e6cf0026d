"""Distribution functions and combinatorial functions under SciPy's names, in terms of the incomplete gamma and beta functions.

In: tensors and Python numbers that broadcast and promote; integers count as float32. Out: tensors. Derivatives by all real arguments, to any
order; a count (`k`, floored where it is not whole) has none.
"""

from __future__ import annotations

from ..ir.term import Term
from ..lift import Operand
from ..prims import incomplete as N
from ..prims import special as S
from ..prims.probabilities import stdtr as stdtr_prim
from .composite import fill, scale
from .promotion import P
from .special import two
from .special_integrals import several
from .table import public

# ---- chi-square, gamma, F, Student's t -----------------------------------------------------------------------------------

@public(space="special")
def chdtr(v: Operand, x: Operand) -> Term:
    """The distribution function of chi-square with v degrees of freedom at x >= 0. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.chdtr(2.0, lg.asarray([0.0])).tolist()
    [0.0]
    """
    v, x = two("chdtr", v, x)
    return N.gammainc(scale(v, 0.5), scale(x, 0.5), k=0)


@public(space="special")
def chdtrc(v: Operand, x: Operand) -> Term:
    """1 - chdtr(v, x), exact where it is small. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.chdtrc(2.0, lg.asarray([0.0])).tolist()
    [1.0]
    """
    v, x = two("chdtrc", v, x)
    return N.gammaincc(scale(v, 0.5), scale(x, 0.5))


@public(space="special")
def chdtri(v: Operand, p: Operand) -> Term:
    """The x of chdtrc(v, x) = p. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.chdtri(2.0, lg.asarray([1.0])).tolist()
    [0.0]
    """
    v, p = two("chdtri", v, p)
    return scale(N.gammainccinv(scale(v, 0.5), p), 2)


@public(space="special")
def gdtr(a: Operand, b: Operand, x: Operand) -> Term:
    """The distribution function at x of the gamma distribution of rate a and shape b. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.gdtr(1.0, 2.0, lg.asarray([0.0])).tolist()
    [0.0]
    """
    a, b, x = several("gdtr", a, b, x)
    return N.gammainc(b, P.mul(a, x), k=0)


@public(space="special")
def gdtrc(a: Operand, b: Operand, x: Operand) -> Term:
    """1 - gdtr(a, b, x), exact where it is small. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.gdtrc(1.0, 2.0, lg.asarray([0.0])).tolist()
    [1.0]
    """
    a, b, x = several("gdtrc", a, b, x)
    return N.gammaincc(b, P.mul(a, x))


def _fisher(m: Term, n: Term, x: Term, above: bool) -> Term:
    """The probability below or above x, by the share of m x or of n in m x + n, whichever is the smaller and exact."""
    top = P.mul(m, x)
    whole, low = P.add(top, n), P.lt(top, n)
    a, b, half = scale(m, 0.5), scale(n, 0.5), fill(x, 0.5)
    near, far = P.where(low, P.div(top, whole), half), P.where(low, half, P.div(n, whole))
    if above:
        return P.where(low, N.betaincc(a, b, near), N.betainc(b, a, far, i=0, j=0))
    return P.where(low, N.betainc(a, b, near, i=0, j=0), N.betaincc(b, a, far))


@public(space="special")
def fdtr(dfn: Operand, dfd: Operand, x: Operand) -> Term:
    """The distribution function of F with dfn and dfd degrees of freedom at x >= 0. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.fdtr(1.0, 2.0, lg.asarray([0.0])).tolist()
    [0.0]
    """
    return _fisher(*several("fdtr", dfn, dfd, x), above=False)


@public(space="special")
def fdtrc(dfn: Operand, dfd: Operand, x: Operand) -> Term:
    """1 - fdtr(dfn, dfd, x), exact where it is small. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.fdtrc(1.0, 2.0, lg.asarray([0.0])).tolist()
    [1.0]
    """
    return _fisher(*several("fdtrc", dfn, dfd, x), above=True)


@public(space="special")
def stdtr(df: Operand, t: Operand) -> Term:
    """The distribution function of Student's t with df degrees of freedom. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.stdtr(3.0, lg.asarray([0.0])).tolist()
    [0.5]
    """
    return stdtr_prim(*two("stdtr", df, t))


# ---- Poisson, binomial, negative binomial ---------------------------------------------------------------------------------

@public(space="special")
def pdtr(k: Operand, m: Operand) -> Term:
    """The probability of at most k events where m are expected (Poisson). Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.pdtr(2, lg.asarray([0.0])).tolist()
    [1.0]
    """
    k, m = two("pdtr", k, m)
    return N.gammaincc(P.add(P.floor(k), fill(k, 1)), m)


@public(space="special")
def pdtrc(k: Operand, m: Operand) -> Term:
    """1 - pdtr(k, m), exact where it is small. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.pdtrc(2, lg.asarray([0.0])).tolist()
    [0.0]
    """
    k, m = two("pdtrc", k, m)
    return N.gammainc(P.add(P.floor(k), fill(k, 1)), m, k=0)


def _trials(op: str, k: Operand, n: Operand, p: Operand) -> tuple[Term, Term, Term, Term]:
    """k + 1, n - k, p, and whether k is below n."""
    k, n, p = several(op, k, n, p)
    k = P.floor(k)
    some = P.lt(k, n)
    return P.where(some, P.add(k, fill(k, 1)), fill(k, 1)), P.where(some, P.sub(n, k), fill(k, 1)), p, some


@public(space="special")
def bdtr(k: Operand, n: Operand, p: Operand) -> Term:
    """The probability of at most k successes in n trials, each with probability p (binomial). Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.bdtr(1, 2, lg.asarray([0.5])).tolist()
    [0.75]
    """
    a, b, p, some = _trials("bdtr", k, n, p)
    return P.where(some, N.betaincc(a, b, p), fill(p, 1))


@public(space="special")
def bdtrc(k: Operand, n: Operand, p: Operand) -> Term:
    """1 - bdtr(k, n, p), exact where it is small. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.bdtrc(1, 2, lg.asarray([0.5])).tolist()
    [0.25]
    """
    a, b, p, some = _trials("bdtrc", k, n, p)
    return P.where(some, N.betainc(a, b, p, i=0, j=0), fill(p, 0))


@public(space="special")
def nbdtr(k: Operand, n: Operand, p: Operand) -> Term:
    """The probability of at most k failures before n successes, each with probability p (negative binomial). Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.nbdtr(1, 1, lg.asarray([0.5])).tolist()
    [0.75]
    """
    k, n, p = several("nbdtr", k, n, p)
    return N.betainc(n, P.add(P.floor(k), fill(k, 1)), p, i=0, j=0)


@public(space="special")
def nbdtrc(k: Operand, n: Operand, p: Operand) -> Term:
    """1 - nbdtr(k, n, p), exact where it is small. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.nbdtrc(1, 1, lg.asarray([0.5])).tolist()
    [0.25]
    """
    k, n, p = several("nbdtrc", k, n, p)
    return N.betaincc(n, P.add(P.floor(k), fill(k, 1)), p)


# ---- numbers of choices ------------------------------------------------------------------------------------------------------

@public(space="special")
def binom(x: Operand, y: Operand) -> Term:
    """The binomial coefficient Γ(x + 1) / (Γ(y + 1) Γ(x - y + 1)) of real numbers. Shapes broadcast; derivatives by both.

    >>> import lazygrad as lg
    >>> lg.special.binom(lg.asarray([4.0]), 2.0).tolist()
    [6.0]
    """
    return S.binom(*two("binom", x, y))


@public(space="special")
def comb(N: Operand, k: Operand, repetition: bool = False) -> Term:
    """The number of ways to choose k of N things, in floating point; 0 where there are none. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.comb(lg.asarray([4.0, 2.0]), 3).tolist()
    [4.0, 0.0]
    """
    n, k = two("comb", N, k)
    if repetition:
        n = P.where(P.eq(k, fill(k, 0)), n, P.sub(P.add(n, k), fill(n, 1)))
    some = P.bit_and(P.bit_and(P.le(k, n), P.ge(n, fill(n, 0))), P.ge(k, fill(k, 0)))
    return P.where(some, S.binom(P.where(some, n, fill(n, 1)), P.where(some, k, fill(k, 1))), fill(n, 0))


@public(space="special")
def perm(N: Operand, k: Operand) -> Term:
    """The number of ways to choose k of N things in order, in floating point; 0 where there are none. Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.special.perm(lg.asarray([4.0, 2.0]), 3).tolist()
    [24.0, 0.0]
    """
    n, k = two("perm", N, k)
    some = P.bit_and(P.bit_and(P.le(k, n), P.ge(n, fill(n, 0))), P.ge(k, fill(k, 0)))
    start = P.add(P.sub(n, k), fill(n, 1))
    return P.where(some, S.poch(P.where(some, start, fill(n, 1)), P.where(some, k, fill(k, 1))), fill(n, 0))


@public(space="special")
def factorial(n: Term) -> Term:
    """Γ(n + 1) in floating point, 0 for negative n. Elementwise.

    >>> import lazygrad as lg
    >>> lg.special.factorial(lg.asarray([3.0, -1.0])).tolist()
    [6.0, 0.0]
    """
    n, = several("factorial", n)
    some = P.bit_or(P.ge(n, fill(n, 0)), P.isnan(n))
    large = P.gt(n, fill(n, 2))                            # n Γ(n): there n + 1 is rounded, and Γ moves with that
    x = P.where(large, n, P.where(some, P.add(n, fill(n, 1)), fill(n, 1)))
    value = S.gamma(x)
    return P.where(large, P.mul(n, value), P.where(some, value, fill(n, 0)))

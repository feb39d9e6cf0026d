"""erf, erfc, ndtr, lgamma and digamma, for float32 and float64 vectors.

erfc is exp(-x²) times a polynomial in (x - 2)/(x + 2). lgamma and digamma are computed in float64 where the
builder widens: recurrence below 8, the asymptotic series above, reflection for negative arguments.
"""

from __future__ import annotations

from .base import INF, LOG2E, NAN, clamp, evaluate, format_of, high_half, poly, round_to_integer, scale
from .builder import Builder
from .coefficients import COEFFICIENTS
from .exp import exp_in_range, log


# ---- the error function
def _erfc_of_large(b: Builder, a: str) -> str:
    """erfc(a) for a >= 1/2; a² enters the exponential in two parts, the first of them exact."""
    f = format_of(b)
    a = clamp(b, a, None, 10.5 if b.single else 27.5)
    high = high_half(b, a)
    minus_square = b.neg(b.xmul(high, high))
    minus_rest = b.mul(b.xsub(high, a), b.xadd(high, a))
    n, bits = round_to_integer(b, minus_square, LOG2E)
    r = b.xadd(b.xfma(n, b.const(-f.ln2_high), minus_square), b.fma(n, b.const(-f.ln2_low), minus_rest))
    v = b.mul(b.mul(r, r), poly(b, r, "EXP"))                                 # exp(r) = 1 + r + v
    # t = 1/(1 + 2a) in two parts
    two, one, twice = b.const(2.0), b.const(1.0), b.xadd(a, a)
    d = b.xadd(twice, one)
    d_low = b.xsub(one, b.xsub(d, twice))
    t = b.div(one, d)
    t_low = b.mul(t, b.fma(b.neg(d_low), t, b.fma(b.neg(d), t, one)))
    u = b.div(b.xsub(a, two), b.xadd(a, two))
    # the polynomial in two parts: its last addition loses nothing
    first, *others = COEFFICIENTS["ERFCX"][f.name]
    h = b.xmul(u, evaluate(b, u, others))
    g = b.xadd(h, b.const(first))
    g_low = b.xsub(h, b.xsub(g, b.const(first)))
    w = b.xmul(g, t)
    w_low = b.xadd(b.fma(g, t, b.neg(w)), b.fma(g, t_low, b.mul(g_low, t)))
    return scale(b, b.xadd(w, b.fma(w, r, b.fma(w, v, w_low))), n, bits)


def erf(b: Builder, x: str) -> str:
    if not b.single:
        return b.out_of_line("erf", _erf_double, x)
    a, s = b.abs(x), b.mul(x, x)
    small = b.fma(poly(b, s, "ERF"), a, a)
    t = clamp(b, a, None, 4.0)
    large = b.xsub(b.const(1.0), exp_in_range(b, b.mul(t, poly(b, t, "ERF_TAIL"))))
    return b.copysign(b.select(b.cmp("olt", a, b.const(0.927734375)), small, large), x)


def _erf_double(b: Builder, x: str) -> str:
    a, s = b.abs(x), b.mul(x, x)
    small = b.fma(poly(b, s, "ERF_ONE"), a, a)
    large = b.xsub(b.const(1.0), _erfc_of_large(b, a))
    return b.copysign(b.select(b.cmp("olt", a, b.const(1.0)), small, large), x)


def erfc(b: Builder, x: str) -> str:
    """1 - erf(x) below 1/2 in magnitude; 2 - erfc(-x) below that."""
    a, s = b.abs(x), b.mul(x, x)
    small = b.xsub(b.const(1.0), b.fma(poly(b, s, "ERF" if b.single else "ERF_ONE"), x, x))
    large = _erfc_of_large(b, a)
    large = b.select(b.cmp("olt", x, b.const(0.0)), b.xsub(b.const(2.0), large), large)
    return b.select(b.cmp("olt", a, b.const(0.5)), small, large)


# ---- the normal distribution
def ndtr(b: Builder, x: str) -> str:
    """exp(-a²/2) P((a - 4)/(a + 4))/(a + 4), a = |x|, below 0; 1 minus that above; near 0 1/2 + erf(x sqrt(1/2))/2."""
    return _ndtr(b, x) if b.single else b.out_of_line("ndtr", _ndtr, x)


def _ndtr(b: Builder, x: str) -> str:
    """a² enters the exponential in two parts, the first of them exact."""
    f = format_of(b)
    a = clamp(b, b.abs(x), None, 14.5 if b.single else 38.6)
    high = high_half(b, a)
    s = b.mul(b.xmul(high, high), b.const(-0.5))
    rest = b.mul(b.mul(b.xsub(high, a), b.xadd(high, a)), b.const(0.5))
    n, bits = round_to_integer(b, s, LOG2E)
    r = b.xadd(b.xfma(n, b.const(-f.ln2_high), s), b.fma(n, b.const(-f.ln2_low), rest))
    q = b.add(r, b.mul(b.mul(r, r), poly(b, r, "EXP")))                          # exp(r) = 1 + q
    t = b.div(b.const(1.0), b.xadd(a, b.const(4.0)))
    u = b.mul(b.xsub(a, b.const(4.0)), t)
    w = b.mul(poly(b, u, "MILLS" if b.single else "MILLS_LONG"), t)
    tail = scale(b, b.fma(w, q, w), n, bits)
    far = b.select(b.cmp("olt", x, b.const(0.0)), tail, b.xsub(b.const(1.0), tail))
    v = b.mul(x, b.const(0.5**0.5))
    half = b.mul(v, b.const(0.5))
    near = b.xadd(b.const(0.5), b.fma(poly(b, b.mul(v, v), "ERF" if b.single else "ERF_ONE"), half, half))
    return b.select(b.cmp("olt", a, b.const(1.125)), near, far)


# ---- the gamma function
# digamma's positive zero in two parts
DIGAMMA_ZERO = {"f32": (1.4616321325302124, 1.2438149938918909e-08), "f64": (1.4616321449683622, 9.549995429965697e-17)}


def _lgamma_positive(b: Builder, y: str) -> str:
    """lgamma(y), y > 0: Stirling's series from 8 on; below, y is moved to 2 + u, |u| <= 1/2, by a product."""
    one = b.const(1.0)
    large = b.cmp("oge", y, b.const(8.0))
    v = b.select(large, b.const(2.0), y)
    # steps down: Gamma(v) = (v - 1) Gamma(v - 1)
    up = one
    for bound in (7.5, 6.5, 5.5, 4.5, 3.5, 2.5):
        step = b.cmp("ogt", v, b.const(bound))
        less = b.xsub(v, one)
        v, up = b.select(step, less, v), b.select(step, b.mul(up, less), up)
    # steps up: Gamma(v) = Gamma(v + 1)/v; u = v - 2 is formed from v before, so that nothing is lost
    low, lowest = b.cmp("olt", v, b.const(1.5)), b.cmp("olt", v, b.const(0.5))
    u = b.select(lowest, v, b.xsub(v, b.select(low, one, b.const(2.0))))
    down = b.select(lowest, b.mul(v, b.xadd(v, one)), v)
    product = b.select(large, y, b.select(low, down, up))
    logarithm = log(b, product)
    logarithm = b.select(low, b.neg(logarithm), logarithm)
    near = b.fma(u, poly(b, u, "LGAMMA"), logarithm)
    z = b.div(one, y)
    tail = b.fma(z, poly(b, b.mul(z, z), "STIRLING"), b.const(0.9189385332046727 - 0.5))
    far = b.fma(b.xsub(y, b.const(0.5)), b.xsub(logarithm, one), tail)
    return b.select(large, b.select(b.cmp("oeq", y, b.const(INF)), y, far), near)


def _lgamma(b: Builder, x: str) -> str:
    """Below 0: lgamma(x) = -log|sin(pi x)/pi| - lgamma(1 - x); inf at the poles, and SciPy's -inf at -inf."""
    zero = b.const(0.0)
    negative = b.cmp("olt", x, zero)

    def reflected() -> str:
        f = b.xsub(x, b.rint(x))
        s = b.mul(f, f)
        sine = b.fma(b.mul(f, s), poly(b, s, "SINPI"), f)
        logarithm = log(b, b.abs(sine))
        r = b.xsub(b.neg(logarithm), positive)
        r = b.select(b.cmp("oeq", f, zero), b.const(INF), r)
        r = b.select(b.cmp("oeq", x, b.const(-INF)), x, r)
        return b.select(negative, r, positive)

    positive = _lgamma_positive(b, b.select(negative, b.xsub(b.const(1.0), x), x))
    positive = b.select(b.cmp("oeq", x, zero), b.const(INF), positive)
    return b.if_any(negative, reflected, positive)


def lgamma(b: Builder, x: str) -> str:
    """log|Gamma(x)|."""
    if b.single and b.widens:
        return b.in_double(lambda d, y: d.out_of_line("lgamma", _lgamma, y), x)
    return _lgamma(b, x)


def _digamma(b: Builder, x: str) -> str:
    """From 8 on log y - 1/(2y) - ...; below, y is moved into [1, 2] by psi(y + 1) = psi(y) + 1/y, where a polynomial
    times the distance to the zero stands; psi(x) = psi(1 - x) - pi cot(pi x) below 0."""
    one, zero = b.const(1.0), b.const(0.0)
    negative = b.cmp("olt", x, zero)
    y = b.select(negative, b.xsub(one, x), x)
    large, low = b.cmp("oge", y, b.const(8.0)), b.cmp("olt", y, one)
    v = b.select(large, one, y)
    # the sum of the 1/y as a fraction
    top, bottom = b.select(low, b.const(-1.0), zero), b.select(low, v, one)
    v = b.select(low, b.xadd(v, one), v)
    for bound in (7.0, 6.0, 5.0, 4.0, 3.0, 2.0):
        step = b.cmp("ogt", v, b.const(bound))
        less = b.xsub(v, one)
        top = b.select(step, b.fma(top, less, bottom), top)
        bottom = b.select(step, b.mul(bottom, less), bottom)
        v = b.select(step, less, v)
    zero_high, zero_low = DIGAMMA_ZERO[format_of(b).name]
    distance = b.xsub(b.xsub(v, b.const(zero_high)), b.const(zero_low))
    near = b.mul(distance, poly(b, b.xsub(v, b.const(1.5)), "DIGAMMA_NEAR"))
    near = b.xadd(near, b.div(top, bottom))
    z = b.div(one, y)
    z2 = b.mul(z, z)
    far = b.xsub(log(b, y), b.fma(z, b.const(0.5), b.mul(z2, poly(b, z2, "DIGAMMA"))))
    r = b.select(large, far, near)

    def reflected() -> str:
        f = b.xsub(x, b.rint(x))
        s = b.mul(f, f)
        cotangent = b.fma(f, poly(b, s, "COTPI"), b.div(one, f))
        value = b.select(b.cmp("oeq", f, zero), b.const(NAN), b.xsub(r, cotangent))
        return b.select(negative, value, r)

    r = b.if_any(negative, reflected, r)
    # SciPy: -inf at 0, inf at -0
    return b.select(b.cmp("oeq", x, zero), b.copysign(b.const(INF), b.neg(x)), r)


def digamma(b: Builder, x: str) -> str:
    """The derivative of lgamma."""
    if b.single and b.widens:
        return b.in_double(lambda d, y: d.out_of_line("digamma", _digamma, y), x)
    return _digamma(b, x)

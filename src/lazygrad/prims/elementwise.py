"""Elementwise primitives, one row each: out[i] = f(x[i], y[i], ...).

A row is name, NumPy meaning, dtype kinds it takes, derivative (a pointwise linear map of the (co)tangent `c`, given the
output `o` and the arguments) and lowering (a scalar op of the same name unless told). Arguments never broadcast or promote.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..dtypes import bool_
from ..errors import DTypeError, ShapeError
from ..ir.aval import Aval, aval
from ..ir.scalar import OPS, Scalar, apply, const
from ..ir.scalar import cast as scalar_cast
from ..ir.term import Term
from .base import Custom, Derivative, Elementwise, Host, Linear, Lowering, Partials, Prim
from .leaf import constant, full, is_constant, like

# Derivatives where there is a choice: |x| at 0 has slope 0; max and min of equal numbers give half to each; x**0 and 0**y are
# constant; hypot and atan2 at the origin have slope 0; sqrt at 0 has slope inf; floor, sign and comparisons have none (an
# argument behind them gets nothing, other paths to it still count).

KINDS = {"f": "floating-point", "c": "complex", "i": "signed", "u": "unsigned", "b": "bool"}


# ---- types ----------------------------------------------------------------------------------------------------------

def refuse(name: str, given: Aval, kinds: str) -> DTypeError:
    """The error for a dtype outside `kinds`."""
    takes = "integer" if kinds == "iu" else " or ".join(KINDS[k] for k in kinds)
    return DTypeError(name, str(given), f"{given.dtype} is not a {takes} dtype", "cast the argument first")


def same(name: str, kinds: str, out: np.dtype | None = None) -> Callable[..., Aval]:
    """The type rule of equal arguments: their own aval, or one of dtype `out`."""
    def infer(*avals: Aval) -> Aval:
        x = avals[0]
        for y in avals[1:]:
            if y is not x:
                came = ", ".join(map(str, avals))
                if y.shape != x.shape:
                    raise ShapeError(name, came, "the shapes differ", "broadcast the arguments first")
                raise DTypeError(name, came, "the dtypes differ", "cast the arguments to one dtype first")
        if x.dtype.kind not in kinds:
            raise refuse(name, x, kinds)
        return x if out is None else aval(x.shape, out)
    return infer


def real_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of the parts of a complex dtype; any other dtype is its own."""
    return np.dtype(f"float{dtype.itemsize * 4}") if dtype.kind == "c" else dtype


# ---- row makers -----------------------------------------------------------------------------------------------------

Build = Callable[..., Scalar]
Rule = Callable[..., Term]


def _lowering(name: str, lower: str | Build | Lowering | None) -> Lowering:
    if lower is None or isinstance(lower, str):
        return Elementwise(lower or name)
    return Elementwise(lower) if callable(lower) else lower


def unary(name: str, numpy: Callable, kinds: str, d: Rule | None = None,
          lower: str | Build | Lowering | None = None, out: np.dtype | None = None) -> Prim:
    """A row f(x) with derivative d(c, o, x) = c * f'(x), None where f is locally constant."""
    form = d and Partials(lambda o, x: (lambda c: d(c, o, x),), (d,))
    return Prim(name, numpy, same(name, kinds, out), _lowering(name, lower), form)


def binary(name: str, numpy: Callable, kinds: str, dx: Rule | None = None, dy: Rule | None = None,
           lower: str | Build | Lowering | None = None, out: np.dtype | None = None) -> Prim:
    """A row f(x, y) with derivatives dx(c, o, x, y) and dy(c, o, x, y)."""
    form: Derivative | None = None
    if dx or dy:
        form = Partials(lambda o, x, y: (dx and (lambda c: dx(c, o, x, y)), dy and (lambda c: dy(c, o, x, y))), (dx, dy))
    return Prim(name, numpy, same(name, kinds, out), _lowering(name, lower), form)


def special(name: str) -> Callable:
    """A function of scipy.special, imported on first use, in the dtype of its last argument."""
    found = None

    def call(*xs: Any) -> np.ndarray:
        nonlocal found
        if found is None:
            import scipy.special
            found = getattr(scipy.special, name)
        return np.asarray(found(*xs)).astype(xs[-1].dtype, copy=False)
    return call


def power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """NumPy's power; an integer to a negative power, an error there, is 1 / x**|y| rounded towards 0 (0 where x is 0)."""
    if x.dtype.kind != "i" or not (y < 0).any():
        return np.power(x, y)
    unit = np.where(x == 1, 1, np.where(x == -1, 1 - 2 * (y & 1), 0))
    return np.where(y < 0, unit, np.power(x, np.maximum(y, 0))).astype(x.dtype)


# ---- arithmetic on Terms that drops what is known to do nothing -------------------------------------------------------

def times(x: Term, y: Term) -> Term:
    """x * y, without the multiplication where one of them is the constant 1."""
    if x.op is full or y.op is full:
        if is_constant(y, 1):
            return x
        if is_constant(x, 1):
            return y
        if x.op is y.op:
            return fold(np.multiply, x, y)
    return mul(x, y)


def plus(x: Term, y: Term) -> Term:
    """x + y, without the addition where one of them is the constant 0."""
    if x.op is full or y.op is full:
        if is_constant(y, 0):
            return x
        if is_constant(x, 0):
            return y
        if x.op is y.op:
            return fold(np.add, x, y)
    return add(x, y)


def negate(x: Term) -> Term:
    """-x; two signs cancel."""
    if is_constant(x):
        return like(x, -x.params[0])
    return x.args[0] if x.op is neg else neg(x)


def scale(x: Term, k: float) -> Term:
    """x * k for a Python number k."""
    return times(x, like(x, k))


def fold(f: np.ufunc, x: Term, y: Term) -> Term:
    """f of two constants, rounded in their dtype."""
    dtype = x.aval.dtype
    with np.errstate(all="ignore"):
        value = f(np.asarray(x.params[0], dtype), np.asarray(y.params[0], dtype))
    return constant(value.item(), x.aval.shape, dtype)


def select(c: Term, x: Term, y: float) -> Term:
    """where(c, x, number)."""
    return where(c, x, like(x, y))


def is_real(x: Term) -> bool:
    return x.aval.dtype.kind != "c"


# ---- arithmetic -----------------------------------------------------------------------------------------------------

add = binary("add", np.add, "fiuc", lambda c, o, x, y: c, lambda c, o, x, y: c)
sub = binary("sub", np.subtract, "fiuc", lambda c, o, x, y: c, lambda c, o, x, y: negate(c))
mul = binary("mul", np.multiply, "fiuc", lambda c, o, x, y: times(c, y), lambda c, o, x, y: times(c, x))
div = binary("div", np.divide, "fc", lambda c, o, x, y: div(c, y), lambda c, o, x, y: negate(times(c, div(o, y))))
floor_divide = binary("floor_divide", np.floor_divide, "fiu")


def _quotient(c: Term, o: Term, x: Term, y: Term) -> Term:
    return negate(times(c, rint(div(sub(x, o), y))))         # o = x - n y: n from o, so that it is the n that was used


remainder = binary("remainder", np.remainder, "fiu", lambda c, o, x, y: c, _quotient)
fmod = binary("fmod", np.fmod, "fiu", lambda c, o, x, y: c, _quotient)


def _power_dx(c: Term, o: Term, x: Term, y: Term) -> Term:
    if is_constant(y):
        k = y.params[0]
        return like(c, 0) if k == 0 else c if k == 1 else times(c, scale(x, 2) if k == 2 else scale(pow(x, like(y, k - 1)), k))
    slope = mul(y, pow(x, sub(y, like(y, 1))))
    return times(c, where(eq(y, like(y, 0)), like(x, 0), slope))          # x**0 is 1 everywhere, 0 included


def _power_dy(c: Term, o: Term, x: Term, y: Term) -> Term:
    flat = eq(x, like(x, 0))
    if is_real(x):
        flat = bit_and(flat, ge(y, like(y, 0)))
    return times(c, where(flat, like(o, 0), mul(o, log(x))))              # 0**y is constant for y > 0


def _power(x: Scalar, y: Scalar) -> Scalar:
    """The scalar op, which leaves integers to a negative power open: those as in `power` above."""
    if x.dtype.kind != "i":
        return apply("pow", x, y)
    minus, zero, one = (const(k, x.dtype) for k in (-1, 0, 1))
    sign_of = apply("select", apply("eq", apply("and", y, one), zero), one, minus)
    unit = apply("select", apply("eq", x, one), one, apply("select", apply("eq", x, minus), sign_of, zero))
    return apply("select", apply("lt", y, zero), unit, apply("pow", x, apply("maximum", y, zero)))


pow = binary("pow", power, "fiuc", _power_dx, _power_dy, _power)
neg = unary("neg", np.negative, "fiuc", lambda c, o, x: negate(c))


def _direction(x: Term) -> Term:
    """conj(z) / |z|, 0 at 0: the derivative of |z| in the pairing Re(c z)."""
    if is_real(x):
        return sign(x)
    size = cast(abs(x), dtype=x.aval.dtype)
    return where(eq(x, like(x, 0)), like(x, 0), div(conj(x), size))


def _abs_vjp(c: Term, o: Term, x: Term) -> tuple[Term]:
    return (times(c if is_real(x) else cast(c, dtype=x.aval.dtype), _direction(x)),)


def _abs_jvp(ts: tuple[Term, ...], o: Term, x: Term) -> Term:
    t = times(ts[0], _direction(x))
    return t if is_real(x) else real(t)


def _abs_type(x: Aval) -> Aval:
    if x.dtype.kind not in "fiuc":
        raise refuse("abs", x, "fiuc")
    return x if x.dtype.kind != "c" else aval(x.shape, real_dtype(x.dtype))


abs = Prim("abs", np.abs, _abs_type, Elementwise("abs"), Custom(_abs_vjp, _abs_jvp))
sign = unary("sign", np.sign, "fiuc")
copysign = binary("copysign", np.copysign, "f", lambda c, o, x, y: times(c, mul(sign(x), copysign(like(y, 1), y))))
nextafter = binary("nextafter", np.nextafter, "f")


def _wins(first: bool, better: str, nan_loses: bool) -> Rule:
    """The share of max/min that goes to one argument: all of it, half at a tie (as in JAX), none (also with a NaN)."""
    def share(c: Term, o: Term, x: Term, y: Term) -> Term:
        mine, other = (x, y) if first else (y, x)
        won = (ge if better == "greater" else le)(mine, other)
        if nan_loses:
            won = bit_or(won, isnan(other))
        return select(won, where(eq(x, y), scale(c, 0.5), c), 0)
    return share


maximum = binary("maximum", np.maximum, "fiub", _wins(True, "greater", False), _wins(False, "greater", False))
minimum = binary("minimum", np.minimum, "fiub", _wins(True, "less", False), _wins(False, "less", False))
fmax = binary("fmax", np.fmax, "f", _wins(True, "greater", True), _wins(False, "greater", True))
fmin = binary("fmin", np.fmin, "f", _wins(True, "less", True), _wins(False, "less", True))
floor = unary("floor", np.floor, "f")
ceil = unary("ceil", np.ceil, "f")
trunc = unary("trunc", np.trunc, "f")
rint = unary("rint", np.rint, "f")

# ---- roots and powers -----------------------------------------------------------------------------------------------

sqrt = unary("sqrt", np.sqrt, "fc", lambda c, o, x: div(scale(c, 0.5), o))
rsqrt = unary("rsqrt", lambda x: 1 / np.sqrt(x), "fc", lambda c, o, x: times(c, div(scale(o, -0.5), x)),
              lambda x: apply("div", const(1, x.dtype), apply("sqrt", x)))
cbrt = unary("cbrt", np.cbrt, "f", lambda c, o, x: div(scale(c, 1 / 3), mul(o, o)))
reciprocal = unary("reciprocal", np.reciprocal, "fc", lambda c, o, x: negate(mul(times(c, o), o)),
                   lambda x: apply("div", const(1, x.dtype), x))
square = unary("square", np.square, "fiuc", lambda c, o, x: times(c, scale(x, 2)), lambda x: apply("mul", x, x))
hypot = binary("hypot", np.hypot, "f", lambda c, o, x, y: times(c, _cosine(x, o)), lambda c, o, x, y: times(c, _cosine(y, o)))


def _cosine(x: Term, h: Term) -> Term:
    """x / h, 0 at the origin."""
    return where(eq(h, like(h, 0)), like(x, 0), div(x, h))


# ---- exponentials and logarithms ------------------------------------------------------------------------------------

LN2, LN10 = math.log(2), math.log(10)


def _logaddexp(x: Scalar, y: Scalar) -> Scalar:
    """max + log1p(exp(-|x - y|)); equal arguments (infinities too) apart, as NumPy does."""
    d = apply("sub", x, y)
    up = apply("add", apply("maximum", x, y), apply("log1p", apply("exp", apply("neg", apply("abs", d)))))
    return apply("select", apply("eq", x, y), apply("add", x, const(LN2, x.dtype)), up)


def _share(c: Term, x: Term, y: Term) -> Term:
    """c * exp(x) / (exp(x) + exp(y)); one half each for equal infinities."""
    equal = bit_and(eq(x, y), isinf(x))
    return times(c, sigmoid(where(equal, like(x, 0), sub(x, y))))


exp = unary("exp", np.exp, "fc", lambda c, o, x: times(c, o))
exp2 = unary("exp2", np.exp2, "fc", lambda c, o, x: times(c, scale(o, LN2)))
expm1 = unary("expm1", np.expm1, "fc", lambda c, o, x: times(c, add(o, like(o, 1))))
log = unary("log", np.log, "fc", lambda c, o, x: div(c, x))
log2 = unary("log2", np.log2, "fc", lambda c, o, x: div(scale(c, 1 / LN2), x))
log10 = unary("log10", np.log10, "fc", lambda c, o, x: div(scale(c, 1 / LN10), x))
log1p = unary("log1p", np.log1p, "fc", lambda c, o, x: div(c, add(x, like(x, 1))))
logaddexp = binary("logaddexp", np.logaddexp, "f", lambda c, o, x, y: _share(c, x, y), lambda c, o, x, y: _share(c, y, x),
                   _logaddexp)
sigmoid = unary("sigmoid", special("expit"), "f", lambda c, o, x: times(c, mul(o, sub(like(o, 1), o))))

# ---- trigonometric and hyperbolic -----------------------------------------------------------------------------------


def _gap(x: Term) -> Term:
    """(1 - x)(1 + x): exact near 1, where 1 - x**2 is not."""
    one = like(x, 1)
    return mul(sub(one, x), add(one, x))


def _one_plus_square(x: Term) -> Term:
    return add(mul(x, x), like(x, 1))


def _root_one_plus_square(x: Term) -> Term:
    return hypot(x, like(x, 1)) if is_real(x) else sqrt(_one_plus_square(x))      # x * x may overflow


def _over_radius(c: Term, x: Term, y: Term) -> Term:
    """c * x / (x**2 + y**2), 0 at the origin, without overflow."""
    h = hypot(x, y)
    return times(c, where(eq(h, like(h, 0)), like(h, 0), div(div(x, h), h)))


sin = unary("sin", np.sin, "fc", lambda c, o, x: times(c, cos(x)))
cos = unary("cos", np.cos, "fc", lambda c, o, x: negate(times(c, sin(x))))
tan = unary("tan", np.tan, "fc", lambda c, o, x: times(c, _one_plus_square(o)))
asin = unary("asin", np.arcsin, "fc", lambda c, o, x: div(c, sqrt(_gap(x))))
acos = unary("acos", np.arccos, "fc", lambda c, o, x: negate(div(c, sqrt(_gap(x)))))
atan = unary("atan", np.arctan, "fc", lambda c, o, x: div(c, _one_plus_square(x)))
atan2 = binary("atan2", np.arctan2, "f", lambda c, o, y, x: _over_radius(c, x, y), lambda c, o, y, x: negate(_over_radius(c, y, x)))
sinh = unary("sinh", np.sinh, "fc", lambda c, o, x: times(c, cosh(x)))
cosh = unary("cosh", np.cosh, "fc", lambda c, o, x: times(c, sinh(x)))
tanh = unary("tanh", np.tanh, "fc", lambda c, o, x: times(c, _gap(o)))
asinh = unary("asinh", np.arcsinh, "fc", lambda c, o, x: div(c, _root_one_plus_square(x)))
acosh = unary("acosh", np.arccosh, "fc", lambda c, o, x: div(c, mul(sqrt(sub(x, like(x, 1))), sqrt(add(x, like(x, 1))))))
atanh = unary("atanh", np.arctanh, "fc", lambda c, o, x: div(c, _gap(x)))

# ---- special functions ----------------------------------------------------------------------------------------------


def _bell(c: Term, x: Term) -> Term:
    return times(c, scale(exp(neg(mul(x, x))), 2 / math.sqrt(math.pi)))


erf = unary("erf", special("erf"), "f", lambda c, o, x: _bell(c, x))
erfc = unary("erfc", special("erfc"), "f", lambda c, o, x: negate(_bell(c, x)))
ndtr = unary("ndtr", OPS["ndtr"].numpy, "f", lambda c, o, x: times(c, scale(exp(scale(square(x), -0.5)), 1 / math.sqrt(2 * math.pi))))
lgamma = unary("lgamma", special("gammaln"), "f", lambda c, o, x: times(c, digamma(x)))
digamma = unary("digamma", special("digamma"), "f", lambda c, o, x: times(c, polygamma1(x)))

_polygamma = special("polygamma")
polygamma = Prim("polygamma", lambda x, *, n: _polygamma(n, x), lambda x, *, n: same("polygamma", "f")(x), Host(),
                 Partials(lambda o, x, *, n: (lambda c: times(c, polygamma(x, n=n + 1)),)), ("n",))


def polygamma1(x: Term) -> Term:
    """The derivative of digamma (trigamma)."""
    return polygamma(x, n=1)


# ---- comparisons and logic (derivative: none) -----------------------------------------------------------------------

def _swapped(name: str) -> Build:
    return lambda x, y: apply(name, y, x)


eq = binary("eq", np.equal, "fiubc", out=bool_)
ne = binary("ne", np.not_equal, "fiubc", out=bool_)
lt = binary("lt", np.less, "fiub", out=bool_)
le = binary("le", np.less_equal, "fiub", out=bool_)
gt = binary("gt", np.greater, "fiub", lower=_swapped("lt"), out=bool_)
ge = binary("ge", np.greater_equal, "fiub", lower=_swapped("le"), out=bool_)
bit_and = binary("bit_and", np.bitwise_and, "iub", lower="and")
bit_or = binary("bit_or", np.bitwise_or, "iub", lower="or")
bit_xor = binary("bit_xor", np.bitwise_xor, "iub", lower="xor")
bit_not = unary("bit_not", np.invert, "iub", lower="not")
shl = binary("shl", OPS["shl"].numpy, "iu")
shr = binary("shr", OPS["shr"].numpy, "iu")
isnan = unary("isnan", np.isnan, "fc", out=bool_)
isinf = unary("isinf", np.isinf, "fc", out=bool_)
isfinite = unary("isfinite", np.isfinite, "fc", out=bool_)
signbit = unary("signbit", np.signbit, "f", out=bool_)


# ---- choice and change of dtype -------------------------------------------------------------------------------------

def _where_type(c: Aval, x: Aval, y: Aval) -> Aval:
    if x is not y or c.shape != x.shape:
        came = f"{c}, {x}, {y}"
        if not c.shape == x.shape == y.shape:
            raise ShapeError("where", came, "the shapes differ", "broadcast the arguments first")
        raise DTypeError("where", came, "the branches have two dtypes", "cast them to one dtype first")
    if c.dtype != bool_:
        raise DTypeError("where", f"{c}, {x}, {y}", f"the condition is {c.dtype}, not bool", "compare it: where(c != 0, x, y)")
    return x


def _where_transpose(ct: Term, o: Term, c: Term, x: Term, y: Term) -> tuple[Term, Term]:
    zero = like(ct, 0)
    return where(c, ct, zero), where(c, zero, ct)


where = Prim("where", np.where, _where_type, Elementwise("select"), Linear((1, 2), _where_transpose))


def _astype(x: np.ndarray, *, dtype: np.dtype) -> np.ndarray:
    return (x.real if x.dtype.kind == "c" and dtype.kind in "fiu" else x).astype(dtype)       # imaginary parts go silently


cast = Prim("cast", _astype, lambda x, *, dtype: aval(x.shape, dtype), Elementwise(lambda x, *, dtype: scalar_cast(x, dtype)),
            Linear((0,), lambda ct, o, x, *, dtype: (cast(ct, dtype=x.aval.dtype),)), ("dtype",))
stop_gradient = unary("stop_gradient", lambda x: x.view(), "fiubc", lower=lambda x: x)
# x as an expression of the scope with that number, coming from another one where `source` says so (None: a constant)
place = Prim("place", lambda x, *, scope, source: x.view(), lambda x, *, scope, source: x, Elementwise(lambda x, *, scope, source: x),
             Linear((0,), lambda ct, o, x, *, scope, source: (ct if source is None else place(ct, scope=source, source=scope),)),
             ("scope", "source"), scoped=True)


# ---- complex --------------------------------------------------------------------------------------------------------

def _part(name: str) -> Callable[[Aval], Aval]:
    def infer(x: Aval) -> Aval:
        if x.dtype.kind != "c":
            raise refuse(name, x, "c")
        return aval(x.shape, real_dtype(x.dtype))
    return infer


# cotangents are paired with tangents by Re(c t): Im z = Re(-i z)
real = Prim("real", np.real, _part("real"), Host(), Linear((0,), lambda ct, o, x: (cast(ct, dtype=x.aval.dtype),)))
imag = Prim("imag", np.imag, _part("imag"), Host(), Linear((0,), lambda ct, o, x: (scale(cast(ct, dtype=x.aval.dtype), -1j),)))
conj = Prim("conj", np.conj, same("conj", "c"), Host(), Linear((0,), lambda ct, o, x: (conj(ct),)))

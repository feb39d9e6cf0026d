"""Elementwise functions that are one Prim: a table of rows, each of which becomes a public function, methods, operators.

In: tensors and Python numbers of any shapes and dtypes. Out: tensors of the broadcast shape. Functions made of several
Prims are in `composite.py`; what happens to dtypes is in `promotion.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import dtypes
from ..errors import DeviceError, DTypeError
from ..ir.record import record
from ..ir.term import Term
from ..lift import Operand
from ..runtime.devices import device_of, resolve
from ..tensor import Tensor
from .promotion import P, as_dtype, cast, constant, inexact, pair
from .table import FUNCTIONS, deferred, public

# ---- what a function does with dtypes its Prim does not take ----------------------------------------------------------

def refused(op: str, dtype: np.dtype, wrong: str, fix: str) -> DTypeError:
    return DTypeError(op, str(dtype), wrong, fix)


def floating(op: str, xs: tuple[Term, ...]) -> tuple[Term, ...]:
    """Integers and bools as the default float."""
    return tuple(map(inexact, xs))


def numeric(op: str, xs: tuple[Term, ...]) -> tuple[Term, ...]:
    """Bools as int8, as NumPy does in // % **; everything else as it is."""
    return tuple([cast(x, dtypes.int8) for x in xs]) if xs[0].aval.dtype.kind == "b" else xs


def not_bool(op: str, xs: tuple[Term, ...]) -> tuple[Term, ...]:
    if xs[0].aval.dtype.kind == "b":
        raise refused(op, dtypes.bool_, "bools have no minus", "use ^ or ~, or cast to an integer dtype")
    return xs


def integral(op: str, xs: tuple[Term, ...]) -> tuple[Term, ...]:
    if xs[0].aval.dtype.kind not in "iub":
        raise refused(op, xs[0].aval.dtype, "bits exist in integers and bools only", "cast to an integer dtype")
    return xs


def shifting(op: str, xs: tuple[Term, ...]) -> tuple[Term, ...]:
    return numeric(op, integral(op, xs))


def truths(op: str, xs: tuple[Term, ...]) -> tuple[Term, ...]:
    """Each operand as "is not zero"."""
    return tuple([cast(x, dtypes.bool_) for x in xs])


def ordered(op: str, xs: tuple[Term, ...]) -> tuple[Term, ...]:
    if xs[0].aval.dtype.kind == "c":
        raise refused(op, xs[0].aval.dtype, "complex numbers have no order", "compare abs, real or imag")
    return xs


def anything(op: str, xs: tuple[Term, ...]) -> tuple[Term, ...]:
    return xs


def bools_to(name: str) -> Callable[[str, tuple[Term, ...]], Term | tuple[Term, ...]]:
    """For bools another Prim: NumPy's True + True is True."""
    def rule(op: str, xs: tuple[Term, ...]) -> Term | tuple[Term, ...]:
        return getattr(P, name)(*xs) if xs[0].aval.dtype.kind == "b" else xs
    return rule


def integers_stay(op: str, xs: tuple[Term, ...]) -> Term | tuple[Term, ...]:
    """Rounding an integer changes nothing."""
    return xs[0] if xs[0].aval.dtype.kind in "iub" else xs


def integers_are(value: bool) -> Callable[[str, tuple[Term, ...]], Term | tuple[Term, ...]]:
    """A test of floats whose answer for integers is known."""
    def rule(op: str, xs: tuple[Term, ...]) -> Term | tuple[Term, ...]:
        return constant(value, xs[0].aval.shape, dtypes.bool_) if xs[0].aval.dtype.kind in "iub" else xs
    return rule


def signs(op: str, xs: tuple[Term, ...]) -> Term | tuple[Term, ...]:
    x, = xs
    return P.lt(x, constant(0, x.aval.shape, x.aval.dtype)) if x.aval.dtype.kind in "iub" else xs


def magnitude(op: str, xs: tuple[Term, ...]) -> Term | tuple[Term, ...]:
    return xs[0] if xs[0].aval.dtype.kind in "ub" else xs


def real_stays(op: str, xs: tuple[Term, ...]) -> Term | tuple[Term, ...]:
    return xs if xs[0].aval.dtype.kind == "c" else xs[0]


def imaginary(op: str, xs: tuple[Term, ...]) -> Term | tuple[Term, ...]:
    return xs if xs[0].aval.dtype.kind == "c" else constant(0, xs[0].aval.shape, xs[0].aval.dtype)


# ---- the table --------------------------------------------------------------------------------------------------------

Dtypes = Callable[[str, tuple[Term, ...]], Term | tuple[Term, ...]]


@record
class Row:
    """`name aliases` in one string; the Prim; the dtype rule; what it is; an operator; a doctest (call, result)."""

    names: str
    prim: str
    dtypes: Dtypes
    doc: str
    operator: str | None = None
    example: tuple[str, str] | None = None


UNARY = [
    Row("negative neg", "neg", not_bool, "-x", "neg", ("[1., -2.]", "[-1.0, 2.0]")),
    Row("abs absolute fabs", "abs", magnitude, "|x|", "abs", ("[-1., 2.]", "[1.0, 2.0]")),
    Row("sign", "sign", numeric, "-1, 0 or 1 by the sign of x; NaN for NaN", None, ("[-3., 0.]", "[-1.0, 0.0]")),
    Row("floor", "floor", integers_stay, "the largest integer <= x", None, ("[1.5, -1.5]", "[1.0, -2.0]")),
    Row("ceil", "ceil", integers_stay, "the smallest integer >= x", None, ("[1.5, -1.5]", "[2.0, -1.0]")),
    Row("trunc fix", "trunc", integers_stay, "the integer part of x", None, ("[1.5, -1.5]", "[1.0, -1.0]")),
    Row("rint", "rint", integers_stay, "the nearest integer, ties to even", None, ("[0.5, 1.5]", "[0.0, 2.0]")),
    Row("sqrt", "sqrt", floating, "the square root", None, ("[4., 9.]", "[2.0, 3.0]")),
    Row("rsqrt", "rsqrt", floating, "1 / sqrt(x)", None, ("[4.]", "[0.5]")),
    Row("cbrt", "cbrt", floating, "the cube root, of negative numbers too", None, ("[0., 1.]", "[0.0, 1.0]")),
    Row("reciprocal", "reciprocal", floating, "1 / x", None, ("[4.]", "[0.25]")),
    Row("square", "square", numeric, "x * x", None, ("[3.]", "[9.0]")),
    Row("exp", "exp", floating, "e to the power x", None, ("[0.]", "[1.0]")),
    Row("exp2", "exp2", floating, "2 to the power x", None, ("[3.]", "[8.0]")),
    Row("expm1", "expm1", floating, "exp(x) - 1, exact near 0", None, ("[0.]", "[0.0]")),
    Row("log", "log", floating, "the natural logarithm", None, ("[1.]", "[0.0]")),
    Row("log2", "log2", floating, "the logarithm to base 2", None, ("[8.]", "[3.0]")),
    Row("log10", "log10", floating, "the logarithm to base 10", None, ("[1.]", "[0.0]")),
    Row("log1p", "log1p", floating, "log(1 + x), exact near 0", None, ("[0.]", "[0.0]")),
    Row("sin", "sin", floating, "the sine", None, ("[0.]", "[0.0]")),
    Row("cos", "cos", floating, "the cosine", None, ("[0.]", "[1.0]")),
    Row("tan", "tan", floating, "the tangent", None, ("[0.]", "[0.0]")),
    Row("asin arcsin", "asin", floating, "the inverse sine", None, ("[0.]", "[0.0]")),
    Row("acos arccos", "acos", floating, "the inverse cosine", None, ("[1.]", "[0.0]")),
    Row("atan arctan", "atan", floating, "the inverse tangent", None, ("[0.]", "[0.0]")),
    Row("sinh", "sinh", floating, "the hyperbolic sine", None, ("[0.]", "[0.0]")),
    Row("cosh", "cosh", floating, "the hyperbolic cosine", None, ("[0.]", "[1.0]")),
    Row("tanh", "tanh", floating, "the hyperbolic tangent", None, ("[0.]", "[0.0]")),
    Row("asinh arcsinh", "asinh", floating, "the inverse hyperbolic sine", None, ("[0.]", "[0.0]")),
    Row("acosh arccosh", "acosh", floating, "the inverse hyperbolic cosine", None, ("[1.]", "[0.0]")),
    Row("atanh arctanh", "atanh", floating, "the inverse hyperbolic tangent", None, ("[0.]", "[0.0]")),
    Row("sigmoid expit", "sigmoid", floating, "1 / (1 + exp(-x))", None, ("[0.]", "[0.5]")),
    Row("erf", "erf", floating, "the error function", None, ("[0.]", "[0.0]")),
    Row("erfc", "erfc", floating, "1 - erf(x), exact for large x", None, ("[0.]", "[1.0]")),
    Row("lgamma gammaln", "lgamma", floating, "log |gamma(x)|", None, ("[1.]", "[0.0]")),
    Row("digamma psi", "digamma", floating, "the derivative of lgamma"),
    Row("bitwise_invert bitwise_not invert", "bit_not", integral, "every bit of x inverted; not x for bools", "invert", ("[0, 1]", "[-1, -2]")),
    Row("logical_not", "bit_not", truths, "whether x is zero", None, ("[0, 2]", "[True, False]")),
    Row("isnan", "isnan", integers_are(False), "whether x is NaN", None, ("[1.]", "[False]")),
    Row("isinf", "isinf", integers_are(False), "whether x is infinite", None, ("[1.]", "[False]")),
    Row("isfinite", "isfinite", integers_are(True), "whether x is neither infinite nor NaN", None, ("[1.]", "[True]")),
    Row("signbit", "signbit", signs, "whether the sign of x is minus, also for -0.0", None, ("[-0.0, 1.]", "[True, False]")),
    Row("real", "real", real_stays, "the real part", None, ("[1., 2.]", "[1.0, 2.0]")),
    Row("imag", "imag", imaginary, "the imaginary part", None, ("[1., 2.]", "[0.0, 0.0]")),
    Row("conj conjugate", "conj", real_stays, "the complex conjugate", None, ("[1., 2.]", "[1.0, 2.0]")),
    Row("stop_gradient detach", "stop_gradient", anything, "x, through which no derivative flows", None, ("[1.]", "[1.0]")),
]

BINARY = [
    Row("add", "add", bools_to("bit_or"), "x + y (or, for bools)", "add", ("[1., 2.], 1", "[2.0, 3.0]")),
    Row("subtract sub", "sub", not_bool, "x - y", "sub", ("[1., 2.], 1", "[0.0, 1.0]")),
    Row("multiply mul", "mul", bools_to("bit_and"), "x * y (and, for bools)", "mul", ("[1., 2.], 3", "[3.0, 6.0]")),
    Row("divide div true_divide", "div", floating, "x / y, a float also for integers", "truediv", ("[1, 2], 2", "[0.5, 1.0]")),
    Row("floor_divide", "floor_divide", numeric, "x / y rounded down; 0 where an integer y is 0", "floordiv", ("[7, -7], 2", "[3, -4]")),
    Row("remainder mod", "remainder", numeric, "x - y * floor(x / y), with the sign of y", "mod", ("[7, -7], 4", "[3, 1]")),
    Row("fmod", "fmod", numeric, "the remainder with the sign of x", None, ("[7, -7], 4", "[3, -3]")),
    Row("atan2 arctan2", "atan2", floating, "the angle of the point (y, x); the first operand is y", None, ("[0.], [1.]", "[0.0]")),
    Row("hypot", "hypot", floating, "sqrt(x*x + y*y) without overflow", None, ("[3.], [4.]", "[5.0]")),
    Row("logaddexp", "logaddexp", floating, "log(exp(x) + exp(y)) without overflow"),
    Row("copysign", "copysign", floating, "|x| with the sign of y", None, ("[3.], [-0.0]", "[-3.0]")),
    Row("nextafter", "nextafter", floating, "the next number after x towards y"),
    Row("maximum", "maximum", ordered, "the larger of x and y; NaN if one is", None, ("[1., 5.], 3", "[3.0, 5.0]")),
    Row("minimum", "minimum", ordered, "the smaller of x and y; NaN if one is", None, ("[1., 5.], 3", "[1.0, 3.0]")),
    Row("equal eq", "eq", anything, "x == y", "eq", ("[1, 2], 2", "[False, True]")),
    Row("not_equal ne", "ne", anything, "x != y", "ne", ("[1, 2], 2", "[True, False]")),
    Row("less lt", "lt", ordered, "x < y", "lt", ("[1, 2], 2", "[True, False]")),
    Row("less_equal le", "le", ordered, "x <= y", "le", ("[1, 2], 1", "[True, False]")),
    Row("greater gt", "gt", ordered, "x > y", "gt", ("[1, 2], 1", "[False, True]")),
    Row("greater_equal ge", "ge", ordered, "x >= y", "ge", ("[1, 2], 2", "[False, True]")),
    Row("bitwise_and", "bit_and", integral, "the bits set in both", "and", ("[6], [3]", "[2]")),
    Row("bitwise_or", "bit_or", integral, "the bits set in one or both", "or", ("[6], [3]", "[7]")),
    Row("bitwise_xor", "bit_xor", integral, "the bits set in one alone", "xor", ("[6], [3]", "[5]")),
    Row("bitwise_left_shift left_shift", "shl", shifting, "x * 2**y, wrapping; 0 if y is the width or more", "lshift", ("[3], [2]", "[12]")),
    Row("bitwise_right_shift right_shift", "shr", shifting, "x // 2**y", "rshift", ("[12], [2]", "[3]")),
    Row("logical_and", "bit_and", truths, "whether neither is zero", None, ("[0, 2], [1, 1]", "[False, True]")),
    Row("logical_or", "bit_or", truths, "whether one is not zero", None, ("[0, 2], [0, 1]", "[False, True]")),
    Row("logical_xor", "bit_xor", truths, "whether exactly one is not zero", None, ("[0, 2], [1, 1]", "[True, False]")),
]


# ---- from rows to functions -------------------------------------------------------------------------------------------

def document(rule: Callable, row: Row, names: list[str], shapes: str) -> None:
    also = f" Also `{'`, `'.join(names[1:])}`." if len(names) > 1 else ""
    rule.__doc__ = f"Elementwise {row.doc}.{also} {shapes}"
    if row.example:
        call, result = row.example
        args = ", ".join([f"lg.asarray({part})" if part.startswith("[") else part for part in split_arguments(call)])
        rule.__doc__ += f"\n\n    >>> import lazygrad as lg\n    >>> lg.{names[0]}({args}).tolist()\n    {result}\n    "


def split_arguments(call: str) -> list[str]:
    """The arguments of an example: commas inside brackets do not split."""
    parts = call.replace("], ", "]|").split("|")
    return [p.strip() for p in parts]


def unary(row: Row) -> Callable[[Term], Term]:
    prim, convert, names = getattr(P, row.prim), row.dtypes, row.names.split()
    name = names[0]

    def rule(x: Term) -> Term:
        xs = convert(name, (x,))
        return prim(*xs) if type(xs) is tuple else xs

    rule.__name__, rule.by_aval = name, True
    document(rule, row, names, "Shape and dtype of x, but where noted.")
    methods = (*names, f"__{row.operator}__") if row.operator else () if name in PARTS else tuple(names)
    return public(*names[1:], method=methods)(rule)


def binary(row: Row) -> Callable[[Operand, Operand], Term]:
    prim, convert, names = getattr(P, row.prim), row.dtypes, row.names.split()
    name = names[0]

    def rule(x: Operand, y: Operand) -> Term:
        xs = convert(name, pair(name, x, y))
        return prim(*xs) if type(xs) is tuple else xs

    rule.__name__, rule.by_aval = name, True
    document(rule, row, names, "Shapes broadcast, dtypes promote; ShapeError where they do not.")
    return public(*names[1:], method=True, operator=row.operator)(rule)


PARTS = ("real", "imag")                  # x.real, not x.real(), as in NumPy and PyTorch


def part(name: str) -> property:
    return property(lambda x: FUNCTIONS[name](x), doc=f"The {'real' if name == 'real' else 'imaginary'} part.")


for _name in PARTS:
    setattr(Tensor, _name, part(_name))
RULES = {row.names.split()[0]: unary(row) for row in UNARY} | {row.names.split()[0]: binary(row) for row in BINARY}


# ---- binary functions that are more than a row --------------------------------------------------------------------------

def loser(name: str, prim: str, integers: str) -> Callable[[Operand, Operand], Term]:
    def rule(x: Operand, y: Operand) -> Term:
        a, b = pair(name, x, y)
        ordered(name, (a, b))
        return getattr(P, prim if a.aval.dtype.kind == "f" else integers)(a, b)

    rule.__name__ = name
    rule.__doc__ = (f"Elementwise {'larger' if integers == 'maximum' else 'smaller'} of x and y; a NaN loses. Shapes broadcast."
                    f"\n\n    >>> import lazygrad as lg\n    >>> lg.{name}(lg.asarray([float('nan')]), 1).tolist()\n    [1.0]\n    ")
    return public(method=True)(rule)


fmax, fmin = loser("fmax", "fmax", "maximum"), loser("fmin", "fmin", "minimum")


@public("pow", method=True, operator="pow")
def power(x: Operand, y: Operand) -> Term:
    """Elementwise x ** y. Shapes broadcast, dtypes promote; DTypeError for an integer to a negative number.

    >>> import lazygrad as lg
    >>> lg.power(lg.asarray([2., 3.]), 2).tolist()
    [4.0, 9.0]
    """
    if isinstance(y, int | float) and isinstance(x, Term) and not isinstance(y, bool):
        kind = x.aval.dtype.kind
        if kind in "iu" and isinstance(y, int) and y < 0:
            raise DTypeError("power", f"{x.aval.dtype} ** {y}", "an integer to a negative power is no integer",
                             "use a float tensor or exponent")
        if kind in "fc" or (kind in "iu" and isinstance(y, int)):       # exact, and far cheaper than a logarithm
            if y == 2:
                return P.square(x)
            if y == 1:
                return x
            if y == 3:
                return P.mul(P.square(x), x)
            if y == -1:
                return P.reciprocal(x)
    return P.pow(*numeric("power", pair("power", x, y)))


@public(method=True)
def float_power(x: Operand, y: Operand) -> Term:
    """Elementwise x ** y in floats (integers are cast to the default float). Shapes broadcast.

    >>> import lazygrad as lg
    >>> lg.float_power(lg.asarray([2, 4]), -1).tolist()
    [0.5, 0.25]
    """
    return P.pow(*floating("float_power", pair("float_power", x, y)))


@public(method=("divmod", "__divmod__"), operator="divmod")
def divmod_(x: Operand, y: Operand) -> Term:
    """(x // y, x % y), elementwise. Shapes broadcast.

    >>> import lazygrad as lg
    >>> [part.tolist() for part in lg.divmod(lg.asarray([7, -7]), 2)]
    [[3, -4], [1, 1]]
    """
    a, b = numeric("divmod", pair("divmod", x, y))
    return P.floor_divide(a, b), P.remainder(a, b)


@public(method=("positive", "__pos__"))
def positive(x: Term) -> Term:
    """+x: x itself.

    >>> import lazygrad as lg
    >>> lg.positive(lg.asarray([1.0])).tolist()
    [1.0]
    """
    return x


@public("cast", method=("astype", "type"), name="astype")
def astype(x: Term, dtype: object, copy: bool = True, device: object = None) -> Term:
    """x in another dtype, as `ndarray.astype` converts. `copy` is accepted for NumPy's sake: tensors are immutable.

    >>> import lazygrad as lg
    >>> lg.astype(lg.asarray([1.5, 2.0]), "int64").tolist()
    [1, 2]
    """
    if device is not None and resolve(device) != device_of(x.graph):
        raise DeviceError("astype", f"{device_of(x.graph)} to {device}", "values do not move between devices here", "use x.to(device)")
    return cast(x, as_dtype("astype", dtype))


CASTS = {"half": "float16", "float": "float32", "double": "float64", "int": "int32", "long": "int64", "bool": "bool"}


def caster(method: str, dtype: str) -> None:
    def rule(x: Term) -> Term:
        return cast(x, np.dtype(dtype))

    rule.__name__ = f"to_{dtype}"
    rule.__doc__ = f"x as {dtype}.\n\n    >>> import lazygrad as lg\n    >>> lg.asarray([1]).{method}().dtype\n    dtype('{dtype}')\n    "
    deferred(rule, (method,))


for _method, _dtype in CASTS.items():
    caster(_method, _dtype)


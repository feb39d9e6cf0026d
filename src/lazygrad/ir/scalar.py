"""Scalar terms: what a kernel computes for one element. The only vocabulary a code generator reads.

A `Scalar` is interned while a plan is compiled, so `is` is equality and shared work is emitted once. Index arithmetic
is int64 and kept in one normal form: `linear`, a constant plus coefficient * atom over loop variables and other atoms.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from .record import record

BOOL, I64 = np.dtype("bool"), np.dtype("int64")


@record
class ScalarOp:
    """One row of the table: `out` is the result dtype ("same" as the last argument, or "bool")."""

    name: str
    arity: int
    kinds: str                         # dtype kinds of the arguments: f, i, u, b
    numpy: Callable | None             # the meaning, on arrays: constant folding and the proof of rules use it
    out: str = "same"

    def __repr__(self) -> str:
        return self.name


def _shift(f):
    def shift(x, n):
        bits = x.dtype.itemsize * 8
        ok = (n >= 0) & (n < bits)
        out = f(x, np.where(ok, n, 0).astype(x.dtype))
        over = -(x < 0).astype(x.dtype) if f is np.right_shift else np.zeros_like(x)
        return np.where(ok, out, over).astype(x.dtype)
    return shift


def _special(name):
    def call(*xs):
        import scipy.special
        return getattr(scipy.special, name)(*xs)
    return call


def _ndtr(x):
    """The normal distribution function: exp(-a²/2) erfcx(a sqrt(1/2))/2 at -a. SciPy's loses digits below 0, where a² is rounded."""
    import scipy.special
    wide = np.asarray(x, np.float64)
    a = np.minimum(np.abs(wide), 40.0)
    high = a.astype(np.float32).astype(np.float64)                  # its square is exact
    tail = 0.5 * scipy.special.erfcx(a * 0.5**0.5)
    tail = np.exp(-0.5 * high * high) * (tail + tail * np.expm1((high - a) * (high + a) * 0.5))
    near = 0.5 * scipy.special.erfc(wide * -(0.5**0.5))             # where SciPy's erfcx is off by more
    return np.where(a < 1, near, np.where(wide < 0, tail, 1 - tail)).astype(np.asarray(x).dtype)


OPS = {o.name: o for o in [
    # arithmetic: NumPy's meaning for every value (integers wrap; x // 0 and x % 0 are 0; floats by IEEE 754)
    ScalarOp("add", 2, "fiu", np.add), ScalarOp("sub", 2, "fiu", np.subtract), ScalarOp("mul", 2, "fiu", np.multiply),
    ScalarOp("div", 2, "f", np.divide), ScalarOp("floor_divide", 2, "fiu", np.floor_divide),
    ScalarOp("remainder", 2, "fiu", np.remainder), ScalarOp("fmod", 2, "fiu", np.fmod),
    ScalarOp("neg", 1, "fiu", np.negative), ScalarOp("abs", 1, "fiu", np.abs), ScalarOp("sign", 1, "fiu", np.sign),
    ScalarOp("copysign", 2, "f", np.copysign), ScalarOp("nextafter", 2, "f", np.nextafter),
    ScalarOp("maximum", 2, "fiub", np.maximum), ScalarOp("minimum", 2, "fiub", np.minimum),    # NaN wins
    ScalarOp("fmax", 2, "f", np.fmax), ScalarOp("fmin", 2, "f", np.fmin),                      # NaN loses
    ScalarOp("floor", 1, "f", np.floor), ScalarOp("ceil", 1, "f", np.ceil), ScalarOp("trunc", 1, "f", np.trunc),
    ScalarOp("rint", 1, "f", np.rint), ScalarOp("sqrt", 1, "f", np.sqrt), ScalarOp("cbrt", 1, "f", np.cbrt),
    # comparisons and logic
    ScalarOp("eq", 2, "fiub", np.equal, "bool"), ScalarOp("ne", 2, "fiub", np.not_equal, "bool"),
    ScalarOp("lt", 2, "fiub", np.less, "bool"), ScalarOp("le", 2, "fiub", np.less_equal, "bool"),
    ScalarOp("and", 2, "iub", np.bitwise_and), ScalarOp("or", 2, "iub", np.bitwise_or),
    ScalarOp("xor", 2, "iub", np.bitwise_xor), ScalarOp("not", 1, "iub", np.invert),
    ScalarOp("shl", 2, "iu", _shift(np.left_shift)), ScalarOp("shr", 2, "iu", _shift(np.right_shift)),
    ScalarOp("signbit", 1, "f", np.signbit, "bool"), ScalarOp("isnan", 1, "f", np.isnan, "bool"),
    ScalarOp("isinf", 1, "f", np.isinf, "bool"), ScalarOp("isfinite", 1, "f", np.isfinite, "bool"),
    ScalarOp("select", 3, "fiub", np.where),                       # (bool, x, y): x where true
    # functions
    ScalarOp("exp", 1, "f", np.exp), ScalarOp("exp2", 1, "f", np.exp2), ScalarOp("expm1", 1, "f", np.expm1),
    ScalarOp("log", 1, "f", np.log), ScalarOp("log2", 1, "f", np.log2), ScalarOp("log10", 1, "f", np.log10),
    ScalarOp("log1p", 1, "f", np.log1p), ScalarOp("pow", 2, "fiu", np.power), ScalarOp("hypot", 2, "f", np.hypot),
    ScalarOp("sin", 1, "f", np.sin), ScalarOp("cos", 1, "f", np.cos), ScalarOp("tan", 1, "f", np.tan),
    ScalarOp("asin", 1, "f", np.arcsin), ScalarOp("acos", 1, "f", np.arccos), ScalarOp("atan", 1, "f", np.arctan),
    ScalarOp("atan2", 2, "f", np.arctan2), ScalarOp("sinh", 1, "f", np.sinh), ScalarOp("cosh", 1, "f", np.cosh),
    ScalarOp("tanh", 1, "f", np.tanh), ScalarOp("asinh", 1, "f", np.arcsinh), ScalarOp("acosh", 1, "f", np.arccosh),
    ScalarOp("atanh", 1, "f", np.arctanh), ScalarOp("sigmoid", 1, "f", _special("expit")),
    ScalarOp("erf", 1, "f", _special("erf")), ScalarOp("erfc", 1, "f", _special("erfc")),
    ScalarOp("ndtr", 1, "f", _ndtr),
    ScalarOp("lgamma", 1, "f", _special("gammaln")), ScalarOp("digamma", 1, "f", _special("digamma")),
]}

# leaves and structure; `params` in brackets
CONST = ScalarOp("const", 0, "fiub", None)         # (text: the repr of a Python number,)
VAR = ScalarOp("var", 0, "i", None)                # (name, extent): a loop variable in [0, extent), int64
LOAD = ScalarOp("load", 1, "fiub", None)           # (buffer,): args (index,) or (index, mask); a masked-out load is 0
CARRY = ScalarOp("carry", 0, "fiub", None)         # (name,): the total of an accumulator, after its loop
LINEAR = ScalarOp("linear", 0, "i", None)          # (constant, (k1, k2, ...)): constant + k1*args[0] + k2*args[1] + ...
FLOORDIV = ScalarOp("index_floordiv", 1, "i", None)    # (d,): args[0] // d, where args[0] >= 0, d > 0
MOD = ScalarOp("index_mod", 1, "i", None)              # (d,): args[0] % d
CAST = ScalarOp("cast", 1, "fiub", None)           # to self.dtype, as ndarray.astype does


class Scalar:
    """One interned scalar node; `dtype` is its result's, `number` its place in the order of making (per plan)."""

    __slots__ = ("args", "dtype", "number", "op", "params")
    op: ScalarOp
    args: tuple[Scalar, ...]
    params: tuple
    dtype: np.dtype
    number: int

    def __repr__(self) -> str:
        return self.brief(4)

    def brief(self, depth: int) -> str:
        """The outermost operations: a shared expression may be exponentially longer than its graph."""
        if self.op is VAR:
            return self.params[0]
        inside = [a.brief(depth - 1) for a in self.args] if depth else ["..."] * bool(self.args)
        return f"{self.op}({', '.join([*inside, *[str(p) for p in self.params]])})"


_local = threading.local()


def reset() -> None:
    """Start a new interning table (the compiler calls this once per plan; tables are per thread)."""
    _local.table = {}


def scalar(op: ScalarOp, args: tuple[Scalar, ...] = (), params: tuple = (), dtype: np.dtype | None = None) -> Scalar:
    """The interned node; the dtype follows from the op's row unless given."""
    if dtype is None:
        dtype = BOOL if op.out == "bool" else args[-1].dtype
    try:
        table = _local.table
    except AttributeError:
        table = _local.table = {}
    key = (op.name, args, params, dtype)
    found = table.get(key)
    if found is None:
        found = table[key] = Scalar()
        found.op, found.args, found.params, found.dtype = op, args, params, dtype
        found.number = len(table)
    return found


def apply(name: str, *args: Scalar) -> Scalar:
    """`apply("add", x, y)`: an operation of the table."""
    return scalar(OPS[name], args)


def const(value: bool | int | float, dtype: np.dtype) -> Scalar:
    """A constant of `dtype`; keyed by its text, so that 0.0, -0.0, 0 and NaN stay apart."""
    value = np.asarray(value).astype(dtype).item()
    return scalar(CONST, (), (repr(value),), dtype)


def value_of(c: Scalar) -> bool | int | float:
    """The Python number of a `const`."""
    text = c.params[0]
    if c.dtype.kind == "f":
        return float(text)
    return text == "True" if c.dtype.kind == "b" else int(text)


def cast(x: Scalar, dtype: np.dtype) -> Scalar:
    return x if x.dtype == dtype else scalar(CAST, (x,), (), dtype)


def load(buffer: int, index: Scalar, dtype: np.dtype, mask: Scalar | None = None) -> Scalar:
    """The element of a kernel's buffer; where `mask` is false nothing is read and the value is 0."""
    return scalar(LOAD, (index,) if mask is None else (index, mask), (buffer,), dtype)


def carry(name: str, dtype: np.dtype) -> Scalar:
    return scalar(CARRY, (), (name,), dtype)


# ---- index arithmetic: every function returns the normal form -----------------------------------------------------

def index(value: int) -> Scalar:
    return scalar(LINEAR, (), (int(value), ()), I64)


def var(name: str, extent: int) -> Scalar:
    """The loop variable as an index. A loop of one step has no variable: its index is 0."""
    return index(0) if extent == 1 else scalar(VAR, (), (name, int(extent)), I64)


def _parts(i: Scalar) -> tuple[int, dict[Scalar, int]]:
    if i.op is LINEAR:
        return i.params[0], dict(zip(i.args, i.params[1], strict=True))
    return 0, {i: 1}


def _linear(constant: int, parts: dict[Scalar, int]) -> Scalar:
    atoms = [(a, k) for a, k in parts.items() if k]
    if constant == 0 and len(atoms) == 1 and atoms[0][1] == 1:
        return atoms[0][0]
    if len(atoms) > 1:          # variables by name, then the rest by age: never by text, which repeats shared parts
        atoms.sort(key=lambda ak: (0, ak[0].params[0], 0) if ak[0].op is VAR else (1, "", ak[0].number))
    return scalar(LINEAR, tuple(a for a, _ in atoms), (constant, tuple(k for _, k in atoms)), I64)


def iadd(i: Scalar, j: Scalar) -> Scalar:
    """i + j."""
    (c, parts), (d, more) = _parts(i), _parts(j)
    for a, k in more.items():
        parts[a] = parts.get(a, 0) + k
    return _linear(c + d, parts)


def imul(i: Scalar, k: int) -> Scalar:
    """i * k, k a static number."""
    c, parts = _parts(i)
    return _linear(c * k, {a: f * k for a, f in parts.items()})


def bounds(i: Scalar) -> tuple[int, int] | None:
    """The smallest and largest value an index can take, None where data decides."""
    if i.op is VAR:
        return 0, i.params[1] - 1
    if i.op is MOD:
        return 0, i.params[0] - 1
    if i.op is FLOORDIV:
        inner = bounds(i.args[0])
        return inner and (inner[0] // i.params[0], inner[1] // i.params[0])
    if i.op is not LINEAR:
        return None
    low = high = i.params[0]
    for a, k in zip(i.args, i.params[1], strict=True):
        inner = bounds(a)
        if inner is None:
            return None
        low, high = low + min(k * inner[0], k * inner[1]), high + max(k * inner[0], k * inner[1])
    return low, high


def ifloordiv(i: Scalar, d: int) -> Scalar:
    """i // d for i >= 0, d > 0: (a*d + b) // d is a where 0 <= b < d."""
    if d == 1:
        return i
    c, parts = _parts(i)
    whole = {a: k // d for a, k in parts.items() if k % d == 0}
    rest = _linear(c % d, {a: k for a, k in parts.items() if k % d})
    inside = bounds(rest)
    if inside is not None and inside[0] >= 0 and inside[1] < d:
        return _linear(c // d, whole)
    if whole and inside is not None and inside[0] >= 0:
        return iadd(_linear(c // d, whole), scalar(FLOORDIV, (rest,), (d,), I64))
    return scalar(FLOORDIV, (i,), (d,), I64)


def imod(i: Scalar, d: int) -> Scalar:
    """i % d for i >= 0, d > 0: multiples of d drop out."""
    if d == 1:
        return index(0)
    c, parts = _parts(i)
    rest = _linear(c % d, {a: k % d for a, k in parts.items() if k % d})
    inside = bounds(rest)
    if inside is not None and inside[0] >= 0 and inside[1] < d:
        return rest
    return scalar(MOD, (rest,), (d,), I64)


def flat(idx: tuple[Scalar, ...], shape: tuple[int, ...]) -> Scalar:
    """The row-major position of `idx` in an array of `shape`."""
    total = index(0)
    stride = 1
    for i, n in zip(reversed(idx), reversed(shape), strict=True):
        total = iadd(total, imul(i, stride))
        stride *= n
    return total


def unflat(position: Scalar, shape: tuple[int, ...]) -> tuple[Scalar, ...]:
    """The index at row-major `position` of an array of `shape` (the inverse of `flat`)."""
    out: list[Scalar] = []
    stride = 1
    for k, n in enumerate(reversed(shape)):
        here = ifloordiv(position, stride)
        out.append(here if k == len(shape) - 1 else imod(here, n))
        stride *= n
    return tuple(reversed(out))


def inside(i: Scalar, low: int, high: int) -> Scalar | None:
    """The condition low <= i < high, None where it always holds."""
    known = bounds(i)
    tests = []
    if known is None or known[0] < low:
        tests.append(apply("le", index(low), i))
    if known is None or known[1] >= high:
        tests.append(apply("lt", i, index(high)))
    return both(*tests) if tests else None


def both(*conditions: Scalar | None) -> Scalar | None:
    """The conjunction; None means true."""
    out = None
    for c in conditions:
        if c is not None and c is not out:
            out = c if out is None else apply("and", out, c)
    return out

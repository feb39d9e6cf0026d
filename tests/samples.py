"""Sample arguments for every primitive of the registry: the table that the tests of all executors walk.

A row is arguments (shape and domain each), static parameters, and whether differences quotients are valid there. It knows no
executor: `arrays(row, dtype)` gives NumPy arrays.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lazygrad import dtypes
from lazygrad.errors import DTypeError
from lazygrad.ir.aval import aval
from lazygrad.prims import REGISTRY, call  # noqa: F401  (it registers)

Shape = tuple[int, ...]
Rng = np.random.Generator


# ---- domains: where the values of an argument lie -------------------------------------------------------------------

def _signed(rng: Rng, shape: Shape) -> np.ndarray:
    return rng.uniform(0.3, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


def _distinct(rng: Rng, shape: Shape) -> np.ndarray:
    """Values at least 0.1 apart: no ties within the reach of a difference quotient."""
    n = math.prod(shape)
    return (rng.permutation(n).reshape(shape) - n / 2) * 0.15 + 0.04


DOMAINS: dict[str, Callable[[Rng, Shape], np.ndarray]] = {
    "real": _signed,                                                     # away from 0
    "positive": lambda rng, shape: rng.uniform(0.3, 2.0, shape),
    "unit": lambda rng, shape: rng.uniform(-0.8, 0.8, shape),
    "above one": lambda rng, shape: rng.uniform(1.2, 3.0, shape),
    "distinct": _distinct,
    "bits": lambda rng, shape: rng.integers(0, 7, shape).astype(float),
    "zeros": lambda rng, shape: _signed(rng, shape) * rng.choice([0.0, 1.0], shape, p=[0.4, 0.6]),   # some zeros
}


@dataclass(frozen=True)
class Arg:
    """One argument: `dtype` None is the dtype under test; `below` n draws indices from -n to n - 1."""

    shape: Shape
    domain: str = "real"
    dtype: np.dtype | None = None
    below: int | None = None


@dataclass(frozen=True)
class Row:
    """`smooth`: the derivative is that of difference quotients at these arguments. `make` overrides the domains."""

    args: tuple[Arg, ...]
    params: dict[str, Any] = field(default_factory=dict)
    smooth: bool = True
    make: Callable[[Rng, np.dtype], tuple[np.ndarray, ...]] | None = None


# arguments by which a primitive has no derivative
CONSTANT = {"struve": 1, "modstruve": 1, "hyp0f1": 1, "hyp1f1": 2, "hyperu": 2, "hyp2f1": 3}


def moving(name: str, args: Sequence[Any]) -> list[Any]:
    """The arguments of a primitive by which it has a derivative (the first ones of some are orders)."""
    return list(args[CONSTANT.get(name, 0):])


def arrays(row: Row, dtype: np.dtype, seed: int = 0) -> tuple[np.ndarray, ...]:
    """The arguments of `row`, those without a dtype of their own in `dtype`."""
    rng = np.random.default_rng(seed)
    if row.make is not None:
        return row.make(rng, dtype)
    return tuple(_array(rng, a, a.dtype or dtype) for a in row.args)


def _array(rng: Rng, arg: Arg, dtype: np.dtype) -> np.ndarray:
    if dtype == dtypes.bool_:
        return rng.integers(0, 2, arg.shape).astype(bool)
    if arg.below is not None:
        return rng.integers(-arg.below, arg.below, arg.shape).astype(dtype)
    values = DOMAINS[arg.domain](rng, arg.shape)
    if dtype.kind == "c":
        values = values + 1j * rng.uniform(0.2, 0.7, arg.shape)
    elif dtype.kind in "iu" and arg.domain not in ("bits", "distinct"):
        values = np.round(values * 3)
        values = np.abs(values) if dtype.kind == "u" or arg.domain == "positive" else values
    elif dtype.kind == "u":
        values = np.abs(values * 10)
    return np.asarray(values).astype(dtype)


def accepts(name: str, row: Row, dtype: np.dtype) -> bool:
    """Whether the primitive takes the row in `dtype`."""
    try:
        REGISTRY[name].infer(*[aval(a.shape, a.dtype) for a in arrays(row, dtype)], **row.params)
    except DTypeError:
        return False
    return True


# ---- special values --------------------------------------------------------------------------------------------------

EDGES = (0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0, 2.5, -0.7, 1e-20, 1e20, 90.0, -90.0, math.inf, -math.inf, math.nan)
INTEGER_EDGES = (0, 1, 2, 3, 7, 8, 64, 100, 127)


def edges(arity: int, dtype: np.dtype) -> list[np.ndarray]:
    """All combinations of special values, one array for each argument."""
    if dtype == dtypes.bool_:
        values: list[Any] = [False, True]
    elif dtype.kind == "f":
        info = np.finfo(dtype)
        limits = [float(info.smallest_subnormal), -float(info.smallest_subnormal), float(info.tiny), float(info.max), float(info.min)]
        values = [*EDGES, *limits]
    else:
        values = [*INTEGER_EDGES, *([-1, -2, -7, -128] if dtype.kind == "i" else []), np.iinfo(dtype).max, np.iinfo(dtype).min]
    columns = zip(*itertools.product(values, repeat=arity), strict=True)
    with np.errstate(all="ignore"):
        return [np.array(c).astype(dtype) for c in columns]


# ---- elementwise ----------------------------------------------------------------------------------------------------

SHAPES: tuple[Shape, ...] = ((), (7,), (2, 3), (1, 1), (0, 2))

ELEMENTWISE: dict[tuple[str, ...], str] = {
    ("real", "real"): "add sub mul div floor_divide remainder fmod copysign nextafter maximum minimum fmax fmin hypot logaddexp atan2 "
                      "eq ne lt le gt ge",
    ("real",): "neg abs sign floor ceil trunc rint cbrt reciprocal square exp exp2 expm1 sin cos tan atan sinh cosh tanh asinh "
               "sigmoid erf erfc ndtr isnan isinf isfinite signbit stop_gradient real imag conj",
    ("positive",): "sqrt rsqrt log log2 log10 log1p lgamma digamma",
    ("positive", "positive"): "pow",
    ("above one",): "acosh",
    ("unit",): "asin acos atanh",
    ("bits", "bits"): "bit_and bit_or bit_xor shl shr",
    ("bits",): "bit_not",
}

ROWS: dict[str, list[Row]] = {
    name: [Row(tuple(Arg(shape, domain) for domain in domains)) for shape in SHAPES]
    for domains, names in ELEMENTWISE.items() for name in names.split()
}
ROWS["where"] = [Row((Arg(s, dtype=dtypes.bool_), Arg(s), Arg(s))) for s in SHAPES]
ROWS["polygamma"] = [Row((Arg(s, "positive"),), {"n": n}) for s in SHAPES[:2] for n in (1, 2)]
ROWS["cast"] = [Row((Arg((2, 3)),), {"dtype": d}, smooth=d in (dtypes.float64, dtypes.complex128)) for d in dtypes.DTYPES]

ROWS["threefry"] = [Row((Arg(s, "bits", dtypes.uint32),) * 4, {"word": w}) for s in SHAPES for w in (0, 1)]
ROWS["place"] = [Row((Arg(s),), {"scope": 0, "source": None}) for s in SHAPES]
ROWS["barrier"] = [*[Row((Arg(s),)) for s in SHAPES], Row((Arg((2, 3)), Arg((4,))))]

# ---- leaves ---------------------------------------------------------------------------------------------------------

ROWS["source"] = []                         # has no meaning of its own: every other row reads one
CONTROL = ("scan", "while_loop", "cond", "pick", "call")     # several results, functions as parameters: tests of their own
ROWS["full"] = [Row((), {"value": v, "text": repr(v), "shape": s, "dtype": dtypes.float32}) for v in (0.0, -0.0, math.inf)
                for s in ((), (2, 3), (0,))]
ROWS["iota"] = [Row((), {"size": n, "dtype": d}) for n in (0, 1, 5) for d in (dtypes.int64, dtypes.float32)]

# ---- reductions and scans -------------------------------------------------------------------------------------------

REDUCED: tuple[tuple[Shape, tuple[int, ...]], ...] = (
    ((2, 3, 4), (1,)), ((2, 3, 4), (0, 2)), ((2, 3, 4), (0, 1, 2)), ((5,), (0,)), ((3, 1), (1,)), ((2, 3), ()), ((), ()),
    ((3, 0), (0,)), ((17, 40), (0,)), ((17, 40), (1,)),
)
EMPTY: tuple[tuple[Shape, tuple[int, ...]], ...] = (((0,), (0,)), ((2, 0, 3), (1,)), ((0, 3), (0, 1)))


def _reduced(domain: str, cases: tuple[tuple[Shape, tuple[int, ...]], ...]) -> list[Row]:
    return [Row((Arg(shape, domain),), {"axes": axes}) for shape, axes in cases]


SCANNED: tuple[tuple[Shape, int], ...] = (((6,), 0), ((2, 3, 4), 1), ((2, 5), 1), ((5, 2), 0), ((1,), 0), ((0, 3), 0), ((3, 0), 0), ((33,), 0))


def _scanned(domain: str) -> list[Row]:
    return [Row((Arg(shape, domain),), {"axis": axis, "reverse": r}) for shape, axis in SCANNED for r in (False, True)]


ROWS["sum"] = _reduced("real", REDUCED + EMPTY)
ROWS["prod"] = _reduced("real", REDUCED[:-2] + EMPTY) + _reduced("zeros", REDUCED[:3])
ROWS["max"] = ROWS["min"] = _reduced("distinct", REDUCED)
ROWS["any"] = ROWS["all"] = _reduced("bits", REDUCED + EMPTY)
ROWS["argmax"] = ROWS["argmin"] = [Row((Arg(s, "distinct"),), {"axis": a}) for s, a in (
    ((5,), 0), ((2, 3, 4), 0), ((2, 3, 4), 1), ((2, 3, 4), 2), ((1,), 0), ((3, 0), 0))]
ROWS["cumsum"] = _scanned("real")
ROWS["cumprod"] = _scanned("real") + [Row((Arg((6,), "zeros"),), {"axis": 0, "reverse": r}) for r in (False, True)]
ROWS["cummax"] = ROWS["cummin"] = _scanned("distinct")

# ---- movement -------------------------------------------------------------------------------------------------------

ROWS["broadcast_to"] = [Row((Arg(s),), {"shape": t}) for s, t in (
    ((), ()), ((), (2, 3)), ((3,), (2, 3)), ((2, 1), (2, 3)), ((1, 3), (4, 2, 3)), ((1,), (0,)), ((0, 1), (0, 2)), ((2, 3), (2, 3)))]
ROWS["reshape"] = [Row((Arg(s),), {"shape": t}) for s, t in (
    ((), (1,)), ((6,), (2, 3)), ((2, 3), (3, 2)), ((2, 3, 4), (4, 6)), ((1, 2, 1), (2,)), ((1,), ()), ((0, 3), (3, 0)))]
ROWS["permute"] = [Row((Arg(s),), {"axes": p}) for s, p in (
    ((), ()), ((3,), (0,)), ((2, 3), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((0, 3), (1, 0)), ((2, 3, 4), (0, 2, 1)))]
ROWS["slice"] = [Row((Arg(s),), {"start": b, "step": k, "shape": t}) for s, b, k, t in (
    ((5,), (1,), (1,), (3,)), ((5,), (4,), (-1,), (5,)), ((5,), (3,), (-2,), (2,)), ((7,), (1,), (3,), (2,)), ((5,), (2,), (1,), (0,)),
    ((4, 5), (1, 4), (2, -2), (2, 3)), ((), (), (), ()))]
ROWS["embed"] = [Row((Arg(t),), {"shape": s, "start": b, "step": k}) for s, b, k, t in (
    ((5,), (1,), (1,), (3,)), ((5,), (4,), (-1,), (5,)), ((5,), (3,), (-2,), (2,)), ((7,), (1,), (3,), (2,)), ((5,), (2,), (1,), (0,)),
    ((4, 5), (1, 4), (2, -2), (2, 3)), ((), (), (), ()))]
ROWS["concatenate"] = [Row(tuple(Arg(s) for s in shapes), {"axis": a}) for shapes, a in (
    (((2,), (3,)), 0), (((2, 1), (2, 3), (2, 2)), 1), (((0, 2), (3, 2)), 0), (((4,),), 0))]

# ---- indexing by data, contraction, linear algebra: a table of their own, made of the records above ----------------------

from samples_structure import SAMPLES  # noqa: E402

ROWS.update(SAMPLES)

from samples_linalg import SAMPLES as LINALG  # noqa: E402
from samples_linalg import SEVERAL  # noqa: E402

ROWS.update(LINALG)
CONTROL = (*CONTROL, *SEVERAL)

from samples_fourier import SAMPLES as FOURIER  # noqa: E402

ROWS.update(FOURIER)

from samples_special import SAMPLES as SPECIAL  # noqa: E402

ROWS.update(SPECIAL)

from samples_windows import SAMPLES as WINDOWS  # noqa: E402

ROWS.update(WINDOWS)

"""Fourier transforms under NumPy's names: one, two or many axes, real or complex, any lengths.

In: tensors; `n` or `s` cuts an axis or pads it with zeros first. Out: tensors. `norm` says where the factor 1/n goes: "backward" (the
inverse), "forward" (the transform), "ortho" (half of it each way). float32 gives complex64, float64 complex128; integers count as float32.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir.term import Term
from ..prims import fourier as F
from .creation import chosen, creates
from .movement import cut, roll
from .promotion import P, as_dtype, cast, constant, inexact, many_axes
from .table import public

Axes = int | tuple[int, ...] | None
NORMS = {"backward": (0.0, 1.0), "ortho": (0.5, 0.5), "forward": (1.0, 0.0)}       # powers of 1/n forward, and back


# ---- arguments -------------------------------------------------------------------------------------------------------

def real(op: str, x: Term) -> Term:
    """x as float32 or float64; complex numbers are refused."""
    if x.aval.dtype.kind == "c":
        raise DTypeError(op, str(x.aval.dtype), "real numbers are transformed", "take the real part, or use the complex transform")
    x = inexact(x)
    return cast(x, dtypes.float32) if x.aval.dtype.itemsize < 4 else x


def complex_(op: str, x: Term) -> Term:
    """x as complex64 or complex128."""
    if x.aval.dtype.kind == "c":
        return x
    x = real(op, x)
    return cast(x, dtypes.complex64 if x.aval.dtype == dtypes.float32 else dtypes.complex128)


def fitted(op: str, x: Term, axis: int, n: int) -> Term:
    """x with n elements along an axis: cut, or zeros after it."""
    if n < 1:
        raise ShapeError(op, f"n={n}", "a transform has one element at least", "pass n of 1 or more")
    have = x.aval.shape[axis]
    if n <= have:
        return cut(x, axis, 0, n)
    rest = tuple([n - have if k == axis else m for k, m in enumerate(x.aval.shape)])
    return P.concatenate(x, constant(0, rest, x.aval.dtype), axis=axis)


def power(op: str, norm: str | None, back: bool) -> float:
    """The power of 1/n that a transform is multiplied with."""
    found = NORMS.get("backward" if norm is None else norm)
    if found is None:
        raise DTypeError(op, f"norm={norm!r}", "there is no such norm", 'pass "backward", "ortho" or "forward"')
    return found[back]


def scaled(x: Term, size: int, by: float) -> Term:
    """x / size ** by."""
    return x if by == 0 or size == 1 else P.mul(x, constant(1 / (size if by == 1 else math.sqrt(size)), x.aval.shape, x.aval.dtype))


def sides(op: str, x: Term, s: object, axes: Axes) -> tuple[tuple[int, ...], list[int | None]]:
    """The axes of a transform over many, and the length asked for each (None: as it is)."""
    lengths = None if s is None else [None if n is None else operator.index(n) for n in (s if isinstance(s, tuple) else (s,))]
    if axes is None and lengths is not None:
        axes = tuple(range(-len(lengths), 0))
    found = many_axes(op, axes, x.aval.ndim)
    if lengths is None:
        return found, [None] * len(found)
    if len(lengths) != len(found):
        raise ShapeError(op, f"s={s} and axes={axes}", "they are differently many", "give one length for every axis")
    return found, [x.aval.shape[k] if n == -1 else n for k, n in zip(found, lengths, strict=True)]


# ---- the transforms --------------------------------------------------------------------------------------------------

def c2c(op: str, x: Term, s: object, axes: Axes, norm: str | None, back: bool) -> Term:
    by = power(op, norm, back)
    x = complex_(op, x)
    found, lengths = sides(op, x, s, axes)
    for axis, n in zip(found, lengths, strict=True):
        x = fitted(op, x, axis, x.aval.shape[axis] if n is None else n)
    return scaled(F.fft(x, axes=found, inverse=back), math.prod([x.aval.shape[k] for k in found]), by)


def r2c(op: str, x: Term, s: object, axes: Axes, norm: str | None, back: bool = False) -> Term:
    """Real along the last axis, then complex along the others. `back` only chooses the factor."""
    by = power(op, norm, back)
    x = real(op, x)
    found, lengths = sides(op, x, s, axes)
    if not found:
        raise ShapeError(op, f"axes={axes}", "a real transform has one axis at least", "name one")
    for axis, n in zip(found, lengths, strict=True):
        x = fitted(op, x, axis, x.aval.shape[axis] if n is None else n)
    size = math.prod([x.aval.shape[k] for k in found])
    x = F.rfft(x, axis=found[-1])
    return scaled(F.fft(x, axes=found[:-1], inverse=False) if found[1:] else x, size, by)


def c2r(op: str, x: Term, s: object, axes: Axes, norm: str | None, back: bool = True) -> Term:
    by = power(op, norm, back)
    x = complex_(op, x)
    found, lengths = sides(op, x, s, axes)
    if not found:
        raise ShapeError(op, f"axes={axes}", "a real transform has one axis at least", "name one")
    n = 2 * (x.aval.shape[found[-1]] - 1) if lengths[-1] is None else lengths[-1]
    if n < 1:
        raise ShapeError(op, f"{x.aval.shape} with n={n}", "a transform has one element at least", "pass n of 1 or more")
    for axis, m in zip(found, [*lengths[:-1], n // 2 + 1], strict=True):
        x = fitted(op, x, axis, x.aval.shape[axis] if m is None else m)
    size = math.prod([x.aval.shape[k] for k in found[:-1]]) * n
    x = F.fft(x, axes=found[:-1], inverse=True) if found[1:] else x
    return scaled(F.irfft(x, axis=found[-1], size=n), size, by)


@public(space="fft")
def fft(x: Term, n: int | None = None, axis: int = -1, norm: str | None = None) -> Term:
    """y[k] = sum_j x[j] exp(-2πi jk / n) along one axis. Complex.

    >>> import lazygrad as lg
    >>> lg.fft.fft(lg.asarray([1., 2., 3., 4.])).tolist()
    [(10+0j), (-2+2j), (-2+0j), (-2-2j)]
    """
    return c2c("fft", x, None if n is None else (n,), (axis,), norm, False)


@public(space="fft")
def ifft(x: Term, n: int | None = None, axis: int = -1, norm: str | None = None) -> Term:
    """The inverse of `fft`: y[k] = sum_j x[j] exp(2πi jk / n) / n along one axis. Complex.

    >>> import lazygrad as lg
    >>> lg.fft.ifft(lg.asarray([4., 0., 0., 0.])).tolist()
    [(1+0j), (1+0j), (1+0j), (1+0j)]
    """
    return c2c("ifft", x, None if n is None else (n,), (axis,), norm, True)


@public(space="fft")
def rfft(x: Term, n: int | None = None, axis: int = -1, norm: str | None = None) -> Term:
    """`fft` of real numbers: the first n // 2 + 1 elements, whose conjugates are the others.

    >>> import lazygrad as lg
    >>> lg.fft.rfft(lg.asarray([1., 2., 3., 4.])).tolist()
    [(10+0j), (-2+2j), (-2+0j)]
    """
    return r2c("rfft", x, None if n is None else (n,), (axis,), norm)


@public(space="fft")
def irfft(x: Term, n: int | None = None, axis: int = -1, norm: str | None = None) -> Term:
    """The inverse of `rfft`: n real numbers, 2 (m - 1) for m elements unless given. Imaginary parts that a real signal cannot have
    (of the first element, and of the last for an even n) are not read.

    >>> import lazygrad as lg
    >>> lg.fft.irfft(lg.asarray([10+0j, -2+2j, -2+0j])).tolist()
    [1.0, 2.0, 3.0, 4.0]
    """
    return c2r("irfft", x, None if n is None else (n,), (axis,), norm)


@public(space="fft")
def hfft(x: Term, n: int | None = None, axis: int = -1, norm: str | None = None) -> Term:
    """`fft` of a signal whose second half is the conjugate of the first, given by its first n // 2 + 1 elements: real.

    >>> import lazygrad as lg
    >>> lg.fft.hfft(lg.asarray([1+0j, 2+0j, 1+0j])).tolist()
    [6.0, 0.0, -2.0, 0.0]
    """
    return c2r("hfft", P.conj(complex_("hfft", x)), None if n is None else (n,), (axis,), norm, False)


@public(space="fft")
def ihfft(x: Term, n: int | None = None, axis: int = -1, norm: str | None = None) -> Term:
    """The inverse of `hfft`: the first n // 2 + 1 elements.

    >>> import lazygrad as lg
    >>> lg.real(lg.fft.ihfft(lg.asarray([6., 0., -2., 0.]))).tolist()
    [1.0, 2.0, 1.0]
    """
    return P.conj(r2c("ihfft", x, None if n is None else (n,), (axis,), norm, True))


DOC = """{what} over the axes `axes`{which}.

    `s`: their lengths (cut, or padded with zeros; -1: as it is){last}; without `axes` those of the last `len(s)` axes.

    >>> import lazygrad as lg
    >>> lg.fft.{name}(lg.{given}((2, 2))).tolist()
    {shown}
    """


def _many(name: str, kind: Callable[..., Term], back: bool | None, default: tuple[int, int] | None, what: str, given: str, shown: str) -> None:
    """A transform over several axes, all of them or the last two."""
    extra = () if back is None else (back,)

    def rule(x: Term, s: int | tuple[int, ...] | None = None, axes: Axes = default, norm: str | None = None) -> Term:
        return kind(name, x, s, axes, norm, *extra)

    rule.__name__ = rule.__qualname__ = name
    rule.__doc__ = DOC.format(what=what, which=", all of them unless given" if default is None else "", name=name, given=given, shown=shown,
                              last="" if kind is not c2r else ", the last 2 (m - 1) unless given")
    globals()[name] = public(space="fft")(rule)


COMPLEX, REAL = "[[(4+0j), 0j], [0j, 0j]]", "[[(4+0j), 0j], [0j, 0j]]"
for _two in (False, True):
    _axes, _end = ((-2, -1), "2") if _two else (None, "n")
    _many(f"fft{_end}", c2c, False, _axes, "`fft`", "ones", COMPLEX)
    _many(f"ifft{_end}", c2c, True, _axes, "`ifft`", "ones", "[[(1+0j), 0j], [0j, 0j]]")
    _many(f"rfft{_end}", r2c, None, _axes, "`rfft` over the last of them and `fft`", "ones", REAL)
    _many(f"irfft{_end}", c2r, None, _axes, "The inverse of `rfft" + _end + "`: real,", "ones", "[[1.0, 0.0], [0.0, 0.0]]")


# ---- orders and frequencies --------------------------------------------------------------------------------------------

def _shifted(op: str, x: Term, axes: Axes, forth: bool) -> Term:
    found = many_axes(op, axes, x.aval.ndim)
    if not found:
        return x
    return roll(x, tuple([x.aval.shape[k] // 2 * (1 if forth else -1) for k in found]), found)


@public(space="fft")
def fftshift(x: Term, axes: Axes = None) -> Term:
    """x with frequency 0 moved to the middle of the axes, all of them unless given.

    >>> import lazygrad as lg
    >>> lg.fft.fftshift(lg.asarray([0, 1, 2, -2, -1])).tolist()
    [-2, -1, 0, 1, 2]
    """
    return _shifted("fftshift", x, axes, True)


@public(space="fft")
def ifftshift(x: Term, axes: Axes = None) -> Term:
    """The inverse of `fftshift`.

    >>> import lazygrad as lg
    >>> lg.fft.ifftshift(lg.asarray([-2, -1, 0, 1, 2])).tolist()
    [0, 1, 2, -2, -1]
    """
    return _shifted("ifftshift", x, axes, False)


def _frequencies(op: str, start: int, size: int, n: int, d: float, dtype: object) -> Term:
    found = chosen(op, dtype, dtypes.DEFAULT_FLOAT)
    if found.kind not in "fc":
        raise DTypeError(op, str(as_dtype(op, dtype)), "frequencies are fractions", "pass a floating dtype")
    line = P.iota(size=size, dtype=dtypes.int64)
    return P.mul(cast(P.add(line, constant(start, (size,), dtypes.int64)), found), constant(1 / (n * d), (size,), found))


def _count(op: str, n: int) -> int:
    if operator.index(n) < 1:
        raise ShapeError(op, f"n={n}", "a transform has one element at least", "pass n of 1 or more")
    return operator.index(n)


@public(space="fft")
@creates
def fftfreq(n: int, d: float = 1.0, dtype: object = None, device: object = None) -> Term:
    """The frequencies of the n elements of `fft`, in cycles per unit of the spacing d: 0, 1, ..., -2, -1 over n d.

    >>> import lazygrad as lg
    >>> lg.fft.fftfreq(4).tolist()
    [0.0, 0.25, -0.5, -0.25]
    """
    n = _count("fftfreq", n)
    return _shifted("fftfreq", _frequencies("fftfreq", -(n // 2), n, n, d, dtype), None, False)


@public(space="fft")
@creates
def rfftfreq(n: int, d: float = 1.0, dtype: object = None, device: object = None) -> Term:
    """The frequencies of the n // 2 + 1 elements of `rfft` of n.

    >>> import lazygrad as lg
    >>> lg.fft.rfftfreq(4).tolist()
    [0.0, 0.25, 0.5]
    """
    n = _count("rfftfreq", n)
    return _frequencies("rfftfreq", 0, n // 2 + 1, n, d, dtype)

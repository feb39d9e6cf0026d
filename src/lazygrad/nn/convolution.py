"""Convolution, transposed convolution, unfold and fold over one or more spatial axes.

In: x (N, C, *sizes) and weights, settings as an integer for all spatial axes or one for each. Out: (N, O, *counts). Operands promote
to one dtype; float16 is summed in float32. All are linear in each operand, with derivatives of any order.
"""

from __future__ import annotations

import math

from .. import dtypes
from ..errors import ShapeError
from ..functions.promotion import P, Shape, broadcast, cast, reshaped
from ..functions.table import public
from ..ir.term import Term
from ..prims.convolution import conv as convolve
from ..prims.convolution import exchanged
from .windows import Geometry, numbers, overlaid, padding_of, spanned, windows

NAMES = ("length", "height and width", "depth, height and width")


# ---- operands -----------------------------------------------------------------------------------------------------------------

def _alike(x: Term, w: Term, b: Term | None) -> tuple[Term, Term, Term | None]:
    """The operands in one dtype; bools count as int64."""
    dtype = dtypes.promote(x.aval.dtype, w.aval.dtype)
    dtype = dtype if b is None else dtypes.promote(dtype, b.aval.dtype)
    dtype = dtypes.int64 if dtype.kind == "b" else dtype
    return cast(x, dtype), cast(w, dtype), None if b is None else cast(b, dtype)


def _ranks(op: str, x: Term, w: Term, n: int | None) -> int:
    """The number of spatial axes: that of the weights, which `n` may fix."""
    s, t = x.aval.shape, w.aval.shape
    if n is not None and len(t) != n + 2:
        raise ShapeError(op, f"weights {t}", f"they need {n + 2} axes", "reshape them, or use conv, which takes any number of axes")
    if len(t) < 3:
        raise ShapeError(op, f"weights {t}", "they have no spatial axis", "pass (O, C / groups, *taps)")
    if len(s) not in (len(t) - 1, len(t)):
        raise ShapeError(op, f"{s} with weights {t}", f"the input has {len(s)} axes, not {len(t)} (or {len(t) - 1} without examples)", "reshape it")
    if 0 in t[2:]:
        raise ShapeError(op, f"weights {t}", "a kernel without taps", "pass one tap or more along every axis")
    return len(t) - 2


def _in_groups(op: str, groups: object) -> int:
    return numbers(op, "groups", groups, 1)[0]


def _biased(op: str, y: Term, b: Term | None, single: bool) -> Term:
    """y + b along the channels, without the axis of examples where there was none."""
    if b is not None:
        o = y.aval.shape[1]
        if b.aval.shape != (o,):
            raise ShapeError(op, f"bias {b.aval.shape}", f"the result has {o} channels", f"pass a bias of shape ({o},)")
        y = P.add(y, broadcast(reshaped(b, (o, *(1,) * (y.aval.ndim - 2))), y.aval.shape))
    return reshaped(y, y.aval.shape[1:]) if single else y


# ---- convolution -----------------------------------------------------------------------------------------------------------------

def _conv(op: str, n: int | None, x: Term, w: Term, b: Term | None, stride: object, padding: object, dilation: object, groups: object) -> Term:
    n = _ranks(op, x, w, n)
    came = f"{x.aval.shape} with weights {w.aval.shape}"
    single = x.aval.ndim == n + 1
    x = reshaped(x, (1, *x.aval.shape)) if single else x
    (_, channels, *sizes), (o, c, *taps) = x.aval.shape, w.aval.shape
    g = _in_groups(op, groups)
    if channels != c * g:
        of = f" in each of {g} groups" if g > 1 else ""
        raise ShapeError(op, came, f"the input has {channels} channels, the weights take {c}{of}", "pass weights (O, C / groups, *taps)")
    if o % g:
        raise ShapeError(op, came, f"{o} channels of the result do not divide into {g} groups", "pass a divisor as groups")
    steps, apart = numbers(op, "stride", stride, n), numbers(op, "dilation", dilation, n)
    low, high = padding_of(op, padding, tuple(sizes), tuple(taps), steps, apart)
    count = []
    for a, (m, k) in enumerate(zip(sizes, taps, strict=True)):
        room, span = m + low[a] + high[a], spanned(k, apart[a])
        if room < span:
            raise ShapeError(op, came, f"the kernel covers {span} positions along axis {a + 2}, the padded input has {room}", "pad more, or dilate less")
        count.append((room - span) // steps[a] + 1)
    x, w, b = _alike(x, w, b)
    return _biased(op, convolve(x, w, stride=steps, dilation=apart, expand=(1,) * n, low=low, count=tuple(count), groups=g), b, single)


@public(space="nn")
def conv(x: Term, w: Term, b: Term | None = None, *, stride: object = 1, padding: object = 0, dilation: object = 1, groups: int = 1) -> Term:
    """The convolution of x (N, C, *sizes) with w (O, C / groups, *taps), plus b (O,): → (N, O, *counts). Without examples: (C, *sizes).

    Windows of x are multiplied with w as it is (not turned round), as in PyTorch and JAX. `padding`: zeros on both sides, a pair for every
    axis, "valid" (none) or "same" (⌈size / stride⌉ results; of an odd number the larger half behind). ShapeError for channels that do not
    match and kernels larger than the padded input.

    >>> import lazygrad as lg
    >>> x, w = lg.asarray([[[1.0, 2.0, 3.0, 4.0]]]), lg.asarray([[[1.0, 0.0, -1.0]]])
    >>> lg.nn.conv(x, w).tolist(), lg.nn.conv(x, w, padding="same", stride=2).tolist()
    ([[[-2.0, -2.0]]], [[[-2.0, 3.0]]])
    """
    return _conv("conv", None, x, w, b, stride, padding, dilation, groups)


def _named_conv(n: int) -> None:
    def rule(x: Term, weight: Term, bias: Term | None = None, stride: object = 1, padding: object = 0, dilation: object = 1, groups: int = 1) -> Term:
        return _conv(f"conv{n}d", n, x, weight, bias, stride, padding, dilation, groups)

    rule.__name__ = f"conv{n}d"
    rule.__doc__ = f"""`conv` over {NAMES[n - 1]}, with PyTorch's order of arguments: (N, C, *sizes) and (O, C / groups, *taps) → (N, O, *counts).

    >>> import lazygrad as lg
    >>> lg.nn.conv{n}d(lg.ones({(1, 2, *(4,) * n)}), lg.ones({(3, 2, *(3,) * n)}), lg.zeros(3), 1, 1).shape
    {(1, 3, *(4,) * n)}
    """
    public(space="nn")(rule)


# ---- transposed convolution ----------------------------------------------------------------------------------------------------------

def _conv_transpose(op: str, n: int | None, x: Term, w: Term, b: Term | None, stride: object, padding: object, output_padding: object,
                    dilation: object, groups: object) -> Term:
    n = _ranks(op, x, w, n)
    came = f"{x.aval.shape} with weights {w.aval.shape}"
    single = x.aval.ndim == n + 1
    x = reshaped(x, (1, *x.aval.shape)) if single else x
    (_, channels, *sizes), (c, _, *taps) = x.aval.shape, w.aval.shape
    g = _in_groups(op, groups)
    if channels != c:
        raise ShapeError(op, came, f"the input has {channels} channels, the weights take {c}", "pass weights (C, O / groups, *taps)")
    if c % g:
        raise ShapeError(op, came, f"{c} channels do not divide into {g} groups", "pass a divisor as groups")
    steps, apart = numbers(op, "stride", stride, n), numbers(op, "dilation", dilation, n)
    more = numbers(op, "output_padding", output_padding, n, 0)
    low, high = padding_of(op, padding, (0,) * n, (1,) * n, steps, apart) if not isinstance(padding, str) else _no_name(op, padding)
    for m, s, d in zip(more, steps, apart, strict=True):
        if m >= max(s, d):
            raise ShapeError(op, f"output_padding {output_padding}", "it must be smaller than stride or dilation", "pass a smaller one")
    count = tuple([(m - 1) * s - p - q + spanned(k, d) + e for m, s, p, q, k, d, e in zip(sizes, steps, low, high, taps, apart, more, strict=True)])
    if any([m < 0 for m in count]):
        raise ShapeError(op, came, f"the result would have sizes {count}", "pass less padding")
    x, w, b = _alike(x, w, b)
    back = tuple([spanned(k, d) - 1 - p for k, d, p in zip(taps, apart, low, strict=True)])
    y = convolve(x, exchanged(w, g), stride=(1,) * n, dilation=apart, expand=steps, low=back, count=count, groups=g)
    return _biased(op, y, b, single)


def _no_name(op: str, padding: str) -> tuple[Shape, Shape]:
    raise ShapeError(op, f"padding {padding!r}", "a transposed convolution has no padding by name", "pass numbers")


@public(space="nn")
def conv_transpose(x: Term, w: Term, b: Term | None = None, *, stride: object = 1, padding: object = 0, output_padding: object = 0,
                   dilation: object = 1, groups: int = 1) -> Term:
    """What `conv` does to cotangents: x (N, C, *sizes) and w (C, O / groups, *taps), plus b (O,): → (N, O, *counts).

    Along each axis (size - 1) * stride - 2 * padding + (taps - 1) * dilation + 1 + output_padding results; the last adds some behind, to
    choose among the sizes that `conv` would take to the same. ShapeError for channels that do not match and sizes below 0.

    >>> import lazygrad as lg
    >>> lg.nn.conv_transpose(lg.asarray([[[1.0, 2.0]]]), lg.asarray([[[1.0, 10.0]]]), stride=2).tolist()
    [[[1.0, 10.0, 2.0, 20.0]]]
    """
    return _conv_transpose("conv_transpose", None, x, w, b, stride, padding, output_padding, dilation, groups)


def _named_conv_transpose(n: int) -> None:
    def rule(x: Term, weight: Term, bias: Term | None = None, stride: object = 1, padding: object = 0, output_padding: object = 0,
             groups: int = 1, dilation: object = 1) -> Term:
        return _conv_transpose(f"conv_transpose{n}d", n, x, weight, bias, stride, padding, output_padding, dilation, groups)

    rule.__name__ = f"conv_transpose{n}d"
    rule.__doc__ = f"""`conv_transpose` over {NAMES[n - 1]}, with PyTorch's order of arguments: (N, C, *sizes) and (C, O / groups, *taps) → (N, O, *counts).

    >>> import lazygrad as lg
    >>> lg.nn.conv_transpose{n}d(lg.ones({(1, 2, *(4,) * n)}), lg.ones({(2, 3, *(3,) * n)}), lg.zeros(3), 2, 1, 1).shape
    {(1, 3, *(8,) * n)}
    """
    public(space="nn")(rule)


for _n in (1, 2, 3):
    _named_conv(_n)
    _named_conv_transpose(_n)


# ---- windows as columns ------------------------------------------------------------------------------------------------------------------

def _columns(op: str, sizes: Shape, kernel_size: object, dilation: object, padding: object, stride: object) -> Geometry:
    """The windows that unfold and fold mean."""
    n = len(sizes)
    taps, apart = numbers(op, "kernel_size", kernel_size, n), numbers(op, "dilation", dilation, n)
    pad, steps = numbers(op, "padding", padding, n, 0), numbers(op, "stride", stride, n)
    count = tuple([(m + 2 * p - spanned(k, d)) // s + 1 for m, p, k, d, s in zip(sizes, pad, taps, apart, steps, strict=True)])
    if any([c < 1 for c in count]):
        raise ShapeError(op, f"sizes {sizes}, kernel_size {kernel_size}", "a window is larger than the padded input", "pad more, or dilate less")
    return Geometry(taps, steps, apart, pad, pad, count)


@public(space="nn")
def unfold(x: Term, kernel_size: object, dilation: object = 1, padding: object = 0, stride: object = 1) -> Term:
    """The windows of x (N, C, *sizes) as columns: → (N, C * taps, windows), both in row-major order.

    >>> import lazygrad as lg
    >>> lg.nn.unfold(lg.asarray([[[1.0, 2.0, 3.0]]]), 2).tolist()
    [[[1.0, 2.0], [2.0, 3.0]]]
    """
    if x.aval.ndim < 3:
        raise ShapeError("unfold", str(x.aval.shape), "it needs examples, channels and a spatial axis", "reshape it to (N, C, *sizes)")
    (n, c, *sizes), d = x.aval.shape, x.aval.ndim - 2
    g = _columns("unfold", tuple(sizes), kernel_size, dilation, padding, stride)
    w = P.permute(windows(x, g), axes=(0, 1, *range(2 + d, 2 + 2 * d), *range(2, 2 + d)))
    return reshaped(w, (n, c * math.prod(g.taps), math.prod(g.count)))


@public(space="nn")
def fold(x: Term, output_size: object, kernel_size: object, dilation: object = 1, padding: object = 0, stride: object = 1) -> Term:
    """The transpose of `unfold`: columns (N, C * taps, windows) are added up where their windows lie: → (N, C, *output_size).

    >>> import lazygrad as lg
    >>> lg.nn.fold(lg.asarray([[[1.0, 2.0], [2.0, 3.0]]]), (3,), 2).tolist()
    [[[1.0, 4.0, 3.0]]]
    """
    sizes = numbers("fold", "output_size", output_size, len(output_size) if isinstance(output_size, tuple) else 2)
    g, shape = _columns("fold", sizes, kernel_size, dilation, padding, stride), x.aval.shape
    many, d = math.prod(g.taps), len(sizes)
    if len(shape) != 3 or shape[1] % many or shape[2] != math.prod(g.count):
        raise ShapeError("fold", f"{shape} to {sizes}", f"columns of {many} taps, {math.prod(g.count)} of them, are needed", "pass (N, C * taps, windows)")
    n, c = shape[0], shape[1] // many
    w = P.permute(reshaped(x, (n, c, *g.taps, *g.count)), axes=(0, 1, *range(2 + d, 2 + 2 * d), *range(2, 2 + d)))
    return overlaid(w, sizes, g)

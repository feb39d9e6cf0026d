"""Functions of the user's applied to arrays by NumPy's names: along axes, over axes, by pieces, to coordinates, elementwise."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import same

import lazygrad as lg
from lazygrad.testing import check_grads

rng = np.random.default_rng(4)
A, B, X = rng.normal(size=(3, 4)), rng.normal(size=(2, 3, 4)), rng.normal(size=9)

LINES = {"number": lambda v: v.sum(), "line": lambda v: v * 2 + v.max(), "matrix": lambda v: v[:, None] * v[None, :2], "numpy's": lambda v: np.sort(v), "further arguments": lambda v, k, s=1.0: v[k] * s}


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", LINES)
def test_apply_along_axis(name, axis):
    more = ((1,), {"s": 3.0}) if name == "further arguments" else ((), {})
    same(lg.apply_along_axis(LINES[name], axis, lg.tensor(B), *more[0], **more[1]), np.apply_along_axis(LINES[name], axis, B, *more[0], **more[1]), 1e-15)
    check_grads(lambda x: lg.apply_along_axis(LINES[name], axis, x, *more[0], **more[1]), (B,), order=1)


def test_a_function_that_looks_at_values_is_called_for_every_line():
    seen = []

    def biggest(v):
        seen.append(1)
        return v * 2 if v[0] > 0 else -v

    same(lg.apply_along_axis(biggest, 1, lg.tensor(A)), np.where(A[:, :1] > 0, A * 2, -A), 0)
    assert len(seen) >= 3
    with pytest.raises(ValueError, match="there are no lines"):
        lg.apply_along_axis(np.sum, 1, lg.zeros((0, 3)))


def test_vectorize():
    f = lambda x, y: x * y + lg.sin(x)
    same(lg.vectorize(f)(lg.tensor(A), lg.tensor(A[0])), A * A[0] + np.sin(A), 1e-15)
    same(lg.vectorize(f)(lg.tensor(A), 2.0), A * 2 + np.sin(A), 1e-15)
    dot = lg.vectorize(lambda x, y: (x * y).sum(), signature="(n),(n)->()")
    same(dot(lg.tensor(B), lg.tensor(A[0])), B @ A[0], 1e-14)
    same(dot(lg.tensor(A[0]), lg.tensor(A[1])), A[0] @ A[1], 1e-14)
    outer = lg.vectorize(lambda x, y: x[:, None] * y, signature="(m),(n)->(m,n)")
    same(outer(lg.tensor(B[:, 0]), lg.tensor(A[0, :3])), B[:, 0, :, None] * A[0, :3], 1e-15)

    @lg.vectorize(excluded=(1,))
    def both(x, k):
        return x ** k, x * k
    same(both(lg.tensor(A), 3), (A ** 3, A * 3), 1e-15)
    check_grads(lambda x, y: lg.vectorize(f)(x, y), (A, A[0]))
    with pytest.raises(TypeError, match="it is none"):
        lg.vectorize(f, signature="n->n")
    with pytest.raises(TypeError, match="names 2"):
        dot(lg.tensor(A))
    with pytest.raises(ValueError, match="takes 1 axes"):
        dot(lg.tensor(A), 1.0)


def test_piecewise():
    x = lg.tensor(X)
    for conditions, functions in [([X < 0, X >= 0], [lambda x: -x, lambda x: x * 3]), ([X > 1], [lambda x: x ** 2, 5.0]), ([X > 0, X > 1], [1.0, 2.0]), (X > 0, [lambda x: x])]:
        same(lg.piecewise(x, conditions, functions), np.piecewise(X, conditions, functions), 1e-15)
        same(lg.piecewise(x, lg.tensor(conditions) if isinstance(conditions, np.ndarray) else [lg.tensor(c) for c in conditions], functions), np.piecewise(X, conditions, functions), 1e-15)
    same(lg.piecewise(x, [X > 0], [lambda x, k: x * k, 0.0], 4), np.piecewise(X, [X > 0], [lambda x, k: x * k, 0.0], 4), 1e-15)
    y = lg.tensor(np.array([-1.0, 0.0, 4.0]))
    lg.piecewise(y, [y > 0, y <= 0], [lg.sqrt, lambda y: y * 2]).backward()
    assert y.grad.tolist() == [2.0, 2.0, 0.25]             # the root of what is not positive reaches no derivative
    with pytest.raises(ValueError, match="they come in pairs"):
        lg.piecewise(x, [X > 0], [1, 2, 3])


def test_apply_over_axes_and_fromfunction():
    for axes in ([0, 2], -1, (1,)):
        same(lg.apply_over_axes(lg.sum, lg.tensor(B), axes), np.apply_over_axes(np.sum, B, axes), 1e-14)
    same(lg.apply_over_axes(lg.cumsum, lg.tensor(B), [0, 1]), np.apply_over_axes(np.cumsum, B, [0, 1]), 1e-14)
    same(lg.fromfunction(lambda i, j: i * 10 + j, (3, 4), dtype="float64"), np.fromfunction(lambda i, j: i * 10 + j, (3, 4)), 0)
    with pytest.raises(ValueError, match="keep all axes or remove one"):
        lg.apply_over_axes(lambda x, a: x.sum(), lg.tensor(B), 0)
    with pytest.raises(IndexError, match="axis 5"):
        lg.apply_over_axes(lg.sum, lg.tensor(B), 5)


def test_array_and_copy():
    assert lg.array([[1, 2]], "float64", ndmin=3).shape == (1, 1, 2) and lg.array(3.0).dtype == np.float32
    x = lg.tensor(A)
    y = lg.copy(x)
    y[0, 0] = 9.0
    assert x.value[0, 0] == A[0, 0] and y.value[0, 0] == 9.0


def test_methods_and_attributes_of_numpys_arrays():
    """All that make sense for a value that does not change, and has no memory of a known layout."""
    without = {"base", "byteswap", "ctypes", "data", "dump", "dumps", "fill", "flags", "flat", "getfield", "setfield", "setflags", "strides", "tobytes", "tofile"}
    assert {n for n in dir(np.ndarray) if not n.startswith("_") and not hasattr(lg.Tensor, n)} == without
    z = lg.tensor(A + 1j)
    same(z.real, A, 0)
    same(z.imag, np.ones_like(A), 0)
    assert z.itemsize == 16 and z.copy().shape == (3, 4) and lg.tensor(A).compress([True, False, True], 0).shape == (2, 4)
    assert [i.tolist() for i in lg.tensor([0, 3]).nonzero()] == [[1]] and lg.tensor([1, 0]).choose([[1, 2], [3, 4]]).tolist() == [3, 2]
    check_grads(lambda x: (x.real * x.imag).sum(), (A + 1j,))

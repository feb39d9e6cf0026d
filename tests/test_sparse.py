"""Sparse Jacobians and Hessians: equal to the dense ones, patterns never too small and exact where promised, few colours."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from gpu import device
from hypothesis import given, settings
from hypothesis import strategies as st

import lazygrad as lg
from lazygrad import errors
from lazygrad.sparse import PLANS, colours

RNG = np.random.default_rng(0)


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def laplacian(u):
    """The five-point stencil of a nonlinear diffusion on a square, zero around it."""
    u = lg.pad(u.reshape((6, 6)), 1)
    return (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1] + lg.exp(-u[1:-1, 1:-1])).reshape((36,))


def arrow(x):
    """Depends on the first element everywhere, else on its own."""
    return x * x[0] + lg.sin(x)


FUNCTIONS = [
    (lambda x: x[1:] * x[:-1], 12), (laplacian, 36), (arrow, 9), (lambda x: lg.concat([x[::2], lg.flip(x)[1::3] ** 2]), 9),
    (lambda x: lg.cumsum(x * x, axis=0), 5), (lambda x: lg.cumprod(x, axis=0)[::-1], 5), (lambda x: x.reshape((3, 4)).sum(1), 12),
    (lambda x: x.reshape((2, 6)).max(0), 12), (lambda x: lg.where(x > 0, x ** 2, lg.roll(x, 1)), 7), (lambda x: x[np.array([3, 3, 0])] * 2, 5),
    (lambda x: x.reshape((3, 3)) @ np.arange(9.0).reshape(3, 3), 9), (lambda x: (np.arange(6.0).reshape(2, 3) @ x.reshape((3, 2))).reshape((4,)), 6),
    (lambda x: x.at[np.array([1, 1, 4])].add(x[:3]), 6), (lambda x: lg.softmax(x.reshape((3, 3)), axis=1), 9), (lambda x: lg.linalg.solve(np.eye(3) * 2 + 1, x), 3),
    (lambda x: lg.scan(lambda c, v: (c * v, c + v), 1.0, x)[1], 4), (lambda x: lg.sort(x), 5), (lambda x: lg.diff(x, n=2), 8), (lambda x: x * 0 + 3.0, 4), (lambda x: lg.zeros(3), 4),
]


@pytest.mark.parametrize(("f", "n"), FUNCTIONS, ids=range(len(FUNCTIONS)))
def test_equal_to_the_dense_jacobian(f, n):
    x = RNG.normal(size=n)
    got = lg.sparse.jacobian(f)(x)
    assert isinstance(got, scipy.sparse.csr_array)
    want = lg.jacobian(f)(x).value.reshape(-1, n) if n else None
    np.testing.assert_allclose(got.toarray(), want, rtol=1e-12, atol=1e-14)
    pattern = lg.sparse.pattern(f)(x).toarray()
    assert (pattern | (want == 0)).all()                                # never too small


def test_patterns_are_exact_where_promised():
    n = 12
    for f, want in ((lambda x: x[1:] * x[:-1], np.eye(n - 1, n) + np.eye(n - 1, n, 1)), (lambda x: lg.cumsum(x, axis=0), np.tri(n)),
                    (lambda x: lg.cumsum(x[::-1], axis=0), np.tri(n)[:, ::-1]), (arrow, (np.eye(n) + np.eye(n)[[0] * n]) > 0),
                    (lambda x: x.reshape((3, 4)).sum(1), np.repeat(np.eye(3), 4, 1)), (lambda x: lg.where(x > 0, 1.0, 2.0), np.zeros((n, n)))):
        assert np.array_equal(lg.sparse.pattern(f)(np.ones(n)).toarray(), want.astype(bool))


def test_hessians():
    x = RNG.normal(size=30)
    h = lg.sparse.hessian(rosenbrock)(x)
    np.testing.assert_allclose(h.toarray(), lg.hessian(rosenbrock)(x).value, rtol=1e-12, atol=1e-11)
    assert h.nnz == 3 * 30 - 2                                          # tridiagonal
    f = lambda x: (lg.exp(x[0] * x[1:]) * x[1:]).sum()
    np.testing.assert_allclose(lg.sparse.hessian(f)(x).toarray(), lg.hessian(f)(x).value, rtol=1e-10, atol=1e-10)
    assert lg.sparse.hessian(lambda x: x.sum())(x).nnz == 0


def count(f, x, hessian: bool = False) -> int:
    PLANS.clear()
    (lg.sparse.hessian if hessian else lg.sparse.jacobian)(f)(x)
    (plan,) = PLANS.values()
    return plan.count


def test_few_products_are_enough():
    assert count(lambda x: lg.sin(x) * 2, np.ones(1000)) == 1            # diagonal
    assert count(lambda x: x[1:] * x[:-1], np.ones(1000)) == 2           # two diagonals
    assert count(rosenbrock, np.ones(1000), True) == 3                   # tridiagonal
    assert count(laplacian, np.ones(36)) <= 9                            # five-point stencil: 5 is the least any colouring can have
    assert count(lambda x: (x * x).sum(), np.ones(1000)) == 1            # one row: reverse
    assert count(lambda x: x.reshape((10, 100)).sum(1), np.ones(1000)) == 1
    assert count(lambda t: t * np.arange(1000.0), np.ones(())) == 1      # one column: forward


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 0.6), st.integers(0, 99))
def test_no_two_columns_of_a_colour_share_a_row(m, n, density, seed):
    p = np.random.default_rng(seed).random((m, n)) < density
    c = colours(scipy.sparse.csr_array(p))
    for k in range(c.max() + 1):
        assert p[:, c == k].sum(1).max() <= 1
    assert len(c) == n and (c >= 0).all()


def test_large_problems_are_cheap():
    n = 20_000
    x = RNG.normal(size=n)
    h = lg.sparse.hessian(rosenbrock)(x)
    d = 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
    d = np.append(d, 0) + np.append(0, np.full(n - 1, 200.0))
    np.testing.assert_allclose(h.diagonal(), d, rtol=1e-12, atol=1e-11)       # terms of up to 1e4 cancel
    np.testing.assert_allclose(h.diagonal(1), -400 * x[:-1], rtol=1e-12)


def test_the_plan_is_found_again():
    f = lambda x: lg.sin(x[1:]) * x[:-1]
    jac = lg.sparse.jacobian(f)
    for k in range(3):
        jac(np.full(6, 0.1 * k))
    before = len(PLANS)
    for k in range(5):
        x = np.full(6, 0.2 * k)
        np.testing.assert_allclose(jac(x).toarray(), lg.jacobian(f)(x).value, rtol=1e-12)
    assert len(PLANS) == before


def test_other_arguments_and_devices():
    f = lambda w, x, k: w * x[1:] * x[:-1] * k
    w = lg.tensor(np.array(3.0))
    got = lg.sparse.jacobian(f, 1)(w, np.array([1.0, 2.0, 3.0]), 2.0)
    np.testing.assert_allclose(got.toarray(), [[12, 6, 0], [0, 18, 12]])
    x = lg.Graph(device=device()).tensor(np.array([1.0, 2.0, 3.0], np.float32))
    np.testing.assert_allclose(lg.sparse.jacobian(lambda x: x[1:] * x[:-1])(x).toarray(), [[2, 1, 0], [0, 3, 2]])


@pytest.mark.parametrize(("call", "kind", "text"), [
    (lambda: lg.sparse.jacobian(lambda x: x["a"])({"a": np.ones(2), "b": np.ones(2)}), errors.StructureError, "sparse.jacobian: 2 arrays: the argument must be one array"),
    (lambda: lg.sparse.jacobian(lambda x: (x, x))(np.ones(2)), errors.StructureError, "the function must return one array"),
    (lambda: lg.sparse.jacobian(lambda x: lg.astype(x, lg.int32))(np.ones(2)), errors.GradientError, "an integer output has no derivative"),
    (lambda: lg.sparse.hessian(lambda x: x)(np.ones(2)), errors.GradientError, "sparse.hessian: float64[2]: the function must return one number"),
], ids=range(4))
def test_errors(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value) and any("test_sparse.py" in note for note in caught.value.__notes__)

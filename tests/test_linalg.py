"""lazygrad.linalg against NumPy and SciPy: values, identities, names, errors.

Derivatives are in test_linalg_derivatives.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from gpu import device

import lazygrad as lg
from lazygrad import Graph
from lazygrad.errors import LinAlgError, ShapeError
from lazygrad.ir.aval import aval
from lazygrad.prims import linalg_factorizations, linalg_systems
from lazygrad.prims.leaf import leaf

DTYPES = ("float32", "float64", "complex64", "complex128")
SQUARES = ((3, 3), (1, 1), (0, 0), (2, 3, 3), (0, 3, 3), (2, 1, 4, 4))
SIDES = ((3, 3), (4, 2), (2, 4), (1, 1), (2, 4, 3), (2, 3, 4), (0, 3, 2))


def tol(dtype) -> float:
    """Some hundred units in the last place: matrices here are well conditioned."""
    return 300 * float(np.finfo(dtype).eps)


def draw(shape, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, shape)
    return (x + 1j * rng.uniform(-1, 1, shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def adjoint(x):
    return np.conj(np.swapaxes(x, -1, -2))


def definite(shape, dtype="float64", seed=0):
    x = draw(shape, dtype, seed)
    return (x @ adjoint(x) + 2 * np.eye(shape[-1])).astype(dtype)


def shifted(shape, dtype="float64", seed=0, by=3.0):
    return (draw(shape, dtype, seed) + by * np.eye(*shape[-2:])).astype(dtype)


def close(got, want, dtype=None):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    if dtype is not None:
        assert got.dtype == np.dtype(dtype)
    t = tol(got.dtype if got.dtype.kind in "fc" else np.float64)
    np.testing.assert_allclose(got, want, rtol=t, atol=t * max(1.0, np.abs(want).max(initial=0)))


# ---- values ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SQUARES)
def test_factors_give_the_matrix_back(shape, dtype):
    a, h = shifted(shape, dtype), definite(shape, dtype)
    l = np.asarray(lg.linalg.cholesky(lg.asarray(h)))
    close(l @ adjoint(l), h, dtype)
    assert not np.triu(l, 1).any()
    u = np.asarray(lg.linalg.cholesky(lg.asarray(h), upper=True))
    close(adjoint(u) @ u, h, dtype)
    w, v = lg.linalg.eigh(lg.asarray(h))
    assert w.dtype == np.finfo(dtype).dtype
    close((np.asarray(v) * np.asarray(w)[..., None, :]) @ adjoint(np.asarray(v)), h, dtype)
    close(lg.linalg.eigvalsh(lg.asarray(h)), w)
    w, v = map(np.asarray, lg.linalg.eig(lg.asarray(a)))
    assert w.dtype == np.result_type(dtype, np.complex64)
    close(a @ v, v * w[..., None, :])
    close(np.sort_complex(np.asarray(lg.linalg.eigvals(lg.asarray(a)))), np.sort_complex(w))
    for f, square in ((lg.linalg.sqrtm, lambda s: s @ s), (lg.linalg.logm, lambda s: np.asarray(lg.linalg.expm(lg.asarray(s))))):
        close(square(np.asarray(f(lg.asarray(a)))), a, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SIDES)
def test_factors_of_oblong_matrices_give_the_matrix_back(shape, dtype):
    a = draw(shape, dtype)
    m, n = shape[-2:]
    k = min(m, n)
    for full in (True, False):
        u, s, vh = lg.linalg.svd(lg.asarray(a), full_matrices=full)
        assert u.shape[-2:] == (m, m if full else k) and vh.shape[-2:] == (n if full else k, n) and s.dtype == np.finfo(dtype).dtype
        u, s, vh = np.asarray(u), np.asarray(s), np.asarray(vh)
        close((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], a, dtype)
        close(adjoint(u) @ u, np.broadcast_to(np.eye(u.shape[-1]), (*shape[:-2], u.shape[-1], u.shape[-1])))
        close(vh @ adjoint(vh), np.broadcast_to(np.eye(vh.shape[-2]), (*shape[:-2], vh.shape[-2], vh.shape[-2])))
    close(lg.linalg.svdvals(lg.asarray(a)), np.linalg.svd(a, compute_uv=False))
    close(lg.linalg.svd(lg.asarray(a), compute_uv=False), np.linalg.svd(a, compute_uv=False))
    for mode in ("reduced", "complete"):
        q, r = lg.linalg.qr(lg.asarray(a), mode)
        want = [np.linalg.qr(x, mode) for x in a.reshape(-1, m, n)]
        assert q.shape[-1] == (m if mode == "complete" else k)
        close(np.asarray(q) @ np.asarray(r), a, dtype)
        for got, w in zip((q, r), zip(*want, strict=True), strict=False):
            close(np.asarray(got).reshape(-1, *got.shape[-2:]), np.array(w))
    close(lg.linalg.qr(lg.asarray(a), "r"), lg.linalg.qr(lg.asarray(a)).R)
    p, l, u = map(np.asarray, lg.linalg.lu(lg.asarray(a)))
    close(p @ l @ u, a, dtype)
    assert l.shape[-1] == k == u.shape[-2] and not np.triu(l, 1).any() and not np.tril(u, -1).any() and (np.abs(l) <= 1.5).all()
    close(lg.linalg.pinv(lg.asarray(a)), np.linalg.pinv(a), dtype)
    close(lg.linalg.matrix_rank(lg.asarray(a)), np.linalg.matrix_rank(a))


def test_lu_factors_are_scipys():
    for shape in ((4, 4), (4, 2), (2, 4)):
        a = draw(shape)
        got, want = lg.linalg.lu_factor(lg.asarray(a)), scipy.linalg.lu_factor(a)
        close(got.LU, want[0])
        assert got.pivots.tolist() == want[1].tolist() and got.pivots.dtype == np.int32


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SQUARES)
def test_systems_are_solved(shape, dtype):
    a, h, n = shifted(shape, dtype), definite(shape, dtype), shape[-1]
    for b in (draw((*shape[:-1], 2), dtype, 1), draw((n,), dtype, 2), draw((n, 3), dtype, 3)):
        side = b[:, None] if b.ndim == 1 else b
        side = np.broadcast_to(side, (*shape[:-2], *side.shape[-2:]))

        def check(matrix, x, b=b, side=side):
            x = np.asarray(x)
            close(matrix @ (x[..., None] if b.ndim == 1 else x), side, dtype)

        for turn, trans in ((lambda x: x, 0), (lambda x: np.swapaxes(x, -1, -2), 1), (adjoint, 2)):
            check(turn(a), lg.linalg.lu_solve(lg.linalg.lu_factor(lg.asarray(a)), lg.asarray(b), trans))
            for lower in (True, False):
                t = np.tril(a) if lower else np.triu(a)
                check(turn(t), lg.linalg.solve_triangular(lg.asarray(a), lg.asarray(b), trans, lower=lower))
                unit = t - t * np.eye(n) + np.eye(n)
                check(turn(unit.astype(dtype)), lg.linalg.solve_triangular(lg.asarray(a), lg.asarray(b), trans, lower, unit_diagonal=True))
        for lower in (True, False):
            check(h, lg.linalg.cho_solve(lg.linalg.cho_factor(lg.asarray(h), lower), lg.asarray(b)))
        check(a, lg.linalg.solve(lg.asarray(a), lg.asarray(b)))
    q, c = draw((*shape[:-1], 2), dtype, 4), shifted((*shape[:-2], 2, 2), dtype, 5)
    x = np.asarray(lg.linalg.solve_sylvester(lg.asarray(a), lg.asarray(c), lg.asarray(q)))
    close(a @ x + x @ c, q, dtype)
    x = np.asarray(lg.linalg.solve_continuous_lyapunov(lg.asarray(a), lg.asarray(h)))
    close(a @ x + x @ adjoint(a), h, dtype)


def test_triangles_with_many_small_matrices_go_row_by_row():
    a, b = shifted((50, 4, 4)), draw((50, 4, 3), seed=1)
    for lower in (True, False):
        t = np.tril(a) if lower else np.triu(a)
        close(lg.linalg.solve_triangular(lg.asarray(a), lg.asarray(b), lower=lower), np.linalg.solve(t, b))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(50, 4, 4), (50, 4, 3), (50, 3, 4)])
def test_factors_of_many_small_matrices_are_lapacks(shape, dtype):
    a = draw(shape, dtype)
    a[0, :, 0] = 0                                # a column without a pivot
    p, l, u = map(np.asarray, lg.linalg.lu(lg.asarray(a)))
    close(p @ l @ u, a, dtype)
    for k in (0, 1, 49):
        for got, want in zip((p, l, u), scipy.linalg.lu(a[k]), strict=True):
            close(got[k], want)
    if shape[-1] == shape[-2]:
        b = draw((50, 4, 2), dtype, 1)
        x = np.asarray(lg.linalg.lu_solve(lg.linalg.lu_factor(lg.asarray(shifted(shape, dtype))), lg.asarray(b)))
        close(shifted(shape, dtype) @ x, b)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
@pytest.mark.parametrize("vector", [True, False])
def test_least_squares_are_numpys(shape, vector):
    a, b = draw(shape), draw(shape[:1] if vector else (shape[0], 2), seed=1)
    got, want = lg.linalg.lstsq(lg.asarray(a), lg.asarray(b)), np.linalg.lstsq(a, b)
    for g, w in zip(got, want, strict=True):
        close(g, w)
    a[:, -1] = a[:, 0]
    got, want = lg.linalg.lstsq(lg.asarray(a), lg.asarray(b)), np.linalg.lstsq(a, b)
    close(got.x, want[0])
    assert got.rank.item() == want[2]
    close(lg.linalg.pinv(lg.asarray(a)), np.linalg.pinv(a))


ORDERS = ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ord", ORDERS)
def test_norms_are_numpys(ord, dtype):
    a = draw((2, 3, 4), dtype)
    for keepdims in (False, True):
        close(lg.linalg.matrix_norm(lg.asarray(a), keepdims=keepdims, ord=ord), np.linalg.matrix_norm(a, keepdims=keepdims, ord=ord))
        close(lg.linalg.norm(lg.asarray(a), ord, (0, 2), keepdims), np.linalg.norm(a, ord, (0, 2), keepdims))
        close(lg.linalg.norm(lg.asarray(a), ord, (2, -2), keepdims), np.linalg.norm(a, ord, (2, -2), keepdims))
    if not isinstance(ord, str):
        close(lg.linalg.norm(lg.asarray(a), ord, 1), np.linalg.norm(a, ord, 1))
        close(lg.linalg.vector_norm(lg.asarray(a), axis=-1, ord=ord), np.linalg.vector_norm(a, axis=-1, ord=ord))
    close(lg.linalg.norm(lg.asarray(a)), np.linalg.norm(a))
    close(lg.linalg.norm(lg.asarray(a), axis=(1, 2)), np.linalg.norm(a, axis=(1, 2)))
    s = shifted((2, 3, 3), dtype)
    if ord != "nuc":
        close(lg.linalg.cond(lg.asarray(s), ord), np.linalg.cond(s, ord))
    close(lg.linalg.cond(lg.asarray(a)), np.linalg.cond(a))


def test_condition_of_singular_matrices_is_infinite():
    a = np.array([[[1.0, 2.0], [2.0, 4.0]], [[1.0, 0.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert lg.linalg.cond(lg.asarray(a), 1).tolist() == [np.inf, 2.0, np.inf]
    assert lg.linalg.cond(lg.asarray(a[1:])).tolist() == [2.0, np.inf]


def test_rank_tolerances_are_numpys():
    a = np.diag([1.0, 1e-3, 1e-20, 0.0])
    for kw in ({}, {"tol": 1e-2}, {"rtol": 1e-4}, {"rtol": 1e-2}):
        assert lg.linalg.matrix_rank(lg.asarray(a), **kw).item() == np.linalg.matrix_rank(a, **kw)
    many = np.stack([a, a])
    for t in (np.array([1e-2, 1e-25]), np.array(1e-4)):
        assert lg.linalg.matrix_rank(lg.asarray(many), rtol=lg.asarray(t)).tolist() == np.linalg.matrix_rank(many, rtol=t).tolist()
        assert lg.linalg.matrix_rank(lg.asarray(many), lg.asarray(t)).tolist() == np.linalg.matrix_rank(many, t).tolist()
        close(lg.linalg.pinv(lg.asarray(many), rtol=lg.asarray(t)), np.linalg.pinv(many, rtol=t))
    close(lg.linalg.pinv(lg.asarray(a), rcond=1e-2), np.linalg.pinv(a, rcond=1e-2))
    with pytest.raises(ShapeError, match="one for every matrix"):
        lg.linalg.pinv(lg.asarray(a), rtol=lg.asarray(np.ones(2)))
    assert lg.linalg.matrix_rank(lg.asarray(np.zeros((2, 0, 3)))).tolist() == [0, 0]


def test_products_are_numpys():
    x, y = draw((2, 3)), draw((4, 1, 3), seed=1)
    close(lg.linalg.cross(lg.asarray(x), lg.asarray(y)), np.linalg.cross(x, y))
    close(lg.linalg.cross(lg.asarray(x.T), lg.asarray(x.T[::-1]), axis=0), np.linalg.cross(x.T, x.T[::-1], axis=0))
    i = np.array([1, 2, 3], np.int8)
    close(lg.linalg.cross(lg.asarray(i), lg.asarray(i[::-1].copy())), np.linalg.cross(i, i[::-1]), "int8")
    a = draw((2, 3, 4))
    for k in (-1, 0, 2):
        close(lg.linalg.trace(lg.asarray(a), offset=k), np.linalg.trace(a, offset=k))
        close(lg.linalg.diagonal(lg.asarray(a), offset=k), np.linalg.diagonal(a, offset=k))
    close(lg.linalg.trace(lg.asarray(np.eye(3, dtype=np.int8))), np.int64(3), "int64")
    chain = [draw(s, seed=i) for i, s in enumerate([(10, 2), (2, 7), (7, 3), (3, 5)])]
    for xs in (chain, chain[:2], [chain[0][0], *chain[1:]], [*chain[:-1], chain[-1][:, 0]], [chain[0][0], chain[1][:, 0]]):
        close(lg.linalg.multi_dot([lg.asarray(x) for x in xs]), np.linalg.multi_dot(xs))
    t = draw((2, 3, 6))
    close(lg.linalg.tensorinv(lg.asarray(t), 2), np.linalg.tensorinv(t, 2))
    b = draw((2, 3), seed=1)
    close(lg.linalg.tensorsolve(lg.asarray(t), lg.asarray(b)), np.linalg.tensorsolve(t, b))
    t = draw((2, 6, 3))
    close(lg.linalg.tensorsolve(lg.asarray(t), lg.asarray(b), (1,)), np.linalg.tensorsolve(t, b, (1,)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sinm", "cosm", "tanm", "sinhm", "coshm", "tanhm"])
def test_functions_of_matrices_are_scipys(name, dtype):
    a = draw((3, 3), dtype)
    close(getattr(lg.linalg, name)(lg.asarray(a)), getattr(scipy.linalg, name)(a.astype(np.result_type(dtype, "float64"))), dtype)
    close(getattr(lg.linalg, name)(lg.asarray(np.stack([a, 2 * a]))), np.stack([getattr(scipy.linalg, name)(x) for x in (a, 2 * a)]), dtype)


def test_discrete_lyapunov_equations_are_solved():
    for dtype in ("float64", "complex128"):
        a, q = 0.4 * draw((2, 3, 3), dtype), draw((3, 3), dtype, 1)
        x = np.asarray(lg.linalg.solve_discrete_lyapunov(lg.asarray(a), lg.asarray(q)))
        close(a @ x @ adjoint(a) - x + q, np.zeros((2, 3, 3)), dtype)


def test_matrices_with_patterns_are_scipys():
    c, r = draw((3,), "complex128"), draw((4,), seed=1)
    for f, g in ((lg.linalg.toeplitz, scipy.linalg.toeplitz), (lg.linalg.hankel, scipy.linalg.hankel)):
        close(f(lg.asarray(c)), g(c))
        close(f(lg.asarray(c), lg.asarray(r)), g(c, r))
        close(f(lg.asarray(r[:1])), g(r[:1]))
        assert f(lg.asarray(r[:0])).shape == (0, 0)
    close(lg.linalg.circulant(lg.asarray(c)), scipy.linalg.circulant(c))
    assert lg.linalg.circulant(lg.asarray(r[:0])).shape == (0, 0)
    blocks = [draw((2, 3)), draw((1, 1)), draw((4,)), np.zeros((0, 2))]
    close(lg.linalg.block_diag(*[lg.asarray(b) for b in blocks]), scipy.linalg.block_diag(*blocks))
    for f in (lg.linalg.toeplitz, lg.linalg.hankel, lg.linalg.circulant):
        with pytest.raises(ValueError, match="one axis"):
            f(lg.asarray(blocks[0]))
    with pytest.raises(ValueError, match="two axes"):
        lg.linalg.block_diag(lg.asarray(draw((2, 2, 2))))


# ---- names and protocols -------------------------------------------------------------------------------------------------

def test_methods_are_those_of_pytorch():
    a = definite((3, 3))
    x = lg.asarray(a)
    close(x.cholesky(), np.linalg.cholesky(a))
    close(x.qr().R, np.linalg.qr(a).R)
    close(x.svd().S, np.linalg.svd(a).S)
    close(x.pinverse(), np.linalg.pinv(a))
    close(x.inverse(), np.linalg.inv(a))
    assert lg.Tensor.cholesky is lg.linalg.cholesky and lg.Tensor.erfinv is lg.special.erfinv
    close(lg.asarray([0.5]).igamma(lg.asarray([1.0])), scipy.special.gammainc(np.float32([0.5]), np.float32([1.0])))


def test_results_have_the_names_of_the_array_api():
    a = lg.asarray(definite((2, 2)))
    names = {"eigh": ("eigenvalues", "eigenvectors"), "eig": ("eigenvalues", "eigenvectors"), "qr": ("Q", "R"), "slogdet": ("sign", "logabsdet"),
             "svd": ("U", "S", "Vh"), "lu": ("P", "L", "U"), "lu_factor": ("LU", "pivots")}
    for name, fields in names.items():
        for _ in range(2):                         # made, then found
            assert getattr(lg.linalg, name)(a)._fields == fields
    assert set(np.linalg.__all__) <= set(lg.linalg.__all__)
    assert all(callable(getattr(lg.linalg, name)) for name in lg.linalg.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lg.linalg.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["cholesky", "inv", "det", "eigh", "eigvalsh", "eigvals", "svd", "svdvals", "qr", "pinv", "slogdet", "matrix_rank",
                                  "cond", "norm", "matrix_norm", "vector_norm", "trace", "diagonal", "matrix_transpose"])
def test_numpys_functions_stay_lazy(name):
    a = definite((3, 3))
    t = lg.tensor(a)
    got, want = getattr(np.linalg, name)(t), getattr(np.linalg, name)(a)
    for g, w in zip(got, want, strict=True) if isinstance(want, tuple) else ((got, want),):
        assert isinstance(g, lg.Tensor)
        close(np.abs(np.asarray(g)) if name in ("eigh", "svd") else g, np.abs(w) if name in ("eigh", "svd") else w)
    assert isinstance(np.linalg.solve(t, a[0]), lg.Tensor)


# ---- errors -----------------------------------------------------------------------------------------------------------------

SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
BAD = {
    "solve": (lambda x: lg.linalg.solve(x, x[0]), SINGULAR, "singular"),
    "inv": (lg.inv, SINGULAR, "singular"),
    "cholesky": (lg.linalg.cholesky, np.array([[1.0, 2.0], [2.0, 1.0]]), "not positive definite"),
    "solve_triangular": (lambda x: lg.linalg.solve_triangular(x, x), np.array([[1.0, 2.0], [0.0, 0.0]]), "element 1 of the diagonal is 0"),
    "sylvester": (lambda x: lg.linalg.solve_sylvester(x, x - 22 * np.eye(2, dtype=x.dtype), x), np.array([[11.0, 2.0], [0.0, 11.0]]), "eigenvalue"),
    "svd": (lg.linalg.svdvals, np.array([[np.nan, 1.0], [1.0, 1.0]]), "did not converge"),
    "sqrtm": (lg.linalg.sqrtm, np.array([[-1.0, 0.0], [0.0, 1.0]]), "not real"),
    "logm": (lg.linalg.logm, np.array([[-1.0, 0.0], [0.0, 1.0]]), "not real"),
}


@pytest.mark.parametrize("where", ["interpreted", "native", "gpu"])
@pytest.mark.parametrize("name", BAD)
def test_matrices_without_an_answer_raise_and_leave_everything_usable(name, where):
    f, bad, text = BAD[name]
    good = np.array([[2.0, 0.0], [0.0, 5.0]])
    kind = np.float32 if where == "gpu" else np.float64
    graph = Graph(device=device()) if where == "gpu" else Graph()
    x = graph.tensor(good.astype(kind))
    z = (f(x) * 2).sum()
    if where == "native":
        for _ in range(4):
            z.backward()
    value = float(z)
    kept = x.value
    x.set(bad.astype(kind))
    with pytest.raises(np.linalg.LinAlgError, match=text) as caught:
        z.forward()
        z.value  # noqa: B018
    assert isinstance(caught.value, LinAlgError) and str(caught.value).partition(":")[0].startswith(name[:5])
    assert any("test_linalg.py" in note for note in caught.value.__notes__)
    with pytest.raises(LinAlgError, match=text):
        z.backward()
        z.value  # noqa: B018
    x.set(kept)
    assert float(z) == value
    z.backward()


@pytest.mark.parametrize("name", ["qr", "lu", "slogdet", "inverse of a product"])
def test_a_derivative_that_does_not_exist_is_an_error_at_the_users_line(name):
    x = lg.tensor(np.ones((3, 3)) * [1.0, 0.0, 1.0])
    z = {"qr": lambda: lg.linalg.qr(x).R.sum(), "lu": lambda: lg.linalg.lu(x).U.sum(), "slogdet": lambda: lg.linalg.slogdet(x).logabsdet,
         "inverse of a product": lambda: lg.linalg.inv(x @ x).sum()}[name]()
    if name != "inverse of a product":
        z.forward()                                  # the value is there
    with pytest.raises(LinAlgError, match="singular") as caught:
        z.backward()
    assert any("test_linalg.py" in note for note in caught.value.__notes__)
    (g,) = z.gradient(x)
    with pytest.raises(LinAlgError, match="singular") as caught:
        g.value  # noqa: B018
    assert any("test_linalg.py" in note for note in caught.value.__notes__)
    with pytest.raises(LinAlgError, match="singular") as caught:
        z.backward(2.0)
    assert any("test_linalg.py" in note for note in caught.value.__notes__)


def test_transforms_go_through():
    a = definite((4, 3, 3))
    found = lg.vmap(lg.linalg.eigh)(a)
    close(found.eigenvalues, np.linalg.eigvalsh(a))
    inverse = np.linalg.inv(a[0])
    close(lg.hessian(lambda x: lg.linalg.slogdet(x).logabsdet)(a[0]), -np.einsum("jk,li->ijkl", inverse, inverse))
    close(lg.jacrev(lg.linalg.cholesky)(a[0]), lg.jacfwd(lg.linalg.cholesky)(a[0]))
    value, gradient = lg.compile(lg.value_and_grad(lambda x: lg.linalg.norm(x, "nuc")))(draw((3, 3)))
    u, s, vh = np.linalg.svd(draw((3, 3)))
    close(gradient, u @ vh)
    close(value, s.sum())
    for f in (lg.vmap(lg.linalg.cholesky), lg.compile(lg.linalg.cholesky)):
        with pytest.raises(LinAlgError, match="not positive definite") as caught:
            f(-a).value  # noqa: B018
        assert any("test_linalg.py" in note for note in caught.value.__notes__)


def test_shapes_are_checked_when_the_line_is_written():
    a, v = lg.asarray(draw((2, 3))), lg.asarray(draw((3,)))
    for f in (lg.linalg.inv, lg.linalg.det, lg.linalg.cholesky, lg.linalg.eigh, lg.linalg.eigvals, lg.linalg.sqrtm, lg.linalg.slogdet,
              lambda x: lg.linalg.solve(x, v), lambda x: lg.linalg.matrix_power(x, 2), lambda x: lg.linalg.cond(x, 1), lg.linalg.tensorinv):
        with pytest.raises(np.linalg.LinAlgError) as caught:
            f(a)
        assert isinstance(caught.value, ShapeError)
        assert any("test_linalg.py" in note for note in caught.value.__notes__)
    for f in (lg.linalg.svd, lg.linalg.qr, lg.linalg.pinv, lg.linalg.lu, lg.linalg.matrix_norm):
        with pytest.raises(np.linalg.LinAlgError, match="two axes"):
            f(v)
    square = lg.asarray(draw((3, 3)))
    for f, text in ((lambda: lg.linalg.solve_triangular(square, lg.asarray(draw((2,)))), "has no 3 rows"),
                    (lambda: lg.linalg.solve_sylvester(square, square, a), "q must be"), (lambda: lg.linalg.lstsq(a, v), "no 2 rows"),
                    (lambda: lg.linalg.cross(a, lg.asarray(draw((2, 2)))), "do not broadcast|3 elements"), (lambda: lg.linalg.multi_dot([a]), "two or more"),
                    (lambda: lg.linalg.trace(v), "two axes"), (lambda: lg.linalg.diagonal(v), "two axes"), (lambda: lg.linalg.norm(a, axis=(0, 1, 1)), "twice|axis"),
                    (lambda: lg.linalg.tensorsolve(a, v), "elements"), (lambda: lg.linalg.norm(lg.asarray(draw((2, 2, 2))), 1), "one axis or two"),
                    (lambda: lg.linalg.lu_solve((square, v), v), "no factors")):
        with pytest.raises(ValueError, match=text):
            f()
    for f, text in ((lambda: lg.linalg.qr(a, "raw"), "no such mode"), (lambda: lg.linalg.matrix_norm(a, ord=3), "no such matrix norm"),
                    (lambda: lg.linalg.eigh(square, "X"), "no such triangle"), (lambda: lg.linalg.norm(v, "fro", 0), "vectors have no such norm"),
                    (lambda: lg.linalg.solve_triangular(square, v, trans=3), "no such system"), (lambda: lg.linalg.lu_solve(lg.linalg.lu_factor(square), v, 3), "no such"),
                    (lambda: lg.linalg.cho_solve((square,), v), "the pair"), (lambda: lg.linalg.cho_solve((square, v), v), "truth"),
                    (lambda: lg.linalg.svd(lg.asarray(draw((2, 2)), dtype="float16")), "float16")):
        with pytest.raises(TypeError, match=text):
            f()


def test_primitives_check_what_they_are_given():
    of = lambda shape, dtype="float64": leaf(0, 0, aval(shape, np.dtype(dtype)), True)
    for build, text in ((lambda: linalg_systems.triangular_solve(of((2, 2)), of((3, 1)), lower=True, unit=False), "no 2 rows"),
                        (lambda: linalg_systems.sylvester(of((2, 2)), of((3, 3)), of((2, 2))), r"must be \(2, 3\)"),
                        (lambda: linalg_systems.lstsq(of((3, 2)), of((2, 1)), rtol=0.0), "no 3 rows"),
                        (lambda: linalg_systems.pinv(of((3,)), of(())), "two axes"),
                        (lambda: linalg_systems.pinv(of((2, 3, 3)), of(())), "one real tolerance"),
                        (lambda: linalg_factorizations.qr(of((2, 3)), full=False), "fewer rows"),
                        (lambda: linalg_systems.triangular_solve(of((2, 2)), of((4, 2, 1)), lower=True, unit=False), "batch axes differ")):
        with pytest.raises(ShapeError, match=text):
            build()
    for build, text in ((lambda: linalg_systems.pinv(of((2, 2), "int64"), of(())), "int64 matrices have no pinv"),
                        (lambda: linalg_systems.triangular_solve(of((2, 2)), of((2, 1), "float32"), lower=True, unit=False), "dtypes differ"),
                        (lambda: linalg_factorizations.swaps(of((2,)), count=2), "int32")):
        with pytest.raises(TypeError, match=text):
            build()

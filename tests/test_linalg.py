"""lazygrad.linalg against NumPy and SciPy: values, identities, names, errors; derivatives of what does not depend on a free phase.

The derivatives of every primitive on its own are tested from tests/samples_linalg.py in test_ad.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import samples
import scipy.linalg
from gpu import device
from test_ad import Case, check_derivatives
from test_codegen_programs import native

import lazygrad as lg
from lazygrad import Graph, reference
from lazygrad.ad import jvp, vjp
from lazygrad.ad.batch import batch
from lazygrad.errors import LinAlgError, ShapeError
from lazygrad.ir.aval import aval
from lazygrad.ir.term import Term, toposort
from lazygrad.prims import elementwise as E
from lazygrad.prims import linalg_factorizations, linalg_spectral, linalg_systems
from lazygrad.prims import matrices as X
from lazygrad.prims import movement as M
from lazygrad.prims import reduction as R
from lazygrad.prims.leaf import constant, leaf, like
from lazygrad.prims.linalg import solve

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


def each(f, *xs):
    """f of every matrix of a stack."""
    batch = xs[0].shape[:-2]
    if not np.prod(batch, dtype=int):
        return None
    out = np.array([f(*[x.reshape(-1, *x.shape[-2:])[i] for x in xs]) for i in range(int(np.prod(batch, dtype=int)))])
    return out.reshape(*batch, *out.shape[1:])


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


# ---- primitives with several results ---------------------------------------------------------------------------------------

PRIMITIVES = {"eigh": linalg_spectral.eigh, "eig": linalg_spectral.eig, "svd": linalg_spectral.svd, "qr": linalg_factorizations.qr, "lu": linalg_factorizations.lu}
CASES = [(name, i, dtype) for name, rows in samples.SEVERAL.items() for i in range(len(rows)) for dtype in ("float64", "complex128")]


def in_one(name):
    """The primitive as a function that gives all its results in one vector (whole numbers left out)."""
    def build(*args: Term, **static) -> Term:
        found = [t for t in PRIMITIVES[name](*args, **static) if t.aval.inexact]
        dtype = np.result_type(*[t.aval.dtype for t in found])
        return M.concatenate(*[X.as_dtype(M.reshape(t, shape=(t.aval.size,)), dtype) for t in found], axis=0)
    return build


@pytest.mark.parametrize(("name", "i", "dtype"), [c for c in CASES if samples.SEVERAL[c[0]][c[1]].smooth])
def test_derivatives_of_primitives_with_several_results(name, i, dtype):
    check_derivatives(Case(in_one(name), samples.SEVERAL[name][i], np.dtype(dtype)))


@pytest.mark.parametrize(("name", "i", "dtype"), CASES)
def test_primitives_with_several_results_by_every_executor(name, i, dtype):
    """Types as inferred; native as interpreted, values and derivatives; over examples as one by one; a result alone as all of them."""
    row = samples.SEVERAL[name][i]
    case = Case(in_one(name), row, np.dtype(dtype))
    outs = PRIMITIVES[name](*case.xs, **row.params)
    for t, v in zip(outs, case(*outs), strict=True):
        assert (v.shape, v.dtype) == (t.aval.shape, t.aval.dtype)
    (g,), (p,) = vjp([case.y], [case.v], case.xs), jvp([case.y], case.us)
    roots = [*outs, case.y, g, p]
    below = set(toposort(roots))
    used = [t for t in case.env if t in below]
    got, fault, _ = native(roots, used, [case.env[t] for t in used])
    assert not fault
    for a, b in zip(got, case(*roots), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)                    # LAPACK may round in another order
    for k, t in enumerate(outs):
        np.testing.assert_allclose(native([t], case.xs, [case.env[x] for x in case.xs])[0][0], got[k], rtol=1e-12, atol=1e-12)
    each = [samples.arrays(row, np.dtype(dtype), seed)[0] for seed in range(3)]
    x, = case.xs
    many = leaf(99, 0, aval((3, *x.aval.shape), x.aval.dtype), True)
    found = reference.evaluate(batch(list(outs), {x: many}, 3), {many: np.stack(each)})
    for k, a in enumerate(each):
        for f, b in zip(found, reference.evaluate(outs, {x: a}), strict=True):
            np.testing.assert_allclose(f[k], b, rtol=1e-10, atol=1e-10)


# ---- derivatives of what does not depend on a phase -----------------------------------------------------------------------

def spread(x: Term, values) -> Term:
    """x diag(values)."""
    n = x.aval.shape[-1]
    d = M.concatenate(*[constant(v, (1,), x.aval.dtype) for v in values[:n]], axis=0)
    return E.mul(x, X.by_column(M.broadcast_to(d, shape=(*x.aval.shape[:-2], n)), x))


VALUES = (0.7, -1.3, 2.1, 0.4, -0.6)


def conjugated(x: Term) -> Term:
    """V diag(values) Vᴴ."""
    return X.product(spread(x, VALUES), X.adjoint(x))


def eig_inverse(a: Term) -> list[Term]:
    w, v = linalg_spectral.eig(a)
    return [w, X.real(E.mul(v, X.conj(v))), X.transposed(solve(X.transposed(v), X.transposed(spread(v, VALUES))))]


def svd_parts(a: Term, full: bool) -> list[Term]:
    u, s, vh = linalg_spectral.svd(a, full=full)
    k = s.aval.shape[-1]
    thin = X.product(spread(X.cut(u, columns=(0, k)), VALUES), X.cut(vh, rows=(0, k)))
    out = [s, thin, conjugated(X.cut(u, columns=(0, k))), conjugated(X.adjoint(X.cut(vh, rows=(0, k))))]
    for b in (u, X.adjoint(vh)):
        if b.aval.shape[-1] > k:
            more = X.cut(b, columns=(k, b.aval.shape[-1]))
            out.append(matmul_adjoint(more))
    return out


def matmul_adjoint(x: Term) -> Term:
    return X.product(x, X.adjoint(x))


def qr_parts(a: Term) -> list[Term]:
    n = a.aval.shape[-1]
    q, r = linalg_factorizations.qr(a, full=True)
    return [X.cut(q, columns=(0, n)), r, matmul_adjoint(X.cut(q, columns=(n, q.aval.shape[-1])))]


def eigh_parts(a: Term) -> list[Term]:
    w, v = linalg_spectral.eigh(a)
    return [w, conjugated(v), X.real(E.mul(v, X.conj(v)))]


FREE = {
    "eigh": (eigh_parts, [(3, 3), (2, 3, 3), (1, 1)]),
    "eig": (eig_inverse, [(3, 3), (2, 3, 3)]),
    "svd": (lambda a: svd_parts(a, False), [(3, 3), (4, 2), (2, 4), (2, 3, 2), (1, 1)]),
    "full svd": (lambda a: svd_parts(a, True), [(5, 2), (2, 5), (2, 4, 2), (3, 2)]),
    "complete qr": (qr_parts, [(4, 2), (5, 2), (2, 4, 3)]),
}


@pytest.mark.parametrize(("name", "shape", "dtype"), [(n, s, d) for n, (_, shapes) in FREE.items() for s in shapes for d in ("float64", "complex128")])
def test_derivatives_where_a_phase_or_a_rotation_is_free(name, shape, dtype):
    """Real parts of weighted sums of what does not depend on the choice: differences, both modes, both orders."""
    build = FREE[name][0]
    base = 0.4 * draw(shape, dtype) + np.eye(*shape[-2:]) * np.arange(1.0, shape[-1] + 1)
    a, u = (leaf(i, 0, aval(shape, np.dtype(dtype)), True) for i in range(2))
    env = {a: base.astype(dtype), u: draw(shape, dtype, 9)}
    total = None
    for i, part in enumerate(build(a)):
        w = leaf(10 + i, 0, part.aval, False)
        env[w] = draw(part.aval.shape, part.aval.dtype, 20 + i)
        moved = E.mul(w, part)
        square = X.real(E.mul(part, X.conj(part)))             # a second derivative that is not zero
        s = R.sum(E.add(X.real(moved), square), axes=tuple(range(moved.aval.ndim)))
        total = s if total is None else E.add(total, s)
    (g,), (t,) = vjp([total], [like(total, 1)], [a]), jvp([total], {a: u})
    (gg,), (gt,) = vjp([g], [u], [a]), jvp([g], {a: u})

    def at(root, step):
        return reference.evaluate([root], {**env, a: env[a] + step * env[u]})[0]

    h = 1e-5                                                # error h² times third derivatives, and ε / h
    g_, t_, gg_, gt_ = reference.evaluate([g, t, gg, gt], env)
    np.testing.assert_allclose(t_, (at(total, h) - at(total, -h)) / (2 * h), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(np.real(np.sum(np.conj(g_) * env[u])), t_, rtol=1e-9, atol=1e-10)
    moving = (at(g, h) - at(g, -h)) / (2 * h)
    np.testing.assert_allclose(gt_, moving, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.real(np.sum(np.conj(gg_) * env[u])), np.real(np.sum(np.conj(moving) * env[u])), rtol=1e-5, atol=1e-6)


FUNCTIONS = {
    "wide qr": lambda x: lg.linalg.qr(x[:2]).R.sum() + (lg.linalg.qr(x[:2]).Q ** 3).sum(),
    "lu": lambda x: (lg.linalg.lu(x[:, :2]).L ** 2).sum() + (lg.linalg.lu(x).U ** 2).sum(),
    "lu_solve": lambda x: (lg.linalg.lu_solve(lg.linalg.lu_factor(x), x[0]) ** 2).sum(),
    "transposed lu_solve": lambda x: (lg.linalg.lu_solve(lg.linalg.lu_factor(x), x[:, 1], 1) ** 2).sum(),
    "cho_solve": lambda x: (lg.linalg.cho_solve(lg.linalg.cho_factor(x @ x.mT), x[0]) ** 2).sum(),
    "lyapunov": lambda x: (lg.linalg.solve_continuous_lyapunov(x, x @ x) ** 2).sum(),
    "lstsq": lambda x: sum([(part ** 2).sum() for i, part in enumerate(lg.linalg.lstsq(x[:, :2], x[:, 2])) if i != 2]),
    "cond": lambda x: lg.linalg.cond(x) + lg.linalg.cond(x, 1) + lg.linalg.cond(x, "fro"),
    "norms": lambda x: sum([lg.linalg.norm(x, o) for o in ORDERS]),
    "cross": lambda x: (lg.linalg.cross(x, x[0]) ** 2).sum(),
    "multi_dot": lambda x: lg.linalg.multi_dot([x, x, x[0]]).sum(),
    "tensorsolve": lambda x: (lg.linalg.tensorsolve(x, x[0]) ** 2).sum() + (lg.linalg.tensorinv(x, 1) ** 2).sum(),
    "matrix_power": lambda x: (lg.linalg.matrix_power(x, -2) ** 2).sum(),
    "discrete lyapunov": lambda x: (lg.linalg.solve_discrete_lyapunov(x / 5, x @ x) ** 2).sum(),
    "tangents": lambda x: (lg.linalg.tanm(x / 9) ** 2).sum() + (lg.linalg.tanhm(x / 3) ** 2).sum(),
    "patterns": lambda x: (lg.linalg.toeplitz(x[0], x[1]) ** 2).sum() + (lg.linalg.circulant(x[2]) ** 3).sum() + (lg.linalg.hankel(x[0]) ** 2).sum()
                          + (lg.linalg.block_diag(x, x[:2]) ** 2).sum(),
    "upper cholesky": lambda x: (lg.linalg.cholesky(x @ x.mT, upper=True) ** 3).sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_composite_functions(name):
    f, a = FUNCTIONS[name], shifted((3, 3), seed=4, by=2.0)
    x = lg.tensor(a)
    z = f(x)
    (g,) = z.gradient(x)
    (gg,) = (g * g).sum().gradient(x)
    h = 1e-6

    def slope(f):
        out = np.zeros_like(a)
        for i in np.ndindex(a.shape):
            e = np.zeros_like(a)
            e[i] = h
            out[i] = (float(f(a + e)) - float(f(a - e))) / (2 * h)
        return out

    np.testing.assert_allclose(np.asarray(g), slope(lambda a: f(lg.tensor(a))), rtol=1e-6, atol=1e-6)

    def squared(a):
        y = lg.tensor(a)
        return (f(y).gradient(y)[0] ** 2).sum()

    np.testing.assert_allclose(np.asarray(gg), slope(squared), rtol=1e-5, atol=1e-4 * np.abs(np.asarray(gg)).max())


SINGLE = {
    "cholesky": lambda x: lg.abs(lg.linalg.cholesky(x)).sum(), "eigh": lambda x: lg.abs(lg.linalg.eigh(x).eigenvectors[:, 0]).sum(),
    "eigvalsh": lambda x: lg.linalg.eigvalsh(x)[0], "eig": lambda x: lg.abs(lg.linalg.eig(x).eigenvectors[:, 0]).sum(),
    "eigvals": lambda x: lg.abs(lg.linalg.eigvals(x)).sum(), "svd": lambda x: lg.abs(lg.linalg.svd(x).U[:, 0]).sum(), "svdvals": lambda x: lg.linalg.svdvals(x)[1],
    "qr": lambda x: lg.abs(lg.linalg.qr(x).Q[:, 1]).sum(), "lu": lambda x: lg.abs(lg.linalg.lu(x).L).sum(), "pinv": lambda x: lg.abs(lg.linalg.pinv(x)).sum(),
    "lstsq": lambda x: lg.abs(lg.linalg.lstsq(x[:, :2], x[:, 2]).x).sum(), "sqrtm": lambda x: lg.abs(lg.linalg.sqrtm(x)).sum(),
    "logm": lambda x: lg.abs(lg.linalg.logm(x)).sum(), "sinm": lambda x: lg.abs(lg.linalg.sinm(x / 4)).sum(),
    "sylvester": lambda x: lg.abs(lg.linalg.solve_sylvester(x, x, x @ x)).sum(), "cond": lambda x: lg.linalg.cond(x, 1), "rank": lambda x: lg.linalg.norm(x, "nuc"),
}


@pytest.mark.parametrize("kind", ["float", "complex"])
@pytest.mark.parametrize("name", SINGLE)
def test_gradients_in_single_precision_are_those_in_double(name, kind):
    wide, narrow = ("float64", "float32") if kind == "float" else ("complex128", "complex64")
    a = definite((3, 3), wide, 7)
    found = []
    for dtype in (wide, narrow):
        x = lg.tensor(a.astype(dtype))
        z = SINGLE[name](x)
        z.backward()
        (g,) = z.gradient(x)
        (gg,) = (lg.abs(g) ** 2).sum().gradient(x)
        assert x.grad.dtype == g.dtype == gg.dtype == dtype and z.dtype == np.finfo(dtype).dtype
        found.append((np.asarray(x.grad), np.asarray(gg)))
    for w, n in zip(*found, strict=True):
        np.testing.assert_allclose(n, w, rtol=0, atol=2e-4 * max(1, np.abs(w).max()))       # ε of float32 times the condition of the problem, squared


# ---- repeated values -------------------------------------------------------------------------------------------------------

def gradients(f, a):
    """The gradient, and that of the sum of its squares."""
    x = lg.tensor(a)
    (g,) = f(x).gradient(x)
    return np.asarray(g), np.asarray((g * g).sum().gradient(x)[0])


@pytest.mark.parametrize("a", [np.eye(3), np.zeros((3, 3)), np.diag([1.0, 1.0, 2.0]), np.ones((3, 3)), np.diag([1.0, 1.0 + 1e-15, 3.0])],
                         ids=["identity", "zero", "pair", "rank one", "nearly"])
def test_gradients_at_repeated_values_are_finite(a):
    for f in (lambda x: (lg.linalg.eigh(x).eigenvalues ** 2).sum(), lambda x: (lg.linalg.eigh(x).eigenvectors ** 3).sum(),
              lambda x: lg.linalg.eigvalsh(x)[0], lambda x: lg.abs(lg.linalg.eigvals(x)).sum(),
              lambda x: (lg.linalg.svd(x).U ** 3).sum() + (lg.linalg.svd(x).Vh ** 3).sum(), lambda x: lg.linalg.svdvals(x)[0],
              lambda x: lg.linalg.norm(x, "nuc"), lambda x: lg.linalg.norm(x, 2), lambda x: lg.linalg.norm(x), lambda x: lg.linalg.pinv(x).sum()):
        for g in gradients(f, a):
            assert np.isfinite(g).all()
    # functions of all values of a repeated group are smooth there: sum(w²) = |H|²
    g, _ = gradients(lambda x: (lg.linalg.eigvalsh(x) ** 2).sum(), a)
    np.testing.assert_allclose(g, 2 * a, atol=1e-12)
    g, _ = gradients(lambda x: (lg.linalg.svdvals(x) ** 2).sum(), a)
    np.testing.assert_allclose(g, 2 * a, atol=1e-12)


def test_gradients_are_hermitian_as_the_matrix_is():
    a = definite((3, 3), "complex128")
    for f in (lambda x: lg.linalg.eigvalsh(x)[0], lambda x: lg.real(lg.linalg.cholesky(x)).sum()):
        x = lg.tensor(a)
        g = np.asarray(f(x).gradient(x)[0])
        np.testing.assert_allclose(g, adjoint(g), atol=1e-13)


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

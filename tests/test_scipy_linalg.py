"""lazygrad.scipy.linalg against scipy.linalg: arguments and defaults as SciPy has them; derivatives of what is made of several functions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import lazygrad as lg
from lazygrad.scipy import linalg
from lazygrad.testing import check_grads

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")          # SciPy's

rng = np.random.default_rng(0)
A, T, W, R, b = rng.normal(size=(4, 4)), rng.normal(size=(5, 3)), rng.normal(size=(3, 5)), rng.normal(size=(4, 4)) + 3, rng.normal(size=4)
S, C = A @ A.T + np.eye(4), A + 1j * A[::-1]
H = C @ C.conj().T + np.eye(4)
NAMES = {"A": A, "T": T, "W": W, "R": R, "b": b, "S": S, "C": C, "H": H, "np": np, "scipy": scipy}

CALLS = """cholesky(S); cholesky(S, True); cholesky(H); qr(T); qr(T, mode='economic'); qr(T, mode='r'); qr(W); lu(A); lu(T, permute_l=True); lu(A, p_indices=True); polar(A); polar(T); polar(W, 'left'); polar(C); solve(A, b);
solve(A, b, transposed=True); solve(S, b, assume_a='pos'); solve(np.tril(S), b, assume_a='sym', lower=True); solve(np.triu(H), b, assume_a='her'); inv(A); inv(np.tril(S), lower=True, assume_a='pos'); pinv(T); pinv(T, rtol=0.5);
pinv(T, atol=1.0, return_rank=True); pinvh(S); pinvh(np.tril(S)); lstsq(T, T[:, 0] * 2 + 1); lstsq(T, W.T); det(A); eigh(S, eigvals_only=True); eigvalsh(S, subset_by_index=[1, 2]); eigh(A + A.T, S, eigvals_only=True);
eigvalsh(np.triu(S), lower=False); eigvalsh(np.tril(S), np.tril(R @ R.T)); eigvals(A); eigvals(A, S); eigh_tridiagonal(b, b[:3], True); eigvalsh_tridiagonal(b, b[:3], 'i', (1, 2)); solve_banded((1, 1), R[:3], b);
solve_banded((0, 2), R[:3], b); solveh_banded(np.array([[0, 0.1, 0.2, 0.3], [4.0, 5, 6, 7]]), b); solveh_banded(np.array([[4.0, 5, 6, 7], [0.1, 0.2, 0.3, 0]]), b, lower=True); solve_circulant(b, S); solve_circulant(b, b); solve_toeplitz(b, b);
solve_toeplitz((b, b * 2), S); matmul_toeplitz((b, b[:3]), b[:3]); matmul_toeplitz(b, S); companion(b); leslie(b, b[:3]); fiedler(b); convolution_matrix(b, 3); convolution_matrix(b, 3, 'same'); convolution_matrix(b, 6, 'same');
convolution_matrix(b, 3, 'valid'); convolution_matrix(b[:3], 5, 'same'); khatri_rao(T, T); diagsvd(b[:3], 3, 5); dft(3); dft(4, 'sqrtn'); hadamard(4); helmert(4); helmert(4, full=True); hilbert(3); invhilbert(3); pascal(4);
pascal(3, kind='lower'); invpascal(3); expm_frechet(A, S); fractional_matrix_power(S, 0.3); fractional_matrix_power(S, 2); fractional_matrix_power(S, -1); signm(A + A.T); orthogonal_procrustes(A, S); orthogonal_procrustes(T, T * 2);
subspace_angles(T, T[:, :2] + 0.1); subspace_angles(T, T[:, :1] + 0.1 * T[:, 1:2]); issymmetric(S); issymmetric(A); issymmetric(A, 9.0); ishermitian(H); ishermitian(C, 1e-9); expm(A); logm(S); sqrtm(S); sinm(A); norm(A); norm(A, 1); svdvals(T); svd(T, compute_uv=False, check_finite=False);
lu_factor(A); lu_solve(scipy.linalg.lu_factor(A), b); cho_solve(scipy.linalg.cho_factor(S), b); solve_triangular(np.triu(A), b); solve_triangular(np.tril(A), b, lower=True, trans=1); toeplitz(b); toeplitz(b, b[:2]); hankel(b);
circulant(b); block_diag(A, T); solve_sylvester(A, S, A); solve_continuous_lyapunov(A, S); solve_discrete_lyapunov(A / 9, S)"""


def same(got, want):
    if isinstance(want, (tuple, list)):
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            same(g, w)
        return
    got, want = got.value if isinstance(got, lg.Tensor) else np.asarray(got), np.asarray(want)
    assert got.shape == want.shape and got.dtype.kind == want.dtype.kind
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("call", [c.strip() for c in CALLS.split(";")])
def test_values(call):
    same(eval(f"f.{call}", {"f": linalg, **NAMES}), eval(f"f.{call}", {"f": scipy.linalg, **NAMES}))


def test_rq_multiplies_back():
    for x in (A, T, W, C):
        for mode in ("full", "economic"):
            (r, q), want = linalg.rq(x, mode=mode), scipy.linalg.rq(x, mode=mode)
            assert r.shape == want[0].shape and q.shape == want[1].shape
            np.testing.assert_allclose((r @ q).value, x, atol=1e-12)
            np.testing.assert_allclose((q @ lg.conj(q.mT)).value, np.eye(q.shape[0]), atol=1e-12)
            np.testing.assert_allclose(abs(r.value), abs(want[0]), atol=1e-10)          # rows' signs are free
        np.testing.assert_array_equal(linalg.rq(x, mode="r").value, linalg.rq(x)[0].value)


def test_bases():
    for x in (T, W, np.outer(b, b), np.zeros((2, 3))):
        for name in ("orth", "null_space"):
            got, want = getattr(linalg, name)(x).value, getattr(scipy.linalg, name)(x)
            assert got.shape == want.shape
            np.testing.assert_allclose(got @ got.T, want @ want.T, atol=1e-10)


def test_eigenvectors_of_two_matrices_and_of_the_left():
    w, v = linalg.eigh(A + A.T, S)
    np.testing.assert_allclose((A + A.T) @ v.value, S @ v.value * w.value, atol=1e-11)
    np.testing.assert_allclose(v.value.T @ S @ v.value, np.eye(4), atol=1e-12)
    w, left, v = linalg.eig(A, left=True)
    np.testing.assert_allclose(left.value.conj().T @ A, w.value[:, None] * left.value.conj().T, atol=1e-11)
    w, v = linalg.eig(A, S)
    np.testing.assert_allclose(A @ v.value, S @ v.value * w.value, atol=1e-11)
    assert linalg.eigh(S, subset_by_index=(0, 1))[1].shape == (4, 2)


@pytest.mark.parametrize("f,args", [
    (lambda x: linalg.polar(x), (A,)), (lambda x: linalg.rq(x), (A,)), (lambda x: linalg.signm(x @ x.mT + 1.0), (A,)), (lambda x, y: linalg.eigvalsh(x + x.mT, y @ y.mT + np.eye(4)), (A, R)), (lambda x, y: linalg.solve_banded((1, 1), x, y), (R[:3], b)),
    (lambda c, y: linalg.solve_circulant(c, y), (b, b)), (lambda c, r, y: linalg.solve_toeplitz((c, r), y), (b, b * 2, b)), (lambda p: abs(lg.linalg.eigvals(linalg.companion(p))) ** 2, (b,)), (lambda x: linalg.fractional_matrix_power(x @ x.mT + np.eye(4), 0.3), (A,)),
    (lambda x, e: linalg.expm_frechet(x, e), (A / 2, S / 9)), (lambda x, y: linalg.subspace_angles(x, y), (T, T[:, :2] + rng.normal(size=(5, 2)))), (lambda x, y: linalg.orthogonal_procrustes(x, y), (A, S)), (lambda x: linalg.pinvh(x @ x.mT), (A,)),
    (lambda x: linalg.solve(x, b, assume_a="sym", lower=True), (S,)), (lambda x: linalg.convolution_matrix(x, 3), (b,)), (lambda x, y: linalg.khatri_rao(x, y), (T, T)), (lambda x: linalg.eig(x, b=S)[0], (A,)),
], ids=range(17))
def test_derivatives(f, args):
    check_grads(f, args, order=1, rtol=1e-5, atol=1e-6)


def test_python_numbers_are_float64():
    assert linalg.solve([[2, 1], [0, 4]], [2, 4]).dtype == linalg.inv([[1, 2], [3, 4]]).dtype == linalg.norm([3, 4]).dtype == np.float64
    assert linalg.cholesky(lg.tensor(S.astype(np.float32))).dtype == np.float32


def test_names():
    assert set(linalg.__all__) <= set(dir(scipy.linalg)) and all(callable(getattr(linalg, n)) for n in linalg.__all__)
    assert lg.scipy.linalg is linalg and set(dir(lg.scipy)) == {"fft", "linalg", "signal", "special", "stats"}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        linalg.nothing                 # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lg.scipy.nothing               # noqa: B018


ERRORS = [
    (lambda: linalg.qr(A, pivoting=True), ValueError, "pivoting"), (lambda: linalg.rq(A, mode="best"), ValueError, "mode"), (lambda: linalg.polar(A, "up"), ValueError, "side"), (lambda: linalg.polar(b), ValueError, "matrix is expected"),
    (lambda: linalg.eigh(S, type=2), ValueError, "type=2"), (lambda: linalg.eigh_tridiagonal(b, b[:3], select="v"), ValueError, "select"), (lambda: linalg.solve_banded((1, 1), R, b), ValueError, "there must be 3"),
    (lambda: linalg.solve_circulant(b, b[:2]), ValueError, "rows"), (lambda: linalg.companion([1.0]), ValueError, "no roots"), (lambda: linalg.leslie(b, b), ValueError, "one survival less"), (lambda: linalg.khatri_rao(A, T), ValueError, "as many columns"),
    (lambda: linalg.diagsvd(b, 2, 2), ValueError, "there must be 2"), (lambda: linalg.convolution_matrix(b, 0), ValueError, "n=0"), (lambda: linalg.expm_frechet(A, np.eye(3)), ValueError, "another shape"), (lambda: linalg.orthogonal_procrustes(A, T), ValueError, "shapes differ"),
    (lambda: linalg.subspace_angles(A, T), ValueError, "spaces differ"), (lambda: linalg.issymmetric(T), ValueError, "square"), (lambda: linalg.cholesky(-S).value, np.linalg.LinAlgError, "positive"), (lambda: linalg.solve(A * 0, b).value, np.linalg.LinAlgError, "singular"),
]


@pytest.mark.parametrize("call,kind,text", ERRORS, ids=range(len(ERRORS)))
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call()

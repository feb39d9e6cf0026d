"""Choosing, replacing, ordering and counting under NumPy's names, and the positions of triangles and grids, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import case, check_derivatives, check_native, check_on_gpu, check_values, mapped, rows, same

import lazygrad as lg

rng = np.random.default_rng(3)
A, B, V = rng.normal(size=(3, 4)), rng.normal(size=(4, 3, 5)), np.arange(6.0)
X, Y, W = rng.normal(size=60), rng.normal(size=60) * 3, rng.random(60)
TIED = np.round(X * 4) / 4                     # many elements lie on edges
I, J, K = rng.integers(0, 7, 40), rng.integers(0, 3, 40), rng.integers(0, 3, (3, 4))
N = np.array([1.0, np.nan, 3.0, np.nan, 1.0])
C = np.array([1 + 1j, 1 - 1j, 0 + 2j, 1 + 1j])
M = A > 0


def edited(f):
    """What NumPy's function of this name makes of a copy of its first operand."""
    def want(x, *args, **options):
        x = x.copy()
        getattr(np, f)(x, *args, **options)
        return x
    return want


def edit(name, *args, **options):
    return case(name, *args, want=edited(name), **options)


CASES = [
    *[case("histogram", x, bins, r, d, tol=1e-13) for x in (X, TIED) for bins in (10, 7, [-1.0, 0.0, 0.5, 0.6, 2.0], "auto", 1) for r in (None, (-1.0, 1.0)) for d in (False, True)],
    case("histogram", X, 6, weights=W, density=True, order=1), case("histogram", A, 6, weights=W[:12].reshape(3, 4), gpu=True), case("histogram", X, [-1.0, 0.0, 2.0], weights=W, order=1),
    case("histogram", X[:0]), case("histogram", X[:1]), case("histogram", I, np.array([0, 3, 5])), case("histogram", X, np.array([0.0, 0.5, 2.0]), gpu=True), case("histogram", X, 5, weights=J[:1].repeat(60)),
    case("histogram_bin_edges", X, 6), case("histogram_bin_edges", X, "fd", (-1, 1)), case("histogram_bin_edges", X, [0.0, 1.0]),
    case("histogram2d", X, Y, 5, gpu=True), case("histogram2d", X, Y, (5, [-3.0, 0.0, 3.0]), density=True, weights=W), case("histogram2d", X, Y, [-3.0, 0.0, 3.0]),
    case("histogramdd", [X, Y, X * Y], (3, 4, 5), range=[(-1, 1), (-2, 2), (-3, 3)]), case("histogramdd", np.stack([X, TIED], 1), [[-1.0, 0.0, 1.0], 8], density=True),
    case("bincount", I), case("bincount", I, W[:40], 20), case("bincount", I.astype(np.uint8)), case("bincount", I[:0]), case("bincount", I[:0], minlength=3), case("bincount", I, W[:40], gpu=True),
    *[case("digitize", TIED, b, right) for b in (np.array([-1.0, 0, 1, 1, 2]), np.array([2.0, 1, 0, -1]), [0.0, 0.5], [0.5, 0.0], [0.5], np.array([])) for right in (False, True)],
    case("digitize", I, np.array([1, 3])), case("digitize", A, [0.0, 1.0], gpu=True),

    case("unique", I), case("unique", N), case("unique", N, equal_nan=False), case("unique", C), case("unique", np.array([2.0, 1.0, 2.0]), order=0), case("unique", I, True, True, True),
    case("unique", K, axis=0), case("unique", K, True, True, True, 1), case("unique", K, return_inverse=True), case("unique", M), case("unique", X[:0]), case("unique", A, gpu=True),
    case("unique_all", I), case("unique_counts", N), case("unique_inverse", K), case("unique_values", N),
    case("union1d", I, J), case("union1d", I, [9, 1]), case("union1d", X, TIED), case("intersect1d", I, J + 2), case("intersect1d", I, J + 2, return_indices=True), case("intersect1d", X, X[::3]),
    case("intersect1d", np.array([1, 2]), np.array([2.0, 3.0]), want=lambda x, y: np.array([2.0])), case("setdiff1d", I, J), case("setdiff1d", X, X[::3]), case("setdiff1d", X, X[::3], True),
    case("setxor1d", I, J + 4), case("setxor1d", X[:9], X[5:], True),

    case("lexsort", [I, J]), case("lexsort", [J, I]), case("lexsort", [K, K[::-1]], axis=0), case("lexsort", K), case("lexsort", np.asarray(3.0)[None]), case("lexsort", [A[0], A[1]], gpu=True),
    case("sort_complex", C), case("sort_complex", A), case("sort_complex", K.astype(np.int8), want=lambda x: np.sort(x).astype(np.complex64)), case("flatnonzero", K), case("flatnonzero", N),

    case("choose", K, [A, A * 2, A[0] * 0]), case("choose", K, np.stack([A, A * 2, A * 0]), gpu=True), case("choose", K * 2, [A, 5.0], mode="wrap"), case("choose", K - 1, [A, A * 2], mode="clip", order=2),
    case("choose", np.asarray(1), [A, A[0]]), case("choose", K[0], [[10, 20, 30, 40], [1, 2, 3, 4], [0, 0, 0, 0]]), case("choose", K[:0], [A[:0], A[:0]]),
    case("extract", M, A, order=2), case("extract", [True, False, True], V[:3]), case("extract", K, A), case("compress", [True, False, True], A, 0),
    edit("place", A, M, np.array([7.0, 8.0, 9.0]), order=2, gpu=True), edit("place", A, M, [5.0]), edit("place", A, M, X), edit("place", A, M & False, X), edit("place", K, K > 1, [9, 8]),
    edit("putmask", A, M, np.array([7.0, 8.0, 9.0, 1.0, 2.0]), order=1, gpu=True), edit("putmask", A, M, A * 2, order=1), edit("putmask", K, K > 1, 7),
    edit("put", A, [0, -1, 5], [7.0, 8.0], order=1), edit("put", A, np.array([[0, 3], [3, 11]]), X[:4], gpu=True), edit("put", A, [99, -99], 1.0, "clip"), edit("put", A, [99, -99], 1.0, "wrap"),
    edit("put", A, [], 1.0), edit("copyto", A, A[0] * 2, where=M), edit("copyto", A, 3), edit("copyto", A, V[:4], where=M[0], order=1, gpu=True),
    edit("fill_diagonal", A, 5.0, order=1), edit("fill_diagonal", rng.normal(size=(7, 3)), 5.0, True), edit("fill_diagonal", rng.normal(size=(7, 3)), X[:2], True), edit("fill_diagonal", A.T.copy(), [1.0, 2.0]),
    edit("fill_diagonal", np.zeros((3, 3, 3)), 1.0, gpu=True), edit("fill_diagonal", np.zeros((2, 2)), np.array([[1.0, 2.0], [3.0, 4.0]])),

    *[case(f"{name}_indices", *args) for name in ("tril", "triu") for args in [(4,), (3, 1), (3, -1, 5), (5, 2, 3), (3, -9), (3, 9), (0,), (4, -3, 2)]],
    case("tril_indices_from", A, 1), case("triu_indices_from", A, -1), case("diag_indices", 3, 3), case("diag_indices_from", A[:3, :3]), case("mask_indices", 3, np.triu, 1),
    case("tri", 3, 4, -1, dtype="float64"), case("tri", 2, k=1, dtype="int64"), case("diagflat", K[:2, :2], 1), case("diagflat", A, order=1), case("indices", (2, 3)), case("indices", (2, 3), sparse=True),
    case("indices", (3,), dtype="float32"), case("indices", ()), case("ix_", [0, 2], [True, False, True], []), case("ix_", np.array([1, 2]), np.array([3])),
    *[case("unravel_index", i, (3, 4, 2), order) for i in (7, [0, 23, 5], np.array([[1, 2], [3, 4]])) for order in "CF"],
    case("ravel_multi_index", ([1, 2], [3, 0]), (3, 4)), case("ravel_multi_index", [[0, 2], [3, 1]], (3, 4)),
    case("ravel_multi_index", (np.array([1, 2]), np.array([3, 0])), (3, 4), "raise", "F"), case("ravel_multi_index", [[5, -1], [3, 9]], (3, 4), ("wrap", "clip")),
    case("ravel_multi_index", [np.array([5, -1]), np.array([3, 9])], (3, 4), "clip", gpu=True),
]


@rows(CASES)
def test_values(case):
    check_values(case)


@rows([c for c in CASES if c.order])
def test_derivatives(case):
    check_derivatives(case)


@rows([c for c in CASES if c.gpu])
def test_native_code(case, monkeypatch):
    check_native(case, monkeypatch)


@rows([c for c in CASES if c.gpu])
def test_on_the_gpu(case):
    check_on_gpu(case)


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_partitions(axis):
    for kth in (2, [0, 1], -1):
        got = lg.partition(lg.tensor(B), kth, axis).value
        want = np.partition(B, kth, axis)
        np.testing.assert_array_equal(np.take(got, kth, axis or 0), np.take(want, kth, axis or 0))
        at = lg.argpartition(lg.tensor(B), kth, axis).value
        assert at.dtype == np.int64
        np.testing.assert_array_equal(B.ravel()[at] if axis is None else np.take_along_axis(B, at, axis), got)
    lg.testing.check_grads(lambda x: lg.partition(x, 1, axis), (B,), order=1)


def test_kthvalue():
    for axis in (0, -1):
        for keep in (False, True):
            value, at = lg.kthvalue(lg.tensor(B), 2, axis, keep)
            same(value, np.sort(B, axis).take([1], axis) if keep else np.sort(B, axis).take(1, axis), 0)
            same(at, np.argsort(B, axis).take([1], axis) if keep else np.argsort(B, axis).take(1, axis), 0)
    assert [v.item() for v in lg.kthvalue(lg.tensor(3.0), 1)] == [3.0, 0]
    lg.testing.check_grads(lambda x: lg.kthvalue(x, 2, 1)[0], (B,), order=1)


def test_values_of_sets_differentiate():
    x, y = lg.tensor(np.array([3.0, 1.0, 3.0])), lg.tensor(np.array([5.0, 1.0]))
    for z, gx, gy in [(lg.unique(x), [1, 1, 0], None), (lg.union1d(x, y), [1, 1, 0], [1, 0]), (lg.intersect1d(x, y), [0, 1, 0], None), (lg.setdiff1d(x, y), [1, 0, 0], None),
                      (lg.setxor1d(x, y), [1, 0, 0], [1, 0]), (lg.unique_all(x).values, [1, 1, 0], None)]:
        x.grad = y.grad = None
        z.backward()
        assert x.grad.tolist() == gx and (gy is None or y.grad.tolist() == gy)


def test_bincount_of_a_known_length_is_lazy_and_drops_the_rest():
    count = lg.compile(lambda i, w: (lg.bincount(i, length=4), lg.bincount(i, w, length=4)))
    i = np.array([1, 9, 3, -1, 1])
    n, sums = count(i, np.arange(5.0))
    assert n.tolist() == [0, 2, 0, 1] and sums.tolist() == [0.0, 4.0, 0.0, 2.0]


@pytest.mark.parametrize("bins,limits", [(10, (-1.0, 1.0)), (7, None), (12, (-0.75, 0.75))])
def test_elements_on_edges_fall_where_numpy_puts_them_in_native_code_too(bins, limits, monkeypatch):
    check_native(case("histogram", TIED, bins, limits), monkeypatch)


def test_histograms_are_lazy_and_batch():
    f = lambda x: lg.histogram(x, 4)[0]
    x = rng.normal(size=(3, 20))
    got = lg.vmap(f)(x)
    assert got.tolist() == [np.histogram(r, 4)[0].tolist() for r in x] and lg.compile(f)(x[0]).tolist() == got.tolist()[0]
    edges = lg.compile(lambda x, b: lg.digitize(x, b))
    for b in (np.array([0.0, 0.5]), np.array([0.5, 0.0])):
        assert edges(x, b).tolist() == np.digitize(x, b).tolist()


def test_positions_go_with_tensors_of_any_graph_and_device():
    for device in ("cpu", "gpu"):
        x = lg.Graph(device=device).tensor(A[:3, :3].astype(np.float32))
        assert np.array_equal(x[lg.tril_indices(3)].value, x.value[np.tril_indices(3)])
        assert np.array_equal(x[lg.diag_indices(3)].value, x.value[np.diag_indices(3)])


@pytest.mark.parametrize("name,key", [("mgrid", np.s_[0:3, 1:7:2]), ("mgrid", np.s_[0:1:5j]), ("ogrid", np.s_[0:3, -1:1:3j]), ("mgrid", np.s_[2:4]), ("r_", np.s_[1:4, 0, 5]), ("r_", np.s_[0:1:3j, 2.0]),
                                      ("c_", np.s_[1:4, 2:5]), ("r_", (np.arange(3), 7)), ("c_", (np.arange(3), np.arange(3))), ("c_", 5), ("s_", np.s_[1:2, ..., None]), ("index_exp", np.s_[1:2])])
def test_grids_from_slices(name, key):
    got, want = getattr(lg, name)[mapped(key, lg.tensor)], getattr(np, name)[key]
    if name in ("s_", "index_exp"):
        assert got == (want if name == "s_" else key)
    else:
        same(got, want, 1e-7, dtypes=False)
        assert all(g.dtype.kind == w.dtype.kind for g, w in zip(got, want, strict=True))


ERRORS = [
    (lambda x: lg.histogram(x, 0), ValueError, "1 or more"), (lambda x: lg.histogram(x, 3, (1, 0)), ValueError, "the smaller one first"), (lambda x: lg.histogram(x, 3, (0, np.inf)), ValueError, "finite"),
    (lambda x: lg.histogram(x, [1.0, 0.0]), ValueError, "do not rise"), (lambda x: lg.histogram(x, [1.0]), ValueError, "more edges"), (lambda x: lg.histogram(x, "best"), ValueError, "bins='best'"),
    (lambda x: lg.histogram(x, weights=x[0]), ValueError, "every element needs a weight"), (lambda x: lg.histogram(x, 2.5), TypeError, "pass an integer"), (lambda x: lg.histogram(x + 1j), TypeError, "no order"),
    (lambda x: lg.histogram(x, "auto", weights=x), TypeError, "no weights"), (lambda x: lg.histogramdd(x, [1, 2]), ValueError, "4 dimensions"), (lambda x: lg.histogram2d(x[0], x[0, :2]), ValueError, "equally long"),
    (lambda x: lg.bincount(x[0]), TypeError, "only integers"), (lambda x: lg.bincount([1, -1]), ValueError, "negative"), (lambda x: lg.bincount([[1]]), ValueError, "1-d"),
    (lambda x: lg.digitize(x, [0.0, 1.0, 0.5]), ValueError, "neither rise nor fall"), (lambda x: lg.partition(x, 4), ValueError, "use -4 to 3"), (lambda x: lg.kthvalue(x, 0), ValueError, "count from 1"),
    (lambda x: lg.lexsort([]), ValueError, "at least one"), (lambda x: lg.lexsort([x, x[0]]), ValueError, "shapes differ"), (lambda x: lg.choose(x, [x]), IndexError, "indices are integers"),
    (lambda x: lg.choose([2], [x, x]).value, ValueError, "2"), (lambda x: lg.choose([-1], [x, x]).value, ValueError, "2"), (lambda x: lg.choose([0], []), ValueError, "no choices"),
    (lambda x: lg.choose([0], [x], "best"), TypeError, "mode"), (lambda x: lg.place(x, x[0] > 0, 1.0), ValueError, "shapes differ"), (lambda x: lg.place(x, x > 0, []), ValueError, "no values"),
    (lambda x: lg.put(x, [12], 1.0).value, IndexError, "12"), (lambda x: lg.fill_diagonal(x[0], 1.0), ValueError, "no main diagonal"), (lambda x: lg.fill_diagonal(lg.zeros((2, 2, 3)), 1), ValueError, "one length"),
    (lambda x: lg.copyto(x, x[:, :2]), ValueError, "do not broadcast"), (lambda x: lg.copyto(x[0], 1, x > 0), ValueError, "does not broadcast to x"), (lambda x: lg.diag_indices_from(x), ValueError, "one length"),
    (lambda x: lg.tril_indices_from(x[0]), ValueError, "two axes"), (lambda x: lg.ix_(x), ValueError, "1-d"), (lambda x: lg.r_["r", x], TypeError, "directives"),
    (lambda x: lg.unravel_index([6], (2, 3)), ValueError, "use 0 to 5"), (lambda x: lg.ravel_multi_index([2, 0], (2, 3)), ValueError, "use 0 to 1"), (lambda x: lg.unravel_index([0], (2, 3), "K"), TypeError, "order"),
    (lambda x: lg.ravel_multi_index([1], (2, 3)), ValueError, "every axis needs one"), (lambda x: lg.putmask(x, x > 0, 1j), TypeError, "imaginary"),
]


@pytest.mark.parametrize("call,kind,text", ERRORS, ids=range(len(ERRORS)))
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call(lg.tensor(A))

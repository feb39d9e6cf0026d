"""NumPy's own functions called on tensors: they give what NumPy gives for arrays, lazily and differentiably, or a clear error."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import scipy.special
import test_numpy_calculus
import test_numpy_selection
import test_numpy_shapes
import test_numpy_statistics
from gpu import device
from oracle import answer, arrays, mapped, mapped_options, rows, same

import lazygrad as lg
from lazygrad import interop

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:`rcond`", "ignore:Polyfit")         # NumPy's

rng = np.random.default_rng(1)
A, B = rng.normal(size=(3, 4)), rng.normal(size=(2, 3, 4))
S = rng.normal(size=(3, 3)) + 3 * np.eye(3)
I, M = rng.integers(0, 9, (3, 4)), A > 0
DATES_AND_BITS = {"busday_count", "busday_offset", "datetime_as_string", "is_busday", "isnat", "packbits", "unpackbits"}


def functions():
    for space, module in (("", np), ("linalg.", np.linalg), ("fft.", np.fft)):
        for name in dir(module):
            f = getattr(module, name)
            if not name.startswith("_") and (isinstance(f, np.ufunc) or hasattr(f, "_implementation")):
                yield space + name, f


def dispatched(case):
    f = getattr(np, case.name, None)
    return case.want is None and arrays(case.args) and (isinstance(f, np.ufunc) or hasattr(f, "_implementation"))


@rows([c for m in (test_numpy_shapes, test_numpy_statistics, test_numpy_selection, test_numpy_calculus) for c in m.CASES if dispatched(c)])
def test_numpys_function_gives_ours(case):
    got = getattr(np, case.name)(*mapped(case.args, lg.tensor), **mapped_options(case, lg.tensor))
    same(got, answer(case, np, case.args, case.options), case.tol)


def test_every_function_of_numpy_has_one_here_or_says_so():
    without = {name for name, f in functions() if name not in interop.COMPUTED | interop.IN_PLACE and interop.lookup(f.__name__, getattr(f, "__module__", "") or "") is None}
    assert without == DATES_AND_BITS


HANDLED = {"out", "where", "initial", "dtype", "order", "shape", "keepdims"} | interop.MEANINGLESS
REFUSED = {("var", "mean"), ("std", "mean"), ("nanvar", "mean"), ("nanstd", "mean")}


def test_every_argument_of_numpys_functions_has_one_here():
    """Under its own name, at its place, without meaning, or carried out around the call; and where both have a default, it is the same."""
    for name, f in functions():
        if isinstance(f, np.ufunc) or name in interop.COMPUTED | interop.IN_PLACE | DATES_AND_BITS:
            continue
        found = interop.lookup(f.__name__, f.__module__)
        names, theirs, ours = interop.renamed(f, found), interop.parameters(f)[1], interop.parameters(found)[1]
        for p, parameter in theirs.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or p in HANDLED or (f.__name__, p) in REFUSED or p == "einsum_call":
                continue
            assert p in names, f"{name}: {p}"
            here = ours[names[p]]
            if parameter.default not in (inspect.Parameter.empty, None, np._NoValue) and here.default is not None and here.kind is not here.VAR_POSITIONAL:
                assert here.default == parameter.default or (name, p) in {("fft.fftshift", "axes")}, f"{name}: {p}={parameter.default}, here {here.default}"


CALLS = {
    "sum where": lambda x, m, i: np.sum(x, axis=1, where=m), "sum initial": lambda x, m, i: np.sum(x, 0, initial=5.0, keepdims=True), "prod where": lambda x, m, i: np.prod(x, where=m),
    "max where": lambda x, m, i: np.max(x, axis=0, where=m, initial=-1.0), "min initial": lambda x, m, i: np.min(x, initial=-9.0), "mean where": lambda x, m, i: np.mean(x, axis=1, where=m),
    "var where": lambda x, m, i: np.var(x, axis=1, where=m, ddof=1), "std where": lambda x, m, i: np.std(x, where=m, keepdims=True), "nansum where": lambda x, m, i: np.nansum(x, where=m, axis=0),
    "nanmean where": lambda x, m, i: np.nanmean(x, where=m), "nanmax where": lambda x, m, i: np.nanmax(x, where=m, initial=0.0), "any where": lambda x, m, i: np.any(x > 1, axis=0, where=m), "all where": lambda x, m, i: np.all(x > 1, where=m),
    "empty max": lambda x, m, i: np.max(x[:0], axis=0, initial=3.0), "std dtype": lambda x, m, i: np.std(x, dtype="float64"), "sum dtype": lambda x, m, i: np.sum(i, dtype="float64"), "mean keepdims": lambda x, m, i: np.mean(x, 1, keepdims=True),
    "concatenate dtype": lambda x, m, i: np.concatenate([x, i], dtype="float64"), "stack dtype": lambda x, m, i: np.stack([i, i], dtype="float64"), "clip": lambda x, m, i: np.clip(x, a_min=-0.5, a_max=0.5),
    "clip names": lambda x, m, i: np.clip(x, min=0.0), "split": lambda x, m, i: np.split(x, indices_or_sections=3), "tile": lambda x, m, i: np.tile(A=x, reps=2), "take clip": lambda x, m, i: np.take(x, i, mode="clip"),
    "take wrap": lambda x, m, i: np.take(x, i, axis=1, mode="wrap"), "reshape F": lambda x, m, i: np.reshape(x, (2, 6), order="F"), "ravel F": lambda x, m, i: np.ravel(x, order="F"), "reshape K": lambda x, m, i: np.reshape(x, (2, 6), "C"),
    "sort kind": lambda x, m, i: np.sort(x, kind="stable"), "argsort": lambda x, m, i: np.argsort(x, axis=0, kind="stable"), "zeros_like": lambda x, m, i: np.zeros_like(x, shape=(2, 2)), "full_like": lambda x, m, i: np.full_like(x, 7, shape=3),
    "ones_like": lambda x, m, i: np.ones_like(x, dtype="int64"), "empty_like": lambda x, m, i: np.empty_like(x).shape, "trace": lambda x, m, i: np.trace(i, dtype="float64"), "meshgrid": lambda x, m, i: np.meshgrid(x[0], x[1], sparse=True),
    "meshgrid ij": lambda x, m, i: np.meshgrid(x[0], i[1], indexing="ij", copy=False), "nan_to_num": lambda x, m, i: np.nan_to_num(x / 0.0 + 1j, copy=False, posinf=9.0), "round": lambda x, m, i: np.round(x, decimals=1), "isin": lambda x, m, i: np.isin(i, [1, 3], assume_unique=True),
    "einsum": lambda x, m, i: np.einsum("ij,kj->ik", x, x, optimize=True), "einsum lists": lambda x, m, i: np.einsum(x, [0, 1], x, [2, 1], [0, 2]), "einsum lists implicit": lambda x, m, i: np.einsum(x, [0, 1], x, [2, 1]), "transpose": lambda x, m, i: np.transpose(x),
    "select": lambda x, m, i: np.select([m, x < -1], [x, i], default=9), "where": lambda x, m, i: np.where(m, x, 0), "pad": lambda x, m, i: np.pad(x, 1, mode="constant", constant_values=2), "gradient": lambda x, m, i: np.gradient(x, 2.0, axis=0),
    "append": lambda x, m, i: np.append(arr=x, values=i), "searchsorted": lambda x, m, i: np.searchsorted(np.sort(x[0]), v=x[1], side="right"), "broadcast_arrays": lambda x, m, i: np.broadcast_arrays(x, x[0]), "atleast": lambda x, m, i: np.atleast_2d(x[0], x),
    "unique": lambda x, m, i: np.unique(i, return_counts=True), "count_nonzero": lambda x, m, i: np.count_nonzero(m, axis=0), "diff": lambda x, m, i: np.diff(x, prepend=0.0), "ptp": lambda x, m, i: np.ptp(x, axis=1), "copy": lambda x, m, i: np.copy(x),
    "apply_along_axis": lambda x, m, i: np.apply_along_axis(lambda v: v * 2 + 1, 0, x), "apply_over_axes": lambda x, m, i: np.apply_over_axes(np.sum, x, [0, 1]), "piecewise": lambda x, m, i: np.piecewise(x, [m], [lambda v: v * 2, 7.0]),
    "moveaxis": lambda x, m, i: np.moveaxis(x, 0, -1), "expand_dims": lambda x, m, i: np.expand_dims(x, axis=(0, 2)), "norm": lambda x, m, i: np.linalg.norm(x, axis=1), "norm fro": lambda x, m, i: np.linalg.norm(x, "fro"), "fft": lambda x, m, i: np.fft.fft(x, n=6, axis=0),
    "rfft": lambda x, m, i: np.fft.rfft(x, norm="ortho"), "shape": lambda x, m, i: (np.shape(x), np.ndim(x), np.size(x, 0)), "result_type": lambda x, m, i: np.result_type(x, np.float32), "iscomplexobj": lambda x, m, i: np.iscomplexobj(x),
    "real": lambda x, m, i: np.real(x), "trapezoid": lambda x, m, i: np.trapezoid(x, dx=0.5), "corrcoef": lambda x, m, i: np.corrcoef(x), "cov": lambda x, m, i: np.cov(x, rowvar=False, bias=True), "window": lambda x, m, i: np.lib.stride_tricks.sliding_window_view(x, 2, 1),
    "add dtype": lambda x, m, i: np.add(i, i, dtype="float64"), "matmul": lambda x, m, i: np.matmul(x, x.T), "vecdot axis": lambda x, m, i: np.vecdot(x, x, axis=0), "matvec": lambda x, m, i: np.matvec(x, x[0]), "divmod": lambda x, m, i: np.divmod(x, 0.3), "modf": lambda x, m, i: np.modf(x),
    "frexp": lambda x, m, i: np.frexp(x), "positive": lambda x, m, i: np.positive(x), "add.reduce": lambda x, m, i: np.add.reduce(x), "add.reduce all": lambda x, m, i: np.add.reduce(x, axis=None), "add.reduce axis": lambda x, m, i: np.add.reduce(x, axis=1, keepdims=True),
    "multiply.reduce": lambda x, m, i: np.multiply.reduce(x, axis=(0, 1), initial=2.0), "maximum.reduce": lambda x, m, i: np.maximum.reduce(x, axis=1, where=m, initial=0.0), "logaddexp.reduce": lambda x, m, i: np.logaddexp.reduce(x, axis=1), "logical_or.reduce": lambda x, m, i: np.logical_or.reduce(m, axis=1),
    "add.reduce dtype": lambda x, m, i: np.add.reduce(i, axis=1, dtype="float64"), "add.accumulate": lambda x, m, i: np.add.accumulate(x), "multiply.accumulate": lambda x, m, i: np.multiply.accumulate(x, axis=1), "maximum.accumulate": lambda x, m, i: np.maximum.accumulate(x, 1), "minimum.accumulate": lambda x, m, i: np.minimum.accumulate(x),
    "logaddexp.accumulate": lambda x, m, i: np.logaddexp.accumulate(x, axis=1), "subtract.outer": lambda x, m, i: np.subtract.outer(x, i[0]), "multiply.outer": lambda x, m, i: np.multiply.outer(x[0], x), "maximum.outer": lambda x, m, i: np.maximum.outer([1.0, 2.0], x),
}


@pytest.mark.parametrize("name", CALLS)
def test_arguments_mean_what_they_mean_in_numpy(name):
    got, want = CALLS[name](*map(lg.tensor, (A, M, I))), CALLS[name](A, M, I)
    if isinstance(want, (np.ndarray, np.generic)) or (isinstance(want, (list, tuple)) and isinstance(want[0], np.ndarray)):
        parts = got if isinstance(want, (list, tuple)) else [got]
        assert all(isinstance(g, lg.Tensor) for g in parts)
        same(got, want, 1e-12)
    else:
        assert got == want


LINALG = ["solve(s, b)", "inv(s)", "det(s)", "slogdet(s)", "cholesky(s @ s.T)", "qr(s)", "eigh(s + s.T)", "eigvals(s)", "svd(s, compute_uv=False)", "pinv(s)", "matrix_power(s, 3)", "lstsq(s, b, rcond=None)", "multi_dot([s, s, b])",
          "matrix_rank(s)", "cond(s)", "tensorinv(s.reshape(3, 3, 1), 1)", "cross(s, s[0])", "outer(b, b)", "norm(s, 'nuc')", "vector_norm(s, axis=0)", "matrix_norm(s, keepdims=True)", "trace(s)", "diagonal(s, offset=1)", "eigvalsh(s + s.T)", "tensorsolve(s, b)"]


@pytest.mark.parametrize("call", LINALG)
def test_linear_algebra_by_numpys_names(call):
    run = lambda s, b: eval(f"L.{call}", {"L": np.linalg, "s": s, "b": b})
    got, want = run(lg.tensor(S), lg.tensor(S[0])), run(S, S[0])
    if isinstance(want, tuple):
        got, want = got[0], want[0]
    assert isinstance(got, lg.Tensor)
    same(got, want, 1e-9, dtypes=False)


def test_derivatives_flow_through_numpys_functions():
    f = lambda x, y: np.sum(np.concatenate([np.sin(x), np.maximum(y, x)]) * 2) + np.linalg.det(np.matmul(x, x.T)) + abs(np.fft.rfft(np.mean(y, 0)))[1] + scipy.special.gammaln(x * x).sum()
    lg.testing.check_grads(f, (A, B[0]))
    x = lg.tensor(A)
    assert np.array_equal(scipy.special.expit(x).value, scipy.special.expit(A)) and isinstance(scipy.special.gammaincc(2.0, x * x), lg.Tensor)


def test_functions_that_write_move_the_handle_on():
    x = lg.tensor(np.zeros((3, 3)))
    old, y = x * 1, lg.tensor(np.float64(5.0))
    np.fill_diagonal(x, y)
    np.put(x, [1], y * 2)
    np.copyto(x, 7.0, where=np.eye(3)[::-1] > 0)
    np.place(x, x == 0, [3.0])
    np.putmask(x, x == 3, x * 2)
    np.put_along_axis(x, np.array([[0], [0], [0]]), -1.0, 1)
    want = np.zeros((3, 3))
    np.fill_diagonal(want, 5.0)
    np.put(want, [1], 10.0)
    np.copyto(want, 7.0, where=np.eye(3)[::-1] > 0)
    np.place(want, want == 0, [3.0])
    np.putmask(want, want == 3, want * 2)
    np.put_along_axis(want, np.array([[0], [0], [0]]), -1.0, 1)
    assert np.array_equal(x.value, want) and not old.value.any()
    x.backward()
    assert y.grad.item() == 2 + 1                          # the first and the middle of the diagonal were overwritten
    array = np.zeros(2)
    np.copyto(array, lg.tensor(np.array([1.0, 2.0])))
    assert array.tolist() == [1.0, 2.0]


def test_out_and_at():
    x, y = lg.tensor(A), lg.tensor(A * 2)
    z = lg.tensor(np.zeros((3, 4)))
    assert np.add(x, y, out=z) is z and np.array_equal(z.value, A * 3)
    np.multiply(z, z, out=z)
    assert np.array_equal(z.value, A * 3 * (A * 3))
    np.negative(x, out=z, where=M)
    assert np.array_equal(z.value, np.where(M, -A, A * 3 * (A * 3)))
    np.sum(x, axis=0, out=(w := lg.tensor(np.zeros(4, np.float32))))
    assert w.dtype == np.float32 and np.allclose(w.value, A.sum(0), rtol=1e-6)
    array = np.zeros((3, 4))
    np.sqrt(x * x, out=array)
    assert np.allclose(array, abs(A))
    z.backward()
    assert np.allclose(x.grad.value, np.where(M, -1, 6 * A))
    want, counts = A.copy(), lg.tensor(A)
    for f, *values in ((np.add, 2.0), (np.subtract, 0.5), (np.multiply, 3.0), (np.maximum, 0.1), (np.minimum, 4.0), (np.negative,)):
        f.at(counts, ([0, 0], [1, 1]), *values) if values else f.at(counts, (0, 2))
        f.at(want, ([0, 0], [1, 1]), *values) if values else f.at(want, (0, 2))
    assert np.allclose(counts.value, want)


def test_text_and_files_compute(tmp_path):
    x = lg.tensor(np.array([1.0, 2.5]))
    assert np.array2string(x * 2) == "[2. 5.]" and np.array_repr(x) == "array([1. , 2.5])" and np.array_str(x) == "[1.  2.5]"
    np.savez(tmp_path / "a.npz", x=x * 3)
    assert np.load(tmp_path / "a.npz")["x"].tolist() == [3.0, 7.5] and not np.shares_memory(x, x)


def test_on_the_gpu():
    x = lg.Graph(device=device()).tensor(A.astype(np.float32))
    for f in (np.sin, lambda x: np.concatenate([x, x * 2], axis=1), lambda x: np.std(x, axis=0, where=M), np.cumsum, lambda x: np.quantile(x, 0.3, axis=1), lambda x: np.add.outer(x[0], x[1]), np.ravel):
        assert f(x).device is x.device
        np.testing.assert_allclose(f(x).value, f(A.astype(np.float32)), rtol=1e-5, atol=1e-6)


class Other:
    """An array of another library, which knows how to be summed with a tensor."""

    def __array_function__(self, func, types, args, kwargs):
        return "theirs"

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return NotImplemented


ERRORS = [
    (lambda x: np.packbits(x), TypeError, r"numpy.packbits: a tensor: there is no such function here; pass np.asarray\(x\)"), (lambda x: np.std(x, mean=x), TypeError, "numpy.std: mean=Tensor: the function here has no such argument"),
    (lambda x: np.reshape(x, (4, 3), order="B"), TypeError, "order='B'"), (lambda x: np.max(x, where=x > 0), ValueError, "pass initial"), (lambda x: np.sum(x, where=np.zeros(3, bool)), ValueError, "does not broadcast"),
    (lambda x: np.add(x, 1, where=x > 0), ValueError, "where without out"), (lambda x: np.add(x, 1, out=lg.tensor(np.zeros(3))), ValueError, "the shapes differ"),
    (lambda x: np.add(x, 1, out=lg.tensor(np.zeros((3, 4), int))), TypeError, "information would be lost"), (lambda x: np.add.reduceat(x, [0, 1]), TypeError, "add.reduceat: a tensor"), (lambda x: np.hypot.reduce(x), TypeError, "no such reduction"),
    (lambda x: np.hypot.accumulate(x), TypeError, "no such running reduction"), (lambda x: np.divide.at(x, [0], 2.0), TypeError, "cannot be combined"), (lambda x: np.isnat(x), TypeError, "isnat: a tensor"), (lambda x: np.matmul(x, x.T, axes=[(0, 1)] * 3), TypeError, "axes="),
    (lambda x: np.sum(x, wrong=1), TypeError, "wrong"), (lambda x: np.linalg.inv(x), np.linalg.LinAlgError, "inv"),
]


@pytest.mark.parametrize("call,kind,text", ERRORS, ids=range(len(ERRORS)))
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call(lg.tensor(A))


def test_other_libraries_arrays_may_know_better():
    assert np.concatenate([lg.tensor(A), Other()]) == "theirs"

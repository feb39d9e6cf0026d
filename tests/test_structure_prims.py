"""Movement, indexing, sorting, matmul and linear algebra: values, types, index rules, derivatives, errors.

Expected values come from NumPy, SciPy and mpmath; derivatives are compared with central differences in both modes, and
again for the derivatives themselves. Index rules run in the scalar interpreter.
"""

from __future__ import annotations

import itertools
from zlib import crc32

import mpmath
import numpy as np
import pytest
import samples
import scipy.linalg
from samples_structure import SAMPLES
from scalar_interpreter import run_kernel

from lazygrad import ad, dtypes, reference
from lazygrad.errors import AxisError, DTypeError, IndexingError, ShapeError
from lazygrad.ir import scalar as S
from lazygrad.ir.aval import aval
from lazygrad.ir.kernel import Check, Combine, Kernel, Loop, Param, Store
from lazygrad.ir.term import Term
from lazygrad.prims import REGISTRY, contraction, indexing, linalg, movement
from lazygrad.prims import elementwise as E
from lazygrad.prims.base import Host, Index, Scatter
from lazygrad.prims.leaf import leaf

F64, C128, I64 = dtypes.float64, dtypes.complex128, dtypes.int64
MOVEMENT = ("broadcast_to", "reshape", "permute", "slice", "embed", "concatenate")
ROWS = {**{n: samples.ROWS[n] for n in MOVEMENT}, **SAMPLES}
CASES = [pytest.param(n, k, id=f"{n}-{k}") for n in ROWS for k in range(len(ROWS[n]))]
SMOOTH = [p for p in CASES if REGISTRY[p.values[0]].differentiable]

SLOTS = itertools.count(100)  # of leaves that must differ from all others


def leaves(arrays) -> list[Term]:
    return [leaf(k, 0, aval(a.shape, a.dtype), True) for k, a in enumerate(arrays)]


def run(prim, *arrays, **params) -> np.ndarray:
    xs = leaves(arrays)
    return reference.evaluate([prim(*xs, **params)], dict(zip(xs, arrays, strict=True)))[0]


def sample(name: str, k: int, dtype=F64):
    row = ROWS[name][k]
    return REGISTRY[name], samples.arrays(row, dtype, crc32(name.encode()) % 1000), row.params


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "k"), CASES)
def test_the_type_rule_tells_the_shape_and_dtype_of_the_meaning(name, k):
    for dtype in (dtypes.float32, F64, dtypes.complex64, dtypes.int32, dtypes.uint8, dtypes.bool_):
        prim = REGISTRY[name]
        if samples.accepts(name, ROWS[name][k], dtype):
            _, arrays, params = sample(name, k, dtype)
            out = prim.infer(*[aval(a.shape, a.dtype) for a in arrays], **params)
            value = np.asarray(prim.numpy(*arrays, **params))
            assert (value.shape, value.dtype) == (out.shape, out.dtype)


def advanced(x: np.ndarray, indices, axes, position) -> np.ndarray:
    """x indexed by NumPy itself, the index arrays then moved to `position`."""
    key = [slice(None)] * x.ndim
    for i, a in zip(indices, axes, strict=True):
        key[a] = i
    out = np.asarray(x[tuple(key)])
    b = indices[0].ndim
    # NumPy puts the block at the first indexed axis where the axes are adjacent, else in front
    adjacent = axes[-1] - axes[0] + 1 == len(axes)
    here = axes[0] if adjacent else 0
    return np.moveaxis(out, range(here, here + b), range(position, position + b))


@pytest.mark.parametrize("k", range(len(ROWS["gather"])))
def test_gather_is_numpys_advanced_indexing(k):
    prim, (x, *indices), params = sample("gather", k)
    expected = advanced(x, indices, **params)
    assert np.array_equal(run(prim, x, *indices, **params), expected)
    wrapped = [np.where(i < 0, i + x.shape[a], i - x.shape[a]) for i, a in zip(indices, params["axes"], strict=True)]
    assert np.array_equal(run(prim, x, *wrapped, **params), expected)


PYTHON = {
    "set": lambda old, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "max": max,
    "min": min,
}


@pytest.mark.parametrize("mode", sorted(PYTHON))
@pytest.mark.parametrize("k", range(len(ROWS["gather"])))
def test_scatter_writes_one_update_after_another(mode, k):
    prim, (x, *indices, updates), params = sample(f"scatter_{mode}", k)
    expected = x.copy()
    numbers = advanced(np.arange(x.size).reshape(x.shape), indices, **params)  # which element each update goes to
    for target, update in zip(numbers.ravel(), updates.ravel(), strict=True):
        expected.flat[target] = PYTHON[mode](expected.flat[target], update)
    kept = x.copy()
    np.testing.assert_allclose(run(prim, x, *indices, updates, **params), expected, rtol=1e-13)
    assert np.array_equal(x, kept)
    xs = leaves((x, *indices, updates))
    assert indexing.scatter(*xs, mode=mode, **params) is prim(*xs, **params)


def test_the_last_of_several_writes_wins_in_row_major_order_of_transposed_indices():
    i = np.array([[0, 1], [1, 0], [0, 0]]).T
    u = np.arange(6.0).reshape(3, 2).T
    assert run(indexing.scatter_set, np.zeros(2), i, u, axes=(0,), position=0).tolist() == [5.0, 1.0]


def test_slice_and_embed_are_numpys_slices():
    x = np.arange(24.0).reshape(4, 6)
    assert np.array_equal(run(movement.slice_, x, start=(3, 1), step=(-1, 2), shape=(4, 3)), x[::-1, 1::2])
    expected = np.zeros((4, 6))
    expected[::-2, 5:0:-3] = x[:2, :2]
    assert np.array_equal(run(movement.embed, x[:2, :2], shape=(4, 6), start=(3, 5), step=(-2, -3)), expected)


def test_many_pieces_are_joined_by_copying():
    arrays = [np.full((k % 3, 2), k, float) for k in range(40)]
    xs = leaves(arrays)
    root = movement.concatenate(*xs, axis=0)
    assert root.op is movement.concatenate_many and movement.concatenate(*xs[:5], axis=0).op is movement.concatenate_few
    assert np.array_equal(reference.evaluate([root], dict(zip(xs, arrays, strict=True)))[0], np.concatenate(arrays))
    rows = np.arange(80.0).reshape(-1, 2)[: root.aval.shape[0]]
    pieces = np.split(rows, np.cumsum([len(a) for a in arrays])[:-1])
    for g, piece in zip(gradients(root, rows, xs, arrays), pieces, strict=True):
        assert np.array_equal(g, piece)


@pytest.mark.parametrize("dtype", [F64, C128], ids=str)
@pytest.mark.parametrize("descending", [False, True])
def test_sorting_is_stable_and_puts_nan_last(descending, dtype):
    x = np.array([3, np.nan, 1, 2, 1, -np.inf, np.nan, np.inf, 3], dtype)
    order = run(indexing.argsort, x, axis=0, descending=descending, stable=True)
    numbers = [k for k in range(len(x)) if not np.isnan(x[k])]
    expected = sorted(numbers, key=lambda k: -x[k].real if descending else x[k].real)
    assert order.tolist() == [*expected, 1, 6]
    assert np.array_equal(run(indexing.sort, x, axis=0, descending=descending), x[order], equal_nan=True)


def test_take_along_is_numpys():
    x = np.random.default_rng(0).normal(size=(3, 4, 2))
    order = np.array([[[0, 3]], [[1, 1]], [[2, 0]]])
    tx, ti = leaves((x, order))
    assert np.array_equal(
        reference.evaluate([indexing.take_along(tx, ti, 1)], {tx: x, ti: order})[0], np.take_along_axis(x, order, 1)
    )


# ---- index rules ----------------------------------------------------------------------------------------------------


class Reader:
    """The `at` of a rule over whole buffers."""

    def __init__(self, args):
        self.args, self.checks = args, []

    def __call__(self, k, idx, mask=None):
        a = self.args[k].aval
        return S.load(k, S.flat(tuple(idx), a.shape), a.dtype, mask)

    def check(self, ok, fault):
        assert isinstance(fault, str) and ok.dtype == dtypes.bool_
        self.checks.append(Check(ok, len(self.checks)))


def nest(shape, body):
    for k in reversed(range(len(shape))):
        body = (Loop(f"i{k}", shape[k], "serial", tuple(body)),)
    return tuple(body)


def lowered(prim, arrays, params) -> tuple[np.ndarray, int]:
    """The value by the index rule alone, and the fault."""
    S.reset()
    out = prim(*leaves(arrays), **params)
    at = Reader(out.args)
    number = len(arrays)
    shape = out.args[-1].aval.shape if isinstance(prim.lowering, Scatter) else out.aval.shape
    idx = tuple(S.var(f"i{k}", n) for k, n in enumerate(shape))
    result = np.zeros(out.aval.size, out.aval.dtype)
    if isinstance(prim.lowering, Scatter):
        result[:] = arrays[0].ravel()
        target = S.flat(prim.lowering.target(at, idx, out, **params), out.aval.shape)
        update = at(number - 1, idx)
        write = (
            Store(number, target, update)
            if prim.lowering.monoid is None
            else Combine(number, target, prim.lowering.monoid, update)
        )
    else:
        write = Store(number, S.flat(idx, shape), prim.lowering.rule(at, idx, out, **params))
    kernel = Kernel(
        (*[Param(a.dtype, False) for a in arrays], Param(result.dtype, True)), nest(shape, (*at.checks, write))
    )
    fault = run_kernel(kernel, [*[np.ascontiguousarray(a).ravel() for a in arrays], result])
    return result.reshape(out.aval.shape), fault


INDEX = [p for p in CASES if isinstance(REGISTRY[p.values[0]].lowering, (Index, Scatter))]


@pytest.mark.parametrize(("name", "k"), INDEX)
def test_the_lowering_means_what_the_numpy_function_means(name, k):
    for dtype in (F64, dtypes.int32, dtypes.bool_):
        if not samples.accepts(name, ROWS[name][k], dtype):
            continue
        prim, arrays, params = sample(name, k, dtype)
        value, fault = lowered(prim, arrays, params)
        assert fault == 0
        expected = run(prim, *arrays, **params)
        assert value.dtype == expected.dtype
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_slice_and_its_embedding_lower_right(n):
    size = 5
    for start, step in itertools.product(range(size), range(-4, 5)):
        last = start + (n - 1) * step
        if not 0 <= last < size or (step == 0 and n > 1):
            continue
        x = np.arange(1.0, size + 1)
        p = {"start": (start,), "step": (step,), "shape": (n,)}
        value, _ = lowered(movement.slice_, (x,), p)
        np.testing.assert_array_equal(value, x[[start + k * step for k in range(n)]])
        q = {"start": (start,), "step": (step,), "shape": (size,)}
        back, _ = lowered(movement.embed, (value,), q)
        np.testing.assert_array_equal(back, np.where(np.isin(x, value), x, 0))


@pytest.mark.parametrize(
    ("shape", "to"),
    [((6, 4), (2, 3, 4)), ((2, 3, 4), (6, 4)), ((4, 6), (3, 8)), ((1, 5, 1), (5,)), ((2, 1, 3), (1, 3, 2))],
)
def test_a_reshape_lowers_right_and_merging_axes_divides_nothing(shape, to):
    x = np.arange(float(np.prod(shape))).reshape(shape)
    assert np.array_equal(lowered(movement.reshape, (x,), {"shape": to})[0], x.reshape(to))


@pytest.mark.parametrize("name", ["gather", *[f"scatter_{m}" for m in sorted(indexing.SCATTERS)]])
@pytest.mark.parametrize("bad", [3, -4, 2**62, -(2**63)])
def test_an_index_outside_is_an_error_in_the_oracle_and_a_fault_in_a_kernel(name, bad):
    prim = REGISTRY[name]
    arrays = (np.arange(3.0), np.array([0, bad]), np.ones(2))[: 2 if name == "gather" else 3]
    params = {"axes": (0,), "position": 0}
    with pytest.raises(IndexingError, match="axis 0 has 3 elements"):
        run(prim, *arrays, **params)
    assert lowered(prim, arrays, params)[1] == 1  # and nothing outside the buffer was touched


# ---- derivatives ----------------------------------------------------------------------------------------------------


def inexact(arrays):
    return [k for k, a in enumerate(arrays) if a.dtype.kind in "fc"]


def drawn(rng, a):
    x = rng.normal(size=a.shape)
    return (x + 1j * rng.normal(size=a.shape) if a.dtype.kind == "c" else x).astype(a.dtype)


def pairing(x, y) -> float:
    """Re(sum(conj(x) y)): gradients point uphill."""
    return float(np.sum(np.conj(x) * y).real)


def check_derivative(root: Term, xs, arrays, rng, rtol=1e-6) -> tuple[Term, Term]:
    """J v by jvp, by central differences, and <u, J v> = <J^H u, v> by vjp; returns the gradient terms for more."""
    env = dict(zip(xs, arrays, strict=True))
    which = inexact(arrays)
    v = {k: drawn(rng, arrays[k]) for k in which}
    h = 1e-6
    plus, minus = ([a + s * h * v[k] if k in v else a for k, a in enumerate(arrays)] for s in (1, -1))
    f = [reference.evaluate([root], dict(zip(xs, moved, strict=True)))[0] for moved in (plus, minus)]
    difference = (f[0] - f[1]) / (2 * h)
    tangents = {k: leaf(next(SLOTS), 0, xs[k].aval, True) for k in which}
    u_term = leaf(next(SLOTS), 0, root.aval, True)
    env.update({tangents[k]: v[k] for k in which})
    env[u_term] = u = drawn(rng, difference)
    (jv,) = ad.jvp([root], {xs[k]: tangents[k] for k in which})
    grads = ad.vjp([root], [u_term], [xs[k] for k in which])
    jv_value, *values = reference.evaluate([jv, *[g for g in grads if g is not None]], env)
    scale = 1 + np.abs(difference).max(initial=0)
    np.testing.assert_allclose(jv_value, difference, rtol=rtol, atol=rtol * scale)
    pushed, pulled = (
        pairing(u, jv_value),
        sum(
            pairing(g, v[k])
            for k, g in zip([k for k, g in zip(which, grads, strict=True) if g is not None], values, strict=True)
        ),
    )
    assert pulled == pytest.approx(pushed, rel=1e-9, abs=1e-9 * scale * max(1, u.size))
    for k, g in zip(which, grads, strict=True):
        assert g is None or g.aval is xs[k].aval
    return u_term, [g for g in grads if g is not None]


@pytest.mark.parametrize("dtype", [F64, C128], ids=str)
@pytest.mark.parametrize(("name", "k"), SMOOTH)
def test_both_modes_agree_with_differences_to_second_order(name, k, dtype):
    if not samples.accepts(name, ROWS[name][k], dtype) or (name == "sort" and dtype == C128):
        return
    prim, arrays, params = sample(name, k, dtype)
    rng = np.random.default_rng(k)
    xs = leaves(arrays)
    u_term, grads = check_derivative(prim(*xs, **params), xs, arrays, rng)
    if dtype == F64:
        u = drawn(rng, np.empty(u_term.aval.shape))
        for g in grads:  # each gradient as a function of the arguments and the cotangent
            if not all(h is None for h in ad.vjp([g], [g], [*xs, u_term])):
                check_derivative(g, [*xs, u_term], [*arrays, u], rng, rtol=1e-5)


def gradients(root, ct, terms, arrays):
    c = leaf(300, 0, root.aval, True)
    env = {c: np.asarray(ct), **dict(zip(terms, arrays, strict=True))}
    return reference.evaluate(ad.vjp([root], [c], [t for t in terms if t.aval.dtype.kind in "fc"]), env)


def test_an_overwritten_update_gets_no_gradient():
    arrays = (np.zeros(3), np.array([1, 1, 0, -2]), np.array([1.0, 2, 3, 4]))
    x, i, u = leaves(arrays)
    root = indexing.scatter_set(x, i, u, axes=(0,), position=0)
    gx, gu = gradients(root, [5.0, 6, 7], (x, i, u), arrays)
    assert gx.tolist() == [0, 0, 7]
    assert gu.tolist() == [0, 0, 5, 6]


def test_candidates_that_tie_for_an_extreme_share_the_gradient():
    arrays = (np.array([1.0, 2.0, 9.0]), np.array([0, 1, 1, 2]), np.array([0.0, 2.0, 2.0, np.nan]))
    terms = leaves(arrays)
    gx, gu = gradients(indexing.scatter_max(*terms, axes=(0,), position=0), [1.0, 3.0, 4.0], terms, arrays)
    assert gx.tolist() == [1, 1, 0]
    assert gu.tolist() == [0, 1, 1, 4]


def test_the_gradient_of_a_product_is_exact_at_zeros_to_second_order():
    arrays = (np.array([2.0, 3.0]), np.array([0, 0, 0]), np.array([0.0, 0.0, 5.0]))
    x, i, u = terms = leaves(arrays)
    root = indexing.scatter_mul(*terms, axes=(0,), position=0)
    gx, gu = gradients(root, [1.0, 1.0], terms, arrays)
    assert gx.tolist() == [0, 1] and gu.tolist() == [0, 0, 0]
    seed = leaf(400, 0, root.aval, True)
    (g,) = ad.vjp([root], [seed], [u])
    first = movement.cut(g, 0, 0, 1)
    one = leaf(401, 0, first.aval, True)
    (second,) = ad.vjp([first], [one], [u])
    env = {x: arrays[0], i: arrays[1], u: arrays[2], seed: np.ones(2), one: np.ones(1)}
    assert reference.evaluate([second], env)[0].tolist() == [0, 10, 0]  # d² (2 a b c) / da d(a, b, c) = 0, 2c, 2b


def test_a_mask_travels_through_movement():
    x = leaf(0, 0, aval((3,), F64), True)
    c = leaf(1, 0, aval((3,), F64), False)
    inside = E.where(E.gt(c, E.mul(c, c)), movement.reshape(E.sqrt(x), shape=(3,)), c)
    (g,) = ad.vjp([inside], [E.add(c, c)], [x])
    value = reference.evaluate([g], {x: np.array([0.0, 4.0, 0.0]), c: np.array([2.0, 0.5, 3.0])})[0]
    assert value.tolist() == [0, 0.25, 0]  # not 0 * inf


# ---- the matrix exponential -----------------------------------------------------------------------------------------


def exact_expm(a: np.ndarray) -> np.ndarray:
    with mpmath.workdps(60):
        e = mpmath.expm(mpmath.matrix(a.tolist()))
        return np.array([[complex(e[i, j]) for j in range(len(a))] for i in range(len(a))])


def jordan(n: int, eigenvalue: complex) -> np.ndarray:
    return np.eye(n) * eigenvalue + np.eye(n, k=1)


MATRICES = {
    "zero": np.zeros((3, 3)),
    "identity": np.eye(2),
    "tiny": np.full((2, 2), 1e-300),
    "Jordan": jordan(5, 1.5),
    "Jordan complex": jordan(4, 2j - 1),
    "nilpotent": np.triu(np.arange(16.0).reshape(4, 4), 1),
    "nilpotent and large": np.array([[0, 1e9], [0, 0]]),
    "overscaling": np.array([[1, 1e6], [0, -1]]),
    "rotation": np.array([[0, 20.0], [-20, 0]]),
    "large": np.array([[-49, 24.0], [-64, 31]]),
    "decaying": -np.array([[300.0, 1], [2, 500]]),
    "random": np.random.default_rng(1).normal(size=(7, 7)),
    "random complex": np.random.default_rng(2).normal(size=(6, 6, 2)) @ np.array([2, 2j]),
    "one": np.array([[3.0]]),
    **{f"norm {s}": np.random.default_rng(3).normal(size=(4, 4)) * s for s in (1e-3, 0.03, 0.1, 0.3, 1, 4, 12)},
}


@pytest.mark.parametrize("name", sorted(MATRICES))
def test_expm_is_exact_to_rounding(name):
    a = MATRICES[name]
    value, exact = linalg.expm_numpy(a), exact_expm(a)
    scale = np.abs(exact).max()
    # the condition of the problem grows with the norm
    assert (
        np.abs(value - exact).max() <= 2e-15 * (1 + np.abs(a).max() if np.abs(a).max() < 1e3 else 10) * len(a) * scale
    )
    theirs = scipy.linalg.expm(a)
    assert np.abs(value - theirs).max() <= 1e-12 * (1 + min(np.abs(a).max(), 1e3)) * scale
    single = linalg.expm_numpy(a.astype(np.complex64 if a.dtype.kind == "c" else np.float32))
    assert single.dtype.itemsize == a.dtype.itemsize // 2


def test_every_matrix_of_a_stack_is_scaled_for_itself():
    a = np.random.default_rng(0).normal(size=(2, 5, 3, 3)) * np.logspace(-4, 1.5, 10).reshape(2, 5, 1, 1)
    one_by_one = np.array([[linalg.expm_numpy(m) for m in row] for row in a])
    np.testing.assert_allclose(linalg.expm_numpy(a), one_by_one, rtol=1e-13, atol=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_expm_of_what_is_not_finite_is_nan_and_leaves_the_others_alone(bad, n):
    a = np.zeros((2, n, n))
    a[0, 0, n - 1] = bad
    value = linalg.expm_numpy(a)
    assert np.isnan(value[0]).all() and np.array_equal(value[1], np.eye(n))


@pytest.mark.parametrize(
    "a",
    [np.full((2, 2), 1e308), np.diag([1e300, -1e300]), np.array([[0, 1e200], [1e200, 0]]), np.full((3, 3), 1e5)],
    ids=str,
)
def test_expm_that_overflows_is_not_finite_and_ends(a):
    assert not np.isfinite(linalg.expm_numpy(a)[0, 0])


@pytest.mark.parametrize("shape", [(0, 0), (0, 3, 3), (2, 0, 0)])
def test_expm_of_no_elements(shape):
    assert linalg.expm_numpy(np.zeros(shape)).shape == shape


@pytest.mark.parametrize("name", ["zero", "Jordan", "nilpotent", "rotation", "large", "overscaling"])
def test_the_derivative_of_expm_is_scipys_frechet_derivative(name):
    a = MATRICES[name]
    e = np.random.default_rng(5).normal(size=a.shape)
    x, t = leaves((a, e))
    (jv,) = ad.jvp([linalg.expm(x)], {x: t})
    value = reference.evaluate([jv], {x: a, t: e})[0]
    expected = scipy.linalg.expm_frechet(a, e, compute_expm=False)
    assert np.abs(value - expected).max() <= 1e-11 * np.abs(expected).max() * (1 if name != "overscaling" else 1e3)


def test_the_gradient_of_expm_does_not_lose_digits_to_a_large_cotangent():
    a = np.random.default_rng(6).normal(size=(3, 3))
    x = leaves((a,))[0]
    small, large = (gradients(linalg.expm(x), np.ones((3, 3)) * s, [x], [a])[0] / s for s in (1, 1e8))
    np.testing.assert_allclose(large, small, rtol=1e-12)


def test_the_second_derivative_of_expm_at_a_matrix_that_cannot_be_diagonalised():
    a = jordan(3, 0.5)
    x = leaves((a,))[0]
    u_term, (g,) = check_derivative(linalg.expm(x), [x], [a], np.random.default_rng(0))
    check_derivative(g, [x, u_term], [a, np.random.default_rng(1).normal(size=(3, 3))], np.random.default_rng(2))


# ---- other linear algebra -------------------------------------------------------------------------------------------


def test_the_gradient_of_det_is_exact_for_singular_matrices():
    a = np.array([[1.0, 2, 3], [2, 4, 6], [1, 0, 5]])
    x = leaves((a,))[0]
    minors = np.array(
        [[(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(3)] for i in range(3)]
    )
    np.testing.assert_allclose(gradients(linalg.det(x), 1.0, [x], [a])[0], minors, atol=1e-12)


def test_slogdet_and_inv_are_numpys():
    a = np.random.default_rng(0).normal(size=(4, 3, 3))
    sign, size = np.linalg.slogdet(a)
    assert np.array_equal(run(linalg.signdet, a), sign) and np.array_equal(run(linalg.logabsdet, a), size)
    np.testing.assert_allclose(run(linalg.inv, a) @ a, np.broadcast_to(np.eye(3), a.shape), atol=1e-12)
    np.testing.assert_allclose(run(linalg.det, a), sign * np.exp(size), rtol=1e-12)
    b = a[..., :2]
    np.testing.assert_allclose(a @ run(linalg.solve, a, b), b, atol=1e-12)


# ---- errors ---------------------------------------------------------------------------------------------------------


def of(shape, dtype=F64):
    return leaf(0, 0, aval(shape, dtype), True)


ERRORS = [
    (lambda: movement.broadcast_to(of((2, 3)), shape=(3, 3)), ShapeError, r"\(2, 3\) to \(3, 3\)"),
    (lambda: movement.broadcast_to(of((2, 3)), shape=(3,)), ShapeError, "every axis must be 1"),
    (lambda: movement.reshape(of((2, 3)), shape=(4,)), ShapeError, "6 elements do not fill 4"),
    (lambda: movement.permute(of((2, 3)), axes=(0, 0)), AxisError, "named once"),
    (lambda: movement.slice_(of((3,)), start=(1,), step=(1,), shape=(3,)), IndexingError, "1 to 3"),
    (lambda: movement.slice_(of((3,)), start=(0,), step=(0,), shape=(2,)), IndexingError, "leave"),
    (lambda: movement.slice_(of((3,)), start=(), step=(), shape=(2,)), ShapeError, "lengths differ"),
    (lambda: movement.embed(of((3,)), shape=(4,), start=(2,), step=(-1,)), None, ""),
    (lambda: movement.embed(of((3,)), shape=(4,), start=(1,), step=(-1,)), IndexingError, "1 to -1"),
    (lambda: movement.concatenate(axis=0), ShapeError, "at least one"),
    (lambda: movement.concatenate(of((2,)), of((2, 2)), axis=0), ShapeError, "number 1"),
    (lambda: movement.concatenate(of((2,)), of((2,), I64), axis=0), DTypeError, "cast"),
    (lambda: movement.concatenate(of(()), axis=0), AxisError, "0 axes"),
    (lambda: indexing.gather(of((3,)), of((2,)), axes=(0,), position=0), DTypeError, "int32 or int64"),
    (lambda: indexing.gather(of((3,)), axes=(), position=0), ShapeError, "one index array"),
    (lambda: indexing.gather(of((3,)), of((2,), I64), axes=(1,), position=0), AxisError, "sorted axes"),
    (lambda: indexing.gather(of((3,)), of((2,), I64), axes=(0,), position=1), AxisError, "position 1"),
    (lambda: indexing.gather(of((0,)), of((2,), I64), axes=(0,), position=0), IndexingError, "empty axis"),
    (
        lambda: indexing.gather(of((3, 3)), of((2,), I64), of((1,), I64), axes=(0, 1), position=0),
        ShapeError,
        "shapes differ",
    ),
    (
        lambda: indexing.scatter_add(of((3,)), of((2,), I64), of((3,)), axes=(0,), position=0),
        ShapeError,
        "broadcast the updates",
    ),
    (
        lambda: indexing.scatter_add(of((3,)), of((2,), I64), of((2,), I64), axes=(0,), position=0),
        DTypeError,
        "cast the updates",
    ),
    (
        lambda: indexing.scatter_max(of((3,), C128), of((2,), I64), of((2,), C128), axes=(0,), position=0),
        DTypeError,
        "complex128",
    ),
    (lambda: indexing.sort(of(()), axis=0, descending=False), AxisError, "0 axes"),
    (lambda: indexing.searchsorted(of((2, 2)), of(()), side="left"), ShapeError, "one axis"),
    (lambda: contraction.matmul(of((3, 4)), of((5, 6))), ShapeError, "inner sizes 4 and 5 differ"),
    (lambda: contraction.matmul(of((2, 3, 4)), of((3, 4, 6))), ShapeError, "batches"),
    (lambda: contraction.matmul(of((3,)), of((3, 3))), ShapeError, "two axes"),
    (lambda: contraction.matmul(of((3, 3), dtypes.bool_), of((3, 3), dtypes.bool_)), DTypeError, "bool has no product"),
    (lambda: contraction.matmul(of((3, 3), I64), of((3, 3))), DTypeError, "dtypes differ"),
    (lambda: linalg.expm(of((2, 3))), ShapeError, "equally long"),
    (lambda: linalg.expm(of((2, 2), I64)), DTypeError, "int64 matrices have no expm"),
    (lambda: linalg.solve(of((2, 2)), of((2,))), ShapeError, "right side"),
    (lambda: linalg.solve(of((2, 2)), of((2, 1), C128)), DTypeError, "dtypes differ"),
]


@pytest.mark.parametrize("k", range(len(ERRORS)))
def test_what_cannot_be_is_refused_with_a_reason(k):
    make, error, text = ERRORS[k]
    if error is None:
        assert make().aval.shape == (4,)
        return
    with pytest.raises(error, match=text):
        make()


def test_host_primitives_have_no_kernel_and_say_so():
    assert all(isinstance(REGISTRY[n].lowering, Host) for n in ("expm", "solve", "inv", "det", "sort", "argsort"))

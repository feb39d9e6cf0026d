"""Derivatives of lazygrad.linalg: of primitives with several results, of what does not depend on a free phase, of composite functions,
in single precision, at repeated values. Those of the other primitives are tested from tests/samples_linalg.py in test_ad.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import samples
from test_ad import Case, check_derivatives
from test_codegen_programs import native
from test_linalg import ORDERS, adjoint, definite, draw, shifted

import lazygrad as lg
from lazygrad import reference
from lazygrad.ad import jvp, vjp
from lazygrad.ad.batch import batch
from lazygrad.ir.aval import aval
from lazygrad.ir.term import Term, toposort
from lazygrad.prims import elementwise as E
from lazygrad.prims import linalg_factorizations, linalg_spectral
from lazygrad.prims import matrices as X
from lazygrad.prims import movement as M
from lazygrad.prims import reduction as R
from lazygrad.prims.leaf import constant, leaf, like
from lazygrad.prims.linalg import solve

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

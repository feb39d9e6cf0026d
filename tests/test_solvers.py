"""Solvers: solutions against closed forms and SciPy, derivatives against differences and closed forms, failures reported."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
from gpu import device

import lazygrad as lg
from lazygrad import errors
from lazygrad.runtime import plans
from lazygrad.testing import check_grads

RNG = np.random.default_rng(0)


# ---- roots -----------------------------------------------------------------------------------------------------------------------

def test_root_of_a_system():
    f = lambda x, p: lg.stack([x[0] * lg.cos(x[1]) - p[0], x[0] * x[1] - x[1] - p[1]])
    p = np.array([4.0, 5.0])
    found = lg.root(f, np.array([1.0, 1.0]), p)
    want = scipy.optimize.root(lambda x: [x[0] * np.cos(x[1]) - 4, x[0] * x[1] - x[1] - 5], [1, 1])
    assert found.success.item() and 0 < found.nit.item() < 20
    np.testing.assert_allclose(found.x.value, want.x, rtol=1e-8)
    check_grads(lambda p: lg.root(f, np.array([1.0, 1.0]), p).x, (p,), order=2)


def test_root_differentiates_by_what_it_closes_over():
    def solution(a, b):
        return lg.root(lambda x: lg.exp(x) * a - b, np.float64(0.0)).x
    a, b = 2.0, 7.0
    assert abs(solution(lg.asarray(np.float64(a)), lg.asarray(np.float64(b))).item() - np.log(b / a)) < 1e-12
    ga, gb = lg.grad(solution, (0, 1))(np.float64(a), np.float64(b))
    np.testing.assert_allclose([ga.item(), gb.item()], [-1 / a, 1 / b], rtol=1e-10)
    third = lg.grad(lg.grad(lg.grad(solution)))(np.float64(a), np.float64(b)).item()
    np.testing.assert_allclose(third, -2 / a ** 3, rtol=1e-8)            # log(b / a)
    check_grads(solution, (a, b), order=2)


def test_root_in_other_transforms():
    sqrt = lambda a: lg.root(lambda x, a: x * x - a, np.float64(1.0), a).x
    a = np.array([2.0, 9.0, 100.0])
    np.testing.assert_allclose(lg.vmap(sqrt)(a).value, np.sqrt(a), rtol=1e-10)
    np.testing.assert_allclose(lg.vmap(lg.grad(sqrt))(a).value, 0.5 / np.sqrt(a), rtol=1e-10)
    np.testing.assert_allclose(lg.compile(lg.grad(sqrt))(np.float64(9.0)).item(), 1 / 6, rtol=1e-10)
    g = lg.tensor(np.float64(4.0))
    lg.root(lambda x: x * x - g, np.float64(1.0)).x.backward()
    assert abs(g.grad.item() - 0.25) < 1e-12


def test_steps_that_overshoot_are_halved():
    # Newton's method from 3 diverges on atan
    found = lg.root(lambda x: lg.atan(x), np.float64(3.0))
    assert found.success.item() and abs(found.x.item()) < 1e-10


def test_no_root_is_reported():
    found = lg.root(lambda x: x * x + 1.0, np.float64(0.7), maxiter=20)
    assert not found.success.item()
    with pytest.raises(errors.LinAlgError):
        lg.root(lambda x: x * 0 + 1.0, np.float64(0.7)).x.item()


def test_fixed_points():
    found = lg.fixed_point(lambda x, a: a * lg.cos(x), np.float64(1.0), np.float64(0.9))
    want = scipy.optimize.brentq(lambda x: 0.9 * np.cos(x) - x, 0, 1, xtol=1e-14)
    assert found.success.item() and abs(found.x.item() - want) < 1e-10
    g = lg.grad(lambda a: lg.fixed_point(lambda x, a: a * lg.cos(x), np.float64(1.0), a).x)(np.float64(0.9)).item()
    np.testing.assert_allclose(g, np.cos(want) / (1 + 0.9 * np.sin(want)), rtol=1e-9)
    w = RNG.normal(size=(4, 4)) / 8
    f = lambda w, b: lg.fixed_point(lambda x: lg.tanh(w @ x + b), np.zeros(4)).x
    check_grads(f, (w, RNG.normal(size=4)), order=1, rtol=1e-4)
    assert not lg.fixed_point(lambda x: 2 * x + 1, np.float64(1.0), maxiter=30).success.item()


# ---- linear systems ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", ["cg", "bicgstab"])
def test_linear_systems_by_products(method):
    m = RNG.normal(size=(8, 8))
    a = m @ m.T + 8 * np.eye(8) if method == "cg" else m + 8 * np.eye(8)
    b = RNG.normal(size=8)
    f = lambda a, b: lg.linear_solve(lambda x: a @ x, b, method=method, tol=1e-13)
    np.testing.assert_allclose(f(lg.asarray(a), lg.asarray(b)).value, np.linalg.solve(a, b), rtol=1e-9)
    ct = RNG.normal(size=8)
    ga, gb = lg.grad(lambda a, b: (f(a, b) * lg.asarray(ct)).sum(), (0, 1))(a, b)
    back = np.linalg.solve(a.T, ct)
    np.testing.assert_allclose(gb.value, back, rtol=1e-8)
    np.testing.assert_allclose(ga.value, -np.outer(back, np.linalg.solve(a, b)), rtol=1e-7, atol=1e-12)
    tb = RNG.normal(size=8)
    np.testing.assert_allclose(lg.jvp(lambda b: f(lg.asarray(a), b), (b,), (tb,))[1].value, np.linalg.solve(a, tb), rtol=1e-7)


def test_linear_systems_of_fields_and_matrices():
    b = RNG.normal(size=(5, 6))

    def operator(u, k):
        v = lg.pad(u, 1)
        return k * (4 * u - v[2:, 1:-1] - v[:-2, 1:-1] - v[1:-1, 2:] - v[1:-1, :-2]) + u
    u = lg.linear_solve(operator, b, np.float64(0.7), tol=1e-12)
    np.testing.assert_allclose(operator(u, 0.7).value, b, rtol=1e-9, atol=1e-9)
    check_grads(lambda b, k: lg.linear_solve(operator, b, k, tol=1e-13), (b, 0.7), order=1)
    a = RNG.normal(size=(3, 3))
    np.testing.assert_allclose(lg.linear_solve(a, b[:3, 0]).value, np.linalg.solve(a, b[:3, 0]), rtol=1e-10)


# ---- minima --------------------------------------------------------------------------------------------------------------------------

def rosenbrock(x, a):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (a - x[:-1]) ** 2).sum()


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS", "Newton-CG"])
def test_minimize(method):
    x0 = np.array([1.3, 0.7, 0.8, 1.9])                  # (from -1.2 the way leads to another minimum)
    found = lg.minimize(rosenbrock, x0, 1.0, method=method, tol=1e-8)
    assert found.success.item() and found.nit.item() < 200
    np.testing.assert_allclose(found.x.value, np.ones(4), rtol=1e-5)
    assert found.fun.item() < 1e-12 and np.abs(found.jac.value).max() <= 1e-8


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS", "Newton-CG"])
def test_minima_differentiate(method):
    a = RNG.normal(size=(12, 3))
    y = (RNG.random(12) < 0.5).astype(float)

    def ridge(k):
        return lg.minimize(lambda w, k: (lg.logaddexp(0.0, a @ w) - y * (a @ w)).sum() + k * (w * w).sum(), np.zeros(3), k, method=method, tol=1e-9).x
    k = 0.5
    w = ridge(lg.asarray(np.float64(k))).value
    want = scipy.optimize.minimize(lambda w: (np.logaddexp(0, a @ w) - y * (a @ w)).sum() + k * (w * w).sum(), np.zeros(3), tol=1e-12).x
    np.testing.assert_allclose(w, want, rtol=1e-5, atol=1e-6)
    s = 1 / (1 + np.exp(-a @ w))
    h = a.T @ (a * (s * (1 - s))[:, None]) + 2 * k * np.eye(3)
    np.testing.assert_allclose(lg.jacobian(ridge)(np.float64(k)).value, -np.linalg.solve(h, 2 * w), rtol=1e-6)
    np.testing.assert_allclose(lg.jacfwd(ridge)(np.float64(k)).value, -np.linalg.solve(h, 2 * w), rtol=1e-6)


def test_minima_of_shapes_and_batches():
    t = RNG.normal(size=(2, 3))
    found = lg.minimize(lambda x: ((x - t) ** 4).sum() + ((x - t) ** 2).sum(), np.zeros((2, 3)), tol=1e-9)
    np.testing.assert_allclose(found.x.value, t, atol=1e-8)
    assert found.x.shape == found.jac.shape == (2, 3)
    roots = lg.vmap(lambda a: lg.minimize(lambda x: lg.cosh(x - a).sum(), np.zeros(2), tol=1e-9).x)(np.array([1.0, -2.0, 5.0]))
    np.testing.assert_allclose(roots.value, np.array([[1, 1], [-2, -2], [5, 5]]), atol=1e-6)
    assert not lg.minimize(lambda x: rosenbrock(x, 1.0), np.array([-1.2, 1.0]), maxiter=2).success.item()


# ---- differential equations --------------------------------------------------------------------------------------------------------------

def lotka(y, t, p):
    return lg.stack([p[0] * y[0] - p[1] * y[0] * y[1], p[2] * y[0] * y[1] - p[3] * y[1]])


P = np.array([1.5, 1.0, 1.0, 3.0])


@pytest.mark.parametrize("adjoint", [False, True])
def test_odeint_against_scipy(adjoint):
    t = np.array([0.0, 0.5, 2.0, 2.0, 5.0])
    ys = lg.odeint(lotka, np.array([1.0, 1.0]), t, P, adjoint=adjoint, rtol=1e-10, atol=1e-10).value
    want = scipy.integrate.solve_ivp(lambda t, y: [P[0] * y[0] - P[1] * y[0] * y[1], P[2] * y[0] * y[1] - P[3] * y[1]], (0, 5), [1, 1], "DOP853",
                                     t_eval=[0, 0.5, 2, 5], rtol=1e-12, atol=1e-12).y.T
    np.testing.assert_allclose(ys[[0, 1, 2, 4]], want, rtol=1e-7)
    assert np.array_equal(ys[2], ys[3])
    back = lg.odeint(lotka, ys[-1], t[::-1].copy(), P, rtol=1e-10, atol=1e-10).value
    np.testing.assert_allclose(back[-1], [1, 1], rtol=1e-6)              # backwards in time


@pytest.mark.parametrize("adjoint", [False, True])
def test_gradients_of_odeint(adjoint):
    t = np.array([0.0, 0.4, 1.0])
    f = lambda y0, p, t: (lg.odeint(lotka, y0, t, p, adjoint=adjoint, rtol=1e-10, atol=1e-10) * np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 2.0]])).sum()
    y0 = np.array([1.0, 0.8])
    g = lg.grad(f, (0, 1, 2))(y0, P, t)
    h = 1e-5
    for k, a in enumerate((y0, P, t)):
        for j in range(a.size):
            d = np.zeros_like(a)
            d[j] = h
            up, down = ([*(y0, P, t)[:k], a + s * d, *(y0, P, t)[k + 1:]] for s in (1, -1))
            slope = (f(*map(lg.asarray, up)).item() - f(*map(lg.asarray, down)).item()) / (2 * h)
            np.testing.assert_allclose(g[k].value[j], slope, rtol=1e-5, atol=1e-6)       # integrated to 1e-10


def test_odeint_in_other_modes():
    t = np.array([0.0, 1.0])
    decay = lambda k: lg.odeint(lambda y, t, k: -k * y, np.float64(2.0), t, k)[1]
    k = 0.7
    want = [2 * np.exp(-k), -2 * np.exp(-k), 2 * np.exp(-k)]
    got = [decay(lg.asarray(np.float64(k))).item(), lg.jvp(decay, (np.float64(k),), (np.float64(1),))[1].item(), lg.grad(lg.grad(decay))(np.float64(k)).item()]
    np.testing.assert_allclose(got, want, rtol=1e-5)
    ks = np.array([0.1, 1.0, 8.0])
    np.testing.assert_allclose(lg.vmap(decay)(ks).value, 2 * np.exp(-ks), rtol=1e-6, atol=1e-7)          # as atol allows
    np.testing.assert_allclose(lg.vmap(lg.grad(decay))(ks).value, -2 * np.exp(-ks), rtol=1e-5, atol=1e-6)
    w = lg.tensor(np.float64(k))
    lg.odeint(lambda y, t: -w * y, np.float64(2.0), t)[1].backward()     # closed over
    np.testing.assert_allclose(w.grad.item(), want[1], rtol=1e-6)


def test_odeint_takes_containers_and_stiff_problems_end():
    y0 = {"x": np.array([1.0, 0.0]), "v": (np.float64(0.5),)}
    f = lambda y, t: {"x": lg.stack([y["x"][1], -y["x"][0]]), "v": (y["v"][0] * 0 + t,)}
    out = lg.odeint(f, y0, np.array([0.0, np.pi / 2]))
    np.testing.assert_allclose(out["x"].value[1], [0, -1], atol=1e-6)
    np.testing.assert_allclose(out["v"][0].value, [0.5, 0.5 + np.pi ** 2 / 8], rtol=1e-7)
    stiff = lg.odeint(lambda y, t: -1e6 * (y - lg.cos(t)), np.float64(0.0), np.array([0.0, 1.0]), mxstep=50)
    assert np.isnan(stiff.value[1]) and stiff.value[0] == 0              # reported, not silently wrong


def test_on_a_gpu():
    graph = lg.Graph(device=device())
    k = graph.tensor(np.float32(0.7))
    y0, t = graph.tensor(np.float32(2.0)), graph.tensor(np.array([0.0, 1.0], np.float32))
    f = lambda k: lg.odeint(lambda y, t, k: -k * y, y0, t, k)[1]
    np.testing.assert_allclose([f(k).item(), lg.grad(f)(k).item()], [2 * np.exp(-0.7), -2 * np.exp(-0.7)], rtol=1e-4)
    x = graph.tensor(np.array([1.0, -2.0], np.float32))
    np.testing.assert_allclose(lg.minimize(lambda v: lg.cosh(v - x).sum(), x * 0, method="BFGS").x.value, [1, -2], atol=1e-2)


def test_a_solver_is_compiled_once():
    solve = lambda a: lg.root(lambda x, a: x ** 3 - a, np.float64(1.0), np.float64(a)).x.item()
    for a in (2.0, 3.0, 4.0):
        solve(a)
    before = len(plans.PLANS)
    for a in (5.0, 6.0, 7.0):
        assert abs(solve(a) ** 3 - a) < 1e-9
    assert len(plans.PLANS) == before


@pytest.mark.parametrize(("call", "kind", "text"), [
    (lambda: lg.root(lambda x: x[:1], np.ones(2)), errors.ShapeError, "root: x float64[2], f(x) float64[1]: they must have one shape"),
    (lambda: lg.root(lambda x: x, np.ones(2) * 1j), errors.DTypeError, "root: a start of complex128: real floating numbers are expected"),
    (lambda: lg.root(lambda x: x if x > 0 else -x, np.float64(1.0)), errors.TraceError, "root: bool[]: its value is not known"),
    (lambda: lg.root(3, 1.0), errors.StructureError, "root: int: a function is expected"),
    (lambda: lg.fixed_point(lambda x: (x, x), 1.0), errors.ShapeError, "fixed_point: x float32[], f(x) float32[], float32[]"),
    (lambda: lg.linear_solve(lambda x: x[:1], np.ones(2)), errors.ShapeError, "linear_solve: b float64[2], A x float64[1]"),
    (lambda: lg.linear_solve(lambda x: x, np.ones(2), method="qr"), errors.StructureError, "linear_solve: method='qr': there is no such method; pass 'cg' or 'bicgstab'"),
    (lambda: lg.minimize(lambda x: x, np.ones(2)), errors.ShapeError, "minimize: float64[2]: the function must return one real number"),
    (lambda: lg.minimize(lambda x: x.sum(), np.ones(2), method="best"), errors.StructureError, "minimize: method='best'"),
    (lambda: lg.odeint(lambda y, t: y, np.ones(2), 1.0), errors.ShapeError, "odeint: t float32[]: it is a list of times"),
    (lambda: lg.odeint(lambda y, t: y[:1], np.ones(2), np.array([0.0, 1.0])), errors.ShapeError, "odeint: y (2,), f(y, t) (1,)"),
    (lambda: lg.odeint(lambda y, t: (y,), np.ones(2), np.array([0.0, 1.0])), errors.ShapeError, "odeint: y *, f(y, t) (*,)"),
], ids=range(12))
def test_errors(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
    assert any("test_solvers.py" in note for note in getattr(caught.value, "__notes__", ())) or "expected" in text

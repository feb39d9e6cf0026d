"""NumPy's functions that put arrays together, take them apart and turn them, and those about how numbers are made, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import case, check_derivatives, check_native, check_on_gpu, check_values, rows

import lazygrad as lg

rng = np.random.default_rng(11)
A, B, V = rng.normal(size=(3, 4)), rng.normal(size=(2, 3, 4)), np.arange(6.0)
MASK = np.array([True, False, False, True, False, False])
ODD = np.array([np.inf, np.nan, 0.0, -0.0, -3.5, 5e-324, -np.inf, 2.0 ** 1023, -3.0, 1e-310])
WIDE = rng.normal(size=200) * np.exp2(rng.integers(-1000, 1000, 200))
C = A + 1j * A[::-1]
I, J = rng.integers(-50, 50, (4, 5)), rng.integers(-12, 12, 5)
LOW = np.array([-128, 127, 0, -1, 96], np.int8)

CASES = [
    case("column_stack", [V, V]), case("column_stack", [A, A[:, 0]], order=2), case("dstack", [V, V]), case("dstack", [A, A], order=1, gpu=True),
    case("append", A, V), case("append", A, A[:1], axis=0, order=1), case("atleast_3d", V), case("atleast_3d", A),
    case("atleast_3d", np.asarray(3.0)), case("block", [[A, A], [B[0], B[1]]], order=1, gpu=True), case("block", [V, V]), case("block", [[V], [V]]), case("block", V),
    case("block", [[[B], [B]]]), case("block", [[A, np.eye(3)], [B[0], np.ones((3, 3))]]),
    case("array_split", V, 4), case("array_split", A, 3, axis=1, order=1), case("array_split", V, [2, 3]), case("hsplit", A, 2), case("hsplit", V, 3),
    case("vsplit", A, [1]), case("dsplit", B, 2),
    case("delete", V, 2), case("delete", A, [0, 2], axis=1, order=2, gpu=True), case("delete", A, slice(0, 2), axis=1), case("delete", V, MASK), case("delete", A, -1, axis=0),
    case("delete", V, []), case("delete", A, 5),
    case("insert", V, 2, 9.0), case("insert", A, 1, V[:3], axis=1, order=2), case("insert", A, [1, 3], V[:2], axis=1, order=1, gpu=True), case("insert", A, slice(0, 3), 7.0, axis=0),
    case("insert", V, [5, 0, 3, 3, 6, 1, 2, 4, 0], np.arange(9.0), order=1), case("insert", A, [2, 0, 2], A[:, :3], axis=1, order=1), case("insert", V, 6, 1.0), case("delete", np.arange(40.0), np.arange(0, 40, 3), order=1),
    case("insert", A, [0], A, axis=0), case("insert", A, 0, A, axis=0), case("insert", A, [1, 1, 2], A[:, :1], axis=1), case("insert", A, -1, 0.0), case("insert", V, MASK, [5.0, 6.0]),
    case("trim_zeros", np.array([0, 0, 1, 0, 2, 0])), case("trim_zeros", np.array([0, 0, 1, 0, 2, 0]), "f"), case("trim_zeros", np.zeros(3)), case("trim_zeros", np.pad(A, 1)),
    case("trim_zeros", np.pad(A, 1), "b", 0),
    case("resize", V, (2, 5), order=1, gpu=True), case("resize", V, (2, 2)), case("resize", A, 0), case("resize", V[:0], (2,)),
    case("flipud", A, order=1), case("fliplr", B, order=1), case("rot90", A, order=1, gpu=True), case("rot90", A, 2), case("rot90", A, 3), case("rot90", B, -1, (2, 0)),
    case("rollaxis", B, 2), case("rollaxis", B, 0, 2), case("rollaxis", B, 1, -1, order=1),

    case("angle", C, order=2), case("angle", A, deg=True), case("angle", np.array([-0.0, 0.0, -1.0, np.nan])), case("isreal", C), case("isreal", A), case("iscomplex", C * 0 + A),
    case("isposinf", ODD), case("isneginf", ODD, gpu=True), case("isneginf", I), case("real_if_close", C), case("real_if_close", A + 1e-16j), case("real_if_close", A + 1e-3j, tol=0.1),
    case("ldexp", WIDE, rng.integers(-2200, 2200, 200)), case("ldexp", A, 3, order=2, gpu=True), case("ldexp", ODD, np.arange(10)), case("ldexp", V[:, None], np.arange(3, dtype=np.int8)),
    case("frexp", ODD), case("frexp", WIDE), case("frexp", np.exp2(np.arange(-1074, 1024.0))), case("frexp", A, gpu=True),
    case("modf", ODD), case("modf", A * 3, order=2, gpu=True), case("spacing", ODD), case("spacing", A, gpu=True),
    case("logaddexp2", A, B, order=2, gpu=True), case("logaddexp2", ODD, ODD[::-1]), case("logaddexp2", ODD, ODD), case("logaddexp2", A, 1.5),
    case("gcd", I, J, gpu=True), case("gcd", I, 6), case("gcd", LOW, LOW[::-1]), case("gcd", LOW.view(np.uint8), J.astype(np.uint8)), case("gcd", np.asarray(12), np.asarray(18)),
    case("lcm", I, J), case("lcm", LOW[1:] // 8, LOW[1:] // 4, gpu=True), case("lcm", I[:0], J), case("bitwise_count", I, gpu=True), case("bitwise_count", LOW),
    case("bitwise_count", np.array([True, False])), case("bitwise_count", np.array([2**64 - 1, 5], np.uint64)),
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


def test_the_mantissa_differentiates():
    x = lg.tensor(np.array([0.3, -5.0, 1e-3, 8.0]))
    m, n = lg.frexp(x)
    m.backward()
    assert x.grad.tolist() == np.exp2(-n.value).tolist()


def test_facts_about_whole_arrays():
    x = lg.tensor(B)
    assert lg.shape(x) == (2, 3, 4) and lg.ndim(x) == 3 and lg.size(x) == 24 and lg.size(x, (0, -1)) == 8 and lg.shape([[1, 2]]) == (1, 2)
    assert lg.iscomplexobj(lg.tensor(C)) and lg.isrealobj(x) and not lg.isscalar(x) and lg.isscalar(2.0)


ERRORS = [
    (lambda x: lg.insert(x, 9, 1.0), IndexError, "insert: 9 of 6 elements"), (lambda x: lg.delete(x, [1, -7]), IndexError, "use -6 to 5"),
    (lambda x: lg.delete(x, [True, False]), ValueError, "a mask of"), (lambda x: lg.delete(x, [0.5]), IndexError, "is no position"), (lambda x: lg.insert(x, [1, 2], [1.0, 2.0, 3.0]), ValueError, "do not broadcast to 2 slices"), (lambda x: lg.rot90(x), ValueError, "2 axes"),
    (lambda x: lg.rot90(lg.zeros((2, 2)), 1, (0, 0)), ValueError, "name two axes"), (lambda x: lg.block([[x], x]), ValueError, "equally deep"),
    (lambda x: lg.block([[]]), ValueError, "a list is empty"), (lambda x: lg.array_split(x, 0), ValueError, "1 or more"), (lambda x: lg.hsplit(x, 4), ValueError, "no multiple"),
    (lambda x: lg.vsplit(x, 2), ValueError, "2 axes"), (lambda x: lg.resize(x, -1), ValueError, "negative"), (lambda x: lg.rollaxis(x, 0, 3), ValueError, "start 3"),
    (lambda x: lg.ldexp(x, 0.5), TypeError, "exponent is an integer"), (lambda x: lg.gcd(x, 2), TypeError, "only integers"), (lambda x: lg.bitwise_count(x), TypeError, "bits"),
    (lambda x: lg.isposinf(lg.asarray([1j])), TypeError, "no order"), (lambda x: lg.column_stack([]), ValueError, "at least one"),
]


@pytest.mark.parametrize("call,kind,text", ERRORS, ids=range(len(ERRORS)))
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call(lg.tensor(V))

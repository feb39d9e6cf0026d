"""lazygrad.numpy: NumPy's names, arguments and dtypes on plain data; float64 for what Python's numbers make."""

from __future__ import annotations

import inspect

import numpy
import pytest
import test_numpy_calculus
import test_numpy_selection
import test_numpy_shapes
import test_numpy_statistics
from oracle import answer, mapped, rows, same

import lazygrad as lg
import lazygrad.numpy as np
import lazygrad.numpy.fft as fft
import lazygrad.numpy.linalg as la
import lazygrad.numpy.random as npr
from lazygrad import grad

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Polyfit", "ignore:Arrays of 2-dim")          # NumPy's

rng = numpy.random.default_rng(8)
A, I = rng.normal(size=(3, 4)), rng.integers(-5, 5, (3, 4))
EXCEPT = {"array_split(f8[3,4], 3, axis=1)"}               # NumPy takes the length of a list for that of every axis


@rows([c for m in (test_numpy_shapes, test_numpy_statistics, test_numpy_selection, test_numpy_calculus) for c in m.CASES if c.want is None and hasattr(numpy, c.name)])
def test_values_and_dtypes_are_numpys_for_arrays_and_for_lists(case):
    """For lists: Python's numbers are float64, as in NumPy."""
    listed = lambda a: a.tolist() if a.size and a.dtype in (numpy.float64, numpy.int64, numpy.bool_) else a
    for convert in (lambda a: a, listed):
        args, options = mapped(case.args, convert), {k: mapped(v, convert) for k, v in case.options.items()}
        try:
            want = answer(case, numpy, args, options)
        except (ValueError, TypeError, AttributeError):
            assert convert is listed               # NumPy wants an array there
            continue
        if str(case) not in EXCEPT:
            same(getattr(np, case.name)(*args, **options), want, max(case.tol, 1e-12))


CREATION = ["array([1.0, 2.0])", "array([1, 2])", "array([[1, 2.5]], ndmin=3)", "array(2)", "array([1, 2], float)", "array([1.5], dtype='int32')", "asarray([True])", "zeros(3)", "zeros((2, 3), int)", "ones(2)", "empty(0)", "full(2, 1.5)",
            "full((2, 2), 3)", "full(2, [1.0, 2.0])", "full(2, 1, dtype=float)", "eye(3)", "eye(2, 3, 1)", "eye(2, dtype=int)", "identity(2)", "tri(3, 2)", "arange(5)", "arange(5.0)", "arange(1, 2, 0.25)", "arange(3, dtype=float)", "linspace(0, 1, 5)",
            "linspace(0, 10, 3, False)", "linspace(0, 1, 3, retstep=True)[0]", "linspace([0, 1], [2.0, 3.0], 3)", "logspace(0, 2, 3)", "geomspace(1, 100, 3)", "zeros_like([1.0])", "ones_like([1, 2])", "full_like([1, 2], 7)", "hanning(5)", "kaiser(4, 2.0)",
            "bartlett(3)", "indices((2, 2))", "fromfunction(lambda i, j: i + j, (2, 2))", "fromfunction(lambda i: i, (3,), dtype=int)", "mgrid[0:1:3j]", "mgrid[0:3, 0:2]", "ogrid[0:3][1:]", "r_[1:3, 0.5]", "r_[1:4]", "c_[[1.0, 2.0], [3.0, 4.0]]",
            "meshgrid([1.0, 2.0], [3, 4])[0]", "diag_indices(2)[0]", "tril_indices(3)[1]", "fft.fftfreq(4)", "fft.rfftfreq(5, 0.1)", "fromiter([1.0, 2.0], float)", "asarray_chkfinite([1.0])", "ascontiguousarray([1.0])", "copy([1.0, 2.0])", "float_power(2, 3)"]


@pytest.mark.parametrize("call", CREATION)
def test_creation(call):
    got, want = eval(f"np.{call}", {"np": np, "float": float, "int": int}), eval(f"np.{call}", {"np": numpy, "float": float, "int": int})
    assert isinstance(got, lg.Tensor)
    same(got, want, 1e-15)


DTYPES = ["sin(2.0)", "sin(2)", "sqrt([1, 2, 3])", "mean([1, 2, 3])", "std([1, 2])", "true_divide(1, 2)", "add(1.0, 2)", "add(1, 2)", "power(2.0, 2)", "where([True], 1.0, 2.0)", "dot([1.0], [2.0])", "dot([1], [2])", "linalg.inv([[1, 2], [3, 4]])",
          "linalg.solve([[1.0, 2.0], [3.0, 4.0]], [1, 2])", "linalg.norm([3, 4])", "linalg.det([[1, 2], [3, 4]])", "fft.fft([1, 2])", "exp(1j)", "median([1, 2])", "interp(2, [1, 3], [0, 1])", "average([1, 2], weights=[1, 3])", "concatenate([[1.0], [2]])",
          "stack([1.0, 2.0])", "clip([1.0, 5.0], 0, 2)", "maximum([1, 2], 1.5)", "histogram([1, 2, 3], 2)[1]", "bincount([1, 2], [0.5, 0.5])", "cumsum([0.5, 1])", "trapezoid([1, 2])", "einsum('i,i', [1.0], [2.0])", "ldexp(1.0, 3)", "log(numpy.float32(2))",
          "sin(numpy.ones(2, numpy.float32))", "multiply(numpy.ones(2, numpy.float32), 2.0)", "quantile(numpy.ones(2, numpy.float32), 0.5)", "arctan2(1, 2)", "round(2.567, 1)", "prod([1.5, 2])", "polyval([1, 2], 3.0)", "cov([1, 2, 4])", "angle(-1)", "nan_to_num([1.0])"]


@pytest.mark.parametrize("call", DTYPES)
def test_dtypes_of_results(call):
    got, want = eval(f"np.{call}", {"np": np, "numpy": numpy}), eval(f"np.{call}", {"np": numpy, "numpy": numpy})
    assert got.dtype == want.dtype
    same(got, want, 1e-6 if want.dtype.itemsize == 4 else 1e-12)


def test_every_name_of_numpy_is_there():
    for name in dir(numpy):
        if not name.startswith("_"):
            assert hasattr(np, name), name
    assert np.pi is numpy.pi and np.float64 is numpy.float64 and np.newaxis is None and np.random.rand is npr.rand and np.ndarray is lg.Tensor
    assert set(dir(np.linalg)) >= {n for n in dir(numpy.linalg) if not n.startswith("_")} and la is np.linalg and fft is np.fft
    for module, name in ((np, "nothing"), (la, "nothing"), (fft, "nothing")):
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            getattr(module, name)


def test_functions_carry_numpys_signature_and_our_documentation():
    assert inspect.signature(np.quantile) == inspect.signature(numpy.quantile) and "lg.quantile" in np.quantile.__doc__
    assert np.sin.nin == 1 and "sine" in np.sin.__doc__ and repr(np.add) == "<lazygrad.numpy.add>"


def test_ufuncs_have_their_methods():
    x = np.array(A)
    same(np.add.reduce(A, axis=1), A.sum(1), 1e-14)
    same(np.maximum.accumulate(A, 1), numpy.maximum.accumulate(A, 1), 0)
    same(np.subtract.outer([1.0, 2.0], A), numpy.subtract.outer([1.0, 2.0], A), 0)
    np.add.at(x, ([0, 0], [1, 1]), 2.0)
    want = A.copy()
    numpy.add.at(want, ([0, 0], [1, 1]), 2.0)
    same(x, want, 0)
    z = np.zeros((3, 4))
    assert np.multiply(x, 2, z) is z and np.multiply(x, 3, out=z) is z
    same(z, want * 3, 0)
    array = numpy.zeros(2)
    np.exp(numpy.zeros(2), out=array)
    assert array.tolist() == [1.0, 1.0]


def test_functions_that_write_move_the_handle_on():
    x = np.zeros((2, 2))
    np.fill_diagonal(x, 3.0)
    np.put(x, [1], [7.0])
    assert x.tolist() == [[3.0, 7.0], [0.0, 3.0]]
    array = numpy.zeros(2)
    np.copyto(array, np.array([1.0, 2.0]))
    assert array.tolist() == [1.0, 2.0] and np.array2string(np.array([1.0])) == "[1.]"


def test_lists_of_tensors_and_numbers_become_arrays_that_differentiate():
    def f(x):
        return np.sum(np.array([x[0], 0.1, x[1] * x[0]]) * np.array([[1.0, 2.0, 3.0]]))
    x = numpy.array([2.0, 5.0])
    assert np.array([np.array(1.0), 0.1]).tolist() == [1.0, 0.1]
    assert grad(f)(x).tolist() == [16.0, 6.0]
    lg.testing.check_grads(f, (x,))


def test_a_program_for_autograd_runs_with_changed_imports():
    """Logistic regression, as autograd's own tutorial has it."""
    def sigmoid(x):
        return 0.5 * (np.tanh(x / 2.0) + 1)

    def loss(weights):
        predictions = sigmoid(np.dot(inputs, weights))
        probabilities = predictions * targets + (1 - predictions) * (1 - targets)
        return -np.sum(np.log(probabilities))

    inputs = np.array([[0.52, 1.12, 0.77], [0.88, -1.08, 0.15], [0.52, 0.06, -1.30], [0.74, -2.49, 1.39]])
    targets = np.array([True, True, False, True])
    weights = np.array([0.0, 0.0, 0.0])
    first = loss(weights).item()
    step = lg.compile(lambda w: w - grad(loss)(w) * 0.01)
    for _ in range(100):
        weights = step(weights)
    assert weights.dtype == numpy.float64 and loss(weights).item() < 0.6 * first
    lg.testing.check_grads(loss, (weights,))


def test_errors_are_those_of_the_functions():
    with pytest.raises(ValueError, match="do not broadcast"):
        np.add(A, A[:, :2])
    with pytest.raises(TypeError, match=r"numpy\.std: mean="):
        np.std(A, mean=np.zeros(1))
    with pytest.raises(ValueError, match="infs or NaNs"):
        np.asarray_chkfinite([numpy.nan])
    with pytest.raises(TypeError, match="unexpected keyword"):
        np.sum(A, axes=0)

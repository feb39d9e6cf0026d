"""The namespace as the Array API asks for it: what it says of itself, and the ways in and out for other libraries."""

from __future__ import annotations

import doctest
import subprocess
import sys

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import dtypes


def test_info_names_devices_and_dtypes():
    info = lg.__array_namespace_info__()
    assert info.default_device() in info.devices()
    assert info.default_dtypes()["real floating"] == lg.asarray(1.0).dtype and info.default_dtypes()["integral"] == lg.asarray(1).dtype
    assert info.default_dtypes()["indexing"] == lg.argsort(lg.asarray([1.0])).dtype
    assert set(info.dtypes(kind="integral")) == {d.name for d in dtypes.INTEGERS}
    assert set(info.dtypes(kind=("bool", "complex floating"))) == {"bool", "complex64", "complex128"}
    assert info.capabilities()["boolean indexing"] and info.capabilities()["data-dependent shapes"]
    with pytest.raises(TypeError, match="no such kind"):
        info.dtypes(kind="real")


def test_dtypes_of_a_gpu_are_those_it_has():
    device = lg.__array_namespace_info__().devices()[-1]
    found = lg.__array_namespace_info__().dtypes(device=device, kind="complex floating")
    assert device.startswith("gpu") and not found            # complex numbers live on the host


def test_dlpack_both_ways():
    x = lg.asarray(np.array([1.0, 2.0]))
    assert np.array_equal(np.from_dlpack(x * 2), [2.0, 4.0])
    shared = np.from_dlpack(x, copy=False)
    x.set([5.0, 6.0])
    assert np.array_equal(shared, [5.0, 6.0])
    a = np.arange(3)
    t = lg.from_dlpack(a)
    a[0] = 9
    assert t.tolist() == [0, 1, 2] and lg.from_dlpack(t).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="always copied"):
        lg.from_dlpack(a, copy=False)
    with pytest.raises(BufferError, match="copied to the host"):
        x.to("gpu").__dlpack__(copy=False)


def test_to_device_has_no_streams():
    x = lg.asarray([1.0])
    assert x.to_device("cpu") is x
    with pytest.raises(RuntimeError, match="streams"):
        x.to_device("cpu", stream=1)


def test_results_have_the_names_of_the_standard():
    x = lg.asarray([3, 1, 3])
    found = lg.unique_all(x)
    assert found.values.tolist() == [1, 3] and found.counts.tolist() == [1, 2] and found.inverse_indices.tolist() == [1, 0, 1]
    assert lg.unique_counts(x).counts.tolist() == [1, 2] and lg.unique_inverse(x).inverse_indices.tolist() == [1, 0, 1]
    assert type(lg.finfo(lg.float32).eps) is float and lg.finfo(lg.complex128).dtype == np.float64
    assert type(lg.iinfo(lg.int8).max) is int


def test_repeat_takes_counts_from_a_tensor_and_differentiates():
    x = lg.tensor(np.array([[1.0, 2.0], [3.0, 4.0]]))
    z = lg.repeat(x, lg.asarray([2, 0]), axis=0)
    assert np.array_equal(z.value, np.repeat(x.value, [2, 0], axis=0))
    z.backward(np.array([[1.0, 2.0], [10.0, 20.0]]))
    assert np.array_equal(x.grad.value, [[11.0, 22.0], [0.0, 0.0]])
    with pytest.raises(TypeError, match="a count is an integer"):
        lg.repeat(x, lg.asarray([0.5, 1.0]), axis=0)


def test_searchsorted_through_a_sorter():
    x, v = np.array([5, 1, 3]), np.array([0, 1, 2, 5, 6])
    order = np.argsort(x)
    for side in ("left", "right"):
        got = lg.searchsorted(lg.asarray(x), lg.asarray(v), side=side, sorter=lg.asarray(order))
        assert np.array_equal(got.value, np.searchsorted(x, v, side, order))
    with pytest.raises(ValueError, match="argsort"):
        lg.searchsorted(lg.asarray(x), lg.asarray(v), sorter=lg.asarray([0]))


def test_isin_takes_numbers_and_inverts():
    x = lg.asarray([1, 2, 3])
    assert lg.isin(x, 2).tolist() == [False, True, False] and lg.isin(x, 2, invert=True).tolist() == [True, False, True]
    assert lg.isin(2, x).item() is True


@pytest.mark.parametrize("space", ["linalg", "fft", "special", "nn"])
def test_every_function_of_a_module_has_an_example_that_runs(space):
    """Those made by tables among them, which doctest does not find by itself."""
    module = getattr(lg, space)
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    for name in module.__all__:
        function = getattr(module, name)
        if isinstance(function, type):
            continue
        found = parser.get_doctest(function.__doc__, {}, f"{space}.{name}", None, 0)
        assert found.examples or name in ("digamma", "psi"), name
        printed = []
        runner.run(found, out=printed.append)
        assert not printed, "".join(printed)


def test_modules_imported_late_bring_what_is_listed():
    """Functions and methods are all known before the modules that make them are imported."""
    code = ("import importlib, pkgutil, lazygrad as lg\n"
            "from lazygrad import functions\n"
            "before = {*functions.FUNCTIONS, *vars(lg.Tensor)}\n"
            "for found in pkgutil.iter_modules(functions.__path__):\n"
            "    importlib.import_module(f'lazygrad.functions.{found.name}')\n"
            "print(*sorted({*functions.FUNCTIONS, *vars(lg.Tensor)} ^ before))\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

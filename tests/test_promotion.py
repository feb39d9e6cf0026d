"""Promotion: the dtype of every mixture of arrays and Python numbers, and that no needless Terms are built."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import dtypes
from lazygrad.errors import DTypeError
from lazygrad.functions import FUNCTIONS
from lazygrad.functions.promotion import broadcast_shapes, pair
from lazygrad.ir.aval import aval
from lazygrad.prims.leaf import constant

F = SimpleNamespace(**FUNCTIONS)
NUMERIC = [d for d in dtypes.DTYPES if d.kind != "b"]


def of(dtype):
    return lg.tensor(np.array([1, 2], dtype))


# The Array API standard's tables: "Type promotion rules", one line for each kind
STANDARD = {
    ("int8", "int16"): "int16", ("int8", "int64"): "int64", ("int16", "int32"): "int32", ("uint8", "uint32"): "uint32", ("uint16", "uint64"): "uint64",
    ("int8", "uint8"): "int16", ("int8", "uint16"): "int32", ("int8", "uint32"): "int64", ("int16", "uint8"): "int16", ("int32", "uint16"): "int32",
    ("int64", "uint32"): "int64", ("int32", "uint32"): "int64", ("float32", "float64"): "float64", ("float32", "complex64"): "complex64",
    ("float64", "complex64"): "complex128", ("float32", "complex128"): "complex128", ("complex64", "complex128"): "complex128",
}


@pytest.mark.parametrize("a,b", STANDARD)
def test_arrays_promote_by_the_standard(a, b):
    want = np.dtype(STANDARD[a, b])
    assert (of(a) + of(b)).dtype == (of(b) + of(a)).dtype == want
    assert F.concatenate([of(a), of(b)]).dtype == F.where(of(a) > 0 if a[0] != "c" else True, of(a), of(b)).dtype == want


@pytest.mark.parametrize("a", dtypes.DTYPES)
@pytest.mark.parametrize("b", dtypes.DTYPES)
def test_promotion_is_numpys_within_kinds(a, b):
    got = dtypes.promote(a, b)
    assert got == dtypes.promote(b, a)
    if (a.kind in "biu") == (b.kind in "biu"):
        assert got == np.promote_types(a, b)
    else:                                                  # an integer beside a float takes the float's width
        assert got == (a if a.kind in "fc" else b)


@pytest.mark.parametrize("dtype", NUMERIC)
def test_python_numbers_are_weak(dtype):
    assert (of(dtype) + 1).dtype == (1 + of(dtype)).dtype == (of(dtype) * True).dtype == dtype
    assert (of(dtype) + 1.5).dtype == (dtype if dtype.kind in "fc" else np.float32)
    if dtype != np.float16:
        assert (of(dtype) + 1j).dtype == {"float64": "complex128", "complex128": "complex128"}.get(dtype.name, "complex64")


@pytest.mark.parametrize("dtype", NUMERIC)
def test_values_survive_promotion(dtype):
    np.testing.assert_array_equal(np.asarray(of(dtype) + of("int8")), [2, 4])
    np.testing.assert_array_equal(np.asarray(3 - of(dtype)), np.array(3 - np.array([1, 2])).astype(dtype))


def test_bools_beside_numbers():
    x = of("bool")
    assert (x + 1).dtype == np.int64 and (x + 1.0).dtype == np.float32 and (x + True).dtype == np.bool_
    np.testing.assert_array_equal(np.asarray(x + 1), [2, 2])


def test_numpy_scalars_and_arrays_keep_their_dtype():
    assert (of("float32") + np.float64(1)).dtype == np.float64
    assert (np.float64(1) + of("float32")).dtype == np.float64
    assert (of("float32") + np.ones(2)).dtype == np.float64
    assert (np.ones(2, np.float32) * of("float16")).dtype == np.float32


def test_two_numbers_alone_have_default_dtypes():
    assert F.add(1, 2).dtype == np.int64
    assert F.add(1, 2.5).dtype == np.float32
    assert F.multiply(1j, 2).dtype == np.complex64
    np.testing.assert_array_equal(np.asarray(F.add(1, 2.5)), 3.5)


def test_division_and_comparison():
    assert (of("int64") / of("int64")).dtype == (of("int8") / 2).dtype == np.float32
    assert (of("float64") / of("int64")).dtype == np.float64
    assert (of("int8") < of("float64")).dtype == np.bool_


@pytest.mark.parametrize("dtype,value", [("uint8", 300), ("uint8", -1), ("int8", 128), ("int64", 2**63)])
def test_numbers_that_do_not_fit_are_errors(dtype, value):
    with pytest.raises(DTypeError, match="holds"):
        _ = of(dtype) + value


@pytest.mark.parametrize("shapes", [((3, 1), (4,)), ((), (2, 0)), ((1,), (0,)), ((5, 1, 3), (2, 1)), ((), ()), ((2, 3),)])
def test_shapes_broadcast_like_numpy(shapes):
    assert broadcast_shapes("f", *shapes) == np.broadcast_shapes(*shapes)


def test_operands_that_match_are_passed_through():
    x, y = of("float32").term, of("float32").term
    assert pair("f", x, y) == (x, y)
    a, b = pair("f", x, 2)
    assert a is x and b is constant(2.0, (2,), dtypes.float32)          # no cast and no broadcast of a number


def test_constants_broadcast_to_constants():
    a, b = pair("f", constant(1, (), dtypes.float32), of("float32").term)
    assert a.op.name == "full" and a.aval is b.aval is aval((2,), dtypes.float32)


def test_zero_dimensional_arrays_are_not_weak():
    assert (of("float32") + lg.tensor(np.array(1.0))).dtype == np.float64


def test_reductions_and_means():
    assert F.mean(of("int64")).dtype == np.float32
    assert F.mean(of("float16")).dtype == np.float16
    assert F.sum(of("bool")).dtype == np.int64
    assert F.sum(of("uint16")).dtype == np.uint64
    assert F.argmax(of("int8")).dtype == np.int64
    assert F.sum(of("complex64")).dtype == np.complex64


def test_casts_name_dtypes_in_every_way():
    x = of("int64")
    for name, want in [("float32", "float32"), (np.float64, "float64"), (np.dtype("int8"), "int8"), (bool, "bool"), (float, "float32"), (int, "int64"), (complex, "complex64")]:
        assert x.astype(name).dtype == np.dtype(want)
    for name in ("str", "datetime64[s]", "nonsense", object, None):
        with pytest.raises(DTypeError):
            x.astype(name)

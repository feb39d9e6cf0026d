"""The dtypes: NumPy's dtype objects under the Array API's names, and the promotion table.

A dtype is a `numpy.dtype` everywhere in the package; nothing here knows about devices.
"""

from __future__ import annotations

import numpy as np

bool_ = np.dtype("bool")
int8, int16, int32, int64 = (np.dtype(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
float16, float32, float64 = (np.dtype(f"float{n}") for n in (16, 32, 64))
complex64, complex128 = np.dtype("complex64"), np.dtype("complex128")

SIGNED = (int8, int16, int32, int64)
UNSIGNED = (uint8, uint16, uint32, uint64)
INTEGERS = SIGNED + UNSIGNED
FLOATS = (float16, float32, float64)
COMPLEX = (complex64, complex128)
INEXACT = FLOATS + COMPLEX
DTYPES = (bool_, *INTEGERS, *INEXACT)
NAMES = {d.name: d for d in DTYPES}

DEFAULT_FLOAT, DEFAULT_INT, DEFAULT_COMPLEX = float32, int64, complex64


def is_inexact(dtype: np.dtype) -> bool:
    """Whether values of `dtype` have derivatives (floating or complex)."""
    return dtype.kind in "fc"


def promote(a: np.dtype, b: np.dtype) -> np.dtype:
    """The dtype of `a op b` by the Array API rules, None where the standard leaves it open or forbids it.

    Within a kind the wider wins; signed with unsigned gives the signed dtype that holds both; an integer with a
    float gives the float, bool gives way to everything (NumPy's practice where the standard is silent). NumPy
    differs in one place, an integer with a float (int32 with float32 is float64 there): Python programs on arrays
    want the float's own width, as PyTorch and JAX do.

    >>> promote(int32, float32), promote(uint8, int8), promote(bool_, int16)
    (dtype('float32'), dtype('int16'), dtype('int16'))
    """
    if a is b or a == b:
        return a
    if a.kind in "biu" and b.kind in "fc":
        return b
    if b.kind in "biu" and a.kind in "fc":
        return a
    if {a.kind, b.kind} == {"i", "u"} and uint64 in (a, b):
        return float64                  # no integer holds both: NumPy's answer
    return np.promote_types(a, b)


def weak(value: bool | int | float | complex, other: np.dtype) -> np.dtype:
    """The dtype a Python number takes beside an array of dtype `other` (it never widens within a kind).

    >>> weak(2, float32), weak(2.0, int32), weak(1j, float64), weak(True, int8)
    (dtype('float32'), dtype('float32'), dtype('complex128'), dtype('int8'))
    """
    if isinstance(value, complex):
        return other if other.kind == "c" else (complex128 if other == float64 else DEFAULT_COMPLEX)
    if isinstance(value, float):
        return other if other.kind in "fc" else DEFAULT_FLOAT
    if isinstance(value, bool):
        return other
    return DEFAULT_INT if other.kind == "b" else other

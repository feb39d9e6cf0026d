"""Every error of the user-level functions, as text: `op: what came: what is wrong; what would do`."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import errors as E
from lazygrad.functions import FUNCTIONS

F = SimpleNamespace(**FUNCTIONS)


def t(*shape, d="float64"):
    return lg.tensor(np.ones(shape, d))


def indices(*values):
    return lg.tensor(np.array(values))


CASES = [
    (lambda: t(3, 4) + t(5), E.ShapeError, 'add: (3, 4) and (5,): shapes do not broadcast, axis -1 is 4 and 5; reshape one operand'),
    (lambda: t(2, 3) * t(3, 2), E.ShapeError, 'multiply: (2, 3) and (3, 2): shapes do not broadcast, axis -2 is 2 and 3; reshape one operand'),
    (lambda: t(3) == t(2), E.ShapeError, 'equal: (3,) and (2,): shapes do not broadcast, axis -1 is 3 and 2; reshape one operand'),
    (lambda: F.where(t(2) > 0, t(3), 1.0), E.ShapeError,
     'where: (2,), (3,) and (): shapes do not broadcast, axis -1 is 2 and 3; reshape one operand'),
    (lambda: F.clip(t(3), t(2), None), E.ShapeError, 'clip: (3,) and (2,): shapes do not broadcast, axis -1 is 3 and 2; reshape one operand'),
    (lambda: F.broadcast_arrays(t(2), t(3), t(4)), E.ShapeError,
     'broadcast_arrays: (2,), (3,) and (4,): shapes do not broadcast, axis -1 is 2 and 3; reshape one operand'),
    (lambda: t(2) & t(2), E.DTypeError, 'bitwise_and: float64: bits exist in integers and bools only; cast to an integer dtype'),
    (lambda: t(2) | 1, E.DTypeError, 'bitwise_or: float64: bits exist in integers and bools only; cast to an integer dtype'),
    (lambda: ~t(2), E.DTypeError, 'bitwise_invert: float64: bits exist in integers and bools only; cast to an integer dtype'),
    (lambda: t(2) << 1, E.DTypeError, 'bitwise_left_shift: float64: bits exist in integers and bools only; cast to an integer dtype'),
    (lambda: -t(2, d="bool"), E.DTypeError, 'negative: bool: bools have no minus; use ^ or ~, or cast to an integer dtype'),
    (lambda: t(2, d="bool") - t(2, d="bool"), E.DTypeError, 'subtract: bool: bools have no minus; use ^ or ~, or cast to an integer dtype'),
    (lambda: t(2, d="complex64") < 1, E.DTypeError, 'less: complex64: complex numbers have no order; compare abs, real or imag'),
    (lambda: F.maximum(t(2, d="complex64"), 0), E.DTypeError, 'maximum: complex64: complex numbers have no order; compare abs, real or imag'),
    (lambda: F.fmin(t(2, d="complex64"), 0), E.DTypeError, 'fmin: complex64: complex numbers have no order; compare abs, real or imag'),
    (lambda: F.relu(t(2, d="complex64")), E.DTypeError, 'relu: complex64: complex numbers have no order; compare abs, real or imag'),
    (lambda: F.round(t(2, d="complex64")), E.DTypeError, 'round: complex64: complex numbers are not rounded; round real and imag'),
    (lambda: indices(1, 2) ** -1, E.DTypeError, 'power: int64 ** -1: an integer to a negative power is no integer; use a float tensor or exponent'),
    (lambda: t(2, d="uint8") + 256, E.DTypeError, 'add: 256 with uint8: uint8 holds 0 to 255; cast the tensor to a wider dtype'),
    (lambda: F.gelu(t(2), "sigmoid"), E.DTypeError, 'gelu: approximate=\'sigmoid\': there is no such approximation; pass "none" or "tanh"'),
    (lambda: t(2).astype("str"), E.DTypeError,
     "astype: dtype 'str': it is not a dtype of tensors; pass one of bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128"),
    (lambda: F.zeros(2, dtype="float128"), E.DTypeError,
     "zeros: dtype 'float128': it is not a dtype of tensors; pass one of bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128"),
    (lambda: F.floor(t(2, d="complex64")), E.DTypeError, 'floor: complex64[2]: complex64 is not a floating-point dtype; cast the argument first'),
    (lambda: F.erf(t(2, d="complex64")), E.DTypeError, 'erf: complex64[2]: complex64 is not a floating-point dtype; cast the argument first'),
    (lambda: t(2, 3).sum(axis=2), E.AxisError, 'sum: axis 2: the array has 2 dimensions; use -2 to 1'),
    (lambda: t(2, 3).sum(axis=(0, -2)), E.AxisError, 'sum: axis (0, -2): an axis is named twice; name each axis once'),
    (lambda: t(2, 3).sum(axis=1.5), E.AxisError, 'sum: axis 1.5: an axis is an integer'),
    (lambda: F.mean(t(3), axis=-2), E.AxisError, 'mean: axis -2: the array has 1 dimension; use -1 to 0'),
    (lambda: t().sum(axis=0), E.AxisError, 'sum: axis 0: the array has 0 dimensions'),
    (lambda: t(0, 3).max(), E.ShapeError, 'max: (0, 3): no elements have no max; check the shape first'),
    (lambda: t(0, 3).min(axis=0), E.ShapeError, 'min: (0, 3): no elements have no min; check the shape first'),
    (lambda: F.argmax(t(0)), E.ShapeError, 'argmax: (0,): no elements have no largest or smallest; check the shape first'),
    (lambda: F.argmin(t(2), axis=1), E.AxisError, 'argmin: axis 1: the array has 1 dimension; use -1 to 0'),
    (lambda: F.softmax(t(2, 3), axis=5), E.AxisError, 'softmax: axis 5: the array has 2 dimensions; use -2 to 1'),
    (lambda: F.logsumexp(t(0)), E.ShapeError, 'logsumexp: (0,): no elements have no logsumexp; check the shape first'),
    (lambda: F.logsumexp(t(2, d="complex64")), E.DTypeError, 'logsumexp: complex64: complex numbers have no order; use real and imag parts'),
    (lambda: F.cumulative_sum(t(2, 3)), E.AxisError, 'cumulative_sum: axis None of (2, 3): only 1-d arrays need no axis; pass axis'),
    (lambda: F.cumsum(t(2), axis=1), E.AxisError, 'cumsum: axis 1: the array has 1 dimension; use -1 to 0'),
    (lambda: F.diff(t(2), axis=3), E.AxisError, 'diff: axis 3: the array has 1 dimension; use -1 to 0'),
    (lambda: t(2, 3).reshape(4), E.ShapeError, 'reshape: (2, 3) to (4,): 6 elements do not fill it; the products of both shapes must be equal'),
    (lambda: t(2, 3).reshape(-1, -1), E.ShapeError, 'reshape: (2, 3) to (-1, -1): only one size may be unknown; give the others'),
    (lambda: t(2, 3).reshape(4, -1), E.ShapeError,
     'reshape: (2, 3) to (4, -1): 6 elements do not fill it; the products of both shapes must be equal'),
    (lambda: t(2, 3).reshape("a"), E.ShapeError, "reshape: shape 'a': a shape is made of integers"),
    (lambda: t(2, 3).squeeze(1), E.ShapeError, 'squeeze: axis 1 of (2, 3): its size is 3, not 1; squeeze axes of size 1 only'),
    (lambda: F.expand_dims(t(2), 4), E.AxisError, 'expand_dims: axis 4: the array has 2 dimensions; use -2 to 1'),
    (lambda: F.broadcast_to(t(2, 3), (3, 2)), E.ShapeError,
     "broadcast_to: (2, 3) to (3, 2): every axis must be 1 or as long as the target's; reshape it first"),
    (lambda: F.broadcast_to(t(2, 3), (3,)), E.ShapeError,
     "broadcast_to: (2, 3) to (3,): every axis must be 1 or as long as the target's; reshape it first"),
    (lambda: t(2, 3).permute(0, 0), E.AxisError, 'permute_dims: axis (0, 0): an axis is named twice; name each axis once'),
    (lambda: t(2, 3).permute(0), E.AxisError, 'permute_dims: axes (0,) of (2, 3): every axis must be named once; name 2 axes'),
    (lambda: t(2).transpose(1, 0), E.AxisError, 'transpose: axis 1: the array has 1 dimension; use -1 to 0'),
    (lambda: F.matrix_transpose(t(2)), E.ShapeError, 'matrix_transpose: (2,): a matrix has two axes; reshape it first'),
    (lambda: F.moveaxis(t(2, 3), (0, 1), 0), E.AxisError, 'moveaxis: (0, 1) to 0: they name differently many axes; name as many in both'),
    (lambda: F.concatenate([t(2, 3), t(3, 2)]), E.ShapeError,
     'concatenate: (2, 3) and (3, 2) (operand 1) along axis 0: they may differ in that axis only; reshape or pad one'),
    (lambda: F.concatenate([]), E.ShapeError, 'concatenate: no arrays: at least one is needed; pass a list of tensors'),
    (lambda: F.concatenate([t(2)], axis=1), E.AxisError, 'concatenate: axis 1: the array has 1 dimension; use -1 to 0'),
    (lambda: F.concatenate(t(2)), E.DataError, 'concatenate: Tensor: a list or tuple of tensors is expected'),
    (lambda: F.stack([t(2), t(3)]), E.ShapeError, 'stack: (2,) and (3,): the shapes differ; broadcast them first'),
    (lambda: F.split(t(5), 2), E.ShapeError, 'split: (5,) along axis 0: 5 is no multiple of 2; pass positions to cut at instead'),
    (lambda: F.repeat(t(3), (1, 2)), E.ShapeError, 'repeat: 2 counts for axis 0 of (3,): its size is 3; pass one count, or one for every slice'),
    (lambda: F.pad(t(3), (1, 2, 3)), E.ShapeError,
     'pad: pad_width (1, 2, 3) of (3,): it is neither n, (before, after) nor one pair for every axis; pass widths of 0 or more'),
    (lambda: F.pad(t(3), -1), E.ShapeError,
     'pad: pad_width -1 of (3,): it is neither n, (before, after) nor one pair for every axis; pass widths of 0 or more'),
    (lambda: F.pad(t(3), 1, mode="best"), E.OptionError,
     "pad: mode 'best': there is no such mode; use one of constant, edge, empty, wrap, linear_ramp, reflect, symmetric, maximum, mean, median, minimum"),
    (lambda: F.tril(t(3)), E.ShapeError, 'tril: (3,): a matrix has two axes; reshape it first'),
    (lambda: F.diagonal(t(3, 3), 0, 1, 1), E.AxisError, 'diagonal: axes 1 and 1: an axis is named twice; name two axes'),
    (lambda: F.diag(t(2, 2, 2)), E.ShapeError, 'diag: (2, 2, 2): it is neither a vector nor a matrix; use diagonal'),
    (lambda: F.roll(t(2), (1, 2), (0, 0, 0)), E.AxisError,
     'roll: shift (1, 2) along axis (0, 0, 0): they are differently many; give one shift for every axis'),
    (lambda: F.flatten(t(2, 3), 1, 0), E.AxisError, 'flatten: axes 1 to 0: the end lies before the start; exchange them'),
    (lambda: F.zeros((2, -1)), E.ShapeError, 'zeros: shape (2, -1): a size is negative; pass sizes of 0 or more'),
    (lambda: F.zeros("a"), E.ShapeError, "zeros: shape 'a': a shape is made of integers"),
    (lambda: F.arange(1, 2, 0), E.ShapeError, 'arange: 1 to 2 by 0: it would never end; pass another step'),
    (lambda: F.linspace(0, 1, -1), E.ShapeError, 'linspace: num=-1: a count is negative; pass 0 or more'),
    (lambda: F.full(2, t(2)), E.ShapeError, 'full: a value of shape (2,): one number fills an array; use broadcast_to'),
    (lambda: F.meshgrid(t(2, 2)), E.ShapeError, 'meshgrid: (2, 2): a coordinate is a 1-d array; ravel it first'),
    (lambda: F.meshgrid(t(2), indexing="ab"), E.DTypeError, 'meshgrid: indexing=\'ab\': there is no such order; pass "xy" or "ij"'),
    (lambda: t(3, 4) @ t(5, 6), E.ShapeError, 'matmul: (3, 4) @ (5, 6): inner sizes 4 and 5 differ; transpose one operand or reshape'),
    (lambda: t(3) @ t(4), E.ShapeError, 'matmul: (3,) @ (4,): inner sizes 3 and 4 differ; transpose one operand or reshape'),
    (lambda: t() @ t(3), E.ShapeError, 'matmul: () @ (3,): a scalar is no matrix; multiply with *'),
    (lambda: t(2, 3, 4) @ t(3, 4, 5), E.ShapeError,
     'matmul: (2, 3, 4) @ (3, 4, 5): the batch axes (2,) and (3,) do not broadcast; reshape one operand'),
    (lambda: F.dot(t(2, 3), t(2, 3)), E.ShapeError, 'dot: (2, 3) and (2, 3): inner sizes 3 and 2 differ; transpose one operand or reshape'),
    (lambda: F.tensordot(t(2, 3), t(2, 3), 1), E.ShapeError,
     'tensordot: (2, 3) and (2, 3) over axes (1,) and (0,): the sizes of these axes differ; name axes of equal sizes'),
    (lambda: F.tensordot(t(2), t(2), 2), E.ShapeError, 'tensordot: (2,) and (2,): they have no 2 axes in common; name fewer axes'),
    (lambda: F.vecdot(t(2), t(3)), E.ShapeError, 'vecdot: (2,) and (3,): axis -1 is 2 and 3; slice one'),
    (lambda: t(2, 3).expm(), E.SquareError, 'expm: (2, 3): the last two axes must be equally long; pass square matrices (..., n, n)'),
    (lambda: F.inv(t(2, 3)), E.SquareError, 'inv: (2, 3): the last two axes must be equally long; pass square matrices (..., n, n)'),
    (lambda: F.det(t(2)), E.SquareError, 'det: (2,): the last two axes must be equally long; pass square matrices (..., n, n)'),
    (lambda: F.expm(t(2, 2, d="float16")), E.DTypeError, 'expm: float16: float16 matrices have no expm; cast to float32'),
    (lambda: F.solve(t(2, 2), t(3)), E.ShapeError, 'solve: (2, 2) and (3,): the right side has no 2 rows; transpose or reshape it'),
    (lambda: F.matrix_power(t(2, 3), 2), E.SquareError,
     'matrix_power: (2, 3): the last two axes must be equally long; pass square matrices (..., n, n)'),
    (lambda: F.einsum("ij,jk->ik", t(2, 3)), E.ShapeError, "einsum: 'ij,jk->ik': it names 2 operands, 1 came; pass one operand for each"),
    (lambda: F.einsum("ij,jk->ik", t(2, 3), t(4, 5)), E.ShapeError,
     "einsum: 'ij,jk->ik': axis 'j' is 3 and 4 (operand 1, (4, 5)); equal letters need equal sizes"),
    (lambda: F.einsum("ijk->i", t(2, 3)), E.ShapeError,
     "einsum: 'ijk->i': 'ijk' names 3 axes, operand 0 has shape (2, 3); name every axis once, or use '...'"),
    (lambda: F.einsum("ij->k", t(2, 3)), E.ShapeError, "einsum: 'ij->k': the output's 'k' is in no operand; name axes of the operands"),
    (lambda: F.einsum("ij->ii", t(2, 3)), E.ShapeError, "einsum: 'ij->ii': the output names an axis twice; name each axis once"),
    (lambda: F.einsum("i$->i", t(2, 3)), E.ShapeError, "einsum: 'i$->i': '$' names no axis; use letters, commas, '...' and '->'"),
    (lambda: F.einsum("...i->i", t(2, 3)), E.ShapeError,
     "einsum: '...i->i': the output has no '...' for that of the operands; write '...' on the right"),
    (lambda: F.einsum("ii", t(2, 3)), E.ShapeError, "einsum: 'ii': axis 'i' is 2 and 3 (operand 0, (2, 3)); equal letters need equal sizes"),
    (lambda: t(2, 3)[2], E.IndexingError, 'getitem: index 2: axis 0 has 2 elements; use -2 to 1'),
    (lambda: t(2, 3)[0, -4], E.IndexingError, 'getitem: index -4: axis 1 has 3 elements; use -3 to 2'),
    (lambda: t(2, 3)[0, 0, 0], E.IndexingError, 'getitem: 3 indices for (2, 3): it has 2 axes; use fewer indices'),
    (lambda: t(2, 3)[..., ...], E.IndexingError, "getitem: two '...': only one can stand for all other axes; use ':' for the others"),
    (lambda: t(2, 3)[::0], E.IndexingError, 'getitem: slice(None, None, 0): slice step cannot be zero; use integers, and a step other than 0'),
    (lambda: t(2, 3)["a"], E.IndexingError,
     'getitem: an index of type str: it cannot index; use integers, slices, ..., None, boolean or integer arrays'),
    (lambda: t(2, 3)[1.5], E.IndexingError,
     'getitem: an index of type float: it cannot index; use integers, slices, ..., None, boolean or integer arrays'),
    (lambda: t(2, 3)[[0.5]], E.IndexingError, 'getitem: an index array of float64: indices are integers or booleans; cast it to int64'),
    (lambda: t(2, 3)[[0, 7]], E.IndexingError, 'getitem: index 7: axis 0 has 2 elements; use -2 to 1'),
    (lambda: t(2, 3)[:, np.array([3])], E.IndexingError, 'getitem: index 3: axis 1 has 3 elements; use -3 to 2'),
    (lambda: t(2, 3)[t(2, 3)], E.IndexingError, 'getitem: an index array of float64: indices are integers or booleans; cast it to int64'),
    (lambda: t(2, 3)[np.array([True, False, True])], E.IndexingError,
     'getitem: a boolean mask of (3,) on axes 0 and up of (2, 3): their sizes differ; make the mask from an array of that shape'),
    (lambda: t(2, 3)[indices(0), indices(0), indices(0)], E.IndexingError, 'getitem: 3 indices for (2, 3): it has 2 axes; use fewer indices'),
    (lambda: t(2, 3)[indices(0, 1), indices(0, 1, 2)], E.ShapeError, 'getitem: (2,) and (3,): shapes do not broadcast, axis -1 is 2 and 3; reshape one operand'),
    (lambda: t(2, 3).at[0].set(t(2)), E.ShapeError, 'setitem: a value of (2,) into places of (3,): shapes do not broadcast; reshape the value'),
    (lambda: t(2, 3).at[[0, 1]].add(t(4, 1, 3)), E.ShapeError,
     'setitem: a value of (4, 1, 3) into places of (2, 3): shapes do not broadcast; reshape the value'),
    (lambda: t(2, 3).at[np.array([True])].set(1), E.IndexingError,
     'setitem: a boolean mask of (1,) on axes 0 and up of (2, 3): their sizes differ; make the mask from an array of that shape'),
    (lambda: t(2, 3).at[0].set(1j), E.DTypeError, 'setitem: 1j into float64: the imaginary part would be lost; write its real part'),
    (lambda: F.take(t(3), t(2)), E.IndexingError, 'take: an index array of float64: indices are integers; cast it to int64'),
    (lambda: F.take(t(3), indices(0), axis=1), E.AxisError, 'take: axis 1: the array has 1 dimension; use -1 to 0'),
    (lambda: F.take_along_axis(t(2, 3), indices(0, 1)), E.ShapeError,
     'take_along_axis: (2, 3) and indices of (2,): they need as many axes; reshape the indices'),
    (lambda: F.gather(t(2, 3), 0, indices(0)), E.ShapeError, 'gather: (2, 3) and indices of (1,): they need as many axes; reshape the indices'),
    (lambda: F.topk(t(3), 4), E.ShapeError, 'topk: k=4: axis 0 has 3 elements; ask for fewer'),
    (lambda: F.sort(t(3), axis=1), E.AxisError, 'sort: axis 1: the array has 1 dimension; use -1 to 0'),
    (lambda: F.searchsorted(t(2, 2), 1.0), E.ShapeError, 'searchsorted: (2, 2): it must be 1-d; search its rows one by one'),
    (lambda: F.searchsorted(t(2), 1.0, "middle"), E.DTypeError, 'searchsorted: side=\'middle\': there is no such side; pass "left" or "right"'),
    (lambda: F.nonzero(t()), E.ShapeError, 'nonzero: (): a scalar has no positions; use atleast_1d'),
    (lambda: F.add(t(2), [[1], [1, 2]]), E.DataError,
     'add: list: setting an array element with a sequence. The requested array has an inhomogeneous shape after 1 dimensions; pass numbers of one rectangular shape'),
    (lambda: F.exp("a"), E.DataError, 'exp: str: these are no numbers (NumPy sees dtype <U1); pass numbers'),
]


@pytest.mark.parametrize("call,kind,text", CASES, ids=[text.split(":")[0] + str(k) for k, (_, _, text) in enumerate(CASES)])
def test_errors_say_what_came_what_is_wrong_and_what_would_do(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == text
    assert type(caught.value) is kind


def test_errors_are_the_built_in_ones_too():
    with pytest.raises(ValueError):
        t(3) + t(2)
    with pytest.raises(TypeError):
        t(3) & t(3)
    with pytest.raises(IndexError):
        t(3)[5]
    with pytest.raises(TypeError, match="unsupported operand"):
        t(3) + "a"


def test_operands_of_two_graphs_are_named():
    with pytest.raises(E.GraphError, match=r"add: .*: the operands belong to two graphs"):
        lg.Graph().tensor([1.0]) + t(1)


def test_errors_name_the_users_line():
    with pytest.raises(E.ShapeError) as caught:
        t(3) + t(2)          # this line
    assert any("test_errors.py" in note and "this line" in note for note in caught.value.__notes__)


def test_nothing_of_a_failed_call_is_kept():
    x = t(3)
    for _ in range(3):
        with pytest.raises(E.ShapeError):
            x + t(2)
    np.testing.assert_array_equal(np.asarray(x + t(3)), [2, 2, 2])

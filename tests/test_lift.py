"""Lifting rules to functions: what arrives in a rule, what a memo may and may not confuse, lines in errors, no_grad, speed."""

import inspect
import math
import time

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import Graph, Tensor, lift
from lazygrad.errors import DataError, GraphError
from lazygrad.ir.term import Term, sweep
from lazygrad.lift import FUNCTIONS, Operand, Terms, frozen, normal, operation
from lazygrad.prims import elementwise as E
from lazygrad.prims.leaf import constant
from lazygrad.prims.movement import broadcast_to

SEEN: list = []


@pytest.fixture
def graph():
    sweep()                      # slots come back, so other tests' calls would be known
    SEEN.clear()
    return Graph()


@pytest.fixture(scope="module", autouse=True)
def restore():
    before = dict(FUNCTIONS)
    yield
    FUNCTIONS.clear()
    FUNCTIONS.update(before)


@operation()
def keep(x: Term, axis=None, *, flag=False) -> Term:
    """Keeps x.

    >>> 1 + 1
    2
    """
    SEEN.append((axis, flag))
    return E.neg(x)


@operation()
def join(x: Operand, y: Operand) -> Term:
    SEEN.append((x, y))
    t = x if isinstance(x, Term) else y
    x, y = (v if isinstance(v, Term) else constant(v, (), t.aval.dtype) for v in (x, y))
    shape = np.broadcast_shapes(x.aval.shape, y.aval.shape)
    x, y = (v if v.aval.shape == shape else broadcast_to(v, shape=shape) for v in (x, y))
    return E.add(x, y)


@operation()
def gather_all(xs: Terms, k=0) -> Term:
    SEEN.append(xs)
    return xs[k]


@operation()
def both(x: Term) -> tuple[Term, Term]:
    SEEN.append(x)
    return E.neg(x), E.exp(x)


@operation()
def optional(x: Term, w: "Term | None" = None) -> Term:
    SEEN.append(w)
    return E.neg(x) if w is None else E.mul(x, w)


@operation()
def make(n, dtype=None) -> Term:
    SEEN.append(n)
    return constant(1.0, (n,), np.dtype("float32"))


@operation()
def variadic(*xs: Operand) -> Term:
    SEEN.append(xs)
    return E.neg(xs[0])


def test_signature_and_docstring_stay():
    assert keep.__name__ == "keep" and keep.__doc__.startswith("Keeps x.") and keep.__module__ == __name__
    assert list(inspect.signature(keep).parameters) == ["x", "axis", "flag"]


def test_a_rule_runs_once_for_equal_calls(graph):
    x = graph.tensor([1.0, 2.0])
    for _ in range(5):
        assert keep(x).tolist() == [-1, -2]
        keep(x, 1)
        keep(x, axis=1)
        keep(x, 1, flag=True)
    assert SEEN == [(None, False), (1, False), (1, True)]


def test_parameters_may_have_any_name(graph):
    @operation()
    def named(h: Term, k=0, t=1, f=2, c=3, *, key=4, args=5) -> Term:
        SEEN.append((k, t, f, c, key, args))
        return E.neg(h)

    @operation()
    def paired(t: Operand, k: Operand) -> Term:
        return E.sub(t, k)
    @operation()
    def shadowing(x: Term, memo=0, frame=1, slow=2) -> Term:
        return E.exp(x) if (memo, frame, slow) == (0, 1, 2) else E.neg(x)
    x, y = graph.tensor([1.0]), graph.tensor([5.0])
    assert shadowing(x, frame=2).tolist() == [-1] and shadowing(x).item() == pytest.approx(math.e)
    for _ in range(2):
        named(x)
        named(x, -1, t=7, args=9)
        assert paired(x, y).tolist() == [-4]
    assert SEEN == [(0, 1, 2, 3, 4, 5), (-1, 7, 2, 3, 4, 9)]


def test_statics_arrive_normalised(graph):
    x = graph.tensor([1.0])
    keep(x, [1, np.int64(2)])
    keep(x, np.int32(3))
    keep(x, slice(np.int64(1), None))
    keep(x, np.dtype("float32"))
    assert [s[0] for s in SEEN] == [(1, 2), 3, slice(1, None), np.dtype("float32")]
    assert type(SEEN[0][0][1]) is int and type(SEEN[1][0]) is int


@pytest.mark.parametrize("values", [
    (1, 1.0, True, 1 + 0j), (0.0, -0.0, 0, False), ((1, 2), (True, 2), (1.0, 2)), ("a", ("a",)), (None, 0, False), ((1, (2,)), (1, 2)),
    (slice(1, 2), slice(True, 2), (1, 2)),
])
def test_equal_statics_of_other_kinds_are_other_calls(graph, values):
    x = graph.tensor([1.0])
    for _ in range(2):
        for v in values:
            keep(x, v)
    assert len(SEEN) == len(values)
    assert [repr(s[0]) for s in SEEN] == [repr(v) for v in values]


def test_numbers_of_other_kinds_are_other_calls(graph):
    x = graph.tensor([1.0])
    for _ in range(2):
        for v in (1, 1.0, True, 1 + 0j, 0.0, -0.0):
            if not isinstance(v, complex):
                join(x, v)
    assert [repr(y) for _, y in SEEN] == ["1", "1.0", "True", "0.0", "-0.0"]


def test_nan_is_not_remembered(graph):
    x = graph.tensor([1.0])
    for _ in range(3):
        assert math.isnan(join(x, math.nan).item())
    assert len(SEEN) == 3
    keep(x, math.nan)
    keep(x, math.nan)
    assert len(SEEN) == 5


def test_changing_numbers_become_leaves(graph):
    x = graph.tensor([1.0])
    for i in range(12):
        h = join(x, i + 0.5)
        assert h.item() == 1.0 + i + 0.5 and h.dtype == np.float32
    kinds = [isinstance(y, Term) for _, y in SEEN[:8]]
    assert kinds == [False] * 8
    terms = {y for _, y in SEEN[8:] if isinstance(y, Term)}
    assert terms and all(t.aval.dtype == np.float32 and t.aval.shape == () for t in terms)


def test_arrays_become_leaves_without_gradient(graph):
    x = graph.tensor([1.0, 2.0])
    h = join(x, np.array([10.0, 20.0], np.float32))
    assert h.tolist() == [11, 22]
    h = join([3.0, 4.0], x)
    assert h.tolist() == [4, 6] and h.graph is graph
    t = SEEN[-1][0]
    assert isinstance(t, Term) and not t.needs_grad
    assert keep([1.0, 2.0]).graph is lg.tensor(1.0).graph


def test_numpy_scalars_are_typed(graph):
    x = graph.tensor([1.0])
    assert keep(np.float64(2)).dtype == np.float64
    assert join(x, np.float32(2)).tolist() == [3]
    assert isinstance(SEEN[-1][1], Term)


def test_lists_of_operands(graph):
    x, y = graph.tensor([1.0]), graph.tensor([2.0])
    for _ in range(3):
        assert gather_all([x, y, 3.0], k=1).tolist() == [2]
    assert [(x.term, y.term, 3.0)] == SEEN
    with pytest.raises(DataError, match="gather_all"):
        gather_all(x)


def test_several_results(graph):
    x = graph.tensor([1.0])
    for _ in range(3):
        a, b = both(x)
    assert a.tolist() == [-1] and b.item() == pytest.approx(math.e) and len(SEEN) == 1


def test_optional_operands(graph):
    x, w = graph.tensor([2.0]), graph.tensor([3.0])
    for _ in range(2):
        assert optional(x).tolist() == [-2]
        assert optional(x, w).tolist() == [6]
        assert optional(x, w=w).tolist() == [6]
        assert optional(x, None).tolist() == [-2]
    assert SEEN.count(None) <= 2 and len(SEEN) <= 3


def test_no_operands_and_many(graph):
    assert make(3).tolist() == [1, 1, 1] and make(n=2).shape == (2,)
    x, y = graph.tensor([1.0]), graph.tensor([2.0])
    assert variadic(x, y, 2.0).tolist() == [-1]
    assert variadic(y).tolist() == [-2]


def test_operands_keep_their_leaves(graph):
    h = variadic(graph.tensor([1.0]), graph.tensor([2.0]), graph.tensor([3.0]))
    assert h.tolist() == [-1] and len(graph.slots) == 3


def test_wrong_calls_are_type_errors(graph):
    x = graph.tensor([1.0])
    for bad in (lambda: keep(), lambda: keep(x, 1, 2), lambda: keep(x, nothing=1), lambda: join(x), lambda: x.sum(1, 2, 3, 4, 5, 6)):
        with pytest.raises(TypeError):
            bad()


def test_errors_name_the_users_line(graph):
    x, y = graph.tensor([1.0, 2.0]), graph.tensor([1.0, 2.0, 3.0])
    with pytest.raises(ValueError) as caught:
        x + y                                                    # the line in question
    (note,) = caught.value.__notes__
    assert note.startswith(f"  at {__file__}:") and note.endswith("x + y                                                    # the line in question")
    with pytest.raises(ValueError) as caught:
        lg.sum(x, axis=5)
    assert "lg.sum(x, axis=5)" in caught.value.__notes__[0]


def test_graphs_do_not_mix_in_lists(graph):
    with pytest.raises(GraphError, match="gather_all"):
        gather_all([graph.tensor(1.0), Graph().tensor(1.0)])
    with pytest.raises(GraphError, match="join"):
        join(graph.tensor(1.0), Graph().tensor(1.0))


def test_operators_leave_unknown_objects_to_themselves(graph):
    class Other:
        def __radd__(self, x):
            return "other"

        def __eq__(self, x):
            return "equal"
        __hash__ = None
    x = graph.tensor([1.0])
    assert x + Other() == "other"
    with pytest.raises(TypeError, match="unsupported operand"):
        x - object()
    with pytest.raises(TypeError, match="unsupported operand"):
        {} * x
    with pytest.raises(TypeError):
        lg.add(x, object())


def test_reflected_operators(graph):
    x = graph.tensor([2.0])
    a = np.array([10.0], np.float32)
    for _ in range(2):
        assert [(1 - x).item(), (8 / x).item(), (3 ** x).item(), (a - x).item(), ([10.0] - x).item(), (7 // x).item(), (7 % x).item()] == \
            [-1, 4, 9, 8, 8, 3, 1]


def test_results_of_no_grad_and_of_grad_do_not_mix(graph):
    x = graph.tensor([2.0])
    for _ in range(3):
        assert keep(x).requires_grad and join(x, x).requires_grad and join(x, 1.0).requires_grad
        with lg.no_grad():
            assert not keep(x).requires_grad and not join(x, x).requires_grad and not join(x, 1.0).requires_grad
            assert not any(t.requires_grad for t in both(x))


def test_methods_and_operators_are_attached():
    @operation(method=("first_name", "second_name"), operator="matmul_test")
    def named(x: Operand, y: Operand) -> Term:
        return E.add(x, y)
    assert Tensor.first_name is Tensor.second_name is named
    assert Tensor.__matmul_test__.__name__ == "__matmul_test__" and not hasattr(Tensor, "__rmatmul_test__")
    x = Graph().tensor([1.0])
    assert x.first_name(x).tolist() == [2]
    for name in ("first_name", "second_name", "__matmul_test__"):
        delattr(Tensor, name)


@pytest.mark.parametrize("value, expected", [([1, [2]], (1, (2,))), (np.bool_(True), True), (np.int8(3), 3), ("a", "a"), (2.5, 2.5)])
def test_normal(value, expected):
    assert normal(value) == expected and type(normal(value)) is type(expected)


def test_frozen_refuses_what_is_no_key():
    for bad in (math.nan, (1, math.nan), {}, np.zeros(2)):
        with pytest.raises(TypeError):
            frozen(bad)


def test_a_hit_costs_little(graph):
    """A generous bound (a shared machine): what is meant is that no rule, check or promotion runs."""
    x, y = graph.tensor([1.0]), graph.tensor([2.0])

    def chain():
        h = x
        for _ in range(500):
            h = h * y
            h = h + x
        return h
    chain()
    best = math.inf
    for _ in range(10):
        start = time.perf_counter()
        chain()
        best = min(best, time.perf_counter() - start)
    assert best / 1000 < 5e-6
    assert lift.DISTINCT == 8


# ---- calls of several operands, and lists of them ---------------------------------------------------------------------

@operation()
def three(c: Operand, x: Operand, y: Operand = 1.0, *, k=0) -> Term:
    SEEN.append((c, x, y, k))
    terms = [v for v in (c, x, y) if isinstance(v, Term)]
    return E.neg(terms[0]) if len(terms) == 1 else E.add(terms[0], terms[1])


def test_calls_of_three_operands_are_known_by_terms_numbers_and_statics(graph):
    x, y = graph.tensor([1.0]), graph.tensor([2.0])
    calls = [lambda: three(x, y), lambda: three(x, y, 2.0), lambda: three(x, y, 2), lambda: three(x, y, True), lambda: three(x, y, 0.0),
             lambda: three(x, y, -0.0), lambda: three(x, y, y), lambda: three(1.0, x, y), lambda: three(x, y, k=1), lambda: three(x, y, None)]
    for call in calls * 2:
        call()
    assert len(SEEN) == len(calls)
    z = three(x, y, y)
    assert z.a is x and z.b == (y, y) and z.tolist() == [3] and z.code is test_calls_of_three_operands_are_known_by_terms_numbers_and_statics.__code__


def test_a_nan_operand_is_never_taken_for_known(graph):
    x, y = graph.tensor([1.0]), graph.tensor([2.0])
    for _ in range(3):
        three(x, y, math.nan)
    assert len(SEEN) == 3


def test_a_number_where_a_term_is_expected_is_data_at_each_call(graph):
    x = graph.tensor([[2.0]])
    assert [optional(x, np.array([[v]], "float32")).item() for v in (3.0, 5.0, 3.0)] == [6, 10, 6]
    kept = [optional(x, [[float(v)]]) for v in range(4)]
    assert [k.item() for k in kept] == [0, 2, 4, 6]


def test_lists_of_operands_are_known_by_length_and_order(graph):
    x, y = graph.tensor([1.0]), graph.tensor([2.0])
    for _ in range(2):
        assert [gather_all([x, y]).item(), gather_all((y, x)).item(), gather_all([x]).item(), gather_all([x, y], k=1).item()] == [1, 2, 1, 2]
        assert gather_all([x, 2.0]).a is x
    assert len(SEEN) == 5


def test_new_terms_made_without_the_rule_are_those_of_the_rule(graph):
    x, y, i = graph.tensor([1.5, 2.5]), graph.tensor([0.5, 4.0]), graph.tensor([3, 4], dtype="int32")
    first, second = x * y, y * x                     # the second finds the Prim of the first
    assert second.term.op is E.mul and second.term.args == (y.term, x.term) and first.term is not second.term
    assert (i * 2).dtype == np.int32 and (i * 2.0).dtype == np.float32 and (i / i).dtype == np.float32
    assert [(x < y).tolist(), (y < x).tolist()] == [[False, True], [True, False]]
    assert [(x - 3).tolist(), (3 - y).tolist(), (0.5 ** x).tolist()[0]] == [[-1.5, -0.5], [2.5, -1.0], pytest.approx(0.5 ** 1.5)]
    b = graph.tensor([True, False])
    assert (b + b).dtype == bool and (b + b).tolist() == [True, False]


def test_the_lines_of_new_terms_made_without_the_rule_are_the_users(graph):
    x, y = graph.tensor([1.5]), graph.tensor([0.5])
    x * y
    for h in (y * x, x + 0.25, 0.25 + y, (y * y).tanh()):
        assert h.code is test_the_lines_of_new_terms_made_without_the_rule_are_the_users.__code__


def test_changing_numbers_beside_a_constant_stay_of_no_graph(graph):
    one, x = lg.full((), 1.0), graph.tensor([2.0])
    for k in range(12):
        assert ((one * (k + 0.5)) * x).item() == 2 * k + 1 and (lg.where(lg.full((), True), one, k + 0.5) * x).item() == 2

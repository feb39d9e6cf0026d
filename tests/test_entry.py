"""The stubs that make plans built-in functions: which way they go, references, the GIL, faults, numbers in and out."""

from __future__ import annotations

import gc
import math
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from lazygrad.backends import cache, llvm
from lazygrad.backends.llvm import entry, externs, jit

pytestmark = pytest.mark.skipif(not llvm.available(), reason=llvm.reason())


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(tmp_path_factory.mktemp("objects") / "cache"))
        yield


# ---- plans as built-in functions ------------------------------------------------------------------------------------

# x at 3, y at 4, gradients at 5 and 6: gx = x*y (write) or gx += x*y, gy = arena base (as a number), fault if x < 0
BODIES = """
define void @write(ptr %args) {
  call void @both(ptr %args, double 0.0)
  ret void }
define void @more(ptr %args) {
  call void @both(ptr %args, double 1.0)
  ret void }
define internal void @both(ptr %args, double %keep) noinline {
  %p3 = getelementptr ptr, ptr %args, i64 3
  %xp = load ptr, ptr %p3
  %x = load double, ptr %xp
  %p4 = getelementptr ptr, ptr %args, i64 4
  %yp = load ptr, ptr %p4
  %y = load double, ptr %yp
  %p5 = getelementptr ptr, ptr %args, i64 5
  %gp = load ptr, ptr %p5
  %old = load double, ptr %gp
  %had = fmul double %old, %keep
  %new = fmul double %x, %y
  %sum = fadd double %had, %new
  store double %sum, ptr %gp
  %p1 = getelementptr i64, ptr %args, i64 1
  %base = load i64, ptr %p1
  %based = sitofp i64 %base to double
  %p6 = getelementptr ptr, ptr %args, i64 6
  %hp = load ptr, ptr %p6
  store double %based, ptr %hp
  %negative = fcmp olt double %x, 0.0
  br i1 %negative, label %fault, label %done
fault:
  %p2 = getelementptr ptr, ptr %args, i64 2
  %cell = load ptr, ptr %p2
  store i64 3, ptr %cell
  br label %done
done:
  ret void }
define void @wait(ptr %args) {
  %p3 = getelementptr ptr, ptr %args, i64 3
  %xp = load ptr, ptr %p3
  br label %loop
loop:
  %x = load atomic i64, ptr %xp acquire, align 8
  %go = icmp eq i64 %x, 0
  br i1 %go, label %loop, label %out
out:
  ret void }
define void @sum(ptr %args) {
  %p3 = getelementptr ptr, ptr %args, i64 3
  %ap = load ptr, ptr %p3
  %a32 = load float, ptr %ap
  %a = fpext float %a32 to double
  %p4 = getelementptr ptr, ptr %args, i64 4
  %bp = load ptr, ptr %p4
  %b = load double, ptr %bp
  %p5 = getelementptr ptr, ptr %args, i64 5
  %cp = load ptr, ptr %p5
  %ci = load i64, ptr %cp
  %c = sitofp i64 %ci to double
  %p6 = getelementptr ptr, ptr %args, i64 6
  %lp = load ptr, ptr %p6
  %l = load double, ptr %lp
  %s1 = fadd double %a, %b
  %s2 = fadd double %s1, %c
  %s = fadd double %s2, %l
  %s32 = fptrunc double %s to float
  %p7 = getelementptr ptr, ptr %args, i64 7
  %o32 = load ptr, ptr %p7
  store float %s32, ptr %o32
  %p8 = getelementptr ptr, ptr %args, i64 8
  %o64 = load ptr, ptr %p8
  store double %s, ptr %o64
  %p9 = getelementptr ptr, ptr %args, i64 9
  %oi = load ptr, ptr %p9
  store i64 %ci, ptr %oi
  %p10 = getelementptr ptr, ptr %args, i64 10
  %ob = load ptr, ptr %p10
  %positive = fcmp ogt double %s, 0.0
  %pb = zext i1 %positive to i8
  store i8 %pb, ptr %ob
  %negative = fcmp olt double %a, 0.0
  br i1 %negative, label %fault, label %done
fault:
  %p2 = getelementptr ptr, ptr %args, i64 2
  %cell = load ptr, ptr %p2
  store i64 1, ptr %cell
  br label %done
done:
  ret void }
"""


class Bound:
    """A record with two inputs (slots 5, 2) and two gradients (slots 2, 7) of the bodies above."""

    def __init__(self, result: object = None, flags: int = 0) -> None:
        self.code = jit.native(BODIES).loaded
        self.x, self.y, self.g, self.h = (np.array([v]) for v in (3.0, 5.0, 100.0, 0.0))
        self.pointers, self.grads = np.zeros(8, np.int64), np.zeros(8, np.int64)
        self.states = np.zeros(8, np.uint8)
        self.pointers[[5, 2]] = self.x.ctypes.data, self.y.ctypes.data
        self.grads[[2, 7]] = self.g.ctypes.data, self.h.ctypes.data
        self.fault, self.arena = np.zeros(1, np.int64), np.array([0, 1 << 20])
        self.args = np.zeros(8, np.int64)
        self.args[[0, 2]] = externs.table().ctypes.data, self.fault.ctypes.data
        self.calls: list[str] = []
        self.slow = lambda: self.calls.append("slow") or "slow"
        self.failed = lambda: self.calls.append("fault") or "fault"
        self.record = np.zeros(20, np.int64)
        self.record[:14] = [self.code.address("write"), self.code.address("more"), 2, 2, flags, id(result), id(self.slow),
                            id(self.failed), self.args.ctypes.data, self.pointers.ctypes.data, self.grads.ctypes.data,
                            self.states.ctypes.data, self.arena.ctypes.data, 5]
        self.record[16:] = 5, 2, 2, 7
        self.result = result
        self.call = entry.bind(self.record, (self.slow, self.failed, result, self.args, self.code))


@pytest.fixture(params=[0, entry.RELEASE], ids=["held", "released"])
def bound(request):
    return Bound(result=["the result"], flags=request.param)


def test_plan_writes_then_accumulates(bound):
    assert bound.call() is bound.result
    assert (bound.g[0], bound.h[0], list(bound.states[[2, 7]])) == (15.0, 1 << 20, [1, 1])
    bound.call()
    assert bound.g[0] == 30.0
    bound.states[:] = 0
    bound.x[0] = 7.0
    bound.call()
    assert bound.g[0] == 35.0
    assert bound.states.sum() == 2 and not bound.calls and bound.record[entry.BUSY] == bound.arena[0] == 0


def test_plan_reads_moved_inputs_and_arena(bound):
    other = np.array([11.0])
    bound.pointers[5] = other.ctypes.data
    bound.arena[1] = 4096
    bound.call()
    assert (bound.g[0], bound.h[0]) == (55.0, 4096.0)


def test_plan_without_gradients_and_arena(bound):
    bound.record[[entry.GRADIENTS, entry.ARENA]] = 0
    bound.args[5:7] = bound.g.ctypes.data, bound.h.ctypes.data
    bound.args[1] = 17
    bound.states[2] = 2                        # none of its business
    assert bound.call() is bound.result and (bound.g[0], bound.h[0]) == (15.0, 17.0)
    assert list(bound.states) == [0, 0, 2, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("change", [
    lambda b: b.record.__setitem__(entry.BUSY, 1), lambda b: b.arena.__setitem__(0, 1),
    lambda b: b.pointers.__setitem__(5, 0), lambda b: b.pointers.__setitem__(2, 0), lambda b: b.grads.__setitem__(7, 0),
    lambda b: b.states.__setitem__([2, 7], 2), lambda b: b.states.__setitem__(2, 1), lambda b: b.states.__setitem__(7, 1),
    lambda b: b.states.__setitem__(7, 2), lambda b: b.record.__setitem__(entry.WRITE, 0),
    lambda b: b.record.__setitem__(entry.RESULT, 0)])
def test_plan_goes_the_slow_way(bound, change):
    change(bound)
    before = bound.states.copy()
    assert bound.call() == "slow" and bound.calls == ["slow"]
    assert bound.g[0] == 100.0 and (bound.states == before).all()


def test_plan_without_accumulating_body_goes_the_slow_way_when_gradients_are_there(bound):
    bound.record[entry.ACCUMULATE] = 0
    assert bound.call() is bound.result
    assert bound.call() == "slow" and bound.g[0] == 15.0


def test_fault_is_reported_and_cleared(bound):
    bound.x[0] = -1.0
    assert bound.call() == "fault" and bound.fault[0] == 3 and not bound.states.any()
    bound.x[0] = 2.0
    assert bound.call() is bound.result and bound.fault[0] == 0


def test_errors_of_python_pass_through(bound):
    def fail():
        raise KeyError("from the slow path")

    bound.record[[entry.SLOW, entry.BUSY]] = id(fail), 1
    with pytest.raises(KeyError, match="from the slow path"):
        bound.call()
    with pytest.raises(TypeError):
        bound.call(1)


def test_references_are_stable(bound):
    none = Bound(None)
    objects = [bound.result, bound.slow, bound.failed, bound.record, none.slow]
    before = [sys.getrefcount(o) for o in objects]
    nones = sys.getrefcount(None)
    bound.calls = none.calls = type("Ignore", (), {"append": lambda self, x: None})()
    for _ in range(50_000):
        bound.call()
        none.call()
    for x, flag in ((-1.0, 0), (1.0, 1)):
        bound.x[0] = x
        bound.record[entry.BUSY] = flag
        for _ in range(25_000):
            bound.call()
    assert [sys.getrefcount(o) for o in objects] == before
    assert abs(sys.getrefcount(None) - nones) < 100


def test_builtin_keeps_what_it_needs_and_nothing_for_ever(bound):
    class Kept:
        pass

    kept, record = Kept(), bound.record.copy()
    gone = weakref.ref(kept)
    call = entry.bind(record, (kept, bound))
    size = sys.getrefcount(record)
    kept.cycle = call
    del kept
    gc.collect()
    assert gone() is not None and call() is bound.result
    del call
    gc.collect()
    assert gone() is None and sys.getrefcount(record) < size


def waiting(flags: int) -> Bound:
    b = Bound("done", flags)
    b.record[:2] = b.code.address("wait")
    b.flag = np.zeros(1, np.int64)
    b.pointers[5] = b.flag.ctypes.data
    return b


def test_gil_is_free_while_the_body_runs_and_the_plan_is_busy():
    b = waiting(entry.RELEASE)
    out: list[object] = []
    thread = threading.Thread(target=lambda: out.append(b.call()))
    thread.start()
    deadline = time.monotonic() + 20
    while not b.record[entry.BUSY] and time.monotonic() < deadline:
        time.sleep(0.001)
    assert b.record[entry.BUSY] == b.arena[0] == 1             # this thread runs, so the GIL is free
    assert b.call() == "slow"                                  # the same plan
    other = Bound("other")
    other.record[entry.ARENA] = b.arena.ctypes.data
    assert other.call() == "slow"                              # another plan over the same arena
    b.flag[0] = 1
    thread.join(20)
    assert out == ["done"] and b.record[entry.BUSY] == b.arena[0] == 0
    assert other.call() == "other"


def test_record_of_another_form_is_refused():
    for bad in (np.zeros(15, np.int64), np.zeros(20), np.zeros((4, 5), np.int64), np.zeros(40, np.int64)[::2]):
        with pytest.raises(ValueError, match="record"):
            entry.bind(bad)


# ---- prepared plans -------------------------------------------------------------------------------------------------

class Prepared:
    """sum(a: float32, b: float64, c: int64, a leaf) -> the sum twice, c, sum > 0."""

    def __init__(self, flags: int = entry.AS_TUPLE, outputs: int = 4) -> None:
        self.code = jit.native(BODIES).loaded
        self.cells = [np.zeros(1, d) for d in ("f4", "f8", "i8", "f4", "f8", "i8", "?")]
        self.leaf, self.fault, self.pointers = np.array([0.25]), np.zeros(1, np.int64), np.zeros(4, np.int64)
        self.pointers[3] = self.leaf.ctypes.data
        self.args = np.zeros(11, np.int64)
        self.args[[0, 2]] = externs.table().ctypes.data, self.fault.ctypes.data
        at = [c.ctypes.data for c in self.cells]
        self.args[3:6], self.args[7:] = at[:3], at[3:]
        self.slow, self.failed, self.result = (lambda *given: ("slow", given)), (lambda: "fault"), object()
        self.record = np.zeros(16 + 6 + 2 * outputs + 2, np.int64)
        self.record[:10] = [self.code.address("sum"), 3, outputs, 1, flags, id(self.result), id(self.slow), id(self.failed),
                            self.args.ctypes.data, self.pointers.ctypes.data]
        kinds = [entry.KINDS[c.dtype.name] for c in self.cells]
        pairs = [x for pair in zip(kinds, at, strict=True) for x in pair]
        self.record[16:] = [*pairs[:6 + 2 * outputs], 3, 6]
        self.call = entry.bind_call(self.record, (self.slow, self.failed, self.result, self))


@pytest.mark.parametrize("flags", [0, entry.RELEASE])
def test_prepared_plan_takes_and_returns_python_numbers(flags):
    p = Prepared(flags | entry.AS_TUPLE)
    got = p.call(0.1, 2, 3)
    s = float(np.float32(0.1)) + 2 + 3 + 0.25
    assert got == (float(np.float32(s)), s, 3, True) and [type(v) for v in got] == [float, float, int, bool]
    assert p.call(1, -1.0, -1) == (-0.75, -0.75, -1, False)                    # -1 is also the sign of an error
    assert p.call(2.0, -1, -(2 ** 63))[2] == -(2 ** 63)
    assert math.isnan(p.call(math.nan, 0.0, 0)[1]) and p.call(1e300, 0.0, 0)[1] == math.inf
    p.leaf[0] = 1.5
    assert p.call(0.0, 0.0, 0)[1] == 1.5


def test_prepared_plan_returns_one_number_or_its_result():
    assert Prepared(0, outputs=1).call(1.0, 2.0, 3) == 6.25
    p = Prepared(entry.AS_RESULT)
    assert p.call(1.0, 2.0, 3) is p.result and p.cells[4][0] == 6.25
    assert Prepared(entry.AS_TUPLE, outputs=1).call(1.0, 2.0, 3) == (6.25,)
    assert Prepared(entry.AS_TUPLE, outputs=0).call(1.0, 2.0, 3) == ()


@pytest.mark.parametrize("given", [(), (1.0, 2.0), (1.0, 2.0, 3, 4), (1.0, 2.0, 3.0), (True, 2.0, 3), (1.0, "2", 3), (1.0, None, 3),
                                   (np.float64(1), 2.0, 3), (1.0, np.ones(1), 3), (1.0, 10 ** 400, 3), (1.0, 2.0, 2 ** 63)])
def test_prepared_plan_sends_all_else_the_slow_way(given):
    p = Prepared()
    out = p.call(*given)
    assert out[0] == "slow" and len(out[1]) == len(given) and all(a is b for a, b in zip(out[1], given, strict=True))
    with pytest.raises(TypeError):
        p.call(1.0, 2.0, c=3)


def test_prepared_plan_slow_when_busy_or_without_leaf_and_faults():
    p = Prepared()
    p.record[entry.BUSY] = 1
    assert p.call(1.0, 2.0, 3) == ("slow", (1.0, 2.0, 3))
    p.record[entry.BUSY] = 0
    arena = np.array([1, 64])
    p.record[entry.ARENA] = arena.ctypes.data
    assert p.call(1.0, 2.0, 3)[0] == "slow"
    arena[0] = 0
    assert p.call(1.0, 2.0, 3)[1] == 6.25 and p.args[1] == 64
    assert p.call(-1.0, 2.0, 3) == "fault"
    p.pointers[3] = 0
    assert p.call(1.0, 2.0, 3)[0] == "slow"


def test_prepared_plan_keeps_references_stable():
    p, q = Prepared(), Prepared(entry.AS_RESULT)
    x, k, big = 12345.678, 10 ** 12, 10 ** 400
    objects = [x, k, big, p.slow, q.result, p.record]
    for _ in range(100):
        p.call(x, x, k), q.call(x, x, k), p.call(x, big, k)
    before = [sys.getrefcount(o) for o in objects]
    blocks = sys.getallocatedblocks()
    for _ in range(30_000):
        p.call(x, x, k), q.call(x, x, k), p.call(x, big, k)
    assert [sys.getrefcount(o) for o in objects] == before
    assert abs(sys.getallocatedblocks() - blocks) < 200

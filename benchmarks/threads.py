"""What it costs to share work: two chunks that do nothing, from the call until both are done."""

from __future__ import annotations

import ctypes
import time

import harness

TEXT = """
define void @nothing(ptr %a, i64 %i) nounwind {
  ret void
}
define void @meet(ptr %a, i64 %i) nounwind {
entry:
  %before = atomicrmw add ptr %a, i64 1 acq_rel
  br label %look
look:
  %now = load atomic i64, ptr %a acquire, align 8
  %odd = and i64 %now, 1
  %alone = icmp ne i64 %odd, 0
  br i1 %alone, label %look, label %end
end:
  ret void
}
define void @many(ptr %region, ptr %pool, ptr %f, ptr %a, i64 %n) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %next ]
  call void %region(ptr %pool, ptr %f, ptr %a, i64 2)
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %n
  br i1 %more, label %next, label %end
end:
  ret void
}
"""


def fork_join() -> str:
    """A table; `meet` chunks wait for each other, so that both threads do run."""
    from lazygrad.backends.llvm import jit, pool, pool_text
    code, own = jit.native(TEXT).loaded, pool.Pool(pool.system(), 2)
    many = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, ctypes.c_int64)(code.address("many"))
    cell = ctypes.c_int64(0)
    lines = ["### Two chunks that do nothing, from the call until both are done", "", "| | min | median |", "|---|---|---|"]
    for title, name, spin, count in (("the caller may take both", "nothing", own.spin, 2000), ("each takes one, the other thread still looks for work", "meet", own.spin, 200),
                                     ("each takes one, the other thread sleeps", "meet", 1, 20)):
        own.word(pool_text.SPIN).value = spin
        times = []
        for _ in range(60):
            start = time.perf_counter()
            many(own.region, own.address, code.address(name), ctypes.addressof(cell), count)
            times.append((time.perf_counter() - start) / count)
        lines.append(f"| {title} | {harness.human(min(times))} | {harness.human(sorted(times)[30])} |")
    own.stop()
    return "\n".join(lines)

"""The pool as LLVM text: threads that sleep until there is a region, and `region`, which runs a function for every chunk.

In: a system ("linux", "posix", "windows") and an instruction set. Out: a module of `region`, `worker`, `stop` and `pauses` over the
control block of `pool`. A chunk belongs to whoever takes it from the one counter; who is late finds none and nobody waits for him.

The only difference between systems is the seam: `sleep` and `wake` on the generation word, `create`, `join` and `yield`. The one of
Windows is compiled but not run by the tests; "posix" (macOS) also runs on Linux.
"""

from __future__ import annotations

# the control block: bytes from its start; what different threads write lies in different lines of the cache
COUNTER, DONE, GENERATION, SLEEPERS = 0, 64, 128, 192
FUNCTION, CONTEXT, CHUNKS = 256, 264, 272
BUSY = 320
WANTED, ALIVE, STOP, SPIN = 384, 388, 392, 396          # threads with the caller; without; whether they end; pauses before sleep
OUTSIDE = 448                                           # addresses of the functions of the seam, in the order of SEAMS
MUTEX, CONDITION = 576, 704
HANDLES, MOST = 832, 255                                # of the threads; so many at most
SIZE = HANDLES + 8 * MOST

PAUSE = {"x86_64": "llvm.x86.sse2.pause()", "aarch64": "llvm.aarch64.isb(i32 15)"}      # isb: `yield` does not wait at all
FUTEX = {"x86_64": 202, "aarch64": 98}

CORE = """
declare void @$pausing

define internal void @pause() nounwind {
  call void @$pause
  ret void
}

define void @pauses(i64 %n) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i1, %next ]
  call void @$pause
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %n
  br i1 %more, label %next, label %end
end:
  ret void
}

define internal ptr @outside(ptr %c, i64 %k) nounwind {
  %first = getelementptr i8, ptr %c, i64 $OUTSIDE
  %p = getelementptr ptr, ptr %first, i64 %k
  %f = load ptr, ptr %p
  ret ptr %f
}

define internal void @take(ptr %c) nounwind {
entry:
  %counter = getelementptr i8, ptr %c, i64 $COUNTER
  br label %try
try:
  %own = phi i64 [ 0, %entry ], [ %own1, %run ]
  %left = atomicrmw sub ptr %counter, i64 1 acq_rel
  %some = icmp sgt i64 %left, 0
  br i1 %some, label %run, label %none
run:
  %fp = getelementptr i8, ptr %c, i64 $FUNCTION
  %f = load ptr, ptr %fp
  %ap = getelementptr i8, ptr %c, i64 $CONTEXT
  %a = load ptr, ptr %ap
  %np = getelementptr i8, ptr %c, i64 $CHUNKS
  %n = load i64, ptr %np
  %i = sub i64 %n, %left
  call void %f(ptr %a, i64 %i)
  %own1 = add i64 %own, 1
  br label %try
none:
  %any = icmp sgt i64 %own, 0
  br i1 %any, label %say, label %end
say:
  %done = getelementptr i8, ptr %c, i64 $DONE
  %before = atomicrmw add ptr %done, i64 %own acq_rel
  br label %end
end:
  ret void
}

define ptr @worker(ptr %c) nounwind {
entry:
  %gen = getelementptr i8, ptr %c, i64 $GENERATION
  %sleepers = getelementptr i8, ptr %c, i64 $SLEEPERS
  %stop = getelementptr i8, ptr %c, i64 $STOP
  %spin = getelementptr i8, ptr %c, i64 $SPIN
  %g0 = load atomic i32, ptr %gen acquire, align 4
  br label %awake
awake:
  %seen = phi i32 [ %g0, %entry ], [ %g1, %changed ]
  %end = load atomic i32, ptr %stop acquire, align 4
  %ends = icmp ne i32 %end, 0
  br i1 %ends, label %exit, label %work
work:
  call void @take(ptr %c)
  %most = load i32, ptr %spin
  br label %look
look:
  %k = phi i32 [ 0, %work ], [ %k1, %wait ]
  %now = load atomic i32, ptr %gen acquire, align 4
  %new = icmp ne i32 %now, %seen
  br i1 %new, label %changed, label %wait
wait:
  call void @pause()
  %k1 = add i32 %k, 1
  %more = icmp slt i32 %k1, %most
  br i1 %more, label %look, label %asleep
asleep:
  %s0 = atomicrmw add ptr %sleepers, i32 1 seq_cst
  call void @sleep(ptr %c, i32 %seen)
  %s1 = atomicrmw sub ptr %sleepers, i32 1 seq_cst
  %now1 = load atomic i32, ptr %gen acquire, align 4
  %new1 = icmp ne i32 %now1, %seen
  br i1 %new1, label %changed, label %asleep
changed:
  %g1 = load atomic i32, ptr %gen acquire, align 4
  br label %awake
exit:
  ret ptr null
}

define internal void @announce(ptr %c, i32 %most) nounwind {
entry:
  %gen = getelementptr i8, ptr %c, i64 $GENERATION
  %before = atomicrmw add ptr %gen, i32 1 seq_cst
  %sleepers = getelementptr i8, ptr %c, i64 $SLEEPERS
  %s = load atomic i32, ptr %sleepers seq_cst, align 4
  %some = icmp sgt i32 %s, 0
  br i1 %some, label %rouse, label %end
rouse:
  call void @wake(ptr %c, i32 %most)
  br label %end
end:
  ret void
}

define internal void @grow(ptr %c, i32 %most) nounwind {
entry:
  %alive = getelementptr i8, ptr %c, i64 $ALIVE
  %handles = getelementptr i8, ptr %c, i64 $HANDLES
  br label %next
next:
  %n = load i32, ptr %alive
  %less = icmp slt i32 %n, %most
  br i1 %less, label %make, label %end
make:
  %handle = getelementptr i64, ptr %handles, i32 %n
  %made = call i1 @create(ptr %c, ptr %handle)
  br i1 %made, label %count, label %fewer
count:
  %n1 = add i32 %n, 1
  store i32 %n1, ptr %alive
  br label %next
fewer:
  %wanted = getelementptr i8, ptr %c, i64 $WANTED
  %with = add i32 %n, 1
  store i32 %with, ptr %wanted
  br label %end
end:
  ret void
}

define void @region(ptr %c, ptr %f, ptr %a, i64 %n) nounwind {
entry:
  %wantedp = getelementptr i8, ptr %c, i64 $WANTED
  %wanted = load i32, ptr %wantedp
  %many = icmp sgt i32 %wanted, 1
  %several = icmp sgt i64 %n, 1
  %worth = and i1 %many, %several
  br i1 %worth, label %ask, label %alone
ask:
  %busy = getelementptr i8, ptr %c, i64 $BUSY
  %pair = cmpxchg ptr %busy, i32 0, i32 1 acq_rel monotonic
  %mine = extractvalue { i32, i1 } %pair, 1
  br i1 %mine, label %ready, label %alone
alone:
  %i = phi i64 [ 0, %entry ], [ 0, %ask ], [ %i1, %alone ]
  call void %f(ptr %a, i64 %i)
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %n
  br i1 %more, label %alone, label %end
ready:
  %others = sub i32 %wanted, 1
  %alivep = getelementptr i8, ptr %c, i64 $ALIVE
  %alive = load i32, ptr %alivep
  %enough = icmp sge i32 %alive, %others
  br i1 %enough, label %publish, label %growing
growing:
  call void @grow(ptr %c, i32 %others)
  br label %publish
publish:
  %fp = getelementptr i8, ptr %c, i64 $FUNCTION
  store ptr %f, ptr %fp
  %ap = getelementptr i8, ptr %c, i64 $CONTEXT
  store ptr %a, ptr %ap
  %np = getelementptr i8, ptr %c, i64 $CHUNKS
  store i64 %n, ptr %np
  %done = getelementptr i8, ptr %c, i64 $DONE
  store atomic i64 0, ptr %done monotonic, align 8
  %counter = getelementptr i8, ptr %c, i64 $COUNTER
  store atomic i64 %n, ptr %counter release, align 8
  %n32 = trunc i64 %n to i32
  %rest = sub i32 %n32, 1
  %small = icmp slt i64 %n, 256
  %fewer = icmp slt i32 %rest, %others
  %few = and i1 %small, %fewer
  %most = select i1 %few, i32 %rest, i32 %others
  call void @announce(ptr %c, i32 %most)
  call void @take(ptr %c)
  br label %join
join:
  %k = phi i32 [ 0, %publish ], [ %k1, %again ]
  %d = load atomic i64, ptr %done acquire, align 8
  %all = icmp sge i64 %d, %n
  br i1 %all, label %joined, label %hold
hold:
  call void @pause()
  %k1 = add i32 %k, 1
  %long = icmp sgt i32 %k1, $PATIENCE
  br i1 %long, label %give, label %again
give:
  call void @yield(ptr %c)
  br label %again
again:
  br label %join
joined:
  store atomic i32 0, ptr %busy release, align 4
  br label %end
end:
  ret void
}

define void @stop(ptr %c) nounwind {
entry:
  %busy = getelementptr i8, ptr %c, i64 $BUSY
  br label %ask
ask:
  %pair = cmpxchg ptr %busy, i32 0, i32 1 acq_rel monotonic
  %mine = extractvalue { i32, i1 } %pair, 1
  br i1 %mine, label %have, label %hold
hold:
  call void @yield(ptr %c)
  br label %ask
have:
  %stop = getelementptr i8, ptr %c, i64 $STOP
  store atomic i32 1, ptr %stop release, align 4
  call void @announce(ptr %c, i32 $MOST)
  %alivep = getelementptr i8, ptr %c, i64 $ALIVE
  %alive = load i32, ptr %alivep
  %handles = getelementptr i8, ptr %c, i64 $HANDLES
  br label %next
next:
  %i = phi i32 [ 0, %have ], [ %i1, %one ]
  %more = icmp slt i32 %i, %alive
  br i1 %more, label %one, label %end
one:
  %at = getelementptr i64, ptr %handles, i32 %i
  %handle = load i64, ptr %at
  call void @join(ptr %c, i64 %handle)
  %i1 = add i32 %i, 1
  br label %next
end:
  store i32 0, ptr %alivep
  store atomic i32 0, ptr %stop release, align 4
  store atomic i32 0, ptr %busy release, align 4
  ret void
}
"""

# threads of the C library; signals are for the threads that were there before (but for those of a fault of the thread itself)
POSIX = """
@blocked = internal constant [16 x i64] [i64 $SIGNALS, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1,
  i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1]

define internal i1 @create(ptr %c, ptr %handle) nounwind {
  %old = alloca [16 x i64], align 8
  %about = alloca [16 x i64], align 8
  %mask = call ptr @outside(ptr %c, i64 0)
  %make = call ptr @outside(ptr %c, i64 1)
  %begin = call ptr @outside(ptr %c, i64 4)
  %size = call ptr @outside(ptr %c, i64 5)
  %end = call ptr @outside(ptr %c, i64 6)
  %r0 = call i32 %mask(i32 $SETMASK, ptr @blocked, ptr %old)
  %r1 = call i32 %begin(ptr %about)
  %r2 = call i32 %size(ptr %about, i64 $STACK)
  %failed = call i32 %make(ptr %handle, ptr %about, ptr @worker, ptr %c)
  %r3 = call i32 %end(ptr %about)
  %r4 = call i32 %mask(i32 $SETMASK, ptr %old, ptr null)
  %made = icmp eq i32 %failed, 0
  ret i1 %made
}

define internal void @join(ptr %c, i64 %handle) nounwind {
  %f = call ptr @outside(ptr %c, i64 2)
  %r = call i32 %f(i64 %handle, ptr null)
  ret void
}

define internal void @yield(ptr %c) nounwind {
  %f = call ptr @outside(ptr %c, i64 3)
  %r = call i32 %f()
  ret void
}
"""

LINUX = """
define internal void @sleep(ptr %c, i32 %seen) nounwind {
  %gen = getelementptr i8, ptr %c, i64 $GENERATION
  %f = call ptr @outside(ptr %c, i64 7)
  %r = call i64 (i64, ...) %f(i64 $FUTEX, ptr %gen, i32 128, i32 %seen, ptr null, ptr null, i32 0)
  ret void
}

define internal void @wake(ptr %c, i32 %most) nounwind {
  %gen = getelementptr i8, ptr %c, i64 $GENERATION
  %f = call ptr @outside(ptr %c, i64 7)
  %r = call i64 (i64, ...) %f(i64 $FUTEX, ptr %gen, i32 129, i32 %most, ptr null, ptr null, i32 0)
  ret void
}
"""

CONDITIONS = """
define internal void @sleep(ptr %c, i32 %seen) nounwind {
entry:
  %gen = getelementptr i8, ptr %c, i64 $GENERATION
  %mutex = getelementptr i8, ptr %c, i64 $MUTEX
  %condition = getelementptr i8, ptr %c, i64 $CONDITION
  %lock = call ptr @outside(ptr %c, i64 7)
  %unlock = call ptr @outside(ptr %c, i64 8)
  %r0 = call i32 %lock(ptr %mutex)
  %now = load atomic i32, ptr %gen acquire, align 4
  %same = icmp eq i32 %now, %seen
  br i1 %same, label %wait, label %end
wait:
  %f = call ptr @outside(ptr %c, i64 9)
  %r1 = call i32 %f(ptr %condition, ptr %mutex)
  br label %end
end:
  %r2 = call i32 %unlock(ptr %mutex)
  ret void
}

define internal void @wake(ptr %c, i32 %most) nounwind {
  %mutex = getelementptr i8, ptr %c, i64 $MUTEX
  %condition = getelementptr i8, ptr %c, i64 $CONDITION
  %lock = call ptr @outside(ptr %c, i64 7)
  %unlock = call ptr @outside(ptr %c, i64 8)
  %f = call ptr @outside(ptr %c, i64 10)
  %r0 = call i32 %lock(ptr %mutex)
  %r1 = call i32 %f(ptr %condition)
  %r2 = call i32 %unlock(ptr %mutex)
  ret void
}
"""

WINDOWS = """
define internal i1 @create(ptr %c, ptr %handle) nounwind {
  %f = call ptr @outside(ptr %c, i64 0)
  %h = call i64 %f(ptr null, i64 $STACK, ptr @worker, ptr %c, i32 65536, ptr null)
  store i64 %h, ptr %handle
  %made = icmp ne i64 %h, 0
  ret i1 %made
}

define internal void @join(ptr %c, i64 %handle) nounwind {
  %f = call ptr @outside(ptr %c, i64 1)
  %r0 = call i32 %f(i64 %handle, i32 -1)
  %close = call ptr @outside(ptr %c, i64 2)
  %r1 = call i32 %close(i64 %handle)
  ret void
}

define internal void @yield(ptr %c) nounwind {
  %f = call ptr @outside(ptr %c, i64 3)
  %r = call i32 %f()
  ret void
}

define internal void @sleep(ptr %c, i32 %seen) nounwind {
  %old = alloca i32, align 4
  store i32 %seen, ptr %old
  %gen = getelementptr i8, ptr %c, i64 $GENERATION
  %f = call ptr @outside(ptr %c, i64 4)
  %r = call i32 %f(ptr %gen, ptr %old, i64 4, i32 -1)
  ret void
}

define internal void @wake(ptr %c, i32 %most) nounwind {
  %gen = getelementptr i8, ptr %c, i64 $GENERATION
  %f = call ptr @outside(ptr %c, i64 5)
  call void %f(ptr %gen)
  ret void
}
"""

_THREADS = ("pthread_sigmask", "pthread_create", "pthread_join", "sched_yield", "pthread_attr_init", "pthread_attr_setstacksize",
            "pthread_attr_destroy")
SEAMS = {                                               # the text of a system, and the functions at OUTSIDE
    "linux": (POSIX + LINUX, (*_THREADS, "syscall")),
    "posix": (POSIX + CONDITIONS, (*_THREADS, "pthread_mutex_lock", "pthread_mutex_unlock", "pthread_cond_wait", "pthread_cond_broadcast")),
    "windows": (WINDOWS, ("CreateThread", "WaitForSingleObject", "CloseHandle", "SwitchToThread", "WaitOnAddress", "WakeByAddressAll")),
}
STACK = 8 << 20                                         # bytes: panels of matrix products lie on it, and some systems give little
PATIENCE = 10_000                                       # pauses of a caller before it lets others have its core
LAYOUT = {name: globals()[name] for name in (
    "COUNTER", "DONE", "GENERATION", "SLEEPERS", "FUNCTION", "CONTEXT", "CHUNKS", "BUSY", "WANTED", "ALIVE", "STOP", "SPIN", "OUTSIDE",
    "MUTEX", "CONDITION", "HANDLES", "MOST", "PATIENCE", "STACK")}


def text(system: str, arch: str, setmask: int = 2, faults: tuple[int, ...] = ()) -> str:
    """The module. `setmask`: SIG_SETMASK of this system; `faults`: signals that the threads do take."""
    values: dict[str, object] = {**LAYOUT, "FUTEX": FUTEX.get(arch, 0), "SETMASK": setmask, "SIGNALS": -1 - sum([1 << s - 1 for s in faults])}
    pause = PAUSE[arch]
    values |= {"pausing": pause.replace(" 15", ""), "pause": pause}
    out = CORE + SEAMS[system][0]
    for name in sorted(values, key=len, reverse=True):          # a name may begin another
        out = out.replace("$" + name, str(values[name]))
    return out

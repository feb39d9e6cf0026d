"""Whole programs on the GPU: random graphs against the reference, in-place outputs, Host steps, long plans, shared temporaries, faults."""

from __future__ import annotations

import gc
import weakref

import gpu
import numpy as np
import pytest
import test_backend as cpu
import test_programs as random_graphs
from hypothesis import given
from hypothesis import strategies as st

from lazygrad import Graph, compiler, dtypes, reference
from lazygrad.backends import wgsl
from lazygrad.backends.wgsl.program import parameters
from lazygrad.backends.wgsl.temporaries import assign, lifetimes
from lazygrad.errors import DeviceError
from lazygrad.ir.aval import aval
from lazygrad.ir.program import Call, Host
from lazygrad.ir.record import changed
from lazygrad.ir.term import toposort
from lazygrad.prims import REGISTRY as P
from lazygrad.prims import leaf
from lazygrad.runtime import slots

F16, F32, F64 = dtypes.FLOATS
V = np.arange(1.0, 38.0).astype(F32)


def wanted(roots, sources, values):
    return reference.evaluate(roots, dict(zip(sources, values, strict=True)))


# ---- temporaries and storage, without a device ----------------------------------------------------------------------------

@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), st.sampled_from([16, 32, 64, 1024, 4096])), max_size=40))
def test_temporaries_that_live_together_have_slots_of_their_own(drawn):
    lives = {k: (first, first + more) for k, (first, more, _) in enumerate(drawn)}
    sizes = {k: size for k, (_, _, size) in enumerate(drawn)}
    slot, room = assign(lives, sizes, 64)
    assert set(slot) == set(lives)
    for step in range(20):
        alive = [slot[k] for k, (first, last) in lives.items() if first <= step <= last]
        assert len(alive) == len(set(alive))
    assert all(sizes[k] <= room[s] and (sizes[k] > 64) == (room[s] > 64) for k, s in slot.items())
    assert sum(room) <= sum(sizes.values())


def test_a_chain_of_temporaries_takes_two_slots():
    chain = [(k, k + 1) for k in range(100)]
    slot, room = assign(lifetimes(chain, range(1, 100)), dict.fromkeys(range(1, 100), 64), 1 << 20)
    assert room == [64, 64] and len(slot) == 99


class Memory:
    """A device that is only memory."""

    def __init__(self):
        self.bytes = np.full(4096, 0xFF, np.uint8)

    def write(self, buffer, array, offset=0):
        assert array.flags.c_contiguous and array.nbytes % 4 == 0
        self.bytes[:array.nbytes] = array.view(np.uint8)

    def read(self, buffer, nbytes, offset=0):
        assert nbytes % 4 == 0
        return self.bytes[:nbytes].copy()


@pytest.mark.parametrize("dtype", dtypes.DTYPES, ids=str)
def test_storage_keeps_every_value(dtype):
    rng = np.random.default_rng(0)
    for shape in [(), (1,), (5,), (3, 7), (0, 2)]:
        value = np.frombuffer(rng.bytes(21 * dtype.itemsize), dtype)[:int(np.prod(shape))].reshape(shape)
        if dtype.kind == "b":
            value = rng.integers(0, 2, shape).astype(bool)
        memory = Memory()
        wgsl.upload(memory, None, value)
        back = wgsl.download(memory, None, aval(shape, dtype))
        assert back.dtype == dtype and back.shape == shape and back.tobytes() == value.tobytes()
        assert wgsl.nbytes(aval(shape, dtype)) % 16 == 0


def test_storage_of_strided_arrays():
    memory = Memory()
    value = np.arange(24, dtype=F32).reshape(4, 6)[::-1, ::2]
    wgsl.upload(memory, None, value)
    np.testing.assert_array_equal(wgsl.download(memory, None, aval((4, 3), F32)), value)


# ---- random programs --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", [F32, dtypes.int32, dtypes.int16], ids=str)
def test_random_programs(dtype, seed):
    """Whole numbers: exact in any order of sums. Some outputs overwrite inputs."""
    grown = cpu.Grower(seed, dtype, 10 + 3 * seed)
    roots, batch = grown.roots(), grown.batch
    ran = gpu.Ran(roots, batch.sources, batch.values, grown.into(roots))
    assert ran.fault is None
    for got, want, r in zip(ran.outputs, wanted(roots, batch.sources, batch.values), roots, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=repr(r))


MADE = [[("softmax", 2, 0), ("matmul", 0, 0), ("where", 0, 1)], [("logsumexp", 4, 0), ("cumprod", 1, 2), ("gather", 3, 1), ("sort", 0, 0)],
        [("einsum", 2, 0), ("pow", 0, 3), ("concat", 1, 2), ("expm", 0, 0), ("max", 2, 1)]]


@pytest.mark.parametrize("number", range(len(MADE)))
def test_values_and_gradients_of_graphs(number):
    graph = Graph()
    leaves = [graph.tensor(v.astype(F32)) for v in random_graphs.values(5)]
    z = random_graphs.built(MADE[number], leaves)
    roots = [z.term, *[g.term for g in z.gradient(*leaves)]]
    sources = [t for t in toposort(roots) if t.op is leaf.source]
    values = [slots.BUFFERS[t.params[0]].copy() for t in sources]
    ran = gpu.Ran(roots, sources, values)
    assert ran.fault is None
    exact = wanted(roots, sources, values)
    for got, want, r in zip(ran.outputs, exact, roots, strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5 * (1 + np.abs(want).max(initial=0)), err_msg=repr(r.aval))


@pytest.mark.parametrize("name", cpu.IN_PLACE)
def test_outputs_that_overwrite_inputs(name):
    make, into, want = cpu.IN_PLACE[name]
    values = [cpu.matrix(6), cpu.matrix(6)[::-1].copy()]
    terms = cpu.sources(*values)
    ran = gpu.Ran(make(*terms), terms, values, into)
    for got, expected in zip(ran.outputs, want(*values), strict=True):
        np.testing.assert_array_equal(got, expected)
    for i, value in enumerate(values):
        if i not in into:
            np.testing.assert_array_equal(ran.inputs[i], value)


def test_a_product_added_in_place():
    """A step of gradient descent: the epilogue of the product reads and writes one buffer."""
    rng = np.random.default_rng(1)
    values = [rng.integers(-4, 5, s).astype(F32) for s in [(40, 24), (40, 33), (33, 24)]]
    w, a, b = terms = cpu.sources(*values)
    root = P["sub"](w, P["mul"](leaf.constant(0.5, (40, 24), F32), P["matmul"](a, b)))
    ran = gpu.Ran([root], terms, values, [0])
    np.testing.assert_array_equal(ran.outputs[0], values[0] - 0.5 * values[1] @ values[2])
    np.testing.assert_array_equal(ran.inputs[1], values[1])


def test_several_outputs_duplicates_sources_and_constants():
    x, y = cpu.sources(V, V * 2)
    s = P["add"](x, y)
    roots = [s, P["mul"](s, x), s, y, leaf.constant(2.5, (3,), F32), P["sum"](s, axes=(0,)), x, y]
    out = gpu.Ran(roots, [x, y], [V, V * 2]).outputs
    for got, want in zip(out, [V * 3, V * 3 * V, V * 3, V * 2, np.full(3, 2.5), (V * 3).sum(), V, V * 2], strict=True):
        np.testing.assert_array_equal(got, want)


# ---- Host steps -------------------------------------------------------------------------------------------------------------

def through_the_host():
    v = (np.arange(6) + 1j * np.arange(6)[::-1]).astype(np.complex64)
    z, x = terms = cpu.sources(v, V[:6])
    root = P["mul"](P["add"](P["real"](P["mul"](z, z)), x), x)
    return root, terms, [v, V[:6]], ((v * v).real + V[:6]) * V[:6]


def test_host_steps_between_kernels():
    root, terms, values, want = through_the_host()
    ran = gpu.Ran([root], terms, values)
    assert any(isinstance(s, Host) for s in ran.program.steps) and any(isinstance(s, Call) for s in ran.program.steps)
    np.testing.assert_array_equal(ran.outputs[0], want)
    assert "host: mul by NumPy: downloads b0 complex64[6]" in ran.executable.text


def test_a_sort_in_the_middle_of_a_program():
    rng = np.random.default_rng(2)
    value = rng.permutation(300).astype(F32)
    (x,) = terms = cpu.sources(value)
    ordered = P["sort"](P["neg"](x), axis=0, descending=False)
    ran = gpu.Ran([P["mul"](ordered, x)], terms, [value])
    np.testing.assert_array_equal(ran.outputs[0], np.sort(-value) * value)


# ---- long programs, temporaries ---------------------------------------------------------------------------------------------

def long_chain(count):
    values = [np.arange(36, dtype=F32).reshape(6, 6) % 7, np.ones((6, 6), F32)]
    x, y = terms = cpu.sources(*values)
    t = x
    for _ in range(count):
        t = P["permute"](P["cumsum"](t, axis=0, reverse=False), axes=(1, 0))
        t = P["remainder"](P["add"](t, y), leaf.like(t, 7))
    return t, terms, values


def test_more_than_two_hundred_launches_run_as_one_submission():
    root, terms, values = long_chain(210)
    ran = gpu.Ran([root], terms, values)
    assert len(ran.program.steps) > 200
    assert len(ran.bound.submissions) == 1
    assert len(ran.executable.slots) <= 3
    np.testing.assert_array_equal(ran.outputs[0], wanted([root], terms, values)[0])


def test_runs_repeat_bit_for_bit_over_temporaries_full_of_nan():
    rng = np.random.default_rng(3)
    value = rng.normal(size=(33, 70)).astype(F32)
    (x,) = terms = cpu.sources(value)
    s = P["sum"](P["exp"](x), axes=(1,))
    centred = P["sub"](x, P["broadcast_to"](P["reshape"](P["log"](s), shape=(33, 1)), shape=(33, 70)))
    roots = [P["sum"](P["mul"](centred, centred), axes=(0,)), P["cumsum"](P["permute"](centred, axes=(1, 0)), axis=0, reverse=False)]
    ran, other = gpu.Ran(roots, terms, [value]), gpu.Ran(roots, terms, [value])
    first = [a.tobytes() for a in ran.outputs]
    for _ in range(3):
        ran.run([value])
        assert [a.tobytes() for a in ran.outputs] == first
    assert [a.tobytes() for a in other.outputs] == first
    np.testing.assert_allclose(ran.outputs[0], wanted(roots, terms, [value])[0], rtol=1e-5)


def test_two_bounds_share_temporaries_and_do_not_disturb_each_other():
    root, terms, values = long_chain(6)
    ran = gpu.Ran([root], terms, values)
    device, executable = ran.device, ran.executable
    second = [device.allocate(b.size) for b in [*ran.held, ran.made[0]]]
    other_values = [values[0][::-1].copy(), values[1] + 2]
    for buffer, value in zip(second, other_values, strict=False):
        wgsl.upload(device, buffer, value)
    other = executable.bind(second[:2], second[2:])
    assert other is not ran.bound and other.temporaries is ran.bound.temporaries and other.temporaries
    for _ in range(3):
        ran.bound.run()
        other.run()
    np.testing.assert_array_equal(ran.outputs[0], wanted([root], terms, values)[0])
    np.testing.assert_array_equal(wgsl.download(device, second[2], root.aval), wanted([root], terms, other_values)[0])


def test_binding_again_makes_only_the_launches_that_changed():
    root, terms, values = long_chain(6)
    ran = gpu.Ran([root], terms, values)
    assert ran.executable.bind(ran.held, ran.made) is ran.bound
    fresh = ran.device.allocate(ran.made[0].size)
    again = ran.executable.bind(ran.held, [fresh])
    assert again is not ran.bound
    for step, old, new in zip(ran.program.steps, ran.bound.launches, again.launches, strict=True):
        assert (old is new) == (ran.program.outputs[0] not in parameters(step))
    again.run()
    np.testing.assert_array_equal(wgsl.download(ran.device, fresh, root.aval), ran.outputs[0])


def test_programs_of_one_device_share_temporaries():
    first, second = (gpu.Ran([root], terms, values) for root, terms, values in (long_chain(4), long_chain(5)))
    assert first.bound.temporaries and {id(b) for b in first.bound.temporaries} == {id(b) for b in second.bound.temporaries}


def test_a_dropped_executable_leaves_no_memory():
    device = gpu.device()
    gc.collect()
    before = device.memory_stats()["live_bytes"]
    root, terms, values = long_chain(4)
    ran = gpu.Ran([root], terms, values)
    assert device.memory_stats()["live_bytes"] > before
    gc.disable()                                     # by reference counts alone
    try:
        del ran
        assert device.memory_stats()["live_bytes"] == before
    finally:
        gc.enable()


def test_an_executable_keeps_no_buffer_of_its_caller_and_finds_its_bound_again():
    root, terms, values = long_chain(4)
    ran = gpu.Ran([root], terms, values)
    device, executable, bound = ran.device, ran.executable, ran.bound
    serials = [b.serial for b in ran.held + ran.made]
    held = [weakref.ref(b) for b in ran.held + ran.made]
    del ran
    assert all(r() is None for r in held)
    size = wgsl.nbytes(root.aval)
    drawn = {b.serial: b for b in [device.allocate(size) for _ in range(8)]}      # the pool gives raw buffers again
    again = [drawn[s] for s in serials]
    for buffer, value in zip(again, values, strict=False):
        wgsl.upload(device, buffer, value)
    assert executable.bind(again[:2], again[2:]) is bound
    bound.run()
    np.testing.assert_array_equal(wgsl.download(device, again[2], root.aval), wanted([root], terms, values)[0])


def test_trimming_forgets_bounds_and_temporaries():
    root, terms, values = long_chain(4)
    ran = gpu.Ran([root], terms, values)
    gone = [weakref.ref(x) for x in (ran.bound, *ran.bound.temporaries)]
    del ran.bound
    assert len(gone) > 1 and all(r() is not None for r in gone)
    ran.device.trim()
    assert all(r() is None for r in gone)
    ran.bound = ran.executable.bind(ran.held, ran.made)
    ran.run(values)
    np.testing.assert_array_equal(ran.outputs[0], wanted([root], terms, values)[0])


def test_a_bound_of_host_steps_whose_buffers_are_gone_says_so():
    root, terms, values, _ = through_the_host()
    ran = gpu.Ran([root], terms, values)
    bound = ran.bound
    del ran
    with pytest.raises(DeviceError, match="bind again"):
        bound.run()


def test_no_room_for_temporaries_is_a_memory_error_with_sizes(monkeypatch):
    root, terms, values = long_chain(4)
    ran = gpu.Ran([root], terms, values)
    executable, size = wgsl.build(ran.program, ran.device), ran.executable.slots[0]
    del ran.bound
    ran.device.trim()                                # no temporaries are left over
    allocate = type(ran.device).allocate

    def full(self, nbytes):
        if nbytes == size:
            raise MemoryError(f"{nbytes} bytes are not there")
        return allocate(self, nbytes)

    with monkeypatch.context() as patch:
        patch.setattr(type(ran.device), "allocate", full)
        with pytest.raises(MemoryError, match=rf"temporary 1 of 2 \({size} bytes; \d+ bytes for all of them\)"):
            executable.bind(ran.held, ran.made)
    executable.bind(ran.held, ran.made).run()
    np.testing.assert_array_equal(ran.outputs[0], wanted([root], terms, values)[0])


def test_a_buffer_that_is_written_and_given_twice_is_refused():
    x, y = cpu.sources(V, V)
    ran = gpu.Ran([P["add"](x, y)], [x, y], [V, V])
    one, two = ran.held
    with pytest.raises(DeviceError, match="one device buffer"):
        ran.executable.bind([one, two], [one])
    with pytest.raises(DeviceError, match="bytes"):
        ran.executable.bind([one, ran.device.allocate(16)], ran.made)
    with pytest.raises(DeviceError, match="inputs"):
        ran.executable.bind([one], ran.made)
    ran.executable.bind([one, one], ran.made).run()
    np.testing.assert_array_equal(ran.outputs[0], V + V)


def test_equal_kernels_of_two_programs_are_one_shader():
    first, second = ([P["mul"](P["exp"](x), x)] for x in cpu.sources(V, V))
    caps = wgsl.caps(gpu.device().traits)
    programs = [compiler.compile(r, [t for t in toposort(r) if t.op is leaf.source], [None], caps) for r in (first, second)]
    one, two = (wgsl.build(p, gpu.device()) for p in programs)
    assert one._shaders[0] is two._shaders[0] and one.text == two.text


# ---- faults -----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("at", [5, -6, 2**31 - 1, -2**31])
def test_gather_outside_is_a_fault_that_is_told_once(at):
    values = [V[:5], np.array([0, at, 2], np.int32)]
    x, i = terms = cpu.sources(*values)
    ran = gpu.Ran([P["gather"](x, i, axes=(0,), position=0)], terms, values)
    assert ran.executable.ran
    op, message = ran.fault
    assert op == "gather" and message
    assert ran.fault is None and not ran.executable.ran
    ran.run([V[:5], np.array([0, -5, 4], np.int32)])
    assert ran.fault is None
    np.testing.assert_array_equal(ran.outputs[0], V[[0, 0, 4]])


@pytest.mark.parametrize("name", ["scatter_set", "scatter_add", "scatter_max"])
def test_scatter_outside_writes_nothing_there(name):
    values = [V[:5], np.array([1, 99, -77], np.int32), V[:3]]
    x, i, u = terms = cpu.sources(*values)
    ran = gpu.Ran([P[name](x, i, u, axes=(0,), position=0)], terms, values)
    assert ran.fault is not None
    for got, want in zip(ran.inputs, values, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_fault_ends_the_run_before_the_host_step_and_not_the_next_run():
    values = [V[:4].reshape(2, 2), np.array([0, 9], np.int32)]
    x, i = terms = cpu.sources(*values)
    root = P["expm"](P["gather"](x, i, axes=(0,), position=0))
    ran = gpu.Ran([root], terms, values)
    good = [values[0], np.array([1, 0], np.int32)]
    ran.run(good)                                    # nobody looked: the fault of the first run is still to be told
    np.testing.assert_allclose(ran.outputs[0], wanted([root], terms, good)[0], rtol=1e-5)
    assert ran.fault == ran.program.faults[0]
    assert ran.fault is None


def test_time_and_text_tell_every_step():
    root, terms, values, want = through_the_host()
    ran = gpu.Ran([root], terms, values)
    times = ran.bound.time(2)
    assert len(times) == len(ran.program.steps)
    assert all(t.seconds > 0 and t.nbytes > 0 for t in times)
    assert [t.step.split(":")[0] for t in times].count("host") == sum(isinstance(s, Host) for s in ran.program.steps)
    np.testing.assert_array_equal(ran.outputs[0], want)
    assert ran.executable.text.count("// ---- step") == len(ran.program.steps) and "@compute" in ran.executable.text


def test_tuning_measures_once_and_keeps_what_it_found(monkeypatch, tmp_path):
    """Opt-in: products and the workgroups of rows are measured, give the same values, and are found again without measuring."""
    import lazygrad as lg
    from lazygrad.backends.wgsl import tune
    there = gpu.device()
    monkeypatch.setenv("LAZYGRAD_TUNE", "1")
    monkeypatch.setenv("LAZYGRAD_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(there, "traits", changed(there.traits, software=False))          # workgroups share rows
    monkeypatch.setattr(tune, "HAND", tune.HAND[-2:])
    monkeypatch.setattr(tune, "RANDOM", 0)
    tune.forget()
    rng = np.random.default_rng(0)
    a, b = rng.random((24, 40), np.float32), rng.random((40, 2048), np.float32)
    measured = []
    measure = tune.measure
    monkeypatch.setattr(tune, "measure", lambda *args: measured.append(1) or measure(*args))
    try:
        for again in (False, True):
            graph = lg.Graph(device=there)
            z = lg.logsumexp(graph.tensor(a) @ graph.tensor(b) * (2 if again else 1), axis=1)
            want = (a.astype("f8") @ b) * (2 if again else 1)
            np.testing.assert_allclose(z.value, np.log(np.exp(want - want.max(1, keepdims=True)).sum(1)) + want.max(1), rtol=1e-5)
        assert len(measured) >= 2, "a product and a row kernel"
        before = len(measured)
        tune.forget()                                                # as a new process: from the disk
        graph = lg.Graph(device=there)
        np.testing.assert_allclose((graph.tensor(a) @ graph.tensor(b) + 1).value, a.astype("f8") @ b + 1, rtol=1e-5)
        assert len(measured) == before
    finally:
        tune.forget()

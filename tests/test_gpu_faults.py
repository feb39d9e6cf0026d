"""What makes wgpu-native end the process cannot be reached through the device: each case runs in a process of its own, which must
end well, with a Python exception where something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

START = '''
import os, sys, threading, time
import numpy as np
from lazygrad.backends.wgsl.device import WgpuDevice
from lazygrad.backends.wgsl.traits import Binding, Shader
from lazygrad.errors import DeviceError, DeviceLostError, NoGpuError

SOURCE = """@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
    let i = at.y * 4194240u + at.x;
    if (i < arrayLength(&x)) { var v = x[i]; for (var k = 0; k < TIMES; k++) { v = v * 0.5 + 1.0; } y[i] = v; }
}
"""
BOTH = (Binding(0, False), Binding(1, True))
x = np.arange(64, dtype=np.float32)


def launches(device, times=1, n=64, grid=(1, 1, 1, 0)):
    a, b = device.allocate(4 * n), device.allocate(4 * n)
    device.write(a, np.resize(x, n))
    return device.launch(Shader(SOURCE.replace("TIMES", f"{times}"), BOTH, (grid,)), [a, b]), a, b


def works(device):
    plan, a, b = launches(device)
    device.run(plan)
    assert (device.read(b).view(np.float32) == x * np.float32(0.5) + 1).all()
    return True


def raises(error, work, text=""):
    try:
        work()
    except error as e:
        assert text in str(e), str(e)
        return True
    raise AssertionError(f"{error} was not raised")

'''


def run(body: str, **environment: str) -> str:
    """Run a program in a new process; it must end with "done" and status 0."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", START + textwrap.dedent(body) + "\nprint('done')\n"],
                          capture_output=True, text=True, timeout=120, env={**os.environ, **environment})
    assert done.returncode == 0 and done.stdout.endswith("done\n"), f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_limits_of_grids_and_bindings():
    output = run("""
        device = WgpuDevice()
        a = device.allocate(256)
        b = device.allocate(256)
        for grid in ((65536, 1, 1, 0), (1, 65536, 1, 0), (1, 1, 1 << 40, 0), (-1, 1, 1, 0)):
            raises(DeviceError, lambda: device.launch(Shader(SOURCE.replace("TIMES", "1"), BOTH, (grid,)), [a, b]), "65535")
        big = device.allocate(device.traits.binding + 4096)
        raises(DeviceError, lambda: device.launch(Shader(SOURCE.replace("TIMES", "1"), BOTH, ((1, 1, 1, 0),)), [big, b]), "segments")
        many = tuple(Binding(0, False) for _ in range(device._engine.limits["maxStorageBuffersPerShaderStage"] + 1))
        raises(DeviceError, lambda: device.launch(Shader(SOURCE, many, ((1, 1, 1, 0),)), [a]), "storage bindings")
        raises(DeviceError, lambda: device.launch(Shader(SOURCE, (Binding(0, False, 1), BOTH[1]), ((1, 1, 1, 0),), segment_bytes=8), [a, b]))
        raises(DeviceError, lambda: device.launch(Shader(SOURCE, BOTH, ((1, 1, 1, 0),)), [a, a]), "bound a second time")
        plan, _, y = launches(device, n=64, grid=(65535, 2, 1, 0))
        device.run(plan)
        assert (device.read(y).view(np.float32) == x * np.float32(0.5) + 1).all() and works(device)
    """)
    assert "panicked" not in output


def test_a_binding_smaller_than_the_shader_reads_is_an_error_before_the_submission():
    run("""
        device = WgpuDevice()
        source = SOURCE.replace("TIMES", "1").replace("y: array<f32>", "y: array<f32, 64>")
        plan = device.launch(Shader(source, BOTH, ((1, 1, 1, 0),)), [device.allocate(256), device.allocate(32)])
        before = device.memory_stats()["submissions"]
        raises(DeviceError, lambda: device.run(plan), "run")
        raises(DeviceError, lambda: device.time(plan), "time")
        assert device.memory_stats()["submissions"] == before and works(device)
    """)


def test_objects_of_another_device():
    run("""
        one, two = WgpuDevice(), WgpuDevice(fast_math=True)
        a = one.allocate(256)
        plan, b, c = launches(two)
        for wrong in (lambda: one.run(plan), lambda: one.time(plan), lambda: one.read(b, 4), lambda: one.write(b, x), lambda: one.clear(b),
                      lambda: one.copy(a, b, 16), lambda: one.launch(Shader(SOURCE.replace("TIMES", "1"), BOTH, ((1, 1, 1, 0),)), [a, b])):
            raises(DeviceError, wrong)
        assert works(one) and works(two)
    """)


def test_launches_survive_the_names_of_their_buffers_and_run_twice():
    run("""
        device = WgpuDevice()
        plan, a, b = launches(device, times=20)
        keep = device.allocate(256)
        device.run(plan + plan)
        del a, b                                         # still in flight, and held by the launch
        device.trim()
        device.run(plan)
        del plan
        device.trim()                                    # now idle, and let go of while in flight
        other = [device.allocate(256) for _ in range(20)]
        device.wait()
        assert works(device)
    """)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the address space")
def test_out_of_memory_is_a_memory_error_and_the_device_works_on():
    run("""
        import resource
        device = WgpuDevice()
        assert works(device)
        with open("/proc/self/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        raises(MemoryError, lambda: device.allocate(1 << 35), "are the most")
        resource.setrlimit(resource.RLIMIT_AS, (size + (3 << 30), resource.RLIM_INFINITY))      # untouched memory only
        held = []

        def fill():
            for _ in range(100):
                held.append(device.allocate(512 << 20))

        raises(MemoryError, fill, "536870912 bytes requested")
        assert 1 <= len(held) < 10 and works(device)
        held.clear()
        held.append(device.allocate(512 << 20))
        assert works(device)
    """)


@pytest.mark.parametrize("loss", ["device.close()", "device._engine.lib.wgpuDeviceDestroy(device._engine.device)"])
def test_a_lost_device_raises_and_a_new_one_works(loss):
    run(f"""
        device = WgpuDevice()
        plan, a, b = launches(device)
        device.run(plan)
        {loss}                                           # the second one happens behind our back, as a driver reset does
        for use in (lambda: device.run(plan), lambda: device.run(plan), lambda: device.read(a), lambda: device.write(a, x), lambda: device.wait(),
                    lambda: device.allocate(16), lambda: device.copy(a, b, 16), lambda: device.clear(a), lambda: device.time(plan),
                    lambda: device.launch(Shader(SOURCE, BOTH, ((1, 1, 1, 0),)), [a, b]), lambda: device.trim()):
            raises(DeviceLostError, use, "make a new WgpuDevice()")
        assert device.lost and device.memory_stats()["live_buffers"] == 2
        again = WgpuDevice()
        assert again is not device and not again.lost and works(again) and WgpuDevice() is again
        raises(DeviceError, lambda: again.run(plan))
        del plan, a, b
        device.close()
        assert works(again)
    """)


@pytest.mark.parametrize("loss", ["device.close()", "device._engine.lib.wgpuDeviceDestroy(device._engine.device)"])
def test_tensors_and_plans_of_a_lost_device_raise_and_the_program_goes_on_with_another(loss):
    output = run(f"""
        import gc, pickle
        from lazygrad import Graph
        device, host = WgpuDevice(), np.arange(6, dtype=np.float32).reshape(2, 3)
        graph = Graph(device=device)
        leaf = graph.tensor(host)
        y = (leaf * leaf).sum()
        y.backward()
        product, was_read = leaf @ leaf.T, leaf * 3
        assert was_read.value[1, 2] == 15
        step = graph.compile([], [y], updates=[(leaf, leaf * 0.5)])
        step()
        {loss}
        for use in (lambda: product.value, lambda: leaf.value, lambda: leaf.grad.value, lambda: product.forward(), lambda: y.backward(), step,
                    lambda: leaf.set(host), lambda: graph.tensor(host), lambda: y.item(), lambda: repr(product), lambda: leaf.to("cpu").value,
                    lambda: graph.profile(y), lambda: pickle.dumps(leaf)):
            raises(DeviceLostError, use, "data on the host is intact: make a new WgpuDevice()")
        assert "gpu:0" in str(graph) and "@compute" in graph.explain(product) and host[1, 2] == 5
        again = Graph(device="gpu").tensor(host)
        assert again.device is not device and again.device is WgpuDevice()
        z = (again * again).sum()
        z.backward()
        del leaf, y, product, was_read, step, graph
        gc.collect()
        assert z.item() == 55 and (again.grad.value == 2 * host).all() and works(WgpuDevice())
    """)
    assert "panicked" not in output


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the address space")
def test_a_tensor_without_room_is_a_memory_error_with_sizes_and_its_graph_works_on():
    run("""
        import resource
        import lazygrad as lg
        from lazygrad import Graph
        graph = Graph(device="gpu")
        x = graph.tensor(np.ones((1 << 14, 1), np.float32))
        y = (x * 2).sum()
        y.backward()
        with open("/proc/self/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 29), resource.RLIM_INFINITY))
        table = x @ x.mT                                              # a gibibyte
        raises(MemoryError, lambda: table.value, "1073741824 bytes requested")
        raises(MemoryError, lambda: lg.zeros((1 << 31,), device="gpu").value, "fewer than 2147483648")
        assert y.item() == 1 << 15 and (x.grad.value == 2).all()
        assert (x[:4] @ x.mT).sum().item() == 1 << 16 and (x * 3).value.sum() == 3 << 14
    """)


def test_a_software_adapter_takes_no_more_memory_than_there_is():
    run("""
        device = WgpuDevice()
        device._room = device._pool.live_bytes + device._pool.idle_bytes + (1 << 20) if device.traits.software else 0
        if device.traits.software:
            held = device.allocate(1 << 19)
            raises(MemoryError, lambda: device.allocate(1 << 20), "1048576 bytes requested, 524288 held")
            assert works(device)
    """)


def test_closed_and_dropped_devices_leave_no_memory_behind():
    run("""
        import gc, resource

        def once():
            device = WgpuDevice(fast_math=True)
            assert works(device)
            held = device.allocate(8 << 20), launches(device)
            device.write(held[0], np.ones(2 << 20, np.float32))
            device.run(held[1][0])
            device.close()
            device.close()
            assert device.memory_stats()["idle_bytes"] == 0

        def resident():
            gc.collect()
            if sys.platform != "linux":
                return 0
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * resource.getpagesize()

        for _ in range(4):
            once()
        before = resident()
        for _ in range(8):
            once()
        assert resident() - before < 32 << 20, resident() - before
        assert works(WgpuDevice())
    """)


def test_a_loss_may_be_first_noticed_by_any_method():
    run("""
        uses = {"read": lambda: device.read(b), "run": lambda: device.run(plan), "write": lambda: device.write(a, x), "wait": lambda: device.wait(),
                "allocate": lambda: device.allocate(1 << 20), "time": lambda: device.time(plan), "copy": lambda: device.copy(a, b, 16),
                "clear": lambda: device.clear(a), "launch": lambda: launches(device, times=7), "trim": lambda: device.trim()}
        for name, use in uses.items():
            device = WgpuDevice()
            plan, a, b = launches(device)
            device._engine.lib.wgpuDeviceDestroy(device._engine.device)
            raises(DeviceLostError, lambda: (use(), device.wait()))
        assert works(WgpuDevice())
    """)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_gets_an_error_and_the_parent_works_on():
    run("""
        device = WgpuDevice()
        plan, a, b = launches(device)
        device.run(plan)
        with device._lock:                               # the worst moment: the lock is held
            child = os.fork()
        if child == 0:
            raises(DeviceLostError, lambda: device.read(b), "forked")
            raises(DeviceLostError, lambda: device.run(plan), "forked")
            raises(DeviceLostError, lambda: WgpuDevice(), "spawn")
            raises(DeviceLostError, lambda: WgpuDevice.list(), "spawn")
            del plan, a, b
            device.close()
            sys.exit(7)
        deadline = time.time() + 60
        while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.time() < deadline:
            time.sleep(0.02)
        assert ended[0] == child, "the child hangs"
        assert os.waitstatus_to_exitcode(ended[1]) == 7, ended
        assert works(device)
    """)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_before_the_first_use_has_a_gpu():
    run("""
        child = os.fork()
        assert works(WgpuDevice())
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """)


@pytest.mark.parametrize("end", ["", "del device, plan", "sys.stdout.flush(); threading.Thread(target=lambda: [device.run(plan) for _ in range(5)], "
                                 "daemon=True).start()"])
def test_the_interpreter_ends_with_work_in_flight(end):
    output = run(f"""
        device = WgpuDevice()
        plan, a, b = launches(device, times=3000, n=1 << 16, grid=(1 << 10, 1, 1, 0))
        device.run(plan * 10)
        del a, b
        {end}
    """)
    assert output == "done\n"


@pytest.mark.skipif(not hasattr(__import__("signal"), "setitimer"), reason="needs timers")
def test_an_interrupt_while_a_value_is_read_leaves_the_device_usable():
    run("""
        import signal
        device = WgpuDevice()
        plan, a, b = launches(device, times=3000, n=1 << 16, grid=(1 << 10, 1, 1, 0))
        device.time(plan)

        def interrupt(number, frame):
            raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, interrupt)
        device.run(plan * 10)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        raises(KeyboardInterrupt, lambda: device.read(b, 4))
        assert works(device)
        device.run(plan * 10)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        raises(KeyboardInterrupt, lambda: (device.wait(), time.sleep(9)))
        assert works(device)
    """)


def test_a_program_that_never_reads_does_not_grow():
    run("""
        device = WgpuDevice()
        plan, a, b = launches(device)
        import resource
        device.run(plan * 500)
        for _ in range(10):
            device.run(plan * 500)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(100):
            device.run(plan * 200)
        for _ in range(2000):
            device.run(plan)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
        assert (device.read(b).view(np.float32) == x * np.float32(0.5) + 1).all()
    """)


def test_no_gpu_is_an_error_that_names_what_is_missing():
    run("""
        raises(NoGpuError, WgpuDevice, "VK_DRIVER_FILES" if sys.platform == "linux" else "")
        assert WgpuDevice.list() == []
    """, VK_DRIVER_FILES="/nowhere/icd.json", VK_ICD_FILENAMES="/nowhere/icd.json",
        __EGL_VENDOR_LIBRARY_FILENAMES="/nowhere/egl.json") if sys.platform == "linux" else pytest.skip("needs a Vulkan loader")

"""`lazygrad doctor`: which GPUs are there, what they can do, whether they compute right, and how fast they answer.

In: nothing; out: text. Where there is no GPU, what is missing and how to get it.
"""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Callable

import numpy as np

from ...errors import LazygradError
from . import adapters
from .device import WgpuDevice
from .engine import available, limits
from .traits import Binding, Shader

COUNT = 1 << 20                  # elements of the self test
SHOWN = ("maxBufferSize", "maxStorageBufferBindingSize", "maxStorageBuffersPerShaderStage", "minStorageBufferOffsetAlignment",
         "maxComputeWorkgroupStorageSize", "maxComputeInvocationsPerWorkgroup", "maxComputeWorkgroupsPerDimension")
SOURCE = """@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = at.y * groups.x * 64u + at.x;
    if (i < arrayLength(&x)) { y[i] = x[i] * 2.0 + 1.0; }
}
"""


def _shader(count: int) -> Shader:
    """y = 2 x + 1 over `count` float32."""
    groups = -(-count // 256)
    return Shader(SOURCE, (Binding(0, False), Binding(1, True)), ((min(groups, 4096), -(-groups // 4096), 1, 0),))


def _seconds(work: Callable[[], object], times: int, after: Callable[[], object] = lambda: None) -> float:
    """The median time of a call, in seconds; `after` is called between the calls and not timed."""
    work()
    after()
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
        after()
    return sorted(found)[times // 2]


def check(device: WgpuDevice, count: int = COUNT) -> str:
    """A kernel on the device against NumPy: what is wrong, or "" if nothing is."""
    x = np.random.default_rng(0).standard_normal(count, np.float32)
    source, target = device.allocate(x.nbytes), device.allocate(x.nbytes)
    device.write(source, x)
    device.run(device.launch(_shader(count), [source, target]))
    wrong = int(np.sum(device.read(target).view(np.float32) != x * np.float32(2) + np.float32(1)))
    return f"{wrong} of {count} elements differ from NumPy" if wrong else ""


def timings(device: WgpuDevice) -> list[tuple[str, str]]:
    """(what, how long or how fast), measured now."""
    small = [device.allocate(1024), device.allocate(1024)]
    large = [device.allocate(64 << 20), device.allocate(64 << 20)]
    data = np.ones(16 << 20, np.float32)
    one = device.launch(_shader(256), small)
    chain = (one + device.launch(_shader(256), small[::-1])) * 100
    device.write(small[0], data[:256])
    stream = device.launch(_shader(data.size), large)

    def submit() -> None:
        device.run(chain)

    def step() -> None:
        device.run(chain)
        device.wait()

    def upload() -> None:
        device.write(large[0], data)
        device.wait()

    upload()
    encoded, floor = _seconds(submit, 9, device.wait), _seconds(step, 9)
    up, down, scalar = _seconds(upload, 3), _seconds(lambda: device.read(large[0]), 3), _seconds(lambda: device.read(small[0], 4), 20)
    streamed = sorted(device.time(stream * 5))[2]
    return [("recording a launch", f"{encoded / len(chain) * 1e6:.1f} us"),
            ("a dependent launch", f"{floor / len(chain) * 1e6:.1f} us"),
            ("reading one number", f"{scalar * 1e6:.0f} us"),
            ("upload of 64 MiB", f"{data.nbytes / up / 1e9:.1f} GB/s"),
            ("download of 64 MiB", f"{data.nbytes / down / 1e9:.1f} GB/s"),
            ("reading and writing 64 MiB", f"{2 * data.nbytes / streamed / 1e9:.1f} GB/s")]


def report(progress: Callable[[str], None] = lambda line: None) -> tuple[str, bool]:
    """(all there is to say about the GPUs of this machine, whether there is one and all compute right). `progress` is told what is
    being done."""
    lines = [f"Python {platform.python_version()} on {platform.platform()}"]
    try:
        lines.append(f"wgpu {importlib.metadata.version('wgpu')}")
    except importlib.metadata.PackageNotFoundError:
        lines.append("wgpu is not installed: pip install wgpu")
    progress("looking for GPUs")
    try:
        found = adapters.adapters()
    except LazygradError as e:
        return "\n".join([*lines, "", str(e)]), False
    if not found:
        return "\n".join([*lines, "", "No GPU adapter was found.", *[f"- {reason}" for reason in adapters.missing()]]), False
    asked = adapters.wanted()
    if asked is not None:
        lines.append(f"{adapters.VARIABLE} asks for {asked!r}")
    healthy = True
    for info, handle in found:
        lines += ["", str(info)]
        if info.kind == "software":
            lines.append("  runs on the CPU: install the driver of your GPU if you have one")
        lines.append(f"  features: {', '.join(sorted(available(handle))) or 'none'}")
        lines += [f"  {name}: {value}" for name, value in limits(handle).items() if name in SHOWN]
        progress(f"testing gpu:{info.index}")
        try:
            device = WgpuDevice(info.index)
            wrong = check(device)
            healthy = healthy and not wrong
            lines.append(f"  self test: {wrong or 'passed'}")
            lines += [f"  {what}: {figure}" for what, figure in timings(device)]
            device.trim()
        except (LazygradError, MemoryError) as e:
            healthy = False
            lines.append(f"  self test: failed: {e}")
    return "\n".join(lines), healthy

"""WgpuDevice: a GPU through WebGPU (wgpu-native's own functions, called by cffi).

In: buffers, WGSL shaders, host data; out: launches that are recorded once and replayed in one compute pass and one submission.
Everything is checked before wgpu-native sees it. Nothing waits for the device but `read`, `wait` and `time` (and a program that
runs far ahead of it). All methods may be called from any thread.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time as clock
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...errors import DeviceError
from . import adapters
from .adapters import AdapterInfo
from .engine import Engine, available
from .launches import Launch, Launcher, check_owner
from .pool import UNIT, Buffer, Memory, Pool
from .traits import Shader, Traits

BUFFERS = 8                      # storage buffers of one shader, on every device
MOST = 1 << 34                   # bytes of one Buffer: indices are 32-bit numbers of elements
IDLE = {True: 256 << 20, False: 1 << 30}         # bytes of idle buffers, by Traits.software

_devices: dict[tuple, WgpuDevice] = {}
_alive: weakref.WeakSet[WgpuDevice] = weakref.WeakSet()
_lock = threading.RLock()


def _after_fork() -> None:
    """The child has no driver threads: its devices are gone, and nothing of them is released."""
    global _lock
    _lock = threading.RLock()
    for device in _alive:
        device._lock = threading.RLock()
        device._engine.lost = device._engine.lost or "this process was forked from the one that owns it"
        device._closed = True
    _devices.clear()


def _at_exit() -> None:
    """Drivers do not like to be unloaded while they work."""
    for device in list(_alive):
        if not device.lost and device._lock.acquire(timeout=1):
            device._engine.lib.wgpuDevicePoll(device._engine.device, 1, device._engine.ffi.NULL)
            device._lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)


class WgpuDevice:
    """A GPU. `WgpuDevice()` is the fastest one, `WgpuDevice(1)`, `WgpuDevice(name="radeon")` or
    `WgpuDevice(power_preference="low-power")` another; `LAZYGRAD_GPU` (an index or a name) speaks where the program does not.

    The same arguments give the same object while it is alive. `fast_math` drops NumPy's meaning of NaN, infinities and signed
    zeros. Raises NoGpuError where there is no GPU.
    """

    index: int
    info: AdapterInfo
    traits: Traits

    def __new__(cls, index: int | None = None, *, name: str | None = None, power_preference: str | None = None,
                fast_math: bool = False, _trusted: bool = False) -> WgpuDevice:
        with _lock:
            info, adapter = adapters.choose(index, name, power_preference)
            key = (info.index, bool(fast_math), _trusted)
            known = _devices.get(key)
            if known is not None and not known.lost:
                return known
            if known is not None and not known._closed:  # it was lost: the adapters may have changed
                adapters.forget()
                info, adapter = adapters.choose(index, name, power_preference)
            self = super().__new__(cls)
            self._pid = 0                                # nothing to let go of yet
            self._open(info, adapter, *key[1:])
            _devices[key] = self
            _alive.add(self)
            return self

    def _open(self, info: AdapterInfo, adapter: Any, fast_math: bool, trusted: bool) -> None:
        features = available(adapter)
        self._lock = threading.RLock()
        self._closed = False
        self._engine = engine = Engine(adapter, f"gpu:{info.index}", features)
        self.info, self.index, self._options = info, info.index, (fast_math, trusted)
        limits = engine.limits
        self._max_buffer = limits["maxBufferSize"] // UNIT * UNIT
        self._part = 1 << self._max_buffer.bit_length() - 1          # of a larger buffer: a power of two, as segments are
        self.traits = Traits(
            software=info.kind == "software", float16="float16" in features, float64="float64" in features,
            int64="int64" in features, subgroups="subgroups" in features,
            invocations=min(limits["maxComputeInvocationsPerWorkgroup"], limits["maxComputeWorkgroupSizeX"]),
            shared=limits["maxComputeWorkgroupStorageSize"], bindings=limits["maxStorageBuffersPerShaderStage"],
            buffers=min(BUFFERS, limits["maxStorageBuffersPerShaderStage"] - 1),
            binding=min(limits["maxStorageBufferBindingSize"], self._max_buffer) // 256 * 256,
            alignment=max(limits["minStorageBufferOffsetAlignment"], UNIT), fast_math=fast_math)
        self._listeners: list[tuple[weakref.WeakMethod, weakref.WeakMethod]] = []
        self.returned: deque[Memory] = deque()
        self._trash: deque[tuple[Any, Any]] = deque()
        self._room = _physical()
        self._pool = Pool(self._create, self._release, self._max_buffer, IDLE[self.traits.software])
        self._launcher = Launcher(engine, self.traits, self._trash, trusted)
        self._pid = os.getpid()

    @staticmethod
    def list() -> list[AdapterInfo]:
        """The adapters of this machine, by index; empty where there is none."""
        return [info for info, _ in adapters.adapters()]

    @property
    def lost(self) -> bool:
        """Whether the device is gone: whatever uses it raises DeviceLostError."""
        return bool(self._engine.lost)

    def __repr__(self) -> str:
        return f"gpu:{self.index}"

    def __reduce__(self) -> tuple:
        return _again, (self.index, *self._options)

    def __copy__(self) -> WgpuDevice:
        return self

    def __deepcopy__(self, memo: dict) -> WgpuDevice:
        return self

    def close(self) -> None:
        """Wait for the device and let go of all its memory. What uses it later raises DeviceLostError; `WgpuDevice()` is a new one."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with _lock:
                for key in [key for key, device in _devices.items() if device is self]:
                    del _devices[key]
            self._launcher.close()
            self._empty()
            self._engine.close()

    def __del__(self) -> None:
        if self._pid != os.getpid() or sys.is_finalizing():
            return
        self.close()
        while self.returned:                             # buffers and launches that outlived `close`
            for handle in self.returned.popleft().handles:
                self._engine.lib.wgpuBufferRelease(handle)
        self._collect()

    def _ready(self, op: str) -> Engine:
        engine = self._engine
        if engine.lost:
            engine.ready(op)
        if self.returned or self._trash:
            self._collect()
        return engine

    # memory

    def _create(self, nbytes: int) -> Memory | None:
        if self.traits.software and self._pool.live_bytes + self._pool.idle_bytes + nbytes > self._room:
            return None
        part = nbytes if nbytes <= self._max_buffer else self._part
        handles: list[Any] = []
        for start in range(0, nbytes, part):
            handle = self._engine.create_buffer(min(part, nbytes - start))
            if handle is None:
                for made in handles:
                    self._engine.lib.wgpuBufferRelease(made)
                return None
            handles.append(handle)
        return Memory(handles, nbytes, part)

    def listen(self, released: Callable[[int], None], trimmed: Callable[[], None]) -> None:
        """Have two bound methods called: `released(serial)` before the pool lets go of a native buffer, `trimmed()` at the start of a trim.

        Whoever keeps launches drops them then, as they keep native buffers alive. The methods are held weakly, are called under
        the device's lock, and must call nothing of the device.
        """
        with self._lock:
            self._listeners = [pair for pair in self._listeners if pair[0]() is not None]
            self._listeners.append((weakref.WeakMethod(released), weakref.WeakMethod(trimmed)))

    def _release(self, memory: Memory) -> None:
        for reference, _ in self._listeners:
            released = reference()
            if released is not None:
                released(memory.serial)
        for key in list(memory.groups):
            self._launcher.forget_group(key)
        for handle in memory.handles:
            self._engine.lib.wgpuBufferRelease(handle)

    def _collect(self) -> None:
        """Take back what was dropped since."""
        while self.returned:
            self._pool.give(self.returned.popleft())
        while self._trash:
            release, handle = self._trash.popleft()
            release(handle)

    def allocate(self, nbytes: int) -> Buffer:
        """A buffer of `nbytes` bytes (at least 16 are there, and up to the next multiple of 16) with undefined contents."""
        with self._lock:
            self._ready("allocate")
            if nbytes < 0:
                raise DeviceError("allocate", f"{nbytes} bytes", "a negative size", "")
            if nbytes > MOST:
                raise MemoryError(f"allocate: {self}: {nbytes} bytes in one buffer: {MOST} are the most; split the tensor")
            memory = self._pool.take(nbytes)
            if memory is None:                           # let go of all that is idle, and try once more
                self.trim()
                self._engine.wait("allocate")
                memory = self._pool.take(nbytes)
            if memory is None:
                raise MemoryError(f"allocate: {self}: {nbytes} bytes requested, {self._pool.live_bytes} held in "
                                  f"{self._pool.live_buffers} buffers: the device is out of memory")
            return Buffer(self, memory, nbytes)

    def trim(self) -> None:
        """Let go of idle buffers, staging memory and cached bind groups."""
        with self._lock:
            self._ready("trim")
            for _, reference in self._listeners:
                trimmed = reference()
                if trimmed is not None:
                    trimmed()
            self._empty()
            self._engine.lib.wgpuDevicePoll(self._engine.device, 0, self._engine.ffi.NULL)

    def _empty(self) -> None:
        self._collect()
        self._launcher.forget_groups()
        self._pool.shrink()
        self._engine.drop_staging()
        self._collect()

    def memory_stats(self) -> dict[str, int]:
        """Bytes and counts: of buffers in use, of idle ones, of what is cached, and of what was done so far."""
        with self._lock:
            if not self.lost:
                self._collect()
            pool, engine = self._pool, self._engine
            return {"live_bytes": pool.live_bytes, "live_buffers": pool.live_buffers, "peak_bytes": pool.peak_bytes,
                    "idle_bytes": pool.idle_bytes, "idle_buffers": pool.idle_buffers, "staging_bytes": engine.staging_bytes,
                    "pipelines": len(self._launcher.pipelines), "bind_groups": len(self._launcher.groups), "launches": engine.launches,
                    "submissions": engine.submissions, "waits": engine.waits}

    # transfers

    def _span(self, op: str, buffer: Buffer, offset: int, nbytes: int) -> None:
        """Whether a transfer lies in a live buffer of this device, in whole words."""
        check_owner(op, buffer, self)
        if nbytes < 0 or offset < 0 or offset + nbytes > buffer.room:
            raise DeviceError(op, f"bytes {offset} to {offset + nbytes} of {buffer!r}", "outside the buffer", "")
        if offset % 4 or nbytes % 4:
            raise DeviceError(op, f"bytes {offset} to {offset + nbytes} of {buffer!r}", "not whole 4-byte words", "pad the data")

    def write(self, buffer: Buffer, array: np.ndarray, offset: int = 0) -> None:
        """Copy an array's bytes (a multiple of 4) into a buffer, before all that is run later. Does not wait."""
        data = np.ascontiguousarray(array)
        with self._lock:
            engine = self._ready("write")
            self._span("write", buffer, offset, data.nbytes)
            flat = data.reshape(-1).view(np.uint8)
            for handle, at, length, done in buffer.memory.spans(offset, data.nbytes):
                engine.write(handle, at, engine.ffi.from_buffer("char[]", flat[done:done + length]), length)

    def read(self, buffer: Buffer, nbytes: int | None = None, offset: int = 0) -> np.ndarray:
        """The bytes of a buffer, as a new uint8 array. Waits for all that was run before."""
        with self._lock:
            nbytes = buffer.size - offset if nbytes is None else nbytes
            engine = self._ready("read")
            whole = -(-nbytes // 4) * 4
            self._span("read", buffer, offset, whole)
            out = np.empty(whole, np.uint8)
            for handle, at, length, done in buffer.memory.spans(offset, whole):
                engine.read(handle, at, out[done:done + length])
            return out[:nbytes]

    def copy(self, src: Buffer, dst: Buffer, nbytes: int, src_offset: int = 0, dst_offset: int = 0) -> None:
        """Copy bytes from one buffer to another one, after all that was run before."""
        with self._lock:
            engine = self._ready("copy")
            self._span("copy", src, src_offset, nbytes)
            self._span("copy", dst, dst_offset, nbytes)
            if src.memory is dst.memory:
                raise DeviceError("copy", repr(src), "source and target are one buffer", "copy through another one")
            if nbytes:
                before, encoder = engine.count, engine.begin()
                for source, start, length, done in src.memory.spans(src_offset, nbytes):
                    for target, at, part, more in dst.memory.spans(dst_offset + done, length):
                        engine.lib.wgpuCommandEncoderCopyBufferToBuffer(encoder, source, start + more, target, at, part)
                engine.submit("copy", encoder, before)

    def clear(self, buffer: Buffer) -> None:
        """Set a buffer's bytes to zero, after all that was run before."""
        with self._lock:
            engine = self._ready("clear")
            self._span("clear", buffer, 0, 0)
            before, encoder = engine.count, engine.begin()
            for handle, at, length, _ in buffer.memory.spans(0, buffer.room):
                engine.lib.wgpuCommandEncoderClearBuffer(encoder, handle, at, length)
            engine.submit("clear", encoder, before)

    # launches

    def launch(self, shader: Shader, buffers: Sequence[Buffer], faults: Buffer | None = None) -> list[Launch]:
        """The dispatches of a shader over buffers (by parameter number), checked, with all that is needed to replay them.

        Raises DeviceError, with the compiler's message and the numbered source, for WGSL that is refused.
        """
        with self._lock:
            self._ready("launch")
            return self._launcher.launch(self, shader, buffers, faults)

    def run(self, launches: Sequence[Launch]) -> None:
        """Submit launches, in order, each after what it depends on. Does not wait."""
        if not launches:
            return
        with self._lock:
            engine = self._ready("run")
            for launch in launches:
                if launch.device is not self:
                    raise DeviceError("run", f"a launch of {launch.device}", f"not of {self}", "")
            lib, null, before = engine.lib, engine.ffi.NULL, engine.count
            set_pipeline, set_group, dispatch = (lib.wgpuComputePassEncoderSetPipeline, lib.wgpuComputePassEncoderSetBindGroup,
                                                 lib.wgpuComputePassEncoderDispatchWorkgroups)
            encoder = engine.begin()
            scope = lib.wgpuCommandEncoderBeginComputePass(encoder, engine.pass_descriptor)
            last = None
            for launch in launches:
                pipeline = launch.pipeline
                if pipeline is not last:
                    set_pipeline(scope, pipeline)
                    last = pipeline
                set_group(scope, 0, launch.group, 0, null)
                dispatch(scope, launch.x, launch.y, launch.z)
            lib.wgpuComputePassEncoderEnd(scope)
            lib.wgpuComputePassEncoderRelease(scope)
            engine.submit("run", encoder, before, len(launches))

    def wait(self) -> None:
        """Until everything that was run is done."""
        with self._lock:
            self._ready("wait").wait("wait")

    def time(self, launches: Sequence[Launch]) -> list[float]:
        """Run launches one after the other; the seconds of each, by the device's clock where it has one."""
        with self._lock:
            engine = self._ready("time")
            for launch in launches:
                if launch.device is not self:
                    raise DeviceError("time", f"a launch of {launch.device}", f"not of {self}", "")
            if "timestamps" not in engine.features:
                return [self._by_the_wall(launch) for launch in launches]

            def encode(scope: Any, i: int) -> None:
                launch = launches[i]
                engine.lib.wgpuComputePassEncoderSetPipeline(scope, launch.pipeline)
                engine.lib.wgpuComputePassEncoderSetBindGroup(scope, 0, launch.group, 0, engine.ffi.NULL)
                engine.lib.wgpuComputePassEncoderDispatchWorkgroups(scope, launch.x, launch.y, launch.z)

            return engine.timed(encode, len(launches))

    def _by_the_wall(self, launch: Launch) -> float:
        self._engine.wait("time")
        begin = clock.perf_counter()
        self.run([launch])
        self._engine.wait("time")
        return clock.perf_counter() - begin


def _physical() -> int:
    """Bytes of memory of this machine, which is a software adapter's memory too: past it the system ends processes at a whim."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 62


def _again(index: int, fast_math: bool, trusted: bool) -> WgpuDevice:
    return WgpuDevice(index, fast_math=fast_math, _trusted=trusted)

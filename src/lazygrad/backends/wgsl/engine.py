"""The raw device: wgpu-native called through cffi, with its errors and the loss of the device turned into exceptions.

In: an adapter handle; out: buffers, encoders, submissions, mapped memory. wgpu-native ends the process when it is given an invalid
command buffer, so every encoder is finished while errors are watched, and nothing is submitted if there was one. Not thread-safe:
the device that owns an engine holds its lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import DeviceError, DeviceLostError
from .adapters import native, view_text

FEATURES = {"float16": "FeatureName_ShaderF16", "float64": "NativeFeature_ShaderF64", "int64": "NativeFeature_ShaderInt64",
            "subgroups": "NativeFeature_Subgroup", "timestamps": "FeatureName_TimestampQuery"}
STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ, QUERY_RESOLVE = 0x80, 0x40, 0x4, 0x8, 0x1, 0x200
QUEUED = 1024                    # launches after which the queue is marked; at most two marks' worth is in flight
SUBMISSION = 8                   # what a submission weighs, in launches
CHUNK = 16 << 20                 # bytes of one step of a long transfer
QUERIES = 4096                   # timestamps of one query set


def available(adapter: Any) -> frozenset[str]:
    """The features (names of `FEATURES`) that an adapter has."""
    lib, _ = native()
    ids = {name: getattr(lib, "WGPU" + f, None) for name, f in FEATURES.items()}
    return frozenset(name for name, number in ids.items() if number is not None and lib.wgpuAdapterHasFeature(adapter, number) & 0xFF)


def limits(adapter: Any) -> dict[str, int]:
    """The limits of an adapter by their names in webgpu.h."""
    lib, ffi = native()
    found = ffi.new("WGPULimits *")
    lib.wgpuAdapterGetLimits(adapter, found)
    return {name: getattr(found, name) for name in dir(found) if name != "nextInChain"}


class Engine:
    """One native device and its queue. `lost` says why it is gone ("" while it works); `errors` holds the messages not yet raised."""

    def __init__(self, adapter: Any, name: str, features: frozenset[str]) -> None:
        self.lib, self.ffi = lib, ffi = native()
        self.name, self.features, self.limits = name, features, limits(adapter)
        self.lost = ""
        self.count = 0                                   # errors ever seen
        self.errors: list[tuple[int, str]] = []
        self.submissions = self.launches = self.waits = self.staged = 0
        self._queued = 0
        self._mark: Any = None
        self._status: int | None = None
        self._interrupt: BaseException | None = None
        self._staging: dict[int, Any] = {}
        self._queries: Any = None
        self._callbacks = self._make_callbacks()
        self.device = self._open(adapter)
        self.queue = lib.wgpuDeviceGetQueue(self.device)
        self.encoder_descriptor = ffi.new("WGPUCommandEncoderDescriptor *")
        self.pass_descriptor = ffi.new("WGPUComputePassDescriptor *")
        self._command_descriptor = ffi.new("WGPUCommandBufferDescriptor *")
        self._commands = ffi.typeof("WGPUCommandBuffer[1]")

    def _make_callbacks(self) -> tuple[Any, ...]:
        """(lost, error, mapped, opened). They only take notes: wgpu-native holds locks while it calls them."""
        ffi = self.ffi

        def failed(kind: Any, value: BaseException, traceback: Any) -> None:
            """Ctrl-C arrives as a callback begins: keep its arguments, raise later."""
            self._interrupt = value
            found = traceback.tb_frame.f_locals
            if "status" in found:
                self._status = found["status"]
            else:
                self.count += 1

        @ffi.callback("void(WGPUDevice const *, WGPUDeviceLostReason, WGPUStringView, void *, void *)", onerror=failed)
        def lost(_device: Any, reason: int, message: Any, _1: Any, _2: Any) -> None:
            self.lost = self.lost or view_text(message) or "no reason given"
            self.count += 1

        @ffi.callback("void(WGPUDevice const *, WGPUErrorType, WGPUStringView, void *, void *)", onerror=failed)
        def error(_device: Any, kind: int, message: Any, _1: Any, _2: Any) -> None:
            self.count += 1
            self.errors.append((kind, view_text(message)))

        @ffi.callback("void(WGPUMapAsyncStatus, WGPUStringView, void *, void *)", onerror=failed)
        def mapped(status: int, _message: Any, _1: Any, _2: Any) -> None:
            self._status = status

        @ffi.callback("void(WGPURequestDeviceStatus, WGPUDevice, WGPUStringView, void *, void *)", onerror=failed)
        def opened(status: int, device: Any, message: Any, _1: Any, _2: Any) -> None:
            self._opened = (status, device, view_text(message))

        return lost, error, mapped, opened

    def _open(self, adapter: Any) -> Any:
        """A device with the adapter's own limits and the wanted features."""
        lib, ffi = self.lib, self.ffi
        lost, error, mapped, opened = self._callbacks
        self._map_info = ffi.new("WGPUBufferMapCallbackInfo *", {"mode": lib.WGPUCallbackMode_AllowProcessEvents, "callback": mapped})
        most = ffi.new("WGPULimits *")
        lib.wgpuAdapterGetLimits(adapter, most)
        features = ffi.new("WGPUFeatureName[]", [getattr(lib, "WGPU" + FEATURES[f]) for f in sorted(self.features)])
        descriptor = ffi.new("WGPUDeviceDescriptor *", {"requiredFeatureCount": len(features), "requiredFeatures": features, "requiredLimits": most})
        descriptor.deviceLostCallbackInfo.mode = lib.WGPUCallbackMode_AllowSpontaneous
        descriptor.deviceLostCallbackInfo.callback = lost
        descriptor.uncapturedErrorCallbackInfo.callback = error
        self._opened: Any = None
        lib.wgpuAdapterRequestDevice(adapter, descriptor, ffi.new("WGPURequestDeviceCallbackInfo *", {
            "mode": lib.WGPUCallbackMode_AllowProcessEvents, "callback": opened})[0])
        if self._opened is None or self._opened[0] != lib.WGPURequestDeviceStatus_Success:
            why = self._opened[2] if self._opened else "the driver did not answer"
            raise DeviceError("WgpuDevice", self.name, f"the device cannot be opened: {why}", "`lazygrad doctor` shows what is there")
        return self._opened[1]

    # errors

    def ready(self, op: str) -> None:
        """Raises DeviceLostError if the device is gone."""
        if self.lost:
            raise DeviceLostError(op, self.name, f"the device was lost ({self.lost})",
                                  "data on the host is intact: make a new WgpuDevice() and send it again")

    def fail(self, op: str, came: str = "") -> None:
        """Raise what was noted since: DeviceLostError, MemoryError or DeviceError."""
        noted, self.errors = self.errors, []
        if self._interrupt is not None:
            self._raise_interrupt()
        self._notice_loss(noted)
        self.ready(op)
        if any(kind == self.lib.WGPUErrorType_OutOfMemory or "Not enough memory" in message for kind, message in noted):
            raise MemoryError(f"{op}: {self.name}: {came}: the device is out of memory")
        text = "\n".join(message for _, message in noted).strip()
        raise DeviceError(op, f"{self.name}: {came}" if came else self.name, text or "wgpu-native refused it", "")

    def _notice_loss(self, noted: list[tuple[int, str]]) -> None:
        """A loss may show as an error of the next call before wgpu-native reports it."""
        if any("device is lost" in message.lower() for _, message in noted):
            self.lost = self.lost or noted[-1][1].strip().rpartition("\n")[2].strip()      # the cause comes last

    def _raise_interrupt(self) -> None:
        interrupt, self._interrupt = self._interrupt, None
        if interrupt is not None:
            raise interrupt

    # submissions

    def begin(self) -> Any:
        return self.lib.wgpuDeviceCreateCommandEncoder(self.device, self.encoder_descriptor)

    def submit(self, op: str, encoder: Any, before: int, launches: int = 0) -> None:
        """Finish and submit an encoder made when `count` was `before`. Raises, and submits nothing, if there was an error since."""
        lib = self.lib
        command = lib.wgpuCommandEncoderFinish(encoder, self._command_descriptor)
        lib.wgpuCommandEncoderRelease(encoder)
        if self.count != before or self.lost:
            lib.wgpuCommandBufferRelease(command)
            self.fail(op)
        index = lib.wgpuQueueSubmitForIndex(self.queue, 1, self.ffi.new(self._commands, [command]))
        lib.wgpuCommandBufferRelease(command)
        self.submissions += 1
        self.launches += launches
        self.staged = 0
        self._queued += launches + SUBMISSION
        if self._queued >= QUEUED:
            self._queued = 0
            before_last, self._mark = self._mark, self.ffi.new("WGPUSubmissionIndex *", index)
            if before_last is not None:                  # a program that never reads may not run ahead without end
                lib.wgpuDevicePoll(self.device, 1, before_last)
                self._raise_interrupt()

    def flush(self, op: str, weight: int = 0) -> None:
        """Submit what was written."""
        before = self.count
        self._queued += weight
        self.submit(op, self.begin(), before)

    def wait(self, op: str) -> None:
        """Until everything submitted has run."""
        if self.staged:
            self.flush(op)
        self.waits += 1
        self.lib.wgpuDevicePoll(self.device, 1, self.ffi.NULL)
        self._raise_interrupt()
        self.ready(op)

    # memory

    def create_buffer(self, nbytes: int, usage: int = STORAGE | COPY_SRC | COPY_DST) -> Any:
        """A native buffer, or None where the device makes no more."""
        before = self.count
        handle = self.lib.wgpuDeviceCreateBuffer(self.device, self.ffi.new("WGPUBufferDescriptor *", {"size": nbytes, "usage": usage}))
        if self.count == before and handle != self.ffi.NULL:
            return handle
        if handle != self.ffi.NULL:
            self.lib.wgpuBufferRelease(handle)
        noted, self.errors = self.errors, []
        self._notice_loss(noted)
        self._raise_interrupt()
        self.ready("allocate")
        return None

    def write(self, handle: Any, offset: int, data: Any, nbytes: int) -> None:
        """Copy host memory into a buffer, in steps, so that what waits for the device stays bounded."""
        write, before = self.lib.wgpuQueueWriteBuffer, self.count
        for at in range(0, nbytes, CHUNK):
            n = min(CHUNK, nbytes - at)
            write(self.queue, handle, offset + at, data + at if at else data, n)
            if self.count != before:
                self.fail("write", f"{nbytes} bytes")
            self.staged += n + 4096                      # what wgpu-native allocates for a small one
            if self.staged > CHUNK:
                self.flush("write", QUEUED)

    def read(self, handle: Any, offset: int, out: np.ndarray) -> None:
        """Copy a buffer's bytes to `out` (uint8, a multiple of 4 long): through a mapped buffer that is kept by size."""
        data = self.ffi.from_buffer("char[]", out, require_writable=True)
        for at in range(0, len(out), CHUNK):
            self._read(handle, offset + at, data + at if at else data, min(CHUNK, len(out) - at))

    def _read(self, handle: Any, offset: int, data: Any, nbytes: int) -> None:
        lib, before = self.lib, self.count
        size = max(4096, 1 << (nbytes - 1).bit_length())
        staging = self._staging.pop(size, None) or self.create_buffer(size, MAP_READ | COPY_DST)
        if staging is None:
            raise MemoryError(f"read: {self.name}: no room for {size} bytes to read through")
        self._status = None
        encoder = self.begin()
        lib.wgpuCommandEncoderCopyBufferToBuffer(encoder, handle, offset, staging, 0, nbytes)
        self.submit("read", encoder, before)
        lib.wgpuBufferMapAsync(staging, MAP_READ, 0, nbytes, self._map_info[0])
        self.waits += 1
        while self._status is None and not self.lost and self.count == before:
            lib.wgpuDevicePoll(self.device, 1, self.ffi.NULL)
        if self._status != lib.WGPUMapAsyncStatus_Success:
            lib.wgpuBufferRelease(staging)
            self.fail("read", f"{nbytes} bytes")
        self.ffi.memmove(data, lib.wgpuBufferGetConstMappedRange(staging, 0, nbytes), nbytes)
        lib.wgpuBufferUnmap(staging)
        self._staging[size] = staging
        if self._interrupt is not None:
            self._raise_interrupt()

    @property
    def staging_bytes(self) -> int:
        return sum(self._staging)

    def drop_staging(self) -> None:
        while self._staging:
            self.lib.wgpuBufferRelease(self._staging.popitem()[1])

    # time

    def timed(self, encode: Callable[[Any, int], None], count: int) -> list[float]:
        """Seconds of `count` passes by the device's clock; `encode(scope, i)` puts the commands of pass i."""
        lib, ffi = self.lib, self.ffi
        if self._queries is None:
            queries = lib.wgpuDeviceCreateQuerySet(self.device, ffi.new("WGPUQuerySetDescriptor *", {
                "type": lib.WGPUQueryType_Timestamp, "count": QUERIES}))
            resolved = self.create_buffer(8 * QUERIES, QUERY_RESOLVE | COPY_SRC)
            if resolved is None:
                lib.wgpuQuerySetRelease(queries)
                raise MemoryError(f"time: {self.name}: no room for {8 * QUERIES} bytes")
            self._queries = queries, resolved
        queries, resolved = self._queries
        seconds: list[float] = []
        for first in range(0, count, QUERIES // 2):
            n = min(count - first, QUERIES // 2)
            before, encoder = self.count, self.begin()
            for i in range(n):
                writes = ffi.new("WGPUPassTimestampWrites *", {
                    "querySet": queries, "beginningOfPassWriteIndex": 2 * i, "endOfPassWriteIndex": 2 * i + 1})
                scope = lib.wgpuCommandEncoderBeginComputePass(encoder, ffi.new("WGPUComputePassDescriptor *", {"timestampWrites": writes}))
                encode(scope, first + i)
                lib.wgpuComputePassEncoderEnd(scope)
                lib.wgpuComputePassEncoderRelease(scope)
            lib.wgpuCommandEncoderResolveQuerySet(encoder, queries, 0, 2 * n, resolved, 0)
            self.submit("time", encoder, before, n)
            ticks = np.empty(2 * n, np.uint64)
            self.read(resolved, 0, ticks.view(np.uint8))
            seconds += ((ticks[1::2] - ticks[::2]).astype(np.int64) * (lib.wgpuQueueGetTimestampPeriod(self.queue) * 1e-9)).tolist()
        return seconds

    def close(self) -> None:
        """Wait for the device and let go of it."""
        lib = self.lib
        if not self.lost:
            lib.wgpuDevicePoll(self.device, 1, self.ffi.NULL)
            lib.wgpuDeviceDestroy(self.device)
        self.lost = self.lost or "closed"
        self.drop_staging()
        if self._queries:
            lib.wgpuQuerySetRelease(self._queries[0])
            lib.wgpuBufferRelease(self._queries[1])
            self._queries = None
        lib.wgpuQueueRelease(self.queue)
        lib.wgpuDeviceRelease(self.device)

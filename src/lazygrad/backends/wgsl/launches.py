"""Launches: shaders over buffers become (pipeline, bind group, grid), checked against the limits of the device, and cached.

In: a Shader and its buffers; out: Launches. Pipelines are found again by their WGSL, bind groups by their buffers; layouts are
shared by all shaders of one binding pattern: r(ead), w(rite), u(niform).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import DeviceError
from .engine import COPY_DST, STORAGE, UNIFORM, Engine
from .pool import Buffer, Memory
from .traits import GRID, Shader, Traits

PIPELINES = 4096                 # kept
GROUPS = 8192                    # bind groups kept
COMPUTE = 4                      # WGPUShaderStage_Compute

Entries = tuple[tuple[Memory, int, int], ...]                    # (memory, offset, bytes) of each binding


class _Held:
    """A native object that is released some time after its last reference is dropped."""

    __slots__ = ("handle", "release", "trash")

    def __init__(self, handle: Any, release: Any, trash: deque) -> None:
        self.handle, self.release, self.trash = handle, release, trash

    def __del__(self) -> None:
        self.trash.append((self.release, self.handle))


class Launch:
    """One dispatch, ready to be encoded. It keeps its pipeline and its bind group, and so the native buffers, but not the Buffers:
    who replays it sees to it that they are still his."""

    __slots__ = ("device", "group", "keep", "pipeline", "x", "y", "z")

    def __init__(self, device: Any, pipeline: _Held, group: _Held, grid: tuple[int, int, int]) -> None:
        self.device, self.pipeline, self.group = device, pipeline.handle, group.handle
        self.x, self.y, self.z = grid
        self.keep = pipeline, group


def check_owner(op: str, buffer: Any, device: Any) -> None:
    """Raises DeviceError unless `buffer` is one of `device`."""
    if not isinstance(buffer, Buffer) or buffer.device is not device:
        raise DeviceError(op, repr(buffer), f"not a buffer of {device}", "read it there and write it here")


class Launcher:
    """The caches of one device. `trash` takes what is to be released; the device that owns a launcher holds its lock."""

    def __init__(self, engine: Engine, traits: Traits, trash: deque, trusted: bool) -> None:
        self._engine, self._traits, self._trash, self._trusted = engine, traits, trash, trusted
        self._layouts: dict[str, tuple[Any, Any]] = {}
        self.pipelines: OrderedDict[tuple[str, str], _Held] = OrderedDict()
        self.groups: OrderedDict[tuple, _Held] = OrderedDict()
        self._uniforms: dict[tuple[int, ...], Memory] = {}

    def launch(self, device: Any, shader: Shader, buffers: Sequence[Buffer], faults: Buffer | None) -> list[Launch]:
        """The launches of a shader; see `WgpuDevice.launch`."""
        several = len(shader.grids) > 1 or bool(shader.windows)
        pattern = "".join(["w" if b.writes else "r" for b in shader.bindings]) + "w" * shader.faults + "u" * several
        looks = [self._entries(device, shader, buffers, faults, window) for window in shader.windows or ({},)]
        for entries in looks:
            self._check_entries(pattern, entries)
        for x, y, z, first in shader.grids:
            if not (0 <= x <= GRID and 0 <= y <= GRID and 0 <= z <= GRID and 0 <= first < 1 << 32):
                raise DeviceError("launch", f"grid ({x}, {y}, {z}) from {first}", f"a grid has at most {GRID} workgroups along each axis", "")
        pipeline = self._pipeline(shader.source, pattern)
        launches = []
        for i, (x, y, z, first) in enumerate(shader.grids):
            entries = looks[i if shader.windows else 0]
            if x and y and z:
                words = shader.words[i] if shader.windows else (first, 0, 0, 0)
                last = ((self._uniform(words), 0, 4 * len(words)),) if several else ()
                launches.append(Launch(device, pipeline, self._group(pattern, entries + last), (x, y, z)))
        return launches

    def _entries(self, device: Any, shader: Shader, buffers: Sequence[Buffer], faults: Buffer | None, window: dict[int, int]) -> Entries:
        """(memory, offset, bytes) of each storage binding; `window`: the first segment of each parameter, 0 unless given."""
        entries = []
        for b in shader.bindings:
            if not 0 <= b.param < len(buffers):
                raise DeviceError("launch", f"parameter {b.param} of {len(buffers)} buffers", "not given", "")
            buffer = buffers[b.param]
            check_owner("launch", buffer, device)
            size = buffer.room
            segment = window.get(b.param, 0) + b.segment
            offset = segment * shader.segment_bytes
            if not 0 <= offset < size or offset % self._traits.alignment:
                raise DeviceError("launch", f"segment {segment} of {shader.segment_bytes} bytes of {buffer!r}", "outside the buffer, or not aligned", "")
            length = min(shader.segment_bytes, size - offset)
            if offset % buffer.memory.part + length > buffer.memory.part:
                raise DeviceError("launch", f"a binding of {length} bytes of {buffer!r}", f"it lies in parts of {buffer.memory.part} bytes", "bind it in segments")
            entries.append((buffer.memory, offset, length))
        if shader.faults:
            if faults is None:
                raise DeviceError("launch", "a shader that checks its input", "no buffer for faults", "")
            check_owner("launch", faults, device)
            entries.append((faults.memory, 0, faults.room))
        return tuple(entries)

    def _check_entries(self, pattern: str, entries: Entries) -> None:
        """The limits of the device, and that nothing which is written is bound twice."""
        most = self._engine.limits["maxStorageBuffersPerShaderStage"]
        if len(entries) > most:
            raise DeviceError("launch", f"{len(entries)} storage bindings", f"{self._engine.name} has {most} in one shader", "")
        seen: dict[Memory, list[tuple[str, int, int]]] = {}
        for mode, (memory, offset, size) in zip(pattern, entries, strict=False):
            if size > self._traits.binding:
                raise DeviceError("launch", f"a binding of {size} bytes", f"{self._engine.name} has {self._traits.binding} at most", "bind it in segments")
            for other, at, length in seen.get(memory, ()):
                if mode != other or (mode == "w" and offset < at + length and at < offset + size):
                    raise DeviceError("launch", f"a buffer of {memory.size} bytes", "written and bound a second time in one dispatch", "bind it once")
            seen.setdefault(memory, []).append((mode, offset, size))

    def _layout(self, pattern: str) -> tuple[Any, Any]:
        """(bind group layout, pipeline layout) of a binding pattern: r(ead), w(rite), u(niform)."""
        made = self._layouts.get(pattern)
        if made is None:
            engine = self._engine
            lib, ffi = engine.lib, engine.ffi
            before = engine.count
            entries = ffi.new("WGPUBindGroupLayoutEntry[]", max(len(pattern), 1))
            kinds = {"r": lib.WGPUBufferBindingType_ReadOnlyStorage, "w": lib.WGPUBufferBindingType_Storage, "u": lib.WGPUBufferBindingType_Uniform}
            for i, mode in enumerate(pattern):
                entries[i].binding, entries[i].visibility, entries[i].buffer.type = i, COMPUTE, kinds[mode]
            groups = lib.wgpuDeviceCreateBindGroupLayout(engine.device, ffi.new("WGPUBindGroupLayoutDescriptor *", {
                "entryCount": len(pattern), "entries": entries}))
            layout = lib.wgpuDeviceCreatePipelineLayout(engine.device, ffi.new("WGPUPipelineLayoutDescriptor *", {
                "bindGroupLayoutCount": 1, "bindGroupLayouts": ffi.new("WGPUBindGroupLayout[1]", [groups])}))
            if engine.count != before:
                engine.fail("launch", f"bindings {pattern}")
            made = self._layouts[pattern] = groups, layout
        return made

    def _pipeline(self, source: str, pattern: str) -> _Held:
        known = self.pipelines.get((source, pattern))
        if known is not None:
            self.pipelines.move_to_end((source, pattern))
            return known
        engine = self._engine
        lib, ffi = engine.lib, engine.ffi
        layout = self._layout(pattern)[1]
        before = engine.count
        text, entry = ffi.new("char[]", source.replace("\0", " ").encode()), ffi.new("char[]", b"main")
        wgsl = ffi.new("WGPUShaderSourceWGSL *", {"code": {"data": text, "length": len(text) - 1}})
        wgsl.chain.sType = lib.WGPUSType_ShaderSourceWGSL
        descriptor = ffi.new("WGPUShaderModuleDescriptor *", {"nextInChain": ffi.cast("WGPUChainedStruct *", wgsl)})
        if self._trusted:                             # no bounds checks, no forced end of loops
            module = lib.wgpuDeviceCreateShaderModuleTrusted(engine.device, descriptor, 0)
        else:
            module = lib.wgpuDeviceCreateShaderModule(engine.device, descriptor)
        pipeline = ffi.NULL
        if engine.count == before:
            compute = ffi.new("WGPUComputePipelineDescriptor *", {"layout": layout, "compute": {
                "module": module, "entryPoint": {"data": entry, "length": 4}}})
            pipeline = lib.wgpuDeviceCreateComputePipeline(engine.device, compute)
        if module != ffi.NULL:
            lib.wgpuShaderModuleRelease(module)
        if engine.count != before:
            if pipeline != ffi.NULL:
                lib.wgpuComputePipelineRelease(pipeline)
            engine.fail("compile", "\n" + "\n".join(f"{i:4} {line}" for i, line in enumerate(source.split("\n"), 1)) + "\n")
        made = self.pipelines[source, pattern] = _Held(pipeline, lib.wgpuComputePipelineRelease, self._trash)
        if len(self.pipelines) > PIPELINES:
            self.pipelines.popitem(last=False)
        return made

    def _uniform(self, words: tuple[int, ...]) -> Memory:
        """A uniform buffer that holds these numbers."""
        known = self._uniforms.get(words)
        if known is None:
            engine, size = self._engine, 4 * len(words)
            handle = engine.create_buffer(size, UNIFORM | STORAGE | COPY_DST)
            if handle is None:
                raise MemoryError(f"launch: {self._engine.name}: no room for {size} bytes")
            engine.write(handle, 0, engine.ffi.from_buffer("char[]", np.array(words, np.uint32)), size)
            known = self._uniforms[words] = Memory((handle,), size, size)
        return known

    def _group(self, pattern: str, entries: Entries) -> _Held:
        key = (pattern, *entries)
        known = self.groups.get(key)
        if known is not None:
            self.groups.move_to_end(key)
            return known
        engine = self._engine
        lib, ffi = engine.lib, engine.ffi
        before = engine.count
        places = [(*memory.at(offset), size) for memory, offset, size in entries]
        native = ffi.new("WGPUBindGroupEntry[]", [
            {"binding": i, "buffer": buffer, "offset": offset, "size": size} for i, (buffer, offset, size) in enumerate(places)])
        handle = lib.wgpuDeviceCreateBindGroup(engine.device, ffi.new("WGPUBindGroupDescriptor *", {
            "layout": self._layout(pattern)[0], "entryCount": len(entries), "entries": native}))
        if engine.count != before:
            if handle != ffi.NULL:
                lib.wgpuBindGroupRelease(handle)
            engine.fail("launch", f"bindings {[(offset, size) for _, offset, size in entries]}")
        made = self.groups[key] = _Held(handle, lib.wgpuBindGroupRelease, self._trash)
        for memory, _, _ in entries:
            memory.groups.add(key)
        if len(self.groups) > GROUPS:
            self.forget_group(next(iter(self.groups)))
        return made

    def forget_group(self, key: tuple) -> None:
        """Drop a cached bind group."""
        self.groups.pop(key, None)
        for part in key[1:]:
            part[0].groups.discard(key)

    def forget_groups(self) -> None:
        """Drop all cached bind groups and uniforms."""
        for key in list(self.groups):
            self.forget_group(key)
        for memory in self._uniforms.values():
            self._engine.lib.wgpuBufferRelease(memory.handles[0])
        self._uniforms.clear()

    def close(self) -> None:
        """Let go of everything."""
        self.forget_groups()
        self.pipelines.clear()
        for group_layout, layout in self._layouts.values():
            self._engine.lib.wgpuPipelineLayoutRelease(layout)
            self._engine.lib.wgpuBindGroupLayoutRelease(group_layout)
        self._layouts.clear()

"""The raw GPU device: choosing one, memory, transfers, launches, errors. Every expected value is NumPy's."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import time

import numpy as np
import pytest

from lazygrad.backends.wgsl import adapters, binding, doctor
from lazygrad.backends.wgsl.device import WgpuDevice
from lazygrad.backends.wgsl.pool import Buffer, Memory, Pool, size_class
from lazygrad.backends.wgsl.traits import Binding, Shader
from lazygrad.errors import DeviceError, NoGpuError
from lazygrad.ir.record import changed

SCALE = """@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
    if (at.x < arrayLength(&x)) { y[at.x] = x[at.x] * 2.0; }
}
"""
MARK = """@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@group(0) @binding(1) var<storage, read_write> fault: array<atomic<u32>>;
@group(0) @binding(2) var<uniform> first: vec4<u32>;
@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
    y[first.x + at.x] = first.x * 1000u + at.x;
    if (at.x == 3u) { atomicMax(&fault[0], first.x + 1u); }
}
"""
HALVES = """@group(0) @binding(0) var<storage, read> low: array<u32>;
@group(0) @binding(1) var<storage, read> high: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) { y[at.x] = low[at.x] + 10u * high[at.x]; }
"""


def scale(groups: int = 4) -> Shader:
    return Shader(SCALE, (Binding(0, False), Binding(1, True)), ((groups, 1, 1, 0),))


@pytest.fixture(scope="module")
def device() -> WgpuDevice:
    return WgpuDevice()


def filled(device: WgpuDevice, array: np.ndarray) -> Buffer:
    buffer = device.allocate(array.nbytes)
    device.write(buffer, array)
    return buffer


# choosing

def test_equal_arguments_give_the_same_device(device):
    assert WgpuDevice() is device
    assert WgpuDevice(device.index) is device
    assert WgpuDevice(name=device.info.name.upper()) is device
    assert str(device) == repr(device) == f"gpu:{device.index}"
    assert device == device and len({device, WgpuDevice()}) == 1
    assert copy.deepcopy([device])[0] is device
    assert pickle.loads(pickle.dumps(device)) is device


def test_another_setting_is_another_device(device):
    fast = WgpuDevice(fast_math=True)
    assert fast is not device and fast.traits.fast_math and not device.traits.fast_math
    assert pickle.loads(pickle.dumps(fast)) is fast
    fast.close()


def test_the_list_is_in_order_of_the_index(device):
    infos = WgpuDevice.list()
    assert [info.index for info in infos] == list(range(len(infos)))
    assert device.info == infos[device.index]
    assert str(device.info).startswith(f"gpu:{device.index}: {device.info.name} (")


def test_the_environment_chooses_where_the_program_does_not(device, monkeypatch):
    for value in (str(device.index), f"gpu:{device.index}", device.info.name[:4].lower(), " "):
        monkeypatch.setenv("LAZYGRAD_GPU", value)
        assert WgpuDevice() is device
    monkeypatch.setenv("LAZYGRAD_GPU", "no such maker")
    with pytest.raises(DeviceError, match="LAZYGRAD_GPU=no such maker: no such adapter; there is gpu:0"):
        WgpuDevice()
    assert WgpuDevice(device.index) is device


def test_power_preference_orders_the_kinds(monkeypatch):
    infos = [adapters.AdapterInfo(i, n, k, "Vulkan", "", "") for i, (n, k) in enumerate(
        [("Big", "discrete"), ("Other Big", "discrete"), ("Small", "integrated"), ("llvmpipe", "software")])]
    monkeypatch.setattr(adapters, "adapters", lambda: [(info, info.name) for info in infos])
    monkeypatch.delenv("LAZYGRAD_GPU", raising=False)
    assert adapters.choose()[1] == adapters.choose(power_preference="high-performance")[1] == "Big"
    assert adapters.choose(power_preference="low-power")[1] == "Small"
    assert adapters.choose(1)[1] == adapters.choose(name="other")[1] == "Other Big"
    for arguments in ({"index": 9}, {"name": "tpu"}, {"power_preference": "fast"}, {"index": 0, "name": "big"}):
        with pytest.raises(DeviceError):
            adapters.choose(**arguments)


def test_names_of_devices_are_parsed():
    assert adapters.parse("gpu") is None and adapters.parse("gpu:12") == 12
    for text in ("gpu:", "gpu:x", "gpus", "cuda:0", "gpu:-1"):
        with pytest.raises(DeviceError, match="not the name of a device"):
            adapters.parse(text)


def test_no_gpu_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(adapters, "adapters", lambda: [])
    with pytest.raises(NoGpuError, match="no GPU adapter was found"):
        adapters.choose()
    assert "No GPU adapter was found." in doctor.report()[0]
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=pop\nID_LIKE="ubuntu debian"\n')
    monkeypatch.delenv("VK_ICD_FILENAMES", raising=False)
    monkeypatch.setenv("VK_DRIVER_FILES", "/nowhere/icd.json")
    text = "\n".join(adapters.missing(str(tmp_path), "linux"))
    assert "apt install mesa-vulkan-drivers" in text and "no *.json in" in text and "/nowhere/icd.json: no such file" in text
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").touch()
    (tmp_path / "usr/share/vulkan/icd.d").mkdir(parents=True)
    (tmp_path / "usr/share/vulkan/icd.d/intel.json").touch()
    monkeypatch.delenv("VK_DRIVER_FILES")
    text = "\n".join(adapters.missing(str(tmp_path), "linux"))
    assert "NVIDIA_DRIVER_CAPABILITIES=all" in text and "intel.json" in text
    assert "Metal" in adapters.missing(platform="darwin")[0] and "Direct3D" in adapters.missing(platform="win32")[0]


def test_traits_are_within_the_limits_of_the_adapter(device):
    traits = device.traits
    assert traits.buffers <= 8 and traits.binding % 256 == 0 and traits.binding >= 128 << 20
    assert traits.invocations >= 256 and traits.shared >= 16384 and traits.software == (device.info.kind == "software")


def test_the_doctor_reports_a_passed_self_test(device):
    told = []
    text, healthy = doctor.report(told.append)
    assert healthy
    assert str(device.info) in text and "self test: passed" in text and "reading one number" in text
    assert told[0] == "looking for GPUs"


def test_only_the_declarations_that_are_needed_are_parsed(monkeypatch):
    header = """#define WGPU_X 1
        typedef struct WGPUAImpl* WGPUA;
        struct WGPUB;
        typedef enum WGPUC { WGPUC_One = 1, WGPUC_Two = 2 } WGPUC;
        typedef struct WGPUB { WGPUC c; union { int a; float b; } both; } WGPUB;
        typedef void (*WGPUD)(WGPUB const * b, int n);
        typedef struct WGPUUnused { WGPUB b; } WGPUUnused;
        static const int WGPUZ = 3;
        WGPUA wgpuMake(WGPUD callback);
        void wgpuOther(WGPUUnused const * unused);"""
    monkeypatch.setattr(binding, "FUNCTIONS", ["Make"])
    text = binding.declarations(header)
    for wanted in ("WGPUAImpl", "struct WGPUB;", "WGPUC_Two", "float b", "*WGPUD", "wgpuMake"):
        assert wanted in text
    for left in ("WGPUUnused", "WGPUZ", "WGPU_X", "wgpuOther"):
        assert left not in text


def test_the_whole_binding_is_there(device):
    lib, ffi = binding.load()
    assert lib.wgpuGetVersion() >> 24 >= 29 and ffi.sizeof("WGPUBufferDescriptor") > 32
    assert ffi is not None and lib is device._engine.lib


# memory

def test_size_classes_waste_at_most_an_eighth_from_a_mebibyte():
    limit = (1 << 31) - 16
    for n in [*range(0, 5000, 7), *(int(1.07 ** k) for k in range(120, 317))]:
        size = size_class(n, limit)
        assert size >= n and size % 16 == 0 and size >= 256
        assert size <= (2 * n if n <= 1 << 20 else 1.125 * n + 16) or size == 256
    limit = limit // 16 * 16
    assert size_class(limit, limit) == limit, "what fits one native buffer stays in one"


def test_the_pool_gives_the_last_buffer_back_and_forgets_the_oldest():
    released: list[Memory] = []
    pool = Pool(lambda size: Memory((object(),), size, size), released.append, 1 << 30, 1024)
    a, b, c = pool.take(300), pool.take(300), pool.take(1000)
    for memory in (a, b):
        pool.give(memory)
    assert pool.take(400) is b and (pool.live_bytes, pool.idle_bytes) == (1536, 512)
    pool.give(b)
    pool.give(c)                                         # 2048 idle bytes, 1024 allowed: the oldest go
    assert released == [a, b] and pool.idle_bytes == 1024 and pool.live_buffers == 0 and pool.peak_bytes == 2048
    pool.shrink()
    assert released[-1] is c and pool.idle_buffers == 0


def test_dropped_buffers_are_used_again(device):
    device.trim()
    before = device.memory_stats()
    buffers = [device.allocate(5000) for _ in range(10)]
    assert device.memory_stats()["live_bytes"] - before["live_bytes"] == 81920
    serials = {buffer.serial for buffer in buffers}
    del buffers
    again = [device.allocate(6000) for _ in range(10)]
    assert {buffer.serial for buffer in again} == serials
    del again
    assert device.memory_stats()["live_buffers"] == before["live_buffers"]
    device.trim()
    after = device.memory_stats()
    assert after["idle_bytes"] == after["bind_groups"] == after["staging_bytes"] == 0


def test_buffers_in_a_cycle_come_back(device):
    before = device.memory_stats()["live_buffers"]
    loop: list = [device.allocate(64)]
    loop.append(loop)
    del loop
    gc.collect()
    assert device.memory_stats()["live_buffers"] == before


def test_bind_groups_of_a_released_buffer_are_forgotten(device):
    device.trim()
    x, y = filled(device, np.ones(64, np.float32)), device.allocate(256)
    launches = device.launch(scale(1), [x, y])
    assert device.memory_stats()["bind_groups"] == 1
    assert device.launch(scale(1), [x, y])[0].group == launches[0].group
    del x, y
    device.trim()
    assert device.memory_stats()["bind_groups"] == 0
    device.run(launches)                                 # its bind group keeps the native buffers
    device.wait()


def test_who_listens_is_told_before_a_buffer_goes(device):
    class Told:
        def __init__(self):
            self.serials, self.trims = [], 0

        def released(self, serial):
            self.serials.append(serial)

        def trimmed(self):
            self.trims += 1

    told = Told()
    device.trim()
    device.listen(told.released, told.trimmed)
    x = device.allocate(1 << 16)
    serial = x.serial
    del x
    y = device.allocate(1 << 16)
    assert y.serial == serial and told.serials == [], "the pool gives the same native buffer again"
    del y
    device.trim()
    assert told.serials == [serial] and told.trims == 1
    assert device.allocate(1 << 16).serial != serial


def test_out_of_memory_lets_go_of_idle_buffers_and_tries_again(device, monkeypatch):
    create, refused = device._pool._create, []

    def once(size):
        refused.append(size)
        return create(size) if device._pool.idle_bytes == 0 else None

    keep = device.allocate(64)
    del [device.allocate(1 << 16) for _ in range(3)][:]
    monkeypatch.setattr(device._pool, "_create", once)
    assert device.allocate(3 << 20).size == 3 << 20 and refused == [3 << 20] * 2
    monkeypatch.setattr(device._pool, "_create", lambda size: None)
    with pytest.raises(MemoryError, match=r"5242880 bytes requested, \d+ held in \d+ buffers"):
        device.allocate(5 << 20)
    monkeypatch.undo()
    assert device.allocate(5 << 20).size == 5 << 20 and keep.size == 64


def test_a_buffer_past_the_limit_is_a_memory_error_that_names_it(device):
    with pytest.raises(MemoryError, match=f"{(1 << 34) + 1} bytes in one buffer: {1 << 34} are the most"):
        device.allocate((1 << 34) + 1)
    with pytest.raises(DeviceError, match="negative"):
        device.allocate(-1)


@pytest.fixture
def small(device, monkeypatch):
    """The device as if its buffers held 256 KiB and its bindings 64 KiB."""
    device.trim()
    monkeypatch.setattr(device, "_max_buffer", 256 << 10)
    monkeypatch.setattr(device, "_part", 256 << 10)
    monkeypatch.setattr(device, "traits", changed(device.traits, binding=64 << 10))
    monkeypatch.setattr(device._pool, "_limit", 256 << 10)
    yield device
    gc.collect()                                             # what a test left in cycles would come back after the trim,
    device.trim()                                            # and a later test would get memory in parts
    assert not [m for m in gc.get_objects() if isinstance(m, Memory) and m.part == 256 << 10]


def test_memory_larger_than_a_native_buffer_lies_in_parts(small):
    data = np.random.default_rng(0).integers(0, 256, (1 << 20) + 8, np.uint8)
    buffer, other = small.allocate(data.nbytes), small.allocate(data.nbytes)
    assert len(buffer.memory.handles) == 5
    small.write(buffer, data)
    np.testing.assert_array_equal(small.read(buffer), data)
    np.testing.assert_array_equal(small.read(buffer, 8, (256 << 10) - 4), data[(256 << 10) - 4:][:8])
    small.clear(other)
    small.copy(buffer, other, 600 << 10, 200 << 10, 100 << 10)
    want = np.zeros_like(data)
    want[100 << 10:700 << 10] = data[200 << 10:800 << 10]
    np.testing.assert_array_equal(small.read(other), want)
    with pytest.raises(DeviceError, match="parts of 262144 bytes"):
        small.launch(scale(1), [buffer, other])              # one binding of a whole that lies in parts


def test_programs_run_over_tensors_in_parts(small):
    import lazygrad as lg
    rng = np.random.default_rng(0)
    a, b = rng.random((700, 128), np.float32), rng.random((128, 60), np.float32)
    graph = lg.Graph(device=small)
    x, y = graph.tensor(a), graph.tensor(b)
    z = (lg.sqrt(x) @ y).sum(axis=0)
    z.backward()
    np.testing.assert_allclose(z.value, (np.sqrt(a.astype("f8")) @ b).sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(x.grad, 0.5 / np.sqrt(a.astype("f8")) * b.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(y.grad, np.repeat(np.sqrt(a.astype("f8")).sum(axis=0)[:, None], 60, 1), rtol=1e-5)
    assert len(x.grad._held().buffer.memory.handles) == 2
    graph.zero_grad()                                        # the last backward is remembered, and with it the tensors


# transfers

@pytest.mark.parametrize("nbytes", [0, 4, 16, 252, 4096, 1 << 20, (40 << 20) + 12])
def test_what_is_written_is_read(device, nbytes):
    data = np.random.default_rng(nbytes).integers(0, 256, nbytes, np.uint8)
    buffer = filled(device, data)
    read = device.read(buffer, nbytes)
    assert read.dtype == np.uint8 and read.shape == (nbytes,)
    np.testing.assert_array_equal(read, data)


def test_transfers_at_offsets(device):
    data = np.arange(64, dtype=np.uint32)
    buffer, other = filled(device, data), device.allocate(256)
    device.write(buffer, np.array([7, 8], np.uint32), 40)
    data[10:12] = 7, 8
    np.testing.assert_array_equal(device.read(buffer, 12, 36).view(np.uint32), data[9:12])
    assert device.read(buffer, 5, 8).tolist() == data.view(np.uint8)[8:13].tolist()
    device.clear(other)
    device.copy(buffer, other, 16, 32, 64)
    expected = np.zeros(64, np.uint32)
    expected[16:20] = data[8:12]
    np.testing.assert_array_equal(device.read(other).view(np.uint32), expected)


def test_strided_read_only_and_small_arrays_are_written(device):
    base = np.arange(24, dtype=np.float64).reshape(4, 6)
    turned = base.T[::2]
    turned.flags.writeable = False
    np.testing.assert_array_equal(device.read(filled(device, turned)).view(np.float64), turned.ravel())
    np.testing.assert_array_equal(device.read(filled(device, np.float32(2.5)), 4).view(np.float32), [2.5])
    assert device.read(filled(device, np.array([1 + 2j], np.complex64))).size == 8


def test_transfers_outside_a_buffer_are_refused(device):
    a, b = device.allocate(64), device.allocate(64)
    words = np.zeros(4, np.uint32)
    for wrong in (lambda: device.write(a, words, 56), lambda: device.write(a, words, 2), lambda: device.write(a, words, -4),
                  lambda: device.write(a, np.zeros(3, np.uint8)), lambda: device.read(a, 68), lambda: device.read(a, 4, 2),
                  lambda: device.copy(a, b, 68), lambda: device.copy(a, b, 2), lambda: device.copy(a, a, 4, 0, 8),
                  lambda: device.read(None, 4), lambda: device.clear("buffer")):
        with pytest.raises(DeviceError):
            wrong()
    device.write(a, words)
    assert device.read(a, 16).sum() == 0


def test_many_writes_between_two_runs_stay_bounded(device):
    buffer, words = device.allocate(64), np.arange(16, dtype=np.uint32)
    before = device.memory_stats()["submissions"]
    for i in range(6000):
        device.write(buffer, words + np.uint32(i))
    assert device.memory_stats()["submissions"] > before
    np.testing.assert_array_equal(device.read(buffer).view(np.uint32), words + np.uint32(5999))


# launches

def test_launches_run_in_order_and_again(device):
    x = np.arange(256, dtype=np.float32)
    a, b = filled(device, x), device.allocate(1024)
    there, back = device.launch(scale(), [a, b]), device.launch(scale(), [b, a])
    plan = (there + back) * 3
    for n in (1, 2):
        device.run(plan)
        np.testing.assert_array_equal(device.read(a).view(np.float32), x * np.float32(2) ** (6 * n))
    stats = device.memory_stats()
    device.run([])
    assert device.memory_stats()["submissions"] == stats["submissions"]


def test_several_grids_get_their_first_index_and_faults(device):
    shader = Shader(MARK, (Binding(0, True),), ((1, 1, 1, 0), (2, 1, 1, 16), (0, 1, 1, 9), (1, 1, 1, 48)), faults=True)
    y, fault = device.allocate(256), device.allocate(16)
    device.clear(fault)
    launches = device.launch(shader, [y], fault)
    assert len(launches) == 3                            # an empty grid launches nothing
    device.run(launches)
    n = np.arange(64, dtype=np.uint32)
    first = np.select([n < 16, n < 48], [0, 16], 48).astype(np.uint32)
    np.testing.assert_array_equal(device.read(y).view(np.uint32), first * 1000 + (n - first))
    assert device.read(fault, 4).view(np.uint32)[0] == 49
    with pytest.raises(DeviceError, match="no buffer for faults"):
        device.launch(shader, [y])


def test_segments_of_a_buffer_are_bound_apart(device):
    data = np.arange(128, dtype=np.uint32)
    x, y = filled(device, data), device.allocate(256)
    shader = Shader(HALVES, (Binding(0, False, 0), Binding(0, False, 1), Binding(1, True)), ((1, 1, 1, 0),), segment_bytes=256)
    device.run(device.launch(shader, [x, y]))
    np.testing.assert_array_equal(device.read(y).view(np.uint32), data[:64] + 10 * data[64:])
    with pytest.raises(DeviceError, match="outside the buffer"):
        device.launch(shader, [y, x])


def test_refused_wgsl_shows_the_message_and_the_numbered_source(device):
    for bad in (SCALE.replace("* 2.0", "* true"), SCALE.replace("fn main", "fn other"), SCALE.replace("read_write", "read"), "not wgsl\0"):
        with pytest.raises(DeviceError, match="compile: gpu:") as caught:
            device.launch(Shader(bad, (Binding(0, False), Binding(1, True)), ((1, 1, 1, 0),)), [device.allocate(16), device.allocate(16)])
        assert "   1 " + bad.split("\n")[0].replace("\0", "") in str(caught.value)
        assert "Error" in str(caught.value)
    assert device.launch(scale(), [device.allocate(16), device.allocate(16)])


def test_launches_that_webgpu_forbids_are_refused(device):
    a, b = device.allocate(256), device.allocate(256)
    both = (Binding(0, False), Binding(1, True))
    wrong = [(Shader(SCALE, both, ((65536, 1, 1, 0),)), [a, b]), (Shader(SCALE, both, ((1, 1, -1, 0),)), [a, b]),
             (Shader(SCALE, both, ((1, 1, 1, 1 << 32), (1, 1, 1, 0))), [a, b]), (Shader(SCALE, both, ((1, 1, 1, 0),)), [a]),
             (Shader(SCALE, both, ((1, 1, 1, 0),)), [a, a]), (Shader(SCALE, both, ((1, 1, 1, 0),)), [a, None]),
             (Shader(SCALE, (Binding(0, True), Binding(0, True)), ((1, 1, 1, 0),)), [a]),
             (Shader(SCALE, (Binding(0, False, 1), Binding(1, True)), ((1, 1, 1, 0),), segment_bytes=20), [a, b]),
             (Shader(SCALE, tuple(Binding(0, False) for _ in range(10_000)), ((1, 1, 1, 0),)), [a])]
    for shader, buffers in wrong:
        with pytest.raises(DeviceError):
            device.launch(shader, buffers)
    big = device.allocate(device.traits.binding + 16)
    with pytest.raises(DeviceError, match="bind it in segments"):
        device.launch(scale(), [big, b])


def test_time_of_launches_is_positive(device):
    a, b = device.allocate(1 << 20), device.allocate(1 << 20)
    begin = time.perf_counter()
    seconds = device.time(device.launch(scale(4096), [a, b]) * 3)
    assert len(seconds) == 3 and 0 < sum(seconds) < time.perf_counter() - begin
    assert 0 < device._by_the_wall(device.launch(scale(4096), [a, b])[0]) < 5
    assert device.time([]) == []


def test_trusted_shaders_compute_the_same(device):
    trusted = WgpuDevice(_trusted=True)
    x = np.arange(64, dtype=np.float32)
    a, b = filled(trusted, x), trusted.allocate(256)
    trusted.run(trusted.launch(scale(1), [a, b]))
    np.testing.assert_array_equal(trusted.read(b).view(np.float32), x * 2)
    with pytest.raises(DeviceError, match="not a buffer of"):
        device.read(a)
    trusted.close()


def test_threads_share_a_device(device):
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            x = np.random.default_rng(seed).standard_normal(256, np.float32)
            for _ in range(40):
                a, b = filled(device, x), device.allocate(1024)
                device.run(device.launch(scale(), [a, b]))
                np.testing.assert_array_equal(device.read(b).view(np.float32), x * np.float32(2))
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_running_ahead_of_the_device_keeps_few_submissions_in_flight(device):
    x = np.ones(64, np.float32)
    a, b = filled(device, x), device.allocate(256)
    plan = device.launch(scale(1), [a, b])
    blocks = sys.getallocatedblocks()
    for _ in range(3000):
        device.run(plan)
    assert sys.getallocatedblocks() - blocks < 500
    np.testing.assert_array_equal(device.read(b).view(np.float32), x * 2)

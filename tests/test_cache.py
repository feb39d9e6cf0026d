"""The object cache: whole objects or none, only from a private folder, bounded, shared by processes, never an error."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import time

import pytest

from lazygrad.backends import cache
from lazygrad.backends.cache import HEADER, SUFFIX, Cache

posix = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
PAYLOAD = bytes(range(256)) * 40


@pytest.fixture
def store(tmp_path):
    return Cache(str(tmp_path / "cache"))


def path(store: Cache, key: bytes) -> str:
    return os.path.join(store.path, key.hex() + SUFFIX)


def test_what_is_put_is_got_again_also_by_another_process_object(store):
    key = store.key("text", "cpu")
    assert store.get(key) is None
    assert store.put(key, PAYLOAD)
    assert store.get(key) == PAYLOAD
    assert Cache(store.path).get(key) == PAYLOAD
    assert store.put(key, b"") and store.get(key) == b""


def test_key_depends_on_every_part_and_on_where_parts_end(store):
    keys = {store.key(*parts) for parts in [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc")]}
    assert len(keys) == 5
    assert store.key("ab", "c") == Cache(None).key("ab", "c")


@posix
def test_folder_and_files_are_private(store):
    key = store.key("x")
    old = os.umask(0o000)
    try:
        store.put(key, PAYLOAD)
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(store.path).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(path(store, key)).st_mode) == 0o600


@pytest.mark.parametrize("damage", ["flip", "header", "cut", "longer", "empty", "other key"])
def test_damaged_file_is_ignored_and_rewritten(store, damage):
    key, other = store.key("x"), store.key("y")
    store.put(key, PAYLOAD)
    with open(path(store, key), "r+b") as file:
        data = bytearray(file.read())
        if damage == "flip":
            data[HEADER + 1000] ^= 1
        elif damage == "header":
            data[3] ^= 1
        elif damage == "cut":
            del data[-1]
        elif damage == "longer":
            data += b"x"
        elif damage == "empty":
            data.clear()
        else:
            store.put(other, PAYLOAD)
            with open(path(store, other), "rb") as source:
                data = bytearray(source.read())
        file.seek(0)
        file.truncate()
        file.write(data)
    assert store.get(key) is None
    assert store.put(key, PAYLOAD)
    assert store.get(key) == PAYLOAD


@posix
@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701, 0o702])
def test_folder_that_others_can_enter_is_not_used(store, mode):
    key = store.key("x")
    store.put(key, PAYLOAD)
    os.chmod(store.path, mode)
    with pytest.warns(RuntimeWarning, match="not used: others have access"):
        assert store.get(key) is None
    assert store.get(key) is None              # told once
    assert not store.put(store.key("y"), PAYLOAD)
    os.chmod(store.path, 0o700)
    assert store.get(key) == PAYLOAD
    assert len(os.listdir(store.path)) == 1


@posix
def test_folder_behind_a_symbolic_link_is_not_used(tmp_path):
    real = Cache(str(tmp_path / "real"))
    key = real.key("x")
    real.put(key, PAYLOAD)
    os.symlink(real.path, tmp_path / "link")
    linked = Cache(str(tmp_path / "link"))
    with pytest.warns(RuntimeWarning, match="symbolic link"):
        assert linked.get(key) is None
    assert not linked.put(linked.key("y"), PAYLOAD)
    assert len(os.listdir(real.path)) == 1


@posix
def test_symbolic_link_in_place_of_a_file_is_not_followed(store, tmp_path):
    key, elsewhere = store.key("x"), tmp_path / "elsewhere"
    store.put(key, PAYLOAD)
    os.rename(path(store, key), elsewhere)
    os.symlink(elsewhere, path(store, key))
    assert store.get(key) is None
    assert store.put(key, PAYLOAD) and store.get(key) == PAYLOAD
    assert not os.path.islink(path(store, key))


@posix
def test_folder_of_somebody_else_is_not_used(store, monkeypatch):
    key = store.key("x")
    store.put(key, PAYLOAD)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.warns(RuntimeWarning, match="belongs to somebody else"):
        assert store.get(key) is None
    assert not store.put(key, PAYLOAD)


def test_disk_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    for where in (str(blocked), str(blocked / "below"), "/proc/nowhere/lazygrad", None):
        store = Cache(where)
        assert store.get(store.key("x")) is None
        assert not store.put(store.key("x"), PAYLOAD)
        store.sweep()
    full = Cache(str(tmp_path / "full"))
    monkeypatch.setattr(os, "replace", lambda *a, **k: (_ for _ in ()).throw(OSError(28, "no space left")))
    assert not full.put(full.key("x"), PAYLOAD)
    assert os.listdir(full.path) == []         # the unfinished file is gone


def test_size_is_bounded_and_the_least_recently_used_go_first(tmp_path):
    store = Cache(str(tmp_path / "cache"), limit=10 * (len(PAYLOAD) + HEADER))
    keys = [store.key(str(i)) for i in range(200)]
    quiet = [k for k in keys if k[0] % cache.SWEEP][:20]       # writes that do not look at the size
    now = time.time()
    for i, key in enumerate(quiet):
        store.put(key, PAYLOAD)
        os.utime(path(store, key), (now - 10000 + i, now - 10000 + i))
    assert store.get(quiet[0]) == PAYLOAD      # a use makes it young again
    store.sweep()
    left = [k for k in quiet if os.path.exists(path(store, k))]
    assert left == [quiet[0], *quiet[-6:]]
    assert sum(os.path.getsize(path(store, k)) for k in left) <= store.limit * 3 // 4
    for key in keys:                           # the check by itself, now and then, keeps the size about the limit
        store.put(key, PAYLOAD)
    assert len(os.listdir(store.path)) <= 10 + 5 * cache.SWEEP
    assert not store.put(store.key("big"), bytes(store.limit))


def test_unfinished_files_of_dead_processes_are_removed(store):
    store.put(store.key("x"), PAYLOAD)
    old, young = os.path.join(store.path, "1.tmp"), os.path.join(store.path, "2.tmp")
    for name in (old, young):
        with open(name, "wb"):
            pass
    os.utime(old, (1, 1))
    store.sweep()
    assert not os.path.exists(old) and os.path.exists(young)


RACE = """
import sys
from lazygrad.backends.cache import Cache
store = Cache(sys.argv[1], limit=200_000)
bad = 0
for turn in range(60):
    for i in range(4):
        key = store.key(str(i))
        found = store.get(key)
        bad += found is not None and found != bytes([i]) * (30_000 + i)
        store.put(key, bytes([i]) * (30_000 + i))
    if turn % 10 == 0:
        store.put(store.key(sys.argv[2], str(turn)), bytes(20_000))
        store.sweep()
print(bad)
"""


def test_processes_that_write_and_sweep_at_once_read_whole_objects_only(tmp_path):
    folder = str(tmp_path / "cache")
    jobs = [subprocess.Popen([sys.executable, "-c", RACE, folder, str(i)], stdout=subprocess.PIPE, text=True)
            for i in range(3)]
    assert [job.communicate(timeout=60)[0].strip() for job in jobs] == ["0"] * 3
    assert all(job.returncode == 0 for job in jobs)
    assert not [n for n in os.listdir(folder) if n.endswith(".tmp")]


def test_folder_is_chosen_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "mine"))
    assert cache.folder() == str(tmp_path / "mine") and cache.objects().path == cache.folder()
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert cache.folder() is None and cache.objects().path is None
    monkeypatch.delenv(cache.VARIABLE)
    if sys.platform.startswith("linux"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache.folder() == str(tmp_path / "lazygrad")
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")       # the standard: ignored
        monkeypatch.setenv("HOME", str(tmp_path))
        assert cache.folder() == str(tmp_path / ".cache" / "lazygrad")
    monkeypatch.setenv(cache.VARIABLE, "relative")
    assert os.path.isabs(cache.folder())


def test_checksum_covers_key_and_payload(store):
    key = store.key("x")
    store.put(key, PAYLOAD)
    with open(path(store, key), "rb") as file:
        data = file.read()
    assert data[HEADER:] == PAYLOAD
    assert hashlib.sha256(key + PAYLOAD).digest() in data[:HEADER]

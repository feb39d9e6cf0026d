"""Cache: object code on disk, by the digest of all it depends on. In: key and bytes; out: bytes that are whole, or None.

Code is only ever loaded from a folder that is the user's own and nobody else can read or write, and only if its
checksum is right. Nothing here raises: a full, read-only or missing disk means that there is no cache.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
import warnings
from collections.abc import Iterator
from functools import cache

try:                                           # hashlib loads OpenSSL: a quarter of a warm start
    from _sha2 import sha256
except ImportError:
    try:
        from _sha256 import sha256  # Python 3.11
    except ImportError:
        from hashlib import sha256

LIMIT = 256 << 20              # bytes of one cache; above, the least recently used go until 3/4 of it are left
SWEEP = 16                     # one write in so many looks at the size
TOUCH = 3600.0                 # seconds after which a use is noted again
STALE = 3600.0                 # seconds after which an unfinished file is rubbish
MAGIC = b"lazygrad object 1\n"
HEADER = len(MAGIC) + 32 + 32 + 8
VARIABLE = "LAZYGRAD_CACHE_DIR"
SUFFIX = ".o"


def folder() -> str | None:
    """The user's cache folder for object code: $LAZYGRAD_CACHE_DIR ("off": none), or the system's place for caches."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen:
        return None if chosen.lower() == "off" else os.path.abspath(chosen)
    home = os.path.expanduser("~")
    if sys.platform == "darwin":
        base = os.path.join(home, "Library", "Caches")
    elif sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        base = base if os.path.isabs(base) else os.path.join(home, ".cache")
    return os.path.join(base, "lazygrad") if os.path.isabs(base) else None


_POSIX = os.name == "posix"
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Cache:
    """One folder of objects.

    >>> Cache(None).get(b"key") is None
    True
    """

    def __init__(self, path: str | None, limit: int = LIMIT) -> None:
        self.path, self.limit = path, limit
        self._warned = False

    def key(self, *parts: str) -> bytes:
        """The digest of all that the code depends on. Lengths are part of it: ("ab", "c") is not ("a", "bc")."""
        digest = sha256(MAGIC)
        for part in parts:
            data = part.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        return digest.digest()

    def get(self, key: bytes) -> bytes | None:
        """The object of `key`, None where there is none or it is damaged."""
        with self._open(make=False) as at:
            if at is None:
                return None
            name = key.hex() + SUFFIX
            try:
                with open(name, "rb", opener=lambda n, flags: self._file(n, flags | _NOFOLLOW, at)) as file:
                    about = os.fstat(file.fileno())
                    if not stat.S_ISREG(about.st_mode) or (_POSIX and about.st_uid != os.geteuid()):
                        return None
                    if not HEADER <= about.st_size <= self.limit:
                        return None
                    data = file.read(about.st_size + 1)
                    if time.time() - about.st_mtime > TOUCH:
                        with contextlib.suppress(OSError):      # a read-only disk: age is not noted
                            os.utime(file.fileno() if os.utime in os.supports_fd else os.path.join(self.path, name))
            except OSError:
                return None
        head, payload = data[:HEADER], data[HEADER:]
        return payload if head == self._header(key, payload) else None

    def put(self, key: bytes, payload: bytes) -> bool:
        """Keep an object; says whether it is on disk now."""
        if HEADER + len(payload) > self.limit:
            return False
        with self._open(make=True) as at:
            if at is None:
                return False
            name, temporary = key.hex() + SUFFIX, f"{key.hex()}.{os.getpid()}.{next(_names)}.tmp"
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW
                with open(self._file(temporary, flags, at), "wb") as file:
                    file.write(self._header(key, payload))
                    file.write(payload)
                if _POSIX:
                    os.replace(temporary, name, src_dir_fd=at, dst_dir_fd=at)
                else:
                    os.replace(os.path.join(self.path, temporary), os.path.join(self.path, name))
            except OSError:
                with contextlib.suppress(OSError):
                    self._remove(temporary, at)
                return False
            if key[0] % SWEEP == 0:            # by the key: no state to keep, and spread over all processes
                self._sweep(at)
            return True

    def sweep(self) -> None:
        """Remove the least recently used objects if there are more bytes than `limit`, and unfinished files."""
        with self._open(make=False) as at:
            if at is not None:
                self._sweep(at)

    def _sweep(self, at: int | str) -> None:
        kept: list[tuple[float, int, str]] = []
        now = time.time()
        try:
            with os.scandir(at) as entries:
                for e in entries:
                    with contextlib.suppress(OSError):
                        about = os.stat(e.name, dir_fd=at, follow_symlinks=False) if _POSIX else e.stat()
                        if e.name.endswith(SUFFIX):
                            kept.append((about.st_mtime, about.st_size, e.name))
                        elif e.name.endswith(".tmp") and now - about.st_mtime > STALE:
                            self._remove(e.name, at)
        except OSError:
            return
        total = sum(size for _, size, _ in kept)
        if total <= self.limit:
            return
        for _, size, name in sorted(kept):
            if total <= self.limit * 3 // 4:
                break
            with contextlib.suppress(OSError):     # another process may have been first
                self._remove(name, at)
            total -= size

    @staticmethod
    def _header(key: bytes, payload: bytes) -> bytes:
        return MAGIC + key + sha256(key + payload).digest() + len(payload).to_bytes(8, "little")

    def _file(self, name: str, flags: int, at: int | str) -> int:
        if _POSIX:
            return os.open(name, flags, 0o600, dir_fd=at)
        return os.open(os.path.join(self.path, name), flags, 0o600)

    def _remove(self, name: str, at: int | str) -> None:
        if _POSIX:
            os.unlink(name, dir_fd=at)
        else:
            os.unlink(os.path.join(self.path, name))

    @contextlib.contextmanager
    def _open(self, make: bool) -> Iterator[int | str | None]:
        """The folder, checked anew each time: a descriptor on POSIX, so that what was checked is what is used."""
        if self.path is None:
            yield None
            return
        if make:
            with contextlib.suppress(OSError):
                os.makedirs(self.path, mode=0o700, exist_ok=True)
        if not _POSIX:                         # the profile folder is private by its access list
            yield self.path if os.path.isdir(self.path) and not os.path.islink(self.path) else None
            return
        try:
            at = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | _NOFOLLOW)
        except OSError:
            if os.path.islink(self.path):
                self._unsafe("it is a symbolic link")
            yield None
            return
        try:
            about = os.fstat(at)
            if about.st_uid != os.geteuid():
                self._unsafe("it belongs to somebody else")
                yield None
            elif about.st_mode & 0o077:
                self._unsafe(f"others have access to it (mode {about.st_mode & 0o777:o}, should be 700)")
                yield None
            else:
                yield at
        finally:
            os.close(at)

    def _unsafe(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(f"lazygrad: the cache folder {self.path} is not used: {why}; set {VARIABLE} to a folder of "
                          'your own, or to "off"', RuntimeWarning, stacklevel=2)


_names = iter(lambda: os.urandom(8).hex(), None)   # different in every thread and process


@cache
def _at(path: str | None) -> Cache:
    return Cache(path)


def objects() -> Cache:
    """The cache of this user, by the environment of now."""
    return _at(folder())

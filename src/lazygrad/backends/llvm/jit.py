"""Jit: LLVM text becomes an object, an object becomes running code. LLVM is imported on the first compilation.

No optimisation passes run: the text is already what is wanted, only instructions are selected and registers given.
`native` goes through the object cache; `load` prefers our own loader, and LLVM's where that one does not work.
"""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from functools import cache
from typing import Any, NamedTuple

from ...errors import DeviceError
from ..cache import objects, sha256
from . import cpus, direct, loader, several
from . import target as targets
from .loader import Loaded
from .target import Target

STRAIGHT = 1000          # lines of straight scalar code from which the quick code generator is used
_lock = threading.RLock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):            # a child must not inherit LLVM in the middle of a compilation
    os.register_at_fork(before=lambda: _lock.acquire(), after_in_parent=lambda: _lock.release(), after_in_child=_renew_lock)


@cache
def version() -> str:
    """What tells one llvmlite from another, known without importing it ("" where there is none)."""
    spec = importlib.util.find_spec("llvmlite")
    folder = os.path.dirname(spec.origin) if spec and spec.origin else ""
    if not folder:
        return ""
    try:
        with open(os.path.join(folder, "_version.py"), "rb") as file:
            return sha256(file.read()).hexdigest()
    except OSError:
        return "unknown"


@cache
def _llvm() -> Any:
    """llvmlite's binding, its targets made known once."""
    try:
        import llvmlite.binding as llvm
    except (ImportError, OSError) as e:
        raise DeviceError("compile", "llvmlite", f"it cannot be imported ({e})", "install llvmlite") from e
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


_machines: dict[tuple[Target, int], Any] = {}


def _machine(target: Target, opt: int) -> Any:
    """The code generator for a CPU (one per level, shared; the caller holds the lock)."""
    found = _machines.get((target, opt))
    if found is None:
        llvm = _llvm()
        cpu, features, triple = target.cpu, target.features, target.triple
        if target.native:
            cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
            triple = llvm.get_process_triple()
        else:
            llvm.initialize_all_targets()
            llvm.initialize_all_asmprinters()
        made = llvm.Target.from_triple(triple)
        found = made.create_target_machine(cpu=cpu, features=features, opt=opt, reloc="pic", codemodel="small")
        found.set_asm_verbosity(False)
        _machines[target, opt] = found
    return found


def _module(text: str) -> Any:
    """The parsed and verified module: an invalid one would abort the process later."""
    llvm = _llvm()
    try:
        module = llvm.parse_assembly(text, context=llvm.create_context())
        module.verify()
    except RuntimeError as e:
        raise _invalid(e) from e
    return module


def _invalid(e: RuntimeError) -> DeviceError:
    return DeviceError("compile", "LLVM text", (str(e).strip() or "LLVM gives no reason").splitlines()[-1], "report this as a bug")


def effort(text: str) -> int:
    """The level of the code generator: 0 for long straight scalar code, which it compiles 5 times faster.

    Such code mostly waits for the functions it calls: its speed differs by a tenth or two.
    """
    lines = text.count("\n")
    straight = lines > STRAIGHT and lines > 100 * text.count("br i1")
    return 0 if straight and not any(f"<{n} x " in text for n in (2, 4, 8, 16, 32, 64)) else 1


def _generate(text: str, opt: int, target: Target | None, form: str) -> Any:
    module = _module(text)
    machine = _machine(target or targets.host(), opt)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    return getattr(machine, form)(module)


def compile_parts(text: str, opt: int) -> list[bytes]:
    """The objects of a text for this CPU, which call each other: several where it is long, made at once. As `compile_text`."""
    threads = cpus.count() if loader.supported() and direct.entries() is not None else 1
    texts = several.divided(text, threads)
    if len(texts) == 1:
        return [compile_text(text, opt)]
    with _lock:
        try:
            return several.at_once(texts, lambda part, k: direct.compiled(part, opt, k))
        except RuntimeError as e:
            raise _invalid(e) from e


def compile_text(text: str, opt: int = 1, target: Target | None = None) -> bytes:
    """The object of LLVM text. Raises DeviceError where llvmlite is absent or the text is not valid. Thread safe."""
    with _lock:                                # a function of its own below: its module dies while the lock is held
        if (target is None or target.native) and direct.entries() is not None:
            try:
                return direct.compiled(text, opt)
            except RuntimeError as e:
                raise _invalid(e) from e
        return _generate(text, opt, target, "emit_object")


def assembly(text: str, opt: int = 1, target: Target | None = None) -> str:
    """The assembly of LLVM text, to look at."""
    with _lock:
        return _generate(text, opt, target, "emit_assembly")


class _Mcjit(Loaded):
    """Code that LLVM's own loader placed."""

    __slots__ = ()

    def address(self, symbol: str) -> int:
        found = self._keep.get_function_address(symbol)
        if not found:
            raise KeyError(symbol)
        return found


def load_by_llvm(data: bytes) -> Loaded:
    """Load an object with LLVM's loader (macOS, Windows, and whatever ours refuses)."""
    with _lock:
        llvm = _llvm()
        machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=1, jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(data))
        engine.finalize_object()
        return _Mcjit({}, 0, len(data), engine)


def load(*objects: bytes) -> Loaded:
    """Running code from the objects of this CPU that make one module. Raises LoadError where several cannot be loaded together."""
    if loader.supported():
        try:
            return loader.load(*objects)
        except loader.LoadError:
            if len(objects) > 1:
                raise
    return load_by_llvm(objects[0])


class Native(NamedTuple):
    """What became of a text: its code, whether the cache had it, the seconds that compiling took (0.0 if it had), its key."""

    loaded: Loaded
    from_cache: bool
    seconds: float
    key: bytes = b""


def kept(key: bytes) -> Native | None:
    """The code of a key, None where the cache does not have it."""
    data = objects().get(key)
    if data is not None:
        try:
            # LLVM aborts the process over an object it does not understand: what ours refuses is made again
            return Native(loader.load(*several.unpacked(data)) if loader.supported() else load_by_llvm(data), True, 0.0, key)
        except (RuntimeError, ValueError, OSError):
            pass
    return None


def native(text: str, opt: int | None = None) -> Native:
    """Compile and load a text for this CPU, through the object cache."""
    opt = effort(text) if opt is None else opt
    host = targets.host()
    store = objects()
    key = store.key(text, host.fingerprint, host.triple, str(opt), version())
    found = kept(key)
    if found is not None:
        return found
    start = time.perf_counter()
    made = compile_parts(text, opt)
    seconds = time.perf_counter() - start
    store.put(key, several.packed(made))
    try:
        return Native(load(*made), False, seconds, key)
    except loader.LoadError:
        return Native(load_by_llvm(compile_text(text, opt, host)), False, seconds, key)

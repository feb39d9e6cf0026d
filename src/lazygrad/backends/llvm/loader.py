"""Loader: relocatable ELF objects (x86-64, arm64) become running code. In: bytes; out: `Loaded`, addresses by name.

A program found in the object cache so runs without LLVM being imported. Every number in the file is checked against its
bounds; whatever is not known here is refused with `LoadError`, and the caller lets LLVM load the object instead.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
import sys
from collections.abc import Mapping
from types import MappingProxyType

from . import externs, target

MACHINES = {62: "x86_64", 183: "aarch64"}
LIMIT = 1 << 30                                # bytes of one image: keeps every distance within 32 bits

PROGBITS, SYMTAB, STRTAB, RELA, NOBITS, REL = 1, 2, 3, 4, 8, 9
WRITE, ALLOC, TLS = 1, 2, 1 << 10
UNDEFINED, ABSOLUTE, RESERVED = 0, 0xFFF1, 0xFF00
GLOBAL = 1                                     # the binding of a symbol that other objects see

# relocations by (machine, number): how the value is made and how it is written.
#   S symbol, A addend, P place, G the symbol's entry in our table of addresses, page(x) = x & ~4095
X86 = {
    1: ("S+A", "u64"), 2: ("S+A-P", "i32"), 4: ("L+A-P", "i32"), 9: ("G+A-P", "i32"), 10: ("S+A", "u32"),
    11: ("S+A", "i32"), 24: ("S+A-P", "i64"), 41: ("G+A-P", "i32"), 42: ("G+A-P", "i32"), 43: ("G+A-P", "i32"),
}
ARM = {
    257: ("S+A", "u64"), 258: ("S+A", "u32"), 260: ("S+A-P", "i64"), 261: ("S+A-P", "i32"),
    274: ("S+A-P", "adr"), 275: ("page(S+A)-page(P)", "adrp"), 276: ("page(S+A)-page(P)", "adrp"),
    277: ("S+A", "lo12:0"), 278: ("S+A", "lo12:0"), 279: ("S+A-P", "imm:14:5"), 280: ("S+A-P", "imm:19:5"),
    282: ("L+A-P", "imm:26:0"), 283: ("L+A-P", "imm:26:0"), 284: ("S+A", "lo12:1"), 285: ("S+A", "lo12:2"),
    286: ("S+A", "lo12:3"), 299: ("S+A", "lo12:4"), 311: ("page(G+A)-page(P)", "adrp"), 312: ("G+A", "lo12:3"),
}
RELOCATIONS = {62: X86, 183: ARM}
PLAIN = {"u64": "<Q", "i64": "<q", "u32": "<I", "i32": "<i"}
# a jump to any address, for calls out of the image: code, then the address; 16 bytes
VENEER = {62: b"\xff\x25\x00\x00\x00\x00", 183: b"\x50\x00\x00\x58\x00\x02\x1f\xd6"}


class LoadError(ValueError):
    """An object that this loader does not take."""


class _Section:
    """A row of the section table. `at`: position in the image, -1: not in it."""

    __slots__ = ("align", "at", "flags", "info", "kind", "link", "name", "offset", "size")

    def __init__(self, name: str, row: tuple[int, ...]) -> None:
        _, self.kind, self.flags, _, self.offset, self.size, self.link, self.info, align, _ = row
        self.name, self.align, self.at = name, max(1, align), -1


class Image:
    """A parsed object: `size` bytes of memory, executable up to `code` (a whole number of pages).

    symbols: (name, section, value); relocations: (section, place in it, number, symbol, addend); `outside` and `table`:
    the positions of a symbol's veneer and of its address. `shared`: the names it defines that other objects may use.
    """

    __slots__ = ("code", "data", "machine", "outside", "relocations", "sections", "shared", "size", "symbols", "table")

    def __init__(self, data: bytes, machine: int, sections: list[_Section]) -> None:
        self.data, self.machine, self.sections = data, machine, sections
        self.symbols: list[tuple[str, int, int]] = []
        self.shared: set[str] = set()
        _symbols(self)
        self.relocations: list[tuple[int, int, int, int, int]] = []
        self.outside: dict[int, int] = {}
        self.table: dict[int, int] = {}
        self.code = self.size = 0

    def names(self) -> dict[str, int]:
        """Position in the image of every defined symbol that has a name."""
        return {name: self.sections[section].at + value for name, section, value in self.symbols
                if name and 0 < section < RESERVED and self.sections[section].at >= 0}

    def relocate(self, base: int, known: Mapping[str, int] = MappingProxyType({})) -> bytearray:
        """The bytes of the image for the address `base`; `known`: the addresses of what other objects define."""
        out = bytearray(self.size)
        for s in self.sections:
            if s.at >= 0 and s.kind != NOBITS:
                out[s.at:s.at + s.size] = _take(self.data, s.offset, s.size)
        for symbol, at in self.outside.items():
            out[at:at + 16] = VENEER[self.machine].ljust(8, b"\0") + bytes(8)
            place = at + len(VENEER[self.machine])
            struct.pack_into("<Q", out, place, self._address(symbol, base, known))
        for symbol, at in self.table.items():
            struct.pack_into("<Q", out, at, self._address(symbol, base, known))
        for section, offset, number, symbol, addend in self.relocations:
            formula, form = RELOCATIONS[self.machine][number]
            at = self.sections[section].at + offset
            if "G" in formula:
                value = base + self.table[symbol]
            elif "L" in formula and symbol in self.outside:
                value = base + self.outside[symbol]
            else:
                value = self._address(symbol, base, known)
            value += addend
            if "page" in formula:
                value = (value & ~4095) - ((base + at) & ~4095)
            elif formula.endswith("-P"):
                value -= base + at
            _write(out, at, value, form)
        return out

    def _address(self, symbol: int, base: int, known: Mapping[str, int]) -> int:
        name, section, value = self.symbols[symbol]
        if section == ABSOLUTE:
            return value
        if section == UNDEFINED:
            found = known.get(name) or (int(externs.table()[externs.INDEX[name]]) if name in externs.INDEX else 0)
            if not found:
                raise LoadError(f"the outside symbol {name!r} is unknown")
            return found
        return base + self.sections[section].at + value


def _take(data: bytes, offset: int, size: int) -> bytes:
    if offset < 0 or size < 0 or offset + size > len(data):
        raise LoadError(f"{size} bytes at {offset} are outside the file")
    return data[offset:offset + size]


def _text(strings: bytes, offset: int) -> str:
    end = strings.find(b"\0", offset)
    if offset >= len(strings) or end < 0:
        raise LoadError("a name is outside its table")
    return strings[offset:end].decode("utf-8", "replace")


def _write(out: bytearray, at: int, value: int, form: str) -> None:
    """Put a relocation's value at its place: a whole number, or a field of an arm64 instruction."""
    try:
        if form in PLAIN:
            struct.pack_into(PLAIN[form], out, at, value & 0xFFFFFFFFFFFFFFFF if form == "u64" else value)
            return
        (word,) = struct.unpack_from("<I", out, at)
        if form.startswith("adr"):             # immlo in bits 29-30, immhi in bits 5-23
            value = value >> 12 if form == "adrp" else value
            _check(value, 21)
            word = word & 0x9F00001F | (value & 3) << 29 | (value >> 2 & 0x7FFFF) << 5
        elif form.startswith("lo12"):          # low 12 bits, scaled by the size of the access
            scale = int(form[5:])
            low = value & 4095
            if low & ((1 << scale) - 1):
                raise LoadError("an address is not aligned to its access")
            word = word & ~(0xFFF << 10) | (low >> scale) << 10
        else:
            _, bits, shift = form.split(":")
            if value & 3:
                raise LoadError("a jump to an address that is no multiple of 4")
            _check(value >> 2, int(bits))
            mask = (1 << int(bits)) - 1
            word = word & ~(mask << int(shift)) | (value >> 2 & mask) << int(shift)
        struct.pack_into("<I", out, at, word)
    except struct.error as e:
        raise LoadError(f"a relocation does not fit: {e}") from None


def _check(value: int, bits: int) -> None:
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise LoadError("a distance is too long for its instruction")


def parse(data: bytes) -> Image:
    """Read an object and lay it out. Raises LoadError for anything but what LLVM writes for such code."""
    image = _read(data)
    _relocations(image, frozenset())
    _layout(image)
    return image


def _read(data: bytes) -> Image:
    """An object's sections and symbols."""
    head = _take(data, 0, 64)
    if head[:7] != b"\x7fELF\x02\x01\x01":
        raise LoadError("not a little-endian 64-bit ELF file")
    kind, machine = struct.unpack_from("<HH", head, 16)
    if kind != 1 or machine not in MACHINES:
        raise LoadError(f"an ELF file of type {kind} for machine {machine}")
    (start,) = struct.unpack_from("<Q", head, 40)
    entry, count, strings = struct.unpack_from("<HHH", head, 58)
    if entry != 64 or not 0 < count < RESERVED or strings >= count:
        raise LoadError("a section table of another form")
    rows = list(struct.iter_unpack("<IIQQQQIIQQ", _take(data, start, 64 * count)))
    names = _take(data, rows[strings][4], rows[strings][5])
    sections = [_Section(_text(names, r[0]), r) for r in rows]
    for s in sections:
        # unwinding tables serve no one here: nothing is thrown through this code
        if s.flags & ALLOC and s.size and not s.name.startswith((".eh_frame", ".note")):
            if s.kind not in (PROGBITS, NOBITS) or s.flags & TLS or s.align & s.align - 1 or s.align > 4096:
                raise LoadError(f"section {s.name!r} of kind {s.kind}")
            s.at = 0
    return Image(data, machine, sections)


def _symbols(image: Image) -> None:
    data, sections, out = image.data, image.sections, image.symbols
    for s in sections:
        if s.kind != SYMTAB:
            continue
        if out or s.link >= len(sections) or s.size % 24:
            raise LoadError("symbol tables of another form")
        strings = sections[s.link]
        text = _take(data, strings.offset, strings.size)
        for at, info, _, section, value, _ in struct.iter_unpack("<IBBHQQ", _take(data, s.offset, s.size)):
            if section >= RESERVED:
                if section != ABSOLUTE:
                    raise LoadError("a common symbol")
            elif section >= len(sections) or (section and value > sections[section].size):
                raise LoadError("a symbol outside its section")
            name = _text(text, at)
            out.append((name, section, value))
            if info >> 4 == GLOBAL and UNDEFINED < section < RESERVED and sections[section].at >= 0:
                image.shared.add(name)


def _relocations(image: Image, others: frozenset[str]) -> None:
    for s in image.sections:
        if s.kind == REL:
            raise LoadError("relocations without addends")
        if s.kind != RELA or s.info >= len(image.sections) or image.sections[s.info].at < 0:
            continue
        into = image.sections[s.info]
        if s.size % 24 or into.kind == NOBITS:
            raise LoadError("relocations of another form")
        for place, info, addend in struct.iter_unpack("<QQq", _take(image.data, s.offset, s.size)):
            symbol, number = info >> 32, info & 0xFFFFFFFF
            if number == 0:
                continue
            row = RELOCATIONS[image.machine].get(number)
            if row is None:
                raise LoadError(f"relocation {number} of {MACHINES[image.machine]}")
            if place + (8 if row[1].endswith("64") else 4) > into.size or symbol >= len(image.symbols):
                raise LoadError("a relocation outside its section")
            name, section, _ = image.symbols[symbol]
            if section == UNDEFINED and name not in externs.INDEX and name not in others:
                raise LoadError(f"the outside symbol {name!r} is unknown")
            if UNDEFINED < section < RESERVED and image.sections[section].at < 0:
                raise LoadError("a relocation to a section that is not loaded")
            image.relocations.append((s.info, place, number, symbol, addend))
            if "G" in row[0]:
                image.table[symbol] = 0
            elif "L" in row[0] and section == UNDEFINED:
                image.outside[symbol] = 0


def _layout(image: Image) -> None:
    """Code and constants first, in pages that become executable; what the code may write behind them."""
    def put(align: int, size: int) -> int:
        at = -(-image.size // align) * align
        image.size = at + size
        if image.size > LIMIT:
            raise LoadError("an image of more than 1 GiB")
        return at

    for writes in (0, WRITE):
        for s in image.sections:
            if s.at >= 0 and s.flags & WRITE == writes:
                s.at = put(s.align, s.size)
        if not writes:
            for symbol in image.outside:
                image.outside[symbol] = put(16, 16)
            for symbol in image.table:
                image.table[symbol] = put(8, 8)
            image.code = image.size = put(mmap.PAGESIZE, 0)


class Loaded:
    """Code in memory, by symbol. The memory goes with this object: keep it as long as an address is in use."""

    __slots__ = ("_keep", "_names", "base", "size")

    def __init__(self, names: dict[str, int], base: int, size: int, keep: object) -> None:
        self._names, self.base, self.size, self._keep = names, base, size, keep

    def address(self, symbol: str) -> int:
        """The address of a function. Raises KeyError for a name that the object does not define."""
        return self.base + self._names[symbol]


def supported() -> bool:
    """Whether this loader works here: Linux on x86-64 or arm64."""
    return sys.platform.startswith("linux") and target.arch() in MACHINES.values()


def load(*objects: bytes) -> Loaded:
    """Put objects that may call each other into memory that is written first and executable after, never both.

    Raises LoadError for what is not understood and where the system forbids it.
    """
    images = [_read(data) for data in objects]
    others = frozenset().union(*[image.shared for image in images]) if len(images) > 1 else frozenset()
    starts, size = [], 0
    for image in images:
        _relocations(image, others)
        _layout(image)
        if not supported() or MACHINES[image.machine] != target.arch():
            raise LoadError(f"code for {MACHINES[image.machine]} on {target.arch()} {sys.platform}")
        if not image.code:
            raise LoadError("an object without code")
        starts.append(size)
        size += -(-image.size // mmap.PAGESIZE) * mmap.PAGESIZE
    if size > LIMIT:
        raise LoadError("images of more than 1 GiB")
    try:
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE)
    except OSError as e:
        raise LoadError(f"no memory for code: {e}") from None
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    names = {name: start + at for image, start in zip(images, starts, strict=True) for name, at in image.names().items()
             if len(images) == 1 or name in image.shared}
    known = {name: base + names[name] for name in others}
    for image, start in zip(images, starts, strict=True):
        memory[start:start + image.size] = bytes(image.relocate(base + start, known))
    libc = ctypes.CDLL(None, use_errno=True)
    for image, start in zip(images, starts, strict=True):
        if image.machine == 183:
            _flush(base + start, image.code)
        if libc.mprotect(ctypes.c_void_p(base + start), ctypes.c_size_t(image.code), mmap.PROT_READ | mmap.PROT_EXEC):
            raise LoadError(f"the system forbids executable memory (error {ctypes.get_errno()})")
    return Loaded(names, base, size, memory)


def _flush(base: int, size: int) -> None:
    """Make new code visible to the instruction fetch of arm64 (Linux also does, when pages become executable)."""
    try:
        clear = ctypes.CDLL("libgcc_s.so.1").__clear_cache
    except (OSError, AttributeError):
        return
    clear(ctypes.c_void_p(base), ctypes.c_void_p(base + size))

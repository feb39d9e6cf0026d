"""Several: the text of a long module as modules that are compiled at once, by threads of their own.

In: LLVM text as `text.Module` writes it (declarations, constants, functions). Out: texts that together define the same functions; what
was internal is hidden from the outside instead, so that they call each other. The functions are as they were.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ...ir.record import record

LEAST = 600              # lines of a part that is worth a thread
MOST = 8                 # parts
MAGIC = b"lazygrad parts\n"


@record
class _Function:
    head: str
    body: str
    lines: int


def divided(text: str, threads: int) -> list[str]:
    """The modules; one where the text is short.

    >>> one = "define internal void @a() {\\n  ret void\\n}\\n" + "define void @b() {\\n  call void @a()\\n  ret void\\n}"
    >>> divided(one, 4) == [one]
    True
    """
    count = min(threads, text.count("\n") // LEAST, MOST)
    if count < 2:
        return [text]
    above, functions = _functions(text)
    if len(functions) < 2:
        return [text]
    parts: list[list[_Function]] = [[] for _ in range(count)]
    sizes = [0] * count
    for f in sorted(functions, key=lambda f: -f.lines):
        k = sizes.index(min(sizes))
        parts[k].append(f)
        sizes[k] += f.lines
    heads = {f.head: f"declare {_visible(f.head)}" for f in functions}
    out = []
    for part in parts:
        if part:
            own = {f.head for f in part}
            others = [line for head, line in heads.items() if head not in own]
            bodies = [f"define {_visible(f.head)} {{\n{f.body}" for f in part]
            out.append("\n".join([*above, *others, *bodies]))
    return out


def _functions(text: str) -> tuple[list[str], list[_Function]]:
    """The lines before the functions, and the functions."""
    above: list[str] = []
    found: list[_Function] = []
    lines = text.split("\n")
    i = 0
    while i < len(lines):
        if not lines[i].startswith("define "):
            above.append(lines[i])
            i += 1
            continue
        end = lines.index("}", i)
        found.append(_Function(lines[i][len("define "):-len(" {")], "\n".join(lines[i + 1:end + 1]), end - i))
        i = end + 1
    return [line for line in above if line], found


def _visible(head: str) -> str:
    return "hidden " + head.removeprefix("internal ") if head.startswith("internal ") else head


def at_once(texts: list[str], compiled: Callable[[str, int], bytes]) -> list[bytes]:
    """`compiled(text, number)` of all texts, each in a thread of its own; raises what one of them raises."""
    out: list[bytes | BaseException] = [b""] * len(texts)

    def run(k: int) -> None:
        try:
            out[k] = compiled(texts[k], k)
        except BaseException as e:
            out[k] = e

    workers = [threading.Thread(target=run, args=(k,), daemon=True) for k in range(1, len(texts))]
    for w in workers:
        w.start()
    run(0)
    for w in workers:
        w.join()
    for found in out:
        if isinstance(found, BaseException):
            raise found
    return out


def packed(objects: list[bytes]) -> bytes:
    """Objects as one file; a single one is itself."""
    if len(objects) == 1:
        return objects[0]
    return MAGIC + b"".join([len(objects).to_bytes(4, "little"), *[len(o).to_bytes(8, "little") for o in objects], *objects])


def unpacked(data: bytes) -> list[bytes]:
    """The objects of a file.

    >>> unpacked(packed([b"a", b"bc"])), unpacked(b"x")
    ([b'a', b'bc'], [b'x'])
    """
    if not data.startswith(MAGIC):
        return [data]
    at = len(MAGIC)
    count = int.from_bytes(data[at:at + 4], "little")
    at += 4
    sizes = [int.from_bytes(data[at + 8 * k:at + 8 * k + 8], "little") for k in range(count)]
    at += 8 * count
    if at + sum(sizes) != len(data):
        raise ValueError("a file of objects that is cut off")
    out = []
    for n in sizes:
        out.append(data[at:at + n])
        at += n
    return out

"""The graph to look at: a listing of one line a tensor, Graphviz's language, SVG and HTML, and the story of a compiled plan.

In: a Graph or tensors. Out: text. Live tensors are found by asking the garbage collector, so building them costs nothing.
"""

from __future__ import annotations

import gc
from html import escape
from typing import Any

from .context import source_line
from .history import DERIVED, history, operands
from .ir.term import toposort
from .prims.call import call
from .prims.control import pick
from .prims.leaf import source
from .runtime import plans, slots, tiers
from .runtime.slots import Leaf
from .tensor import Tensor


def live(graph: Any) -> list[Tensor]:
    """The live tensors of a graph, operands before users, leaves by slot."""
    ready = {id(slots.VIEWS[s]) for s in graph.slots if slots.states[s] != 2 and slots.VIEWS[s] is not None}
    numbers = set(graph.numbers())
    mine = [o for o in gc.get_objects() if isinstance(o, Tensor) and hasattr(o, "lasti") and o.term is not None and
            o.term.graph in numbers and id(o) not in ready]

    def place(h: Tensor) -> tuple:
        return h.term.depth, h.a.slot if h.a.__class__ is Leaf else 1 << 30, h.code.co_firstlineno, h.lasti
    known = {id(h) for h in mine}
    return [h for h in history(*sorted(mine, key=place)) if id(h) in known]


def _named(tensors: list[Tensor]) -> dict[int, str]:
    names: dict[int, str] = {}
    taken: set[str] = set()
    for i, h in enumerate(tensors):
        name = h.name if h.name and h.name not in taken else f"%{i}"
        taken.add(name)
        names[id(h)] = name
    return names


def _inputs(h: Tensor, names: dict[int, str]) -> list[str]:
    """The operands by name; numbers and tensors without a graph by what they are."""
    shown = [names.get(id(o), repr(o.term.op)) for o in operands(h)]
    if len(shown) < len(h.term.args) and len(shown) == 1:
        shown += [a.params[1] for a in h.term.args if a.op.name == "full"][:1]
    return shown


def _op(h: Tensor) -> str:
    if h.a.__class__ is Leaf:
        return "tensor"
    if h.b.__class__ is tuple and h.b[0] is DERIVED:
        return "gradient"
    t = h.term.args[0] if h.term.op is pick else h.term
    return t.params[1].name if t.op is call else t.op.name


def rows(graph: Any) -> list[tuple[str, str, str, str, str, str, str]]:
    """(name, op, inputs, dtype, shape, device, line) of every live tensor."""
    tensors = live(graph)
    names = _named(tensors)
    return [(names[id(h)], _op(h), ", ".join(_inputs(h, names)), h.dtype.name, str(list(h.shape)), str(h.device), source_line(h.code, h.lasti))
            for h in tensors]


def listing(graph: Any) -> str:
    """`x = tensor() float32[2] cpu  # file:line: text`, one line a tensor."""
    found = [(f"{name} = {op}({inputs})", f"{dtype}{shape}", device, line) for name, op, inputs, dtype, shape, device, line in rows(graph)]
    if not found:
        return f"{graph!r}: no tensors"
    first, second = (max(len(r[i]) for r in found) for i in (0, 1))
    return "\n".join(f"{a:<{first}}  {b:<{second}}  {c}  # {d}" for a, b, c, d in found)


def dot(graph: Any) -> str:
    """The graph in Graphviz's language."""
    tensors = live(graph)
    names = _named(tensors)
    number = {id(h): i for i, h in enumerate(tensors)}
    lines = ["digraph lazygrad {", '  node [shape=box, style=rounded, fontname="monospace"];']
    for h in tensors:
        label = f"{names[id(h)]} = {_op(h)}\\n{h.dtype.name}{list(h.shape)}".replace('"', '\\"')
        shape = ", style=filled, fillcolor=lightgray" if h.is_leaf else ""
        lines.append(f'  n{number[id(h)]} [label="{label}"{shape}];')
        lines += [f"  n{number[id(o)]} -> n{number[id(h)]};" for o in operands(h) if id(o) in number]
    return "\n".join([*lines, "}"])


WIDTH, HEIGHT, GAP_X, GAP_Y, SHOWN = 150, 40, 20, 36, 400


def svg(graph: Any) -> str:
    """A drawing: one box a tensor, in layers by longest path, lines from operands down to users."""
    tensors = live(graph)[:SHOWN]
    names = _named(tensors)
    known = {id(h) for h in tensors}
    layer: dict[int, int] = {}
    for h in tensors:                    # operands come first
        layer[id(h)] = 1 + max([layer.get(id(o), -1) for o in operands(h) if id(o) in known], default=-1)
    filled: dict[int, int] = {}
    at: dict[int, tuple[int, int]] = {}
    for h in tensors:
        k = layer[id(h)]
        at[id(h)] = (10 + filled.get(k, 0) * (WIDTH + GAP_X), 10 + k * (HEIGHT + GAP_Y))
        filled[k] = filled.get(k, 0) + 1
    width = 20 + max(filled.values(), default=1) * (WIDTH + GAP_X)
    height = 20 + (max(filled, default=0) + 1) * (HEIGHT + GAP_Y)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
             'font-family="monospace" font-size="12">']
    for h in tensors:
        x, y = at[id(h)]
        for o in operands(h):
            if id(o) in at:
                u, v = at[id(o)]
                parts.append(f'<line x1="{u + WIDTH // 2}" y1="{v + HEIGHT}" x2="{x + WIDTH // 2}" y2="{y}" stroke="gray"/>')
    for h in tensors:
        x, y = at[id(h)]
        fill = "#eeeeee" if h.is_leaf else "white"
        parts.append(f'<g><title>{escape(source_line(h.code, h.lasti))}</title><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
                     f'fill="{fill}" stroke="black"/><text x="{x + 8}" y="{y + 16}">{escape(names[id(h)])} = {escape(_op(h))}</text>'
                     f'<text x="{x + 8}" y="{y + 32}" fill="gray">{h.dtype.name}{list(h.shape)}</text></g>')
    return "".join([*parts, "</svg>"])


def html(graph: Any) -> str:
    """A table with the rows of the listing."""
    head = "".join(f"<th>{c}</th>" for c in ("name", "op", "inputs", "dtype", "shape", "device", "line"))
    body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows(graph))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def explain(tensors: tuple[Tensor, ...]) -> str:
    """Terms, inputs and bytes of the tensors' plan, then what the compiler and the backend say of it."""
    roots = plans.known([h.term for h in tensors])
    _, sources = plans.canonical(roots)
    order = toposort(roots)
    number = {t: i for i, t in enumerate(order)}
    lines = [f"plan of {len(roots)} output(s): {len(order)} terms, {len(sources)} input(s), "
             f"{sum(t.aval.nbytes for t in sources)} bytes read, {sum(t.aval.nbytes for t in roots)} bytes written", "", "terms"]
    for t in order:
        if t.op is source:
            text = f"input {sources.index(t)}"
        else:
            static = [f"{k}={v}" for k, v in t.keywords.items()]
            text = f"{t.op.name}({', '.join([f't{number[a]}' for a in t.args] + static)})"
        lines.append(f"  t{number[t]} = {text}: {t.aval}")
    return "\n".join([*lines, "", tiers.explain(roots, sources, plans.device_among(roots))])

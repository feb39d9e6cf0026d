"""Reducers: the values of all threads of a workgroup become one, always in the same order. In: a monoid and a dtype; out: WGSL
functions, and what they keep in workgroup memory.

Two forms. Everywhere: a tree of two levels through workgroup memory. Where the device has subgroups and they know the operation:
a subgroup's values first, without memory, then the few that are left. Which threads make a subgroup is the device's affair, so
subgroups are numbered by their first threads when a shader begins. Float maxima and minima go as integers in the same order, with
NaN beyond all numbers: WGSL lets subgroups lose NaN.
"""

from __future__ import annotations

import math

import numpy as np

from . import scalars
from .arrays import power_below
from .text import Module, type_name

# what subgroups do with a monoid of values in a register of this type
WITHIN = {("add", "f32"): "subgroupAdd", ("add", "i32"): "subgroupAdd", ("add", "u32"): "subgroupAdd", ("mul", "f32"): "subgroupMul",
          ("mul", "i32"): "subgroupMul", ("mul", "u32"): "subgroupMul", ("maximum", "i32"): "subgroupMax", ("maximum", "u32"): "subgroupMax",
          ("minimum", "i32"): "subgroupMin", ("minimum", "u32"): "subgroupMin", ("and", "i32"): "subgroupAnd", ("and", "u32"): "subgroupAnd",
          ("or", "i32"): "subgroupOr", ("or", "u32"): "subgroupOr", ("and", "bool"): "subgroupAll", ("or", "bool"): "subgroupAny",
          ("maximum", "bool"): "subgroupAny", ("minimum", "bool"): "subgroupAll", ("maximum", "f32"): "", ("minimum", "f32"): ""}
ORDERED = """fn ordered(x: f32, beyond: u32) -> u32 {
  let bits = bitcast<u32>(x);
  let key = select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
  return select(key, beyond, (bits & 0x7fffffffu) > 0x7f800000u);
}
fn unordered(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u));
}"""


class Reducers:
    """The reducers of one shader for workgroups of `threads` threads: `declarations` stand above, `begin` at the start of main."""

    def __init__(self, module: Module, threads: int) -> None:
        self.module, self.threads = module, threads
        self._shared: dict[str, str] = {}
        self._functions: dict[str, str] = {}
        self._subgroups = False

    @property
    def declarations(self) -> list[str]:
        return [*self._shared.values(), *self._functions.values()]

    @property
    def begin(self) -> list[str]:
        return ["find_subgroup(thread);"] if self._subgroups else []

    def total(self, monoid: str, dtype: np.dtype, value: str) -> str:
        """An expression: the `value`s of all threads as one."""
        name = f"{monoid}_{dtype}"
        if name not in self._functions:
            array = f"shared_{dtype}"
            self._shared[array] = f"var<workgroup> {array}: array<{type_name(dtype)}, {self.threads}>;"
            whole = dtype.itemsize >= 4 or dtype.kind == "b" or monoid not in ("add", "mul")     # else kept in range after every step
            if self.module.traits.subgroups and whole and (monoid, type_name(dtype)) in WITHIN:
                self._find()
                self._functions[name] = self._by_subgroups(name, monoid, dtype, array)
            else:
                self._functions[name] = self._by_threads(name, monoid, dtype, array)
        return f"{name}({value}, thread)"

    def _add(self, monoid: str, dtype: np.dtype, pad: str, other: str) -> str:
        """Lines: `total` takes in `other`."""
        lines: list[str] = []
        total = scalars.emit(self.module, lines, monoid, dtype, 0, ["total", "other"])
        return "\n".join([f"{pad}let other = {other};", *[pad + x for x in lines], f"{pad}total = {total};"])

    def _by_threads(self, name: str, monoid: str, dtype: np.dtype, array: str) -> str:
        kind, threads = type_name(dtype), self.threads
        front = power_below(math.isqrt(threads))
        return f"""fn {name}(value: {kind}, thread: u32) -> {kind} {{
  {array}[thread] = value;
  workgroupBarrier();
  var total = value;
  if (thread < {front}u) {{
    for (var i = thread + {front}u; i < {threads}u; i += {front}u) {{
{self._add(monoid, dtype, "      ", f"{array}[i]")}
    }}
    {array}[thread] = total;
  }}
  workgroupBarrier();
  total = {array}[0];
  for (var i = 1u; i < {front}u; i++) {{
{self._add(monoid, dtype, "    ", f"{array}[i]")}
  }}
  workgroupBarrier();
  return total;
}}"""

    # ---- subgroups

    def _find(self) -> None:
        """What numbers the subgroups: `subgroup` is (number of this one, how many there are, 1 in its first thread). Not every driver
        zeroes workgroup memory, as WGSL says it is."""
        if self._subgroups:
            return
        self._subgroups = True
        words = -(-self.threads // 32)
        self._shared["subgroup"] = f"var<workgroup> first_threads: array<atomic<u32>, {words}>;\nvar<private> subgroup: vec3<u32>;"
        self._functions["subgroup"] = f"""fn find_subgroup(thread: u32) {{
  let first = subgroupMin(thread);
  if (thread < {words}u) {{ atomicStore(&first_threads[thread], 0u); }}
  workgroupBarrier();
  if (thread == first) {{ atomicOr(&first_threads[first / 32u], 1u << (first % 32u)); }}
  workgroupBarrier();
  subgroup = vec3<u32>(0u, 0u, u32(thread == first));
  for (var w = 0u; w < {words}u; w++) {{
    let bits = atomicLoad(&first_threads[w]);
    let before = select(select(0u, (1u << (first % 32u)) - 1u, w == first / 32u), 0xffffffffu, w < first / 32u);
    subgroup.x += countOneBits(bits & before);
    subgroup.y += countOneBits(bits);
  }}
}}"""

    def _by_subgroups(self, name: str, monoid: str, dtype: np.dtype, array: str) -> str:
        kind = type_name(dtype)
        within = f"{WITHIN[monoid, kind]}(value)"
        if kind == "f32" and monoid in ("maximum", "minimum"):
            self.module.helper("ordered", ORDERED)
            function, beyond = ("subgroupMax", "0xffffffffu") if monoid == "maximum" else ("subgroupMin", "0u")
            within = f"unordered({function}(ordered(value, {beyond})))"
        return f"""fn {name}(value: {kind}, thread: u32) -> {kind} {{
  let part = {within};
  if (subgroup.z == 1u) {{ {array}[subgroup.x] = part; }}
  workgroupBarrier();
  var total = {array}[0];
  for (var i = 1u; i < subgroup.y; i++) {{
{self._add(monoid, dtype, "    ", f"{array}[i]")}
  }}
  workgroupBarrier();
  return total;
}}"""

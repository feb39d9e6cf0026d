"""fmod of floats, exact for every pair: long division of the fractions by integers, as many bits at a time as fit."""

from __future__ import annotations

from .text import Builder


def fmod(b: Builder, x: str, y: str) -> str:
    """x - trunc(x/y) y, exactly; the sign of x; NaN for y = 0, infinite x and NaN (C's fmod)."""
    if b.module.traits.fast_math:
        return b.emit(f"{x} % {y}")
    one = Builder(b.module, b.body, 0, b.dtype)
    scalar = f"fmod_{one.kind}"
    b.module.helper(scalar, lambda: _scalar(one, scalar))
    if not b.lanes:
        return b.call(scalar, x, y)
    vector = f"fmod_{b.suffix}"
    parts = ", ".join(f"{scalar}(x[{k}], y[{k}])" for k in range(b.lanes))
    b.module.helper(vector, f"fn {vector}(x: {b.type}, y: {b.type}) -> {b.type} {{\n  return {b.type}({parts});\n}}")
    return b.call(vector, x, y)


def _scalar(b: Builder, name: str) -> str:
    """A float is fraction * 2**(exponent - bias); denormal numbers have exponent 1 and no leading bit."""
    fraction, u = (23, "u") if b.single else (52, "lu")
    spare = b.bits - fraction - 1                      # bits by which a remainder can be shifted
    top, sign, nan = b.iconst((0xFF if b.single else 0x7FF) << fraction), b.iconst(1 << b.bits - 1), b.const(float("nan"))
    kind, mask, lead = b.ikind, b.iconst((1 << fraction) - 1), b.iconst(1 << fraction)
    return f"""fn {name}(x: f{b.bits}, y: f{b.bits}) -> f{b.bits} {{
  let s = bitcast<{kind}>(x) & {sign};
  let p = bitcast<{kind}>(x) ^ s;
  let q = bitcast<{kind}>(y) & ~{sign};
  if (q == 0{u} || p >= {top} || q > {top}) {{
    return {nan};
  }}
  if (p < q) {{
    return x;
  }}
  let m = u32(q >> {fraction}u);
  var left = max(u32(p >> {fraction}u), 1u) - max(m, 1u);
  let divisor = (q & {mask}) | select({lead}, 0{u}, m == 0u);
  var rest = ((p & {mask}) | select({lead}, 0{u}, (p >> {fraction}u) == 0{u})) % divisor;
  while (left > 0u && rest != 0{u}) {{
    let n = min(left, {spare}u);
    rest = (rest << n) % divisor;
    left = left - n;
  }}
  var exponent = max(m, 1u);
  if (rest == 0{u}) {{
    return bitcast<f{b.bits}>(s);
  }}
  let up = min({'countLeadingZeros(rest)' if b.single else 'leading_zeros(rest)'} - {spare}u, exponent - 1u);
  rest = rest << up;
  exponent = select(exponent - up, 0u, rest < {lead});
  return bitcast<f{b.bits}>(s | ({kind}(exponent) << {fraction}u) | (rest & {mask}));
}}""" + ("" if b.single else """
fn leading_zeros(x: u64) -> u32 {
  let high = u32(x >> 32u);
  return select(countLeadingZeros(high), 32u + countLeadingZeros(u32(x & 0xfffffffflu)), high == 0u);
}""")

"""Write docs/functions.md: what every public function does in each dtype, mode and device, and how exact it is.

    python tools/function_table.py                      # all of it, some minutes
    python tools/function_table.py linalg.inv nn.elu    # only these rows; the others stay as they are

Everything in it is found by trying (tests/function_probe.py) and measuring (tests/test_math.py, tests/test_special_accuracy.py).
"""

from __future__ import annotations

import pathlib
import sys
import warnings

ROOT = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

import function_probe as probe  # noqa: E402
import gpu  # noqa: E402
import test_math  # noqa: E402
import test_special_accuracy as accuracy  # noqa: E402

PAGE = ROOT / "docs" / "functions.md"
POINTS = 300
TITLES = {"": "lazygrad", "linalg": "lazygrad.linalg", "fft": "lazygrad.fft", "special": "lazygrad.special", "nn": "lazygrad.nn", "random": "lazygrad.random"}
HEAD = "| function | dtypes | CPU | GPU | forward | reverse | second | vmap | ulp, float32 | ulp, float64 |\n" + "|---" * 10 + "|\n"
NAMED = {
    probe.DTYPES: "all", probe.DTYPES[:-1]: "real", probe.DTYPES[1:]: "numbers", probe.DTYPES[1:-1]: "real numbers", probe.DTYPES[3:]: "floating, complex",
    probe.DTYPES[3:6]: "floating", probe.DTYPES[4:6]: "float32, float64", probe.DTYPES[4:]: "float32, float64, complex", probe.DTYPES[:3]: "integer, bool",
    probe.DTYPES[1:3]: "integer", (*probe.DTYPES[:3], *probe.DTYPES[4:]): "all but float16", (*probe.DTYPES[:3], *probe.DTYPES[4:6]): "real but float16",
}
# functions of the vector code; those whose public name is another one are measured under it
MATH = set(test_math.FUNCTIONS)

INTRODUCTION = """# Functions

Every public function, tried and measured by `python tools/function_table.py`.

- **dtypes**: those that arrays in the place of its numbers may have. *real*: bool, integers, floats; *numbers*: all but bool. Integers count as float32 where a function
  is one of real numbers.
- **CPU**, **GPU**: *native* where all of it is compiled; *NumPy* (on a GPU: *host*) where some of it runs as its NumPy or SciPy meaning on the host. On Mesa's software
  driver, in float32.
- **forward**, **reverse**, **second**: derivatives, compared with difference quotients; second ones in both modes after both. Functions whose values are integers, bools or
  steps have none. A `GradientError` says where a derivative by one of several arguments does not exist.
- **vmap**: the same as a loop over examples.
- **ulp**: the largest error against mpmath in units in the last place, over the whole domain; of functions with zeros or waves relative to the size of what they are made of
  (`tests/test_special_accuracy.py`, `tests/test_math.py` say where). The numbers of [accuracy.md](accuracy.md) are finer for the functions that are listed there.

"""


def dtypes_of(sample: probe.Sample) -> str:
    if not sample.data:
        return ""
    found = tuple([d for d in probe.DTYPES if probe.takes(sample, d)])
    return NAMED.get(found, ", ".join(found))


def ulps(space: str, name: str, others: tuple[str, ...]) -> tuple[str, str, str]:
    """Errors in float32 and float64, and why one is more than 4."""
    qualified = f"{space}.{name}" if space else name
    if qualified in accuracy.ROWS:
        found = [accuracy.errors(qualified, d, POINTS) for d in ("float32", "float64")]
        why = accuracy.ROWS[qualified].why if max(found) > 4 else ""
    elif not space and (own := MATH.intersection((name, *others))):
        found, why = [f(own.copy().pop(), n)[0] for f, n in ((test_math.error_float32, 30_000), (test_math.error_float64, 300))], ""
    else:
        return "", "", ""
    return *[f"{e:.1f}" if e < 100 else f"{e:.0f}" for e in found], why


def mark(found: str) -> str:
    return {"yes": "✓", "": "", "wrong": "✗"}[found]


def row(space: str, name: str, function: object, others: tuple[str, ...]) -> tuple[str, str]:
    """The row of a function, and a note to it."""
    label = f"`{name}`" + "".join([f", `{n}`" for n in others])
    with probe.quiet():
        sample = probe.find(name, space, function, others)
        if sample is None:
            return f"| {label} |" + " |" * 9, ""
        derivatives = [probe.differentiates(sample, *how) for how in ((("fwd",), 1), (("rev",), 1), (("fwd", "rev"), 2))]
        cells = [dtypes_of(sample), probe.on_cpu(sample), probe.on_gpu(sample, gpu.device()), *map(mark, derivatives), mark(probe.batches(sample))]
        *errors, why = ulps(space, name, others)
    note = f"- `{name}`: {why}." if why else ""
    return f"| {label} | " + " | ".join([*cells, *errors]) + " |", note


def main(chosen: list[str]) -> None:
    warnings.simplefilter("ignore")
    old = PAGE.read_text() if chosen else ""
    known = dict(sections(old))
    shared = {id(f): n for n, (f, _) in probe.surface("").items()}
    text = INTRODUCTION
    for space in probe.SPACES:
        rows, notes = [], []
        before = {first_name(line): line for line in known.get(TITLES[space], "").splitlines() if line.startswith("| `")}
        for name, (function, others) in probe.surface(space).items():
            if space and id(function) in shared:
                rows.append(f"| `{name}`" + "".join([f", `{n}`" for n in others]) + f" | as `lazygrad.{shared[id(function)]}` |" + " |" * 8)
                continue
            qualified = f"{space}.{name}" if space else name
            if chosen and qualified not in chosen and name in before:
                rows.append(before[name])
                notes += [line for line in known[TITLES[space]].splitlines() if line.startswith(f"- `{name}`: ")]
                continue
            line, note = row(space, name, function, others)
            rows.append(line)
            notes += [note] if note else []
            print(qualified, flush=True)
        text += f"## {TITLES[space]}\n\n{HEAD}" + "\n".join(rows) + "\n\n"
        if notes:
            text += "Above 4 ulp:\n\n" + "\n".join(notes) + "\n\n"
    PAGE.write_text(text.rstrip() + "\n")


def first_name(line: str) -> str:
    """The name that a row is of."""
    return line.split("`")[1]


def sections(text: str) -> list[tuple[str, str]]:
    """(title, text) of every section of the page."""
    return [tuple(part.split("\n", 1)) for part in text.split("\n## ")[1:]]


if __name__ == "__main__":
    main(sys.argv[1:])

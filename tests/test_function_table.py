"""docs/functions.md has a row for every public function, and rows say what is so."""

from __future__ import annotations

import pathlib
import re
import sys

import function_probe as probe
import pytest

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import function_table as table  # noqa: E402

PAGE = (ROOT / "docs" / "functions.md").read_text()
ROWS = {title: {table.first_name(line): line for line in text.splitlines() if line.startswith("| `")} for title, text in table.sections(PAGE)}
MENDING = "run `python tools/function_table.py {}`"


@pytest.mark.parametrize("space", probe.SPACES, ids=table.TITLES.get)
def test_every_function_has_a_row(space):
    rows = ROWS[table.TITLES[space]]
    surface = probe.surface(space)
    missing = sorted(set(surface) - set(rows))
    prefix = f"{space}." if space else ""
    assert not missing, MENDING.format(" ".join([prefix + n for n in missing]))
    assert not set(rows) - set(surface), "rows of functions that are gone: " + MENDING.format("")
    for name, (_, others) in surface.items():
        assert set(re.findall(r"`([^`.]+)`", rows[name].split("|")[1])) == {name, *others}, MENDING.format(prefix + name)


def test_every_function_shows_how_it_is_called():
    bare = [line for rows in ROWS.values() for line in rows.values() if set(line.split("|", 2)[2]) <= set("| ")]
    assert not bare, "their examples call them in no plain way, and function_probe.CALLS has no row of them"


def test_no_derivative_and_no_batch_is_wrong():
    assert "✗" not in PAGE


def test_errors_above_four_units_are_explained():
    for title, text in table.sections(PAGE):
        explained = set(re.findall(r"^- `(\w+)`: ", text, re.M))
        for name, line in ROWS[title].items():
            cells = [c.strip() for c in line.split("|")]
            worst = max([float(c) for c in cells[-3:-1] if c and c[0].isdigit()], default=0.0)
            assert worst <= 4 or name in explained, (title, name, worst)


@pytest.mark.parametrize("qualified", ["where", "cumsum", "floor", "take", "linalg.cholesky", "fft.rfft", "special.jv", "special.gammainc", "nn.gelu", "random.gamma", "random.poisson"])
def test_rows_say_what_is_so(qualified):
    space, _, name = qualified.rpartition(".")
    function, others = probe.surface(space)[name]
    line = ROWS[table.TITLES[space]][name]
    if "as `lazygrad." in line:
        return
    dtypes, cpu, _, *derivatives, batched = [c.strip() for c in line.split("|")[2:9]]
    with probe.quiet():
        sample = probe.find(name, space, function, others)
        found = [probe.differentiates(sample, *how) for how in ((("fwd",), 1), (("rev",), 1), (("fwd", "rev"), 2))]
        assert (dtypes, cpu, derivatives, batched) == (table.dtypes_of(sample), probe.on_cpu(sample), [*map(table.mark, found)], table.mark(probe.batches(sample)))

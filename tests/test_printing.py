"""What is printed: tensors, graphs as text, dot, SVG and HTML, and the story of a plan."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import lazygrad as lg
from lazygrad import Graph


@pytest.fixture
def graph():
    return Graph()


def test_tensors_print_like_numpy_with_dtype_and_device(graph):
    assert repr(graph.tensor([1.0, 2.5])) == "Tensor([1. , 2.5], dtype=float32, device=cpu)"
    assert repr(graph.tensor(2)) == "Tensor(2, dtype=int64, device=cpu)"
    assert repr(graph.tensor([[1, 2], [3, 4]])) == "Tensor([[1, 2],\n        [3, 4]], dtype=int64, device=cpu)"
    assert str(graph.tensor([1.0, 2.0]) * 2) == "[2. 4.]"
    assert repr(graph.tensor(np.zeros((0, 2)))) == "Tensor([], dtype=float64, device=cpu)"


def test_the_graph_prints_one_line_a_tensor(graph):
    x = graph.tensor([1.0, 2.0], name="x")
    y = graph.tensor([3.0, 4.0])
    z = (x + y) * x
    lines = str(graph).splitlines()
    assert len(lines) == 4
    assert re.fullmatch(r'x = tensor\(\) +float32\[2\] +cpu  # .*test_printing.py:\d+: x = graph.tensor\(\[1.0, 2.0\], name="x"\)', lines[0])
    assert lines[1].startswith("%1 = tensor()") and lines[1].endswith("y = graph.tensor([3.0, 4.0])")
    assert lines[2].startswith("%2 = add(x, %1)") and lines[2].endswith("z = (x + y) * x")
    assert lines[3].startswith("%3 = mul(%2, x)")
    del z
    assert len(str(graph).splitlines()) == 2
    assert y.name is None


def test_names_can_be_given_later_and_numbers_show(graph):
    x = graph.tensor(1.0)
    h = x * 3.0
    h.name = "tripled"
    z = h * h
    z.name = "square"
    (d,) = z.gradient(h)
    text = str(graph)
    assert "tripled = mul(%0, 3.0)" in text and "gradient(square, tripled)" in text
    assert d.item() == 6.0


def test_gradient_buffers_do_not_show_before_they_are_read(graph):
    x = graph.tensor(1.0)
    z = x * x
    z.backward()
    assert len(str(graph).splitlines()) == 2
    g = x.grad
    assert len(str(graph).splitlines()) == 3 and g.item() == 2.0
    del g
    x.grad = None
    assert len(str(graph).splitlines()) == 2


def test_an_empty_graph_prints(graph):
    assert str(graph) == f"Graph({graph.number}, device='cpu'): no tensors"


def test_lines_are_the_users_also_through_library_functions(graph):
    x = graph.tensor([[1.0, 2.0], [3.0, 4.0]])
    a = x.T
    b = np.sin(x)
    c = lg.tensor([1.0])
    kept = [row for row in x]
    from lazygrad.tensor import source_line
    assert source_line(a.code, a.lasti).endswith("a = x.T")
    assert source_line(b.code, b.lasti).endswith("b = np.sin(x)")
    assert source_line(c.code, c.lasti).endswith("c = lg.tensor([1.0])")
    assert source_line(kept[0].code, kept[0].lasti).endswith("kept = [row for row in x]")


def test_dot_names_every_tensor_and_edge(graph):
    x = graph.tensor([1.0], name='say "x"')
    z = x * x + x
    text = graph.to_dot()
    assert text.startswith("digraph") and text.endswith("}")
    assert text.count("[label=") == 3 and text.count(" -> ") == 4
    assert r"say \"x\" = tensor" in text and z.item() == 2.0


def test_svg_and_html_are_well_formed(graph):
    x = graph.tensor([1.0], name="a < b & c")
    z = (x * x).sum()
    svg = ET.fromstring(graph._repr_svg_())
    assert svg.tag.endswith("svg")
    assert len(svg.findall("{http://www.w3.org/2000/svg}g")) == 3 and len(svg.findall("{http://www.w3.org/2000/svg}line")) == 3
    table = ET.fromstring(graph._repr_html_())
    assert len(table.findall("tbody/tr")) == 3 and "a < b & c" in "".join(table.itertext()) and z.item() == 1.0
    assert ET.fromstring(Graph()._repr_svg_()).tag.endswith("svg")


def test_a_long_graph_draws(graph):
    h = graph.tensor(1.0)
    for _ in range(3000):
        h = -h
    assert len(graph._repr_svg_()) < 1_000_000 and len(str(graph).splitlines()) == 3001


def test_explain_tells_terms_and_bytes(graph):
    x = graph.tensor([1.0, 2.0])
    z = (x * 2.0).sum()
    text = graph.explain(z)
    assert "2 bytes" not in text.splitlines()[0].replace("12 bytes", "") and "8 bytes read, 4 bytes written" in text
    assert "t0 = input 0: float32[2]" in text and "sum(t2, axes=(0,)): float32[]" in text
    from lazygrad.runtime import tiers
    assert ("define void @body" in text) == tiers.native()


# ---- where a NaN came from ------------------------------------------------------------------------------------------

def test_explain_nan_names_the_first_operation(graph):
    x = graph.tensor([4.0, -1.0], name="x")
    bad = lg.sqrt(x)
    z = (bad * 0.5 + 1).sum()
    text = z.explain_nan()
    assert text.startswith("sqrt made float32[2] in [2, 2], 1 nan from float32[2] in [-1, 4] at ")
    assert text.endswith("bad = lg.sqrt(x)")
    assert (x * 2).explain_nan() == "no NaN and no infinity"
    x.set([np.inf, 1.0])
    assert z.explain_nan().startswith("x holds float32[2] in [1, 1], 1 inf at ")
    x.set([4.0, 9.0])
    assert z.explain_nan() == "no NaN and no infinity"


def test_explain_nan_of_a_quotient_of_zeros(graph):
    x = graph.tensor([[0.0, 0.0]])
    z = (x - x) / (x - x) + 1
    assert z.explain_nan().startswith("div made float32[1, 2] 2 nan from float32[1, 2] in [0, 0] and float32[1, 2] in [0, 0]")


def test_debug_nans_raises_where_it_happens(graph):
    from lazygrad.errors import NonFiniteError
    x = graph.tensor([0.0, 1.0], name="x")
    z = lg.log(x)
    z.forward()
    with lg.debug_nans():
        (x * 2).forward()
        with pytest.raises(NonFiniteError, match="log made"):
            z.forward()
        with pytest.raises(NonFiniteError, match=r"the gradient of x.*made"):
            lg.sqrt(x).sum().backward()
    z.forward()
    lg.debug_nans()
    with pytest.raises(NonFiniteError):
        z.forward()
    lg.debug_nans(False)
    assert z.forward() is z


def test_debug_nans_sees_into_compiled_functions():
    from lazygrad.errors import NonFiniteError

    @lg.compile
    def step(w, x):
        loss = (lg.log(x - 1) * w["a"]).sum()
        return {"a": w["a"] * 2}, loss

    w, x = {"a": lg.tensor([1.0, 2.0])}, np.array([2.0, 3.0])
    with lg.debug_nans():
        step(w, x)
        pattern = r"compile: step returned float64\[\] 1 nan at .*1.*log made .* 1 nan from float64\[2\] in \[-1, 1\] at .*log\(x - 1\)"
        with pytest.raises(NonFiniteError, match=pattern):
            step(w, np.array([0.0, 2.0]))
        gradient = lg.compile(lg.grad(lambda x: lg.sqrt(x).sum()))
        gradient(np.array([1.0]))
        with pytest.raises(NonFiniteError, match=r"returned float64.* 1 inf.*div made"):
            gradient(np.array([0.0]))
        with pytest.raises(NonFiniteError, match="log made"):
            lg.compile(lambda x: lg.compile(lambda y: lg.log(y))(x) + 1)(np.array([-1.0]))
        with pytest.raises(NonFiniteError, match="div made"):
            lg.grad(lambda x: lg.sqrt(x))(np.array(0.0)).item()
    assert np.isnan(step(w, np.array([0.0, 2.0]))[1].value)


# ---- where the time goes --------------------------------------------------------------------------------------------

def test_profile_has_a_row_for_every_step(graph):
    x, w = graph.tensor(np.ones((40, 50), np.float32)), graph.tensor(np.ones((50, 3), np.float32))
    z = (x @ w).tanh().sum()
    with pytest.raises(ValueError, match=r"graph.profile\(z\)"):
        graph.profile()
    text = graph.profile(z)
    first, *rows = text.splitlines()
    assert first.endswith(f"in {len(rows)} steps") and all(" us " in r and " bytes " in r for r in rows)
    from lazygrad.runtime import tiers
    assert not tiers.native() or "matmul 1 x (40, 50) @ (50, 3)" in text
    shares = [(float(share) / 100, roof) for share, roof in re.findall(r" (\d+)% of (copying|products) ", text)]
    assert len(shares) == len(rows) * tiers.native()
    if tiers.native():
        product = next(r for r in rows if "matmul" in r)
        speed = float(re.search(r"([\d.]+) GFLOP/s", product)[1])
        seconds = float(product.split()[0]) / 1e6
        assert speed == pytest.approx(2 * 40 * 50 * 3 / seconds / 1e9, rel=0.1)      # printed with one digit behind the point
    z.backward()
    assert len(graph.profile().splitlines()) >= len(rows) + (2 if tiers.native() else 1)
    assert x.grad.tolist()[0][0] == pytest.approx(3 * (1 - np.tanh(50.0) ** 2), abs=1e-6)

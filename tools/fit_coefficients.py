"""Fit the polynomial coefficients of lazygrad's vector mathematics and print them as a Python module.

    python tools/fit_coefficients.py > src/lazygrad/backends/math/coefficients.py

Each row of FITS is a smooth function g on an interval with a weight w: the polynomial P minimises max |w (g - P)|,
where w turns an error of P into a relative error of the final result; the degree is the least that reaches the aim.
float64: Remez exchange in mpmath. float32: Lawson's reweighted least squares, rounding the coefficients one after another
from the lowest and fitting the rest again. Needs mpmath and numpy; the package never imports it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp
import numpy as np

mp.mp.dps = 60


@dataclass(frozen=True)
class Fit:
    """One row: `g`, `w` take and return mpf; `aims` maps a precision to the relative error (log2) to reach."""

    g: Callable
    w: Callable
    lo: float
    hi: float
    aims: tuple[tuple[str, float], ...] = (("f32", -27.0), ("f64", -57.0))


def root(f: Callable) -> Callable:
    """A function of s = x² written as a function of x."""
    return lambda s: f(mp.sqrt(s))


def erfcx(x):
    return mp.exp(x * x) * mp.erfc(x)


def erfcx_of_fraction(u):
    """exp(x²) erfc(x) (1 + 2x) at u = (x - 2)/(x + 2)."""
    x = 2 * (1 + u) / (1 - u)
    return erfcx(x) * (1 + 2 * x)


def mills_of_fraction(u):
    """The normal distribution's lower tail at -a, over exp(-a²/2), times a + 4, at u = (a - 4)/(a + 4)."""
    a = 4 * (1 + u) / (1 - u)
    return erfcx(a / mp.sqrt(2)) / 2 * (a + 4)


def stirling(z):
    """x * (lgamma(x) - ((x - 1/2) log x - x + log(2 pi)/2)) at x = z^(-1/2)."""
    x = 1 / mp.sqrt(z)
    return x * (mp.loggamma(x) - ((x - mp.mpf(1) / 2) * mp.log(x) - x + mp.log(2 * mp.pi) / 2))


def asymptotic_digamma(z):
    """x² * (log x - 1/(2x) - digamma(x)) at x = z^(-1/2)."""
    x = 1 / mp.sqrt(z)
    return x * x * (mp.log(x) - 1 / (2 * x) - mp.digamma(x))


DIGAMMA_ZERO = mp.findroot(mp.digamma, 1.46)
HALF_LN2, ONE = 0.34658, mp.mpf(1)
DOUBLE, SINGLE = (("f64", -57.0),), (("f32", -27.0),)

FITS: dict[str, Fit] = {
    # exp r = 1 + r + r² P(r)
    "EXP": Fit(lambda r: (mp.exp(r) - 1 - r) / r**2, lambda r: r * r / mp.exp(r), -HALF_LN2, HALF_LN2),
    # 2^r = 1 + r P(r)
    "EXP2": Fit(lambda r: mp.expm1(r * mp.log(2)) / r, lambda r: r / 2**r, -0.5001, 0.5001,
                (("f32", -27.0), ("f64", -57.0), ("mid", -38.0))),
    # log(1 + f) = f - f²/2 + f³ P(f)
    "LOG": Fit(lambda f: (mp.log1p(f) - f + f * f / 2) / f**3, lambda f: f**3 / mp.log1p(f), -0.2929, 0.4143, SINGLE),
    # the same for m in [3/4, 3/2)
    "LOG_WIDE": Fit(lambda f: (mp.log1p(f) - f + f * f / 2) / f**3, lambda f: f**3 / mp.log1p(f), -0.2501, 0.5001, SINGLE),
    # log((1 + s)/(1 - s)) = 2 s + s³ P(s²)
    "LOG_RATIO": Fit(root(lambda s: (2 * mp.atanh(s) - 2 * s) / s**3), root(lambda s: s**3 / (2 * mp.atanh(s))),
                     0, 0.02945, (("f64", -60.0), ("mid", -42.0))),
    # the same past its third-order term, for the double-double logarithm of pow: 2 s + 2/3 s³ + s⁵ P(s²)
    "LOG_RATIO_TAIL": Fit(root(lambda s: (2 * mp.atanh(s) - 2 * s - 2 * s**3 / 3) / s**5), root(lambda s: s**4),
                          0, 0.02945, (("f32", -38.0), ("f64", -70.0))),
    # sin r = r + r s P(s), cos r = 1 - s/2 + s² P(s), tan r = r + r s P(s), s = r²
    "SIN": Fit(root(lambda r: (mp.sin(r) / r - 1) / r**2), root(lambda r: r**3 / mp.sin(r)), 0, 0.6180),
    "COS": Fit(root(lambda r: (mp.cos(r) - 1 + r * r / 2) / r**4), root(lambda r: r**4 / mp.cos(r)), 0, 0.6180),
    "TAN": Fit(root(lambda r: (mp.tan(r) / r - 1) / r**2), root(lambda r: r**3 / mp.tan(r)), 0, 0.6180),
    # odd functions: f(x) = x + x s P(s)
    "ASIN": Fit(root(lambda x: (mp.asin(x) / x - 1) / x**2), root(lambda x: x**3 / mp.asin(x)), 0, 0.2501),
    "ATAN": Fit(root(lambda x: (mp.atan(x) / x - 1) / x**2), root(lambda x: x**3 / mp.atan(x)), 0, 0.2501),
    "TANH": Fit(root(lambda x: (mp.tanh(x) / x - 1) / x**2), root(lambda x: x**3 / mp.tanh(x)), 0, 0.4226, DOUBLE),
    "SINH": Fit(root(lambda x: (mp.sinh(x) / x - 1) / x**2), root(lambda x: x**3 / mp.sinh(x)), 0, 1.001),
    "ATANH": Fit(root(lambda x: (mp.atanh(x) / x - 1) / x**2), root(lambda x: x**3 / mp.atanh(x)), 0, 0.2501),
    "ERF": Fit(root(lambda x: mp.erf(x) / x - 1), root(lambda x: x / mp.erf(x)), 0, 0.8607, SINGLE),
    "ERF_ONE": Fit(root(lambda x: mp.erf(x) / x - 1), root(lambda x: x / mp.erf(x)), 0, 1.001, DOUBLE),
    # erf t = 1 - exp(t P(t)), 0.927 <= t <= 4
    "ERF_TAIL": Fit(lambda t: mp.log(mp.erfc(t)) / t, lambda t: t * mp.erfc(t) / mp.erf(t), 0.9270, 4.0, SINGLE),
    # exp(x²) erfc(x) (1 + 2x) = P((x - 2)/(x + 2)), x >= 1/2
    "ERFCX": Fit(erfcx_of_fraction, lambda u: 1 / erfcx_of_fraction(u), -0.6001, 0.8750),
    # ndtr(-a) exp(a²/2) (a + 4) = P((a - 4)/(a + 4)), 0 <= a <= 14.5 (float32) or 38.6
    "MILLS": Fit(mills_of_fraction, lambda u: 1 / mills_of_fraction(u), -1.0001, 0.5676, SINGLE),
    "MILLS_LONG": Fit(mills_of_fraction, lambda u: 1 / mills_of_fraction(u), -1.0001, 0.8122, DOUBLE),
    # lgamma(2 + u) = u P(u)
    "LGAMMA": Fit(lambda u: mp.loggamma(2 + u) / u if u else mp.digamma(2),
                  lambda u: u / mp.loggamma(2 + u) if u else 1 / mp.digamma(2), -0.5001, 0.5001),
    "STIRLING": Fit(stirling, lambda z: mp.mpf(1) / 16, 1e-9, 1 / 64.0),
    "DIGAMMA": Fit(asymptotic_digamma, lambda z: z, 1e-9, 1 / 64.0),
    # digamma(3/2 + u) = (3/2 + u - x0) P(u), x0 the positive zero
    "DIGAMMA_NEAR": Fit(lambda u: mp.digamma(1.5 + u) / (1.5 + u - DIGAMMA_ZERO),
                        lambda u: (1.5 + u - DIGAMMA_ZERO) / mp.digamma(1.5 + u), -0.5001, 0.5001),
    # sin(pi f) = pi f (1 + s P(s)); pi f cot(pi f) = 1 + s P(s)
    "SINPI": Fit(root(lambda f: (mp.sin(mp.pi * f) / (mp.pi * f) - 1) / f**2),
                 root(lambda f: f**2 / (mp.sin(mp.pi * f) / (mp.pi * f))), 0, 0.2501),
    "COTPI": Fit(root(lambda f: (mp.pi * f * mp.cot(mp.pi * f) - 1) / f**2), root(lambda f: f**2), 0, 0.2501),
    # m^(-1/3), 1 <= m < 2, the start of Newton's method
    "CBRT": Fit(lambda m: m ** (-ONE / 3), lambda m: m ** (ONE / 3), 1.0, 2.0, (("f32", -13.0), ("f64", -14.0))),
}


def grid(fit: Fit, n: int) -> list:
    """n points of the interval, dense at its ends, never exactly 0."""
    lo, hi = mp.mpf(fit.lo), mp.mpf(fit.hi)
    points = [(lo + hi) / 2 - (hi - lo) / 2 * mp.cos((2 * k + 1) * mp.pi / (2 * n)) for k in range(n)]
    return [p if abs(p) > 1e-9 else mp.mpf("1e-9") for p in points]


def remez(xs: list, ys: list, ws: list, degree: int) -> tuple[list, object]:
    """Coefficients (lowest first) and largest weighted error of the minimax polynomial on the points."""
    n = degree + 2
    pick = [round((len(xs) - 1) * (1 - np.cos(np.pi * k / (n - 1))) / 2 * 0.999999) for k in range(n)]
    for k in range(1, n):
        pick[k] = max(pick[k], pick[k - 1] + 1)
    worst, best = None, None
    for _ in range(30):
        a = mp.matrix(n, n)
        for row, i in enumerate(pick):
            for k in range(degree + 1):
                a[row, k] = xs[i] ** k
            a[row, n - 1] = (-1) ** row / ws[i]
        solution = mp.lu_solve(a, mp.matrix([ys[i] for i in pick]))
        c, level = [solution[k] for k in range(degree + 1)], abs(solution[n - 1])
        errors = [w * (y - mp.polyval(c[::-1], x)) for x, y, w in zip(xs, ys, ws, strict=True)]
        worst = max(abs(e) for e in errors)
        if best is None or worst < best[1]:
            best = (c, worst)
        if worst <= level * mp.mpf("1.001"):
            break
        runs: list[int] = []                       # the largest error of every run of one sign
        for i, e in enumerate(errors):
            if runs and (e > 0) == (errors[runs[-1]] > 0):
                if abs(e) > abs(errors[runs[-1]]):
                    runs[-1] = i
            else:
                runs.append(i)
        while len(runs) > n:
            runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
        if len(runs) < n:
            break
        pick = runs
    return best


def lawson(xs: np.ndarray, ys: np.ndarray, ws: np.ndarray, degree: int) -> tuple[np.ndarray, float]:
    """Coefficients rounded to float32 (lowest first) and the largest weighted error."""
    vander = np.vander(xs, degree + 1, increasing=True)
    fixed = np.zeros(degree + 1)
    for k in range(degree + 1):
        lam = np.ones(len(xs))
        rest, best = ys - vander[:, :k] @ fixed[:k], None
        for _ in range(80):
            sw = ws * np.sqrt(lam)
            c = np.linalg.lstsq(vander[:, k:] * sw[:, None], rest * sw, rcond=None)[0]
            r = np.abs((rest - vander[:, k:] @ c) * ws)
            if best is None or r.max() < best[0]:
                best = (r.max(), c[0])
            lam = lam * (r / r.max() + 1e-3)
            lam /= lam.mean()
        fixed[k] = np.float32(best[1])
    return fixed, float(np.abs((ys - vander @ fixed) * ws).max())


def fit_row(name: str, fit: Fit, precision: str, aim: float) -> tuple[list[float], float]:
    """The coefficients of the least degree that reaches 2**aim, and log2 of the error reached."""
    xs = grid(fit, 400)
    ys, ws = [fit.g(x) for x in xs], [abs(fit.w(x)) for x in xs]
    for degree in range(1, 40):
        c, worst = remez(xs, ys, ws, degree)
        if mp.log(worst, 2) < aim:
            break
    if precision == "f32":
        as64 = [np.array([float(v) for v in column]) for column in (xs, ys, ws)]
        c, worst = lawson(*as64, degree)
    return [float(v) for v in c], float(mp.log(worst, 2))


HEADER = '''"""Coefficients of the vector mathematics, lowest power first: printed by tools/fit_coefficients.py.

COEFFICIENTS[name][precision]: f32 and f64 are used in that arithmetic, mid is for float32 results computed in float64.
"""

COEFFICIENTS: dict[str, dict[str, tuple[float, ...]]] = {'''


def main() -> None:
    """Print the module; the error reached by each row goes to stderr (names may be given to fit only those)."""
    print(HEADER)
    for name, fit in FITS.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        print(f'    "{name}": {{')
        for precision, aim in fit.aims:
            c, reached = fit_row(name, fit, precision, aim)
            print(f"{name} {precision}: {len(c)} coefficients, 2^{reached:.1f}", file=sys.stderr, flush=True)
            print(f'        "{precision}": (')
            for k in range(0, len(c), 4):
                print("            " + " ".join(f"{v!r}," for v in c[k:k + 4]))
            print("        ),")
        print("    },", flush=True)
    print("}")


if __name__ == "__main__":
    main()

"""The command line: `lazygrad demo`, `lazygrad doctor` (also `python -m lazygrad`)."""

from __future__ import annotations

import sys

USAGE = """usage: lazygrad demo [--out FOLDER] [--device DEVICE]
       lazygrad doctor

  demo    train a classifier on scikit-learn's handwritten digits (a few seconds), on "cpu" or "gpu"
  doctor  what GPUs are here, what they can do, whether they compute rightly and how fast"""


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["demo"]:
        from .demo import main as demo
        return 0 if demo(argv[1:]) >= 0.97 else 1
    if argv == ["doctor"]:
        from .backends.wgsl.doctor import report
        text, healthy = report()
        print(text)
        return 0 if healthy else 1
    print(USAGE, file=sys.stdout if argv in ([], ["-h"], ["--help"]) else sys.stderr)
    return 0 if argv in ([], ["-h"], ["--help"]) else 2


if __name__ == "__main__":
    raise SystemExit(main())

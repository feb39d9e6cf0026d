"""Cpus: how many threads this process may well use. In: the affinity mask, the quota of its control group; out: a number."""

from __future__ import annotations

import os

VARIABLE = "LAZYGRAD_NUM_THREADS"


def count() -> int:
    """$LAZYGRAD_NUM_THREADS, or the CPUs that this process may run on, no more than its quota of CPU time.

    >>> count() >= 1
    True
    """
    chosen = os.environ.get(VARIABLE, "")
    if chosen.isdecimal() and int(chosen):
        return int(chosen)
    try:
        allowed = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        allowed = os.cpu_count() or 1
    limit = quota()
    return allowed if limit is None else max(1, min(allowed, int(limit)))


def _read(*path: str) -> str:
    try:
        with open(os.path.join(*path), encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def quota(root: str = "/") -> float | None:
    """CPUs' worth of time that the control groups of this process leave it (versions 1 and 2), None where nothing is said."""
    found: list[float] = []
    base = os.path.join(root, "sys", "fs", "cgroup")
    for line in _read(root, "proc", "self", "cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            homes = (base, os.path.join(base, "unified"))
        elif "cpu" in names.split(","):
            homes = (os.path.join(base, names), os.path.join(base, "cpu"))
        else:
            continue
        parts = [p for p in path.split("/") if p not in ("", "..")]
        for home in homes:
            for depth in range(len(parts), -1, -1):          # the groups around ours count too; inside of a container only the last may show
                at = os.path.join(home, *parts[:depth])
                most, _, period = _read(at, "cpu.max").partition(" ") if not names else (_read(at, "cpu.cfs_quota_us"), "", _read(at, "cpu.cfs_period_us"))
                if most.isdecimal() and period.isdecimal() and int(period):
                    found.append(int(most) / int(period))
    return min(found, default=None)

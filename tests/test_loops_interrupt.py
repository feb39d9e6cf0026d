"""Ctrl-C ends a native loop whose test never does, in registers and over a body; the plan works on afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("llvmlite")

PROGRAM = """
import numpy as np, lazygrad as lg
graph = lg.Graph()
limit = graph.tensor(np.float64(10.0))
x = graph.tensor(np.full(SHAPE, 1.0))
z = lg.while_loop(lambda v: v.sum() < limit, lambda v: STEP, x)
run = graph.compile([limit], [z])
print(float(run(10.0).sum()) >= 10.0, flush=True)
try:
    print("started", flush=True)
    run(np.inf)
except KeyboardInterrupt:
    print("interrupted", float(run(10.0).sum()) >= 10.0, flush=True)
"""


@pytest.mark.parametrize(("shape", "step"), [("(3,)", "v + 0.001"), ("(30, 30)", "v + 0.001 + 0.0 * (v @ v)")])
def test_an_endless_loop_is_interrupted(shape, step):
    code = PROGRAM.replace("SHAPE", shape).replace("STEP", step)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "True\n" and child.stdout.readline() == "started\n"
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "interrupted True\n"
    finally:
        child.kill()
        child.wait()
        child.stdout.close()

"""Compiled blocks train as plain ones, recomputed too. In a process of its own: the compiler starts others."""

import subprocess
import sys

PROGRAM = """
import sys
from functools import partialmethod
from pathlib import Path
import torch
from sensorium.training.loop import train
from sensorium.training.recipe import Engine
from sensorium.training.run_folder import RunFolder, read_metrics
from sensorium.training.world import World
from tests.training import lines
torch.set_num_threads(1)
torch.nn.Module.compile = partialmethod(torch.nn.Module.compile, backend="aot_eager")  # all but the C++ compiler
losses = []
for engine in (Engine(), Engine(compile=True), Engine(compile=True, checkpoint_activations=True)):
    run = RunFolder(Path(sys.argv[1]) / str(len(losses)))
    run.create({})
    train(lines.line(lines.Settings(drop=0.0, steps=3), World()), engine, run, World())
    losses.append([record["loss"] for record in read_metrics(run)])
graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
assert graphs > 0, "nothing was compiled"
torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)
torch.testing.assert_close(losses[2], losses[0], rtol=1e-5, atol=1e-6)
print("the same")
"""


def test_compiled_blocks_train_the_same(tmp_path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.stdout.strip() == "the same", run.stderr[-3000:]

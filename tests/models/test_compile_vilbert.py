"""ViLBERT compiles in one graph, and computes the same: see test_compile.py."""

import subprocess
import sys

PROGRAM = """
from dataclasses import replace
import torch
from tests.models.test_vilbert import TASKS, TINY, build, inputs
torch.set_num_threads(1)
ids, features, places = inputs()
mask = torch.arange(7).expand(3, -1) < torch.tensor([[7], [4], [2]])
for config in (replace(TINY, dynamic=True), TASKS):
    model = build(config)
    task = torch.zeros(3, dtype=torch.long) if config.task_tokens else None
    for every_pair in (False, True):
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        pair = (f(ids, features, places, mask=mask, task=task, every_pair=every_pair) for f in (compiled, model))
        for a, b in zip(*pair, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
print("the same")
"""


def test_compiled_in_one_graph_equals_eager() -> None:
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert run.stdout.strip() == "the same", run.stderr[-3000:]

"""VisualBERT compiles in one graph, and computes the same; see test_compile.py for why in a process of its own."""

import subprocess
import sys

PROGRAM = """
import torch
from sensorium.models.visualbert import VisualBERT, VisualBERTConfig
torch.set_num_threads(1)
torch.manual_seed(0)
sizes = dict(width=16, depth=2, heads=2, mlp=24, words=30, positions=12, features=6)
ids, regions = torch.randint(0, 30, (2, 5)), torch.randn(2, 3, 6)
more = dict(
    mask=torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool(),
    region_mask=torch.tensor([[1, 1, 0], [1, 1, 1]]).bool(),
    alignment=torch.randint(-1, 5, (2, 3, 2)),
)
with torch.no_grad():
    for early in (True, False):
        model = VisualBERT(VisualBERTConfig(**sizes, early_fusion=early)).eval()
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        for extra in ({}, more, {**more, "at": torch.tensor([[0, 2], [1, 6]])}):
            ours, theirs = model(ids, regions, **extra), compiled(ids, regions, **extra)
            if extra and "at" not in extra:  # what comes back on padding means nothing
                seen = torch.cat([more["mask"], more["region_mask"]], dim=1)
                ours, theirs = ours[seen], theirs[seen]
            torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)
print("the same")
"""


def test_compiled_in_one_graph_equals_eager() -> None:
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert run.stdout.strip() == "the same", run.stderr[-3000:]

"""Every trunk of ImageBind compiles in one graph, and computes the same: in a process of its own, as test_compile."""

import subprocess
import sys

PROGRAM = """
import torch
from tests import tiny
from tests.models.test_imagebind import INPUTS
torch.set_num_threads(1)
model = tiny.build(tiny.IMAGEBIND)
inputs = [*INPUTS.items(), ("vision", torch.randn(1, 3, 2, 40, 32))]  # positions interpolated inside the graph
with torch.no_grad():
    for modality, x in inputs:
        compiled = torch.compile(model.towers[modality], fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), model.towers[modality](x), atol=1e-5, rtol=1e-5)
print("the same")
"""


def test_compiled_in_one_graph_equals_eager() -> None:
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert run.stdout.strip() == "the same", run.stderr[-3000:]

"""Every tower compiles in one graph, and computes the same.

In a process of its own: the checks of shapes that tests/conftest.py puts around every function cannot be compiled.
"""

import subprocess
import sys

PROGRAM = """
from dataclasses import replace
import torch
from tests import tiny
torch.set_num_threads(1)
small = replace(tiny.CLIP_RESNET, vision=replace(tiny.CLIP_RESNET.vision, depths=(1, 1, 1, 1)))
clip, resnet, vit = (tiny.build(config) for config in (tiny.CLIP_VIT, small, tiny.VIT))
ids = torch.tensor([[62, 5, 63, 0, 0, 0], [62, 7, 8, 9, 63, 0]])
with torch.no_grad():
    for model, x in (
        (clip.vision, torch.randn(2, 3, 32, 32)),
        (clip.text, ids),
        (resnet.vision, torch.randn(2, 3, 64, 64)),
        (vit, torch.randn(1, 3, 40, 32)),  # another resolution: positions are interpolated inside the graph
    ):
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), model(x), atol=1e-5, rtol=1e-5)
print("the same")
"""


def test_compiled_in_one_graph_equals_eager() -> None:
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert run.stdout.strip() == "the same", run.stderr[-3000:]

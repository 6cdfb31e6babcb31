"""The DINO trunks compile in one graph each; in a process of its own, as in test_compile."""

import subprocess
import sys

PROGRAM = """
import torch
from sensorium.training.dropout import drop_path
from tests import tiny_dino as tiny
torch.set_num_threads(1)
image = torch.randn(2, 3, 40, 32)  # another resolution: positions are interpolated inside the graph
with torch.no_grad():
    for name, config in tiny.TRUNKS.items():
        model = tiny.build(config)
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        for ours, expected in zip(compiled(image), model(image), strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    model, ids = tiny.build(tiny.TXT), torch.tensor([[62, 5, 63, 0, 0], [62, 7, 8, 9, 63]])
    for tower, x in ((model.vision, image), (model.text, ids)):
        compiled = torch.compile(tower, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), tower(x), atol=1e-5, rtol=1e-5)
model = tiny.build(tiny.V3).requires_grad_(True)  # the rotation writes in place: its gradient must survive
grads = []
for run in (model, torch.compile(model, fullgraph=True, backend="eager")):
    model.zero_grad()
    run(image).patches.square().sum().backward()
    grads.append(model.patches.project.weight.grad.clone())
torch.testing.assert_close(grads[0], grads[1], atol=1e-3, rtol=1e-4)
crops = [torch.randn(2, 3, 40, 32), torch.randn(4, 3, 16, 16)]
for rate in (0.0, 0.5):  # several crops in one pass, block by block, their places moved: one graph for all
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    grads = []
    for compiling in (False, True):
        model, draws = tiny.build(tiny.V3).requires_grad_(True).train(), iter([1.0, 0.5, 2.0, 0.7, 0.9, 1.1])
        drop_path(model.blocks, rate)
        for block in model.blocks:
            if compiling:
                block.compile(fullgraph=True, backend="aot_eager")
        torch.manual_seed(7)
        made = model.several(crops, augment=lambda places: places * next(draws))
        sum(part.square().sum() for each in made for part in each).backward()
        grads.append(model.patches.project.weight.grad.clone())
    torch.testing.assert_close(grads[0], grads[1], atol=1e-3, rtol=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
print("the same")
"""


def test_compiled_in_one_graph_equals_eager() -> None:
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert run.stdout.strip() == "the same", run.stderr[-3000:]

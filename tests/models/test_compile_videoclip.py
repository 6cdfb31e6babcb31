"""Every tower of the video models compiles in one graph, and computes the same.

In a process of its own: the checks of shapes that tests/conftest.py puts around every function cannot be compiled.
"""

import subprocess
import sys

PROGRAM = """
import torch
from tests import tiny_video
from tests.tiny_video import VLM_JOINT, VLM_SHARED, S3D_TEXT, clips, texts
torch.set_num_threads(1)
clip, text = clips(5, 2), texts(4, 7)
calls = [(tiny_video.videoclip(), (*clip, *text)), (tiny_video.build(S3D_TEXT), (torch.rand(1, 3, 4, 32, 32),))]
for config in (VLM_JOINT, VLM_SHARED):
    model = tiny_video.vlm(config)
    calls += [(model, (*clip, *text)), (model.video, clip), (model.text, text)]
with torch.no_grad():
    for call, inputs in calls:
        compiled = torch.compile(call, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(*inputs), call(*inputs), atol=1e-5, rtol=1e-5)
print("the same")
"""


def test_compiled_in_one_graph_equals_eager() -> None:
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert run.stdout.strip() == "the same", run.stderr[-3000:]

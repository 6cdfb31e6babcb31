"""LayoutLMv2 compiles in one graph; in a process of its own, as tests/models/test_compile.py."""

import subprocess
import sys

PROGRAM = """
import torch
from dataclasses import replace
from tests import tiny_layoutlmv2 as tiny
torch.set_num_threads(1)
page = tiny.pages()
with torch.no_grad():
    for config in (replace(tiny.BASE, head="tokens"), tiny.XLM):
        model = tiny.build(config)
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(*page), model(*page), atol=1e-5, rtol=1e-5)
print("the same")
"""


def test_compiled_in_one_graph_equals_eager() -> None:
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert run.stdout.strip() == "the same", run.stderr[-3000:]

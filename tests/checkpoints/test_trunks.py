"""Every part of every family that runs alone: computed right, compiled in one graph, and exported to another runtime.

Compiling and exporting run in processes of their own: the checks of shapes around every function cannot be traced.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from sensorium.checkpoints.formats import FAMILIES
from sensorium.checkpoints.load import save_model
from sensorium.checkpoints.verify import verify
from tests import families

COMPILED = """
import sys
import torch
from sensorium.checkpoints.formats import FAMILIES
from tests import families
torch.set_num_threads(1)
torch.manual_seed(0)
for name in sys.argv[1:]:
    for trunk in FAMILIES[name].trunks(families.build(families.CONFIGS[name])):
        inputs = tuple(trunk.inputs.values())
        with torch.no_grad():
            eager = trunk.module(*inputs)
            compiled = torch.compile(trunk.module, fullgraph=True, backend="eager")(*inputs)
        torch.testing.assert_close(compiled, eager, atol=1e-5, rtol=1e-5, msg=lambda m: f"{name} {trunk.name}: {m}")
print("the same")
"""
EXPORTED = """
import sys
from sensorium.checkpoints.onnx import export_onnx
from tests import families
for name in sys.argv[2:]:
    for each in export_onnx(families.build(families.CONFIGS[name]), f"{sys.argv[1]}/{name}"):
        print(name, each.path.stem, each.difference)
"""


def run(program: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def test_every_family_is_here() -> None:
    assert set(families.CONFIGS) == set(FAMILIES)


@pytest.mark.parametrize("name", families.CONFIGS)
def test_saved_under_its_own_names_and_verified(name: str, tmp_path: Path) -> None:
    for known in FAMILIES[name].formats:
        save_model(families.build(families.CONFIGS[name]), tmp_path / known.naming, naming=known.naming)
        loaded, checks = verify(tmp_path / known.naming)
        assert (loaded.format.family, loaded.format.naming) == (name, known.naming)
        assert [check for check in checks if not check.passed] == []


def test_compiled_in_one_graph_equals_eager() -> None:
    assert run(COMPILED, *families.CONFIGS) == "the same"


def test_exported_files_compute_the_same_at_other_sizes(tmp_path: Path) -> None:
    lines = [line.split() for line in run(EXPORTED, str(tmp_path), *families.CONFIGS).splitlines()]
    assert {family for family, _, _ in lines} == set(families.CONFIGS)
    assert all(float(difference) < 1e-4 for _, _, difference in lines)

"""The rooms of the library: who may import whom, and what nobody pays for."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sensorium.checkpoints.formats import PRESETS, parameters
from sensorium.checkpoints.sources import SOURCES

SOURCE = Path(__file__).parents[1] / "src" / "sensorium"
ROOMS: dict[str, set[str]] = {
    "nn": set(),
    "objectives": set(),
    "models": {"nn"},
    "data": set(),
    "checkpoints": {"models", "data", "nn"},
    "training": {"models", "objectives", "data", "checkpoints", "nn"},
    "tasks": {"models", "data", "checkpoints", "nn"},
    "insight": {"models", "data", "checkpoints", "nn"},
    "search": {"tasks", "data", "checkpoints", "models", "nn"},
}
ROOMS["claims"] = set(ROOMS)
ROOMS["app"] = set(ROOMS)
ONLY_TORCH = {"nn": {"torch", "jaxtyping"}, "objectives": {"torch", "jaxtyping"}, "models": {"torch", "jaxtyping"}}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""
            if node.module == "sensorium":
                yield from (f"sensorium.{name.name}" for name in node.names)


def files() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_rooms_import_only_what_stands_below(path: Path) -> None:
    room = path.relative_to(SOURCE).parts[0]
    assert room in ROOMS, f"{room} is no room of the house"
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "sensorium" and len(parts) > 1 and parts[1] in ROOMS:
            assert parts[1] == room or parts[1] in ROOMS[room], f"{path} may not import {module}"
        elif room in ONLY_TORCH and parts[0] not in sys.stdlib_module_names:
            assert parts[0] in ONLY_TORCH[room], f"{path} may not import {module}"


def test_model_files_stand_alone_but_for_citations() -> None:
    """A paper's file imports shared parts, and another file only where the paper builds on it or it holds its parts."""
    cited = {
        "dinotxt": {"clip", "dinov3"},
        "ear": {"yamnet"},
        "imagebind": {"clip"},
        "layoutlmv2": {"document_heads", "page_encoder"},
        "pocket": {"bert", "efficientnet"},
        "videoclip": {"bert"},
        "vilbert": {"vilbert_heads"},
        "vlm": {"bert"},
    }
    used = {
        path.stem: {module.split(".")[2] for module in imports(path) if module.startswith("sensorium.models.")}
        for path in (SOURCE / "models").glob("*.py")
    }
    assert {file: names for file, names in used.items() if names} == cited


def test_no_model_is_subclassed() -> None:
    classes: set[str] = set()
    bases: set[str] = set()
    for path in (SOURCE / "models").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                classes.add(node.name)
                bases |= {ast.unparse(base).split(".")[-1] for base in node.bases}
    assert not classes & bases


@pytest.mark.parametrize("program", ["import sensorium", "import sensorium.checkpoints.sources, sensorium.data.errors"])
def test_a_bare_import_is_cheap(program: str) -> None:
    code = f"{program}\nimport sys\nprint(*sorted({{'torch', 'numpy', 'PIL', 'huggingface_hub'}} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == ""


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys\nfrom sensorium.app.cli import main\nsys.argv = ['sensorium', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert not {'torch', 'numpy', 'matplotlib', 'fastapi', 'usearch'} & set(sys.modules), 'imported'\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "search" in run.stdout


def test_sources_are_presets_and_say_what_they_are() -> None:
    assert set(SOURCES) <= set(PRESETS)
    for name, source in SOURCES.items():
        assert source.hub.count("/") == 1, name
        assert source.licence
        assert source.trained_on


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(name: str) -> None:
    assert parameters(PRESETS[name]) > 1_000_000

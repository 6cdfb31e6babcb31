"""Derive the files of this folder from their published source: `python -m sensorium.data.vocabulary.make WHEEL`.

WHEEL is open_clip_torch-3.3.0-py3-none-any.whl, as `pip download --no-deps open-clip-torch==3.3.0` fetches it. The
files come out byte for byte as they are committed; nothing in the wheel is executed.
"""

import ast
import gzip
import hashlib
import sys
import zipfile
from pathlib import Path

FOLDER = Path(__file__).parent
MERGES = 49_152 - 256 - 2  # of the 262,144 published, CLIP uses the first: vocabulary less bytes and special tokens


def make(wheel: Path, folder: Path = FOLDER) -> list[Path]:
    """Write the merges, the class names and both lists of templates into `folder`; returns their paths."""
    with zipfile.ZipFile(wheel) as archive:
        table = gzip.decompress(archive.read("open_clip/bpe_simple_vocab_16e6.txt.gz")).decode("utf-8")
        metadata = ast.parse(archive.read("open_clip/zero_shot_metadata.py"))
    values = {node.targets[0].id: node.value for node in metadata.body if isinstance(node, ast.Assign)}  # pyright: ignore[reportAttributeAccessIssue]
    merges = table.split("\n")[1 : MERGES + 1]  # the first line states a version
    lists = {
        "imagenet_names.txt": ast.literal_eval(values["IMAGENET_CLASSNAMES"]),
        "templates_80.txt": _templates(values["OPENAI_IMAGENET_TEMPLATES"]),
        "templates_7.txt": _templates(values["SIMPLE_IMAGENET_TEMPLATES"]),
    }
    written = [folder / "clip_merges.txt.gz", *(folder / name for name in lists)]
    written[0].write_bytes(gzip.compress("\n".join(merges).encode("utf-8"), 9, mtime=0))
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return written


def _templates(source: ast.expr) -> list[str]:
    """`lambda c: f'a photo of a {c}.'` as "a photo of a {}."."""
    assert isinstance(source, ast.Tuple)
    lines: list[str] = []
    for function in source.elts:
        assert isinstance(function, ast.Lambda)
        assert isinstance(function.body, ast.JoinedStr)
        parts = (str(p.value) if isinstance(p, ast.Constant) else "{}" for p in function.body.values)
        lines.append("".join(parts))
    return lines


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for path in make(Path(sys.argv[1])):
        print(hashlib.sha256(path.read_bytes()).hexdigest(), f"{path.stat().st_size:7,}", path.name)

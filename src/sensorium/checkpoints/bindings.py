"""Bindings: trunks of more senses, trained to meet the vectors of somebody else's frozen towers (Girdhar et al. 2023).

A binding is two files: trunks under ImageBind's official names (`modality_trunks.audio...`) in safetensors, and JSON
beside them that says to which towers they belong (`towers`, `fingerprint`) and what their sizes are (`sizes`, in the
words of ImageBind's config). In a folder these are model.safetensors and binding.json; alone, NAME.safetensors and
NAME.json. The towers are not copied: a path to them is kept as seen from the binding.
"""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from sensorium.checkpoints.files import read_checkpoint, read_json, write_safetensors
from sensorium.checkpoints.formats import build, export, format_named
from sensorium.checkpoints.imagebind import arguments
from sensorium.checkpoints.load import fingerprint
from sensorium.checkpoints.rename import CheckpointError
from sensorium.models.imagebind import ImageBind

WEIGHTS, FACTS = "model.safetensors", "binding.json"
STATED = ("towers", "fingerprint", "sizes")


@dataclass(frozen=True, kw_only=True, eq=False)
class Binding:
    """Trunks without vision and text, the towers that they were trained to meet (as `load` takes them), and the
    fingerprints of both."""

    trunks: ImageBind
    towers: str
    towers_fingerprint: str
    fingerprint: str


def places(path: str | Path) -> tuple[Path, Path]:
    """The weights and the facts of a binding in this folder, or of this name."""
    path = Path(path).expanduser()
    if path.name == WEIGHTS:
        return path, path.with_name(FACTS)
    return (path, path.with_suffix(".json")) if path.suffix == ".safetensors" else (path / WEIGHTS, path / FACTS)


def is_binding(path: str | Path) -> bool:
    """Whether a binding lies there: the facts beside the weights say to which towers they belong."""
    weights, facts = places(path)
    return weights.is_file() and facts.is_file() and "towers" in read_json(facts)


def write_binding(trunks: ImageBind, path: str | Path, *, towers: str, towers_fingerprint: str) -> Path:
    """Write a binding into a folder, or as NAME.safetensors; returns the weight file.

    Raises CheckpointError where the model has towers of its own: that is a whole ImageBind, no binding.
    """
    if trunks.config.vision is not None or trunks.config.text is not None:
        raise CheckpointError("these trunks come with towers of their own: save them as imagebind")
    weights, facts = places(path)
    if os.path.exists(towers):
        towers = os.path.relpath(towers, facts.parent)
    stated = {"towers": towers, "fingerprint": towers_fingerprint, "sizes": arguments(trunks.config)}
    write_safetensors(export(trunks, format_named("imagebind", "imagebind")), weights)
    facts.write_text(json.dumps(stated, indent=2) + "\n", encoding="utf-8")
    return weights


def towers_of(path: str | Path) -> tuple[str, str]:
    """The towers that a binding was trained to meet, and their fingerprint; no weights are read. Raises
    CheckpointError."""
    facts = places(path)[1]
    stated = _stated(facts)
    towers = str(stated["towers"])
    near = facts.parent / towers
    return os.path.normpath(near) if near.exists() else towers, str(stated["fingerprint"])


def read_binding(path: str | Path) -> Binding:
    """Read what `write_binding` wrote: every name must fit. Raises CheckpointError."""
    weights, facts = places(path)
    towers, towers_fingerprint = towers_of(path)
    checkpoint = replace(read_checkpoint(weights), beside={"config.json": _stated(facts)["sizes"]})
    model, known = build(checkpoint)
    if known.family != "imagebind":
        raise CheckpointError(f"{weights} holds {known.family}, no trunks of ImageBind")
    return Binding(
        trunks=cast(ImageBind, model),
        towers=towers,
        towers_fingerprint=towers_fingerprint,
        fingerprint=fingerprint(checkpoint.tensors, None),
    )


def _stated(facts: Path) -> dict[str, Any]:
    stated = read_json(facts)
    if missing := [name for name in STATED if name not in stated]:
        raise CheckpointError(f"{facts} does not say {', '.join(missing)}: it is no binding's")
    return stated

"""One verb in, one verb out: any checkpoint of a family that is built here, by preset, hub id, folder or file."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sensorium.checkpoints.files import SUFFIXES, Checkpoint, read_checkpoint, scattered, write_safetensors
from sensorium.checkpoints.format import Config, Format
from sensorium.checkpoints.formats import (
    PRESETS,
    asked_for,
    build,
    config_of,
    configure,
    export,
    family_of,
    format_named,
)
from sensorium.checkpoints.hub import fetch, is_hub_id
from sensorium.checkpoints.memory import memory, of_model, part, told
from sensorium.checkpoints.rename import CheckpointError, listing
from sensorium.checkpoints.sources import SOURCES, Source
from sensorium.data import preprocess
from sensorium.data.kinds import Sense
from sensorium.data.preprocess import Preprocess

LOG = logging.getLogger(__name__)
SAMPLES = 64  # numbers of each tensor that go into the fingerprint


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model with what belongs to it. `path` is the file or the folder that it came from."""

    name: str
    model: nn.Module
    format: Format
    preprocess: Preprocess | None
    fingerprint: str
    path: Path
    source: Source | None = None

    @property
    def folder(self) -> Path:
        """Where the files lie: a tokeniser may be there too."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def found(self) -> str:
        """What was recognised, in words."""
        return f"{self.format.family} under the names of {self.format.naming}"


def load_model(
    source: str | Path,
    *,
    revision: str | None = None,
    config: Config | None = None,
    senses: Sequence[Sense] | None = None,
) -> Loaded:
    """Load weights with their preprocessing; the family is recognised from the names alone.

    `source` is a preset (`clip-vit-b-32`), a hub id (`org/name` or `org/name@revision`), a folder as
    transformers, timm or open_clip write it, or a weight file (.safetensors, .npz, OpenAI's .pt, a weights-only
    .pt/.bin). `config` overrules the sizes read from the files. `senses` asks for a part of an ImageBind, and so does
    a config with fewer modalities: the other tensors are left unread, but for the samples that make the fingerprint,
    which is that of the whole file. What it will take in memory is logged before. Raises CheckpointError with the
    remedy.
    """
    path, public = locate(source, revision=revision)
    checkpoint = read_checkpoint(path)
    if senses is not None:
        config = part(checkpoint, config, senses)
    if LOG.isEnabledFor(logging.INFO):
        LOG.info("%s: %s", source, told(memory(checkpoint, config)))
    model, known = build(checkpoint, config)
    steps = known.preprocess(checkpoint, config_of(model))
    return Loaded(
        name=str(source),
        model=model,
        format=known,
        preprocess=steps,
        fingerprint=_identity(checkpoint, known, config_of(model), steps),
        path=path,
        source=public,
    )


def _identity(checkpoint: Checkpoint, known: Format, config: Config, steps: Preprocess | None) -> str:
    """The fingerprint of the whole of a checkpoint, also where only a part of it was built."""
    if len(asked_for(checkpoint.tensors, known, config)) == len(checkpoint.tensors):
        return fingerprint(checkpoint.tensors, steps)
    # A mapping of its own is given back when the samples are taken, with what the system read around them.
    again = scattered(read_checkpoint(checkpoint.path).tensors)
    return fingerprint(again, known.preprocess(checkpoint, configure(checkpoint, known)))


def memory_of(
    source: str | Path,
    *,
    senses: Sequence[Sense] | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    revision: str | None = None,
) -> dict[Sense, int]:
    """How many bytes a model's weights will take in memory, by sense, before they are loaded.

    Only names and shapes are read, of safetensors and of torch's zipped files. Films are seen by the tower of
    pictures: it is counted once. Raises CheckpointError as `load_model` does.
    """
    if source == "pocket":
        from sensorium.checkpoints.pocket import blank_pocket

        return of_model(blank_pocket(), precision)
    checkpoint = read_checkpoint(locate(source, revision=revision)[0])
    return memory(checkpoint, None if senses is None else part(checkpoint, None, senses), precision)


def locate(source: str | Path, *, revision: str | None = None) -> tuple[Path, Source | None]:
    """The path of a checkpoint, fetched from the hub where it is not local."""
    text = str(source)
    if (public := SOURCES.get(text)) is not None:
        return fetch(public.hub, revision=revision or public.revision, file=public.file), public
    path = Path(source).expanduser()
    if text and os.path.exists(path):  # unlike Path.exists, False for what cannot be a name
        return path, None
    if text in PRESETS:
        raise CheckpointError(
            f"{text} is a size without public weights; load weights of that size by their path or hub id"
        )
    plain = text.lower().replace("/", "-").replace("_", "-").replace("@", "-")  # ViT-B/32, as OpenAI writes it
    near = [name for name in (f"clip-{plain}", f"clip-{plain.removesuffix('px')}", plain) if name in SOURCES]
    repository, _, pinned = text.partition("@")
    if is_hub_id(repository) and not near and path.suffix not in SUFFIXES:
        return fetch(repository, revision=revision or pinned or None), None
    near = list(dict.fromkeys(near)) or get_close_matches(plain, [*SOURCES, "pocket"], n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else "; `sensorium models` lists the presets"
    raise CheckpointError(f"no preset, file, folder or hub id {text!r}{hint}")


def fingerprint(tensors: Mapping[str, Tensor], steps: Preprocess | None) -> str:
    """The identity of weights and preprocessing: equal for the same tensors in whatever file they came."""
    digest = hashlib.blake2b(repr(steps).encode(), digest_size=12)
    for name in sorted(tensors):
        flat = tensors[name].flatten()
        sample = flat[:: max(1, len(flat) // SAMPLES)][:SAMPLES].double()
        digest.update(f"{name}{list(tensors[name].shape)}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()


def save_model(model: nn.Module, folder: str | Path, *, naming: str, steps: Preprocess | None = None) -> Path:
    """Write a model under another library's names, with the configuration that this library reads.

    `naming` is one of the family's: transformers, openai, open_clip, timm, google. Files appear whole or not at
    all. Returns the weight file.
    """
    known = format_named(family_of(model).name, naming)
    folder = Path(folder)
    if folder.is_file():
        raise CheckpointError(f"{folder} is a file: name a folder to write to")
    files: dict[str, dict[str, Any]] = {}  # everything that can be refused comes before the first file is written
    if known.file and known.describe:
        files[known.file] = known.describe(config_of(model))
    if known.file == "open_clip_config.json":
        files[known.file] = {
            "model_cfg": files[known.file],
            "preprocess_cfg": preprocess.to_open_clip(steps) if steps else {},
        }
    elif steps and known.naming in ("transformers", "official"):  # nothing else says how large pictures were
        files["preprocessor_config.json"] = preprocess.to_transformers(steps)
    elif known.naming == "timm" and known.file:  # without a pretrained_cfg, timm takes the whole file for one
        files[known.file]["pretrained_cfg"] = preprocess.to_timm(steps) if steps else {}
    tensors = export(model, known)
    folder.mkdir(parents=True, exist_ok=True)
    if known.naming == "google":
        weights = folder / "model.npz"
        _write_npz(tensors, weights)
    else:
        prefix = "open_clip_" if known.file == "open_clip_config.json" else ""
        weights = folder / f"{prefix}model.safetensors"
        write_safetensors(tensors, weights)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return weights


@dataclass(frozen=True)
class Unsaid:
    """What a file does not hold of the model that was written to it.

    `choices` would be read otherwise ("activation is gelu, read as gelu_tanh"). The naming has no place for `tensors`
    (our names), which do nothing in it, or are computed anew.
    """

    choices: list[str]
    tensors: list[str]


def check_written(model: nn.Module, file: Path) -> Unsaid:
    """Read a file that `save_model` wrote; raises CheckpointError unless it holds the model bit by bit."""
    checkpoint, config = read_checkpoint(file), config_of(model)
    read, known = build(checkpoint, config)
    state, implied = model.state_dict(), known.implied(config)
    wanted = known.folds(state, config) | implied
    differ = [name for name, tensor in read.state_dict().items() if not torch.equal(tensor, wanted[name])]
    if differ:
        raise CheckpointError(f"{file} was written, but reads back differently: {listing(differ)}")
    plain = asdict(configure(checkpoint, known))  # type: ignore[arg-type]
    choices = [
        f"{name} is {value}, read as {plain[name]}"
        for name, value in asdict(config).items()  # type: ignore[arg-type]
        if value != plain.get(name)
    ]
    return Unsaid(choices, [name for name, tensor in implied.items() if not torch.equal(tensor, state[name])])


def _write_npz(tensors: Mapping[str, Tensor], path: Path) -> None:
    import numpy as np

    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **{name: tensor.cpu().float().numpy() for name, tensor in tensors.items()})
    partial.replace(path)

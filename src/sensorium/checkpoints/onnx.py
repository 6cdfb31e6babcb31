"""Models for other runtimes: every part that runs alone, as an ONNX file that was run and compared before it is kept.

Batches are free, text lengths too, and for transformers the size of the picture in whole patches. Needs the packages
onnx, onnxscript and onnxruntime: `pip install "sensorium[export]"`.
"""

import logging
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.checkpoints.format import Axis, Trunk
from sensorium.checkpoints.formats import family_of
from sensorium.checkpoints.rename import CheckpointError

ALLOWED = 1e-3
"""What the exported file may differ by from torch, as a share of the output's size."""
LARGE = 400_000_000  # parameters from which on the numbers lie beside the graph: a message of protobuf ends at 2 GiB
ROWS = 200  # patches along a side, at most


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how far it is from torch, on inputs of another size too."""

    path: Path
    difference: float


def export_onnx(model: nn.Module, folder: str | Path) -> list[Exported]:
    """Write `<trunk>.onnx` for every trunk of a model.

    Raises CheckpointError where the packages are missing, or where a file computes something else than the model, which
    is then not left behind.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]  # noqa: F401
        import onnxscript  # type: ignore[import-untyped]  # noqa: F401
    except ImportError as missing:
        raise CheckpointError(f'{missing.name} is not installed: pip install "sensorium[export]"') from None
    folder = Path(folder)
    if folder.is_file():
        raise CheckpointError(f"{folder} is a file: name a folder to write to")
    folder.mkdir(parents=True, exist_ok=True)
    return [export_trunk(trunk, folder / f"{trunk.name}.onnx") for trunk in family_of(model).trunks(model)]


@torch.no_grad()
def export_trunk(trunk: Trunk, path: Path) -> Exported:
    """Write one trunk; raises CheckpointError where torch cannot trace it, or the file computes something else."""
    axes: dict[Axis, Any] = {}
    shapes = tuple(
        {axis: _dimension(free, axes) for axis, free in trunk.varies.get(name, {}).items()} for name in trunk.inputs
    )
    large = sum(p.numel() for p in trunk.module.parameters()) > LARGE
    with _quiet():
        try:
            program = torch.onnx.export(
                trunk.module,
                tuple(trunk.inputs.values()),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(trunk.inputs),
                output_names=list(trunk.outputs),
                external_data=large,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            why = next(iter(str(error.__cause__ or error).splitlines()), "")
            raise CheckpointError(f"{path.name}: torch cannot trace this part ({why})") from None
    assert program is not None
    with TemporaryDirectory(dir=path.parent) as apart:
        draft = Path(apart) / path.name
        program.save(str(draft), external_data=large)
        difference = max(_difference(trunk, draft, inputs) for inputs in (trunk.inputs, _another_size(trunk)))
        if difference > ALLOWED:
            raise CheckpointError(f"{path.name} differs from torch by {difference:.1e} of its size: not written")
        for file in Path(apart).iterdir():  # a large model's numbers lie in a second file
            file.replace(path.parent / file.name)
    return Exported(path, difference)


def _dimension(free: Axis, axes: dict[Axis, Any]) -> Any:
    """One symbol for all axes of one name, counted in steps."""
    if free not in axes:
        most = free.most or (ROWS if free.step > 1 else None)
        dimension = torch.export.Dim(free.name, min=free.least, max=most)
        axes[free] = free.step * dimension if free.step > 1 else dimension
    return axes[free]


def _another_size(trunk: Trunk) -> dict[str, Tensor]:
    """The example once more on every free axis: twice as long in the batch, a step longer or shorter elsewhere."""
    other: dict[str, Tensor] = {}
    for name, tensor in trunk.inputs.items():
        for axis, free in trunk.varies.get(name, {}).items():
            if axis == 0:
                tensor = torch.cat([tensor, tensor.flip(0)])
            elif tensor.shape[axis] - free.step >= free.least * free.step:
                tensor = tensor.narrow(axis, free.step, tensor.shape[axis] - free.step)
        other[name] = tensor.contiguous()
    return other


def _difference(trunk: Trunk, path: Path, inputs: Mapping[str, Tensor]) -> float:
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    wanted = trunk.module(*inputs.values())
    pairs = zip(found, [wanted] if isinstance(wanted, Tensor) else wanted, strict=True)
    return max(float(np.abs(y - t.numpy()).max() / max(np.abs(t.numpy()).max(), 1e-12)) for y, t in pairs if t.numel())


@contextmanager
def _quiet() -> Generator[None]:
    """The exporter logs and warns of what it does not need (torchvision) and what it optimised; nobody asked."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

"""Is this model what it claims to be, and does it compute right on this machine?

A checkpoint is loaded, written back and compared bit by bit; then every part that runs alone is run on an example in
single precision, with the fused attention, and compared with the same part in double precision and with the attention
spelled out. Differences are given as shares of the output's own size.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sensorium.checkpoints.files import read_checkpoint
from sensorium.checkpoints.format import Trunk
from sensorium.checkpoints.formats import FAMILIES, config_of, export
from sensorium.checkpoints.load import Loaded, load_model
from sensorium.nn.attention import Attention
from sensorium.nn.looking import eager, using

ROUNDING = 1e-4
"""What single precision may differ by, as a share of the output's size: deep trunks come to about 1e-5."""
LARGEST = 2_000_000_000
"""Parts with more parameters than this are not copied in double precision: 8 bytes each."""


@dataclass(frozen=True)
class Check:
    """One comparison. `difference` is None where it was left out, and `note` says why."""

    name: str
    difference: float | None
    allowed: float
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the model."""
        return self.difference is None or self.difference <= self.allowed


def verify(source: str | Path) -> tuple[Loaded, list[Check]]:
    """Load a model and check it; raises CheckpointError as `load_model` does."""
    loaded = load_model(source)
    checks = [_written_back(loaded), _finite(loaded.model)]
    torch.manual_seed(0)
    for trunk in FAMILIES[loaded.format.family].trunks(loaded.model):
        checks += _computed(trunk)
    return loaded, checks


def _written_back(loaded: Loaded) -> Check:
    """Names and bits that differ between the file and what is saved from the model."""
    theirs = read_checkpoint(loaded.path).tensors
    ours = export(loaded.model, loaded.format)
    known = loaded.format.rows(config_of(loaded.model))
    unused = {row.theirs for row in known if row.ours is None}
    differ = [
        name
        for name, tensor in theirs.items()
        if name in ours and not torch.equal(ours[name], tensor.to(ours[name].dtype))
    ]
    kept = sum(name in ours for name in theirs)
    note = f"{kept} tensors" + (f", {len(theirs) - kept} not needed" if unused and kept < len(theirs) else "")
    return Check("saved as it was loaded: tensors that differ", float(len(differ)), 0, ", ".join(differ[:5]) or note)


def _finite(model: nn.Module) -> Check:
    bad = [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]
    return Check("tensors that are not finite", float(len(bad)), 0, ", ".join(bad[:5]))


@torch.no_grad()
def _computed(trunk: Trunk) -> Iterator[Check]:
    inputs = tuple(trunk.inputs.values())
    plain = _outputs(trunk.module(*inputs))
    if any(isinstance(layer, Attention) for layer in trunk.module.modules()):
        with using(trunk.module, eager):
            spelled = _outputs(trunk.module(*inputs))
        yield Check(f"{trunk.name}: fused against plain attention", _apart(plain, spelled), ROUNDING)
    name = f"{trunk.name}: single against double precision"
    if sum(p.numel() for p in trunk.module.parameters()) > LARGEST:
        yield Check(name, None, ROUNDING, "left out: too large to copy in double precision")
        return
    double = deepcopy(trunk.module).double()
    exact = _outputs(double(*(x.double() if x.is_floating_point() else x for x in inputs)))
    yield Check(name, _apart(plain, exact), ROUNDING)


def _outputs(result: Tensor | tuple[Tensor, ...] | list[Tensor]) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else list(result)


def _apart(some: list[Tensor], others: list[Tensor]) -> float:
    """The largest difference, as a share of the largest number."""
    shares = [
        float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp(min=1e-12))
        for a, b in zip(some, others, strict=True)
        if b.numel()  # a trunk without registers gives none
    ]
    return max(shares)

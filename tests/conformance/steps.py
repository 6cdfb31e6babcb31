"""What the cases of every family share."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.checkpoints.format import Config, Format
from sensorium.checkpoints.formats import FAMILIES, export, fill
from sensorium.nn.blank import blank
from sensorium.nn.positions import TIMM, Resampling
from tests.conformance.weights import Case

Preset = tuple[str, str, dict[str, Any]]  # the name of a preset, a naming, and changes of the preset


def close(case: Case, name: str, actual: Tensor) -> None:
    """One output of a case, within its tolerance."""
    torch.testing.assert_close(actual, case.outputs[name], **case.tolerance, msg=lambda m: f"{name}: {m}")


def all_close(case: Case, outputs: dict[str, Tensor]) -> None:
    """Every output of a case, none forgotten and none beside them."""
    assert outputs.keys() == case.outputs.keys()
    for name, actual in outputs.items():
        close(case, name, actual.to(case.outputs[name].dtype))


class Checked:
    """The outputs of a case, compared one by one as a check comes to them."""

    def __init__(self, case: Case) -> None:
        self.case, self.left = case, set(case.outputs)

    def __call__(self, name: str, actual: Tensor | float) -> None:
        wanted = self.case.outputs[name]
        found = torch.as_tensor(actual, dtype=wanted.dtype)
        close(self.case, name, found.reshape(wanted.shape) if found.numel() == 1 else found)
        self.left.discard(name)


@contextmanager
def all_outputs(case: Case) -> Generator[Checked]:
    """At the end, every output must have been compared."""
    checked = Checked(case)
    yield checked
    assert not checked.left, f"not compared: {sorted(checked.left)}"


def state(case: Case) -> dict[str, Tensor]:
    """The checkpoint of a case, with the copies that the reference ties."""
    return case.state | {copy: case.state[source] for copy, source in case.meta.get("tied", {}).items()}


def load(case: Case, known: Format, config: Config) -> nn.Module:
    """Load through the rename table, and require that saving gives back every tensor bit by bit."""
    with blank():
        model = FAMILIES[known.family].model(config)
    theirs = state(case)
    fill(model, theirs, known)
    saved = export(model, known)
    kept = {key: tensor for key, tensor in theirs.items() if not key.endswith("position_ids")}
    assert saved.keys() == kept.keys()
    for name, tensor in kept.items():
        assert torch.equal(saved[name], tensor.float() if tensor.is_floating_point() else tensor), name
    return model.eval()


def visible(config: Any) -> Any:
    """The configuration with every choice that does not show in a shape set to one value."""
    if not is_dataclass(config) or isinstance(config, Resampling):
        return config
    same = {"eps": 0.0, "activation": "gelu", "resampling": TIMM, "end": None}
    values = {field.name: same.get(field.name, visible(getattr(config, field.name))) for field in fields(config)}
    return (type(config), values)

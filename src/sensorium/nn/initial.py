"""How numbers begin, where papers share it."""

from torch import nn


def bert(module: nn.Module) -> None:
    """BERT's beginning (Devlin et al. 2018, reference code), for `model.apply`: normal, deviation 0.02; biases zero."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and (bias := getattr(module, "bias", None)) is not None:
        nn.init.zeros_(bias)

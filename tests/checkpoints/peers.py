"""What every comparison with transformers needs."""

from typing import Any

import torch
from torch import Tensor


def close(ours: Tensor, theirs: Tensor, *, rtol: float = 1e-5) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=rtol)


def randomise(model: Any, *, by: float = 0.1) -> Any:
    """Biases and class tokens begin as zeros, norms as ones, some tables as copies: random ones show a swap."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "logit_scale" not in name:
                parameter.add_(by * torch.randn(parameter.shape))
    return model.eval()


def from_ours(kind: Any, folder: Any) -> Any:
    """A model of theirs from files of ours, in which every tensor was found, and none too many."""
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    return model.eval()

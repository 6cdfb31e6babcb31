"""What stands on top of a trunk."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Pooler(nn.Module):
    """tanh(Linear(x)): BERT's pooler, and the hidden layer of ViT's pre-training head."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, out)

    def forward(self, x: Float[Tensor, "b width"]) -> Float[Tensor, "b out"]:
        """One vector a picture or a sentence."""
        return torch.tanh(self.project(x))

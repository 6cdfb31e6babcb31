"""Guess what stood at a masked region (ViLBERT, Lu et al. 2019, section 2.2)."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def masked_classes(
    logits: Float[Tensor, "b m classes"], detector: Float[Tensor, "b m classes"], masked: Bool[Tensor, "b m"]
) -> Float[Tensor, ""]:
    """KL divergence of the detector's class distribution from the model's, in nats a masked region; 0 with none."""
    divergence = F.kl_div(logits[masked].log_softmax(-1), detector[masked], reduction="sum")
    return divergence / masked.sum().clamp(min=1)


def masked_features(
    guess: Float[Tensor, "b m features"], features: Float[Tensor, "b m features"], masked: Bool[Tensor, "b m"]
) -> Float[Tensor, ""]:
    """Mean squared error to the features before masking, over masked regions and their numbers; 0 with none."""
    error = F.mse_loss(guess[masked], features[masked], reduction="sum")
    return error / (masked.sum() * guess.shape[-1]).clamp(min=1)

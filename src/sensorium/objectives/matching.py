"""Does this text belong to this picture?"""

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def sentence_image(logits: Float[Tensor, "b 2"], matches: Int[Tensor, " b"] | Bool[Tensor, " b"]) -> Float[Tensor, ""]:
    """Sentence-image prediction (VisualBERT, section 3.3): cross-entropy; 1 where text and picture belong together.

    The authors' code hands these labels over as `is_random_next`, and they mean the opposite of that name.
    """
    return F.cross_entropy(logits, matches.long())

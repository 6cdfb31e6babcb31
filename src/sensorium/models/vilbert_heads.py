"""What stands on top of the two streams of ViLBERT (Lu et al. 2019, https://arxiv.org/abs/1908.02265): the guess of
masked regions, and a head for every kind of task (12-in-1, Lu et al. 2020, https://arxiv.org/abs/1912.02315).
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sensorium.nn.attention import Tokens


class RegionHead(nn.Module):
    """What stood at a masked region: the word head's layers, with a matrix of their own."""

    def __init__(self, width: int, targets: int, eps: float) -> None:
        super().__init__()
        self.dense, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps)
        self.project = nn.Linear(width, targets)

    def forward(self, x: Tokens) -> Float[Tensor, "b n targets"]:
        """Logits of the detector's classes, or features."""
        return self.project(self.norm(F.gelu(self.dense(x))))


def _classifier(width: int, hidden: int, classes: int, eps: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.LayerNorm(hidden, eps), nn.Linear(hidden, classes))


class TaskHeads(nn.Module):
    """One head a kind of task (12-in-1); joint vectors in, but for `region` and `word`.

    `text`, `vision` and `joint` are widths, `vqa` and `gqa` the answers of the two vocabularies.
    """

    def __init__(self, text: int, vision: int, joint: int, vqa: int, gqa: int, eps: float) -> None:
        super().__init__()
        self.vqa = _classifier(joint, 2 * joint, vqa, eps)
        self.gqa = _classifier(joint, 2 * joint, gqa, eps)
        self.pictures = _classifier(2 * joint, 2 * joint, 2, eps)
        self.match = nn.Linear(joint, 1)  # caption retrieval, VCR's choices
        self.entailment = nn.Linear(joint, 3)
        self.region = nn.Linear(vision, 1)
        self.word = nn.Linear(text, 1)

    def two_pictures(self, joint: Float[Tensor, "rows co"]) -> Float[Tensor, "pairs 2"]:
        """Is the sentence true of two pictures (NLVR2)? Rows 2i and 2i+1 are the two, each with the same sentence."""
        return self.pictures(joint.unflatten(0, (-1, 2)).flatten(1))

    def ground(
        self, vision: Float[Tensor, "b m width"], region_mask: Bool[Tensor, "b m"] | None = None
    ) -> Float[Tensor, "b m"]:
        """Which region is meant: a logit each, 10,000 lower where there is no region."""
        scores = self.region(vision)[..., 0]
        return scores if region_mask is None else scores - 1e4 * ~region_mask

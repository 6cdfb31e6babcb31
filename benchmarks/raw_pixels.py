"""What neighbours know without any training, beside which a self-supervised run has to stand.

    python benchmarks/raw_pixels.py          # half a minute

`things`: top-1 of the 20 nearest of 4,896 training pictures, of 291 things, for 918 others, as `train dinov3` measures.
Pixels are compared by the cosine of what is left without the picture's mean, at several sizes; random weights are those
that the recipe begins with, shown 96 pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.data.standins.things import Things, things
from sensorium.nn.neighbours import K, vote
from sensorium.tasks.metrics import top_k
from sensorium.training.recipes.dinov3 import dinov3
from sensorium.training.recipes.dinov3_parts import Settings
from sensorium.training.world import World


def pixels(source: Things, size: int) -> Tensor:
    """Every picture as one row, shrunk by the mean of areas."""
    rows = torch.stack([torch.from_numpy(source[i]["image"].copy()).permute(2, 0, 1) for i in range(len(source))])
    flat = F.interpolate(rows.float(), size=(size, size), mode="area").flatten(1)
    return flat - flat.mean(1, keepdim=True)


def main() -> None:
    """Print a table."""
    memory, asked = things("train"), things("validation")
    known, truth = (torch.tensor([part[i]["label"] for i in range(len(part))]) for part in (memory, asked))
    print("| | kNN |\n|---|---|")
    for size in (96, 48, 16, 8):
        scores = vote(pixels(memory, size), known, pixels(asked, size), len(memory.classes), k=K)
        print(f"| pixels, {size} x {size} | {top_k(scores, truth):.3f} |", flush=True)
    recipe = dinov3(Settings(measured=96), World())
    recipe.model.eval()
    assert recipe.evaluate is not None
    with torch.no_grad():
        print(f"| random weights | {recipe.evaluate(0)['knn']:.3f} |")


if __name__ == "__main__":
    main()

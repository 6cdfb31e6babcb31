"""How well a model finds real photographs by their captions: Tux Paint's stamps, which nobody trained on.

    python benchmarks/stamps.py [MODEL]        # pocket unless named: a preset, a hub id or a folder

Debian's package tuxpaint-stamps-default 2022.06.04-1 (GPL-2, 161 MB) is fetched once into the user's cache with
`apt-get download`, checked and unpacked; --folder takes one that is there already. The photographs are the PNG stamps
(the SVG ones are drawings) with an English caption, outside folders called `cartoon`, in ten folders of things:
animals, clothes, food, hobbies, household, medical, military, plants, town, vehicles. That makes 339 pictures with
323 different captions. --all takes every folder but `symbols` (coins, letters, signs): 430 with 403.

A caption may belong to several pictures: text to image counts the best of them; image to text ranks each different
caption once. Transparent pixels are shown over white.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

import sensorium
from sensorium.data.errors import SensoriumError
from sensorium.data.sets import stamps


@dataclass(frozen=True)
class Ranks:
    """Where the right answer came, 1 being first, of every query."""

    ranks: Int[Tensor, "q"]

    def at(self, k: int) -> float:
        """The share of queries whose right answer is among the first k."""
        return float((self.ranks <= k).float().mean())

    def __str__(self) -> str:
        return f"R@1 {self.at(1):.3f}   R@10 {self.at(10):.3f}   median rank {int(self.ranks.median())}"


def rank(scores: Float[Tensor, "n m"], caption: Int[Tensor, "n"]) -> tuple[Ranks, Ranks]:
    """Image to text and text to image, from the cosines of n pictures with m different captions."""
    own = scores.gather(1, caption[:, None])
    to_text = (scores > own).sum(1) + 1
    belongs = torch.nn.functional.one_hot(caption, scores.shape[1]).bool()
    best = scores.masked_fill(~belongs, -torch.inf).amax(0)
    return Ranks(to_text), Ranks((scores > best).sum(0) + 1)


def main() -> None:
    """Print retrieval both ways."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("model", nargs="?", default="pocket")
    parser.add_argument("--folder", type=Path, help="the unpacked Debian package; fetched when not given")
    parser.add_argument("--all", action="store_true", help="every folder but symbols")
    arguments = parser.parse_args()
    try:
        photographs = stamps(arguments.folder, everything=arguments.all)
        model = sensorium.load(arguments.model)
        captions = photographs.classes
        images = [model.embed(images=[path])["images"] for path, _, _ in photographs.rows]
        text = model.embed(text=list(captions))["text"]
    except SensoriumError as error:
        raise SystemExit(str(error)) from None
    index = torch.tensor([caption for _, _, caption in photographs.rows])
    to_text, to_image = rank(torch.cat(images) @ text.T, index)
    print(f"{model.name}: {len(photographs)} photographs, {len(captions)} captions")
    print(f"image to text   {to_text}\ntext to image   {to_image}")
    print(
        f"both            R@1 {(to_text.at(1) + to_image.at(1)) / 2:.3f}   "
        f"R@10 {(to_text.at(10) + to_image.at(10)) / 2:.3f}"
    )


if __name__ == "__main__":
    main()

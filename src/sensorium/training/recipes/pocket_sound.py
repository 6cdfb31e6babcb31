"""What pocket's ear knows: for each of YAMNet's kinds of sound, where sentences about it lie in pocket's space.

    python -m sensorium.training.recipes.pocket_sound --out pocket_ear.safetensors

Nothing is trained on sounds: the classifier has heard AudioSet's, and its classes' names, put in everyday words below,
are bound by their meaning, as ImageBind binds what never met through what both know (Girdhar et al. 2023,
https://arxiv.org/abs/2305.05665). It takes a minute.
"""

import argparse
import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sensorium.checkpoints.ear import LISTENER, NAMES
from sensorium.checkpoints.pocket import load_pocket, write_packed
from sensorium.data.packages import locate
from sensorium.training.recipes.pocket_sound_words import COMMON, WORDS

FAINT = 0.1
"""The strength of kinds that are heard beside nearly every other one of their sort ("Music", "Animal", "Vehicle")."""
CENTRED = 0.5
"""The part of the mean meaning that is taken off each."""


def kinds() -> list[str]:
    """The names of YAMNet's classes, in its order."""
    with locate(LISTENER, NAMES).open(encoding="utf-8", newline="") as file:
        return [row["display_name"] for row in csv.DictReader(file)]


def wordings(names: Sequence[str], words: Mapping[str, str] = WORDS) -> list[tuple[str, str]]:
    """For each class its name without remarks, and what a person would say of it: the same where nothing is better."""
    plain = [re.sub(r"\s*\(.*?\)", "", name).lower() for name in names]
    return [(name, words.get(full, name)) for full, name in zip(names, plain, strict=True)]


def meanings(
    vectors: Float[Tensor, "classes 2 embed"], names: Sequence[str], common: frozenset[str] = COMMON
) -> Float[Tensor, "classes embed"]:
    """What each class adds to a sound in which it is heard, from the unit vectors of its two wordings."""
    mean = F.normalize(vectors.mean(1), dim=-1)
    strength = torch.tensor([FAINT if name in common else 1.0 for name in names])
    return (mean - CENTRED * mean.mean(0)) * strength[:, None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch, read the names, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="where the meanings are written (safetensors)")
    chosen = parser.parse_args(arguments)
    names = kinds()
    model, _, tokenizer = load_pocket()
    sentences = [sentence for pair in wordings(names) for sentence in pair]
    with torch.inference_mode():
        rows = [model.embed_text(*tokenizer(sentences[i : i + 64])) for i in range(0, len(sentences), 64)]
    write_packed({"meanings": meanings(torch.cat(rows).unflatten(0, (-1, 2)), names)}, chosen.out)


if __name__ == "__main__":
    main()

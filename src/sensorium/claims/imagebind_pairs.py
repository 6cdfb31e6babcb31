"""The pairs of ImageBind's claim, as tensors: what a sense's trunk reads, kept in the user's cache, and what the frozen
image tower made of the picture beside it, seen once."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from sensorium.data.audio import AudioSteps
from sensorium.data.augment import chances
from sensorium.data.depth import read_depth, square
from sensorium.data.image import read_image
from sensorium.data.motion import Motion, read_motion
from sensorium.data.paired import Paired, sound_at
from sensorium.data.sense_augment import erase, spec_augment
from sensorium.data.sources.clips import Clips
from sensorium.data.sources.kept import kept_array
from sensorium.data.standins.exercises import exercises
from sensorium.data.standins.layers import layers
from sensorium.data.standins.stamp_sounds import OWN, stamp_sounds, voice
from sensorium.data.stream import Sample, Source
from sensorium.data.thermal import read_thermal
from sensorium.training.recipes.imagebind import Augments
from sensorium.training.recipes.imagebind_towers import Towers


def own_sounds() -> Clips:
    """What things sound like. What they are called is left out: a word of one language tells little of another's (the
    nearest spectrogram is of the same thing in 2 of 100 cases), and training this short does not learn it."""
    found = stamp_sounds()
    return replace(found, rows=tuple(row for row in found.rows if voice(cast(Sample, row)["audio"]) == OWN))


VERSION = 1  # of what is kept; another one is made anew
SETS: Mapping[Paired, Callable[[], Clips]] = {
    "audio": own_sounds,
    "depth": layers,
    "thermal": layers,
    "motion": exercises,
}
NAMES: Mapping[Paired, str] = {"audio": "sound", "depth": "depth", "thermal": "heat", "motion": "motion"}
REAL: Mapping[Paired, str] = {
    "audio": "real pictures, real sounds",
    "depth": "real cut-outs, depth rendered",
    "thermal": "real cut-outs, heat generated",
    "motion": "motion real, pictures generated",
}
SIDE = 64  # pixels of depth and heat
SECONDS, STEPS = 5.0, 2000
SHIFT = 40  # frames of a spectrogram by which a sound may come later or earlier


@dataclass(frozen=True, eq=False)
class Pairs:
    """One sense's set. `inputs` (n, *input) are as its trunk reads them, row by row of the set."""

    sense: Paired
    source: Clips
    inputs: Float[Tensor, "n ..."]

    @property
    def samples(self) -> Sequence[Sample]:
        """The set's rows."""
        return self.source.rows

    def rows(self, split: str, things: int = 1) -> list[int]:
        """The numbers of a split's rows; of scenes those with so many things."""
        every = enumerate(self.samples)
        return [i for i, row in every if row["split"] == split and len(row.get("labels", "1")) == things]

    def labels(self, rows: Sequence[int]) -> Int[Tensor, " n"]:
        """The class of each of these rows."""
        return torch.tensor([self.samples[i]["label"] for i in rows])

    def pictures(self, rows: Sequence[int]) -> list[Path]:
        """The picture of each of these rows."""
        return [self.samples[i]["image"] for i in rows]


def pairs_of(sense: Paired) -> Pairs:
    """A sense's set; read whole from its files once, then from the cache."""
    source = SETS[sense]()
    samples = cast(Sequence[Sample], source.rows)
    digest = hashlib.sha256("\n".join(row["key"] for row in samples).encode()).hexdigest()[:12]
    kept = kept_array(
        samples[0][sense],
        f"{sense}-{VERSION}-{digest}",
        lambda: torch.stack([*_inputs(sense, samples)]).half().numpy(),
    )
    inputs = torch.from_numpy(np.array(kept))
    return Pairs(sense, source, inputs if sense == "audio" else _normalised(inputs))


def _inputs(sense: Paired, rows: Sequence[Sample]) -> Iterator[Tensor]:
    """As the product's own loaders read them; a recording is opened once for all of its windows."""
    steps, opened = AudioSteps(clips=1), dict[Path, Motion]()
    for row in rows:
        if sense == "audio":
            sound = sound_at(row, steps.seconds, 0.0)
            yield steps(sound.waveform, sound.rate)[0]
        elif sense == "depth":
            yield square(read_depth(row["depth"]).disparity, SIDE)
        elif sense == "thermal":
            yield square(read_thermal(row["thermal"]).warmth, SIDE)
        else:
            file = row["motion"]
            recording = opened[file] = opened.get(file) or read_motion(file)
            begin = recording.begin + row["begin"]
            yield recording.window(begin, begin + SECONDS, STEPS)


def _normalised(inputs: Float[Tensor, "n c *rest"]) -> Float[Tensor, "n c *rest"]:
    """Every channel to mean 0 and deviation 1 over the whole set: no published numbers are known for these cameras."""
    x = inputs.float()
    axes = [0, *range(2, x.ndim)]
    return ((x - x.mean(axes, keepdim=True)) / x.std(axes, keepdim=True)).half()


def seen(files: Sequence[Path], towers: Towers, *, bf16: bool) -> Float[Tensor, "n 2 d"]:
    """What the image tower makes of each picture, and of its mirror image; each file is looked at once."""
    number = {file: i for i, file in enumerate(dict.fromkeys(files))}
    pixels = torch.stack([towers.steps.pixels(read_image(file)) for file in number])[:, None]
    device = torch.device("cpu")
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        both = torch.stack([towers.see(x, device) for x in (pixels, pixels.flip(-1))], dim=1)
    return both[[number[file] for file in files]]


@dataclass(frozen=True, eq=False)
class Ready:
    """A source for the recipe: pairs of training, whose other side was seen already. "seen" (views, d) are vectors of
    the picture as it is and mirrored; of a caption, where a trunk is taught words themselves."""

    pairs: Pairs
    rows: Sequence[int]
    vectors: Float[Tensor, "n views d"]

    @property
    def name(self) -> str:
        """The set's."""
        return self.pairs.source.name

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Sample:
        return {
            **self.pairs.samples[self.rows[index]],
            "seen": self.vectors[index],
            "input": self.pairs.inputs[self.rows[index]],
        }


@dataclass(frozen=True)
class Prepare:
    """One of a pair's views, and the sense: mirrored with its picture, shifted, masked."""

    sense: Paired
    augments: Augments

    def __call__(self, sample: Sample, generator: torch.Generator) -> Mapping[str, Tensor]:
        """{"seen": a vector, and the sense}."""
        view, right, down = chances(generator, 3)
        number = int(view * len(sample["seen"]))
        x: Tensor = sample["input"].float()
        if self.sense == "audio":
            x = x.roll(round((2 * right - 1) * SHIFT), -1)
            x = spec_augment(x, generator, bins=self.augments.masked_bins, frames=self.augments.masked_frames)
        elif self.sense != "motion":
            side = x.shape[-1] // 24
            x = x.flip(-1) if number else x
            x = x.roll((round((2 * down - 1) * side), round((2 * right - 1) * side)), (-2, -1))
            x = erase(x, generator, chance=self.augments.erased)
        return {"seen": sample["seen"][number], self.sense: x}


@dataclass(frozen=True, eq=False)
class Remembered:
    """A source whose picture files are decoded once and then stay in memory: small ones only."""

    source: Source
    pixels: dict[int, NDArray[np.uint8]] = field(default_factory=dict[int, NDArray[np.uint8]])

    @property
    def name(self) -> str:
        """The source's."""
        return self.source.name

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int, /) -> Sample:
        sample = self.source[index]
        if not isinstance(sample["image"], Path):
            return sample
        if index not in self.pixels:
            self.pixels[index] = np.asarray(read_image(sample["image"]))
        return {**sample, "image": self.pixels[index]}

"""A model that knows four words in every sense, so that what protocols must find in it is known.

A picture's halves are grays of two words, a sound's pitch is a word, and so is the level of depth, heat and motion.
Every word has a direction of its own; what is none of them is a direction that belongs to no word.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from sensorium.data.audio import read_audio
from sensorium.data.depth import DepthSteps
from sensorium.data.motion import MotionSteps
from sensorium.data.preprocess import Preprocess
from sensorium.data.thermal import ThermalSteps
from sensorium.data.video import read_clips
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.senses import Piece, SenseTower

WORDS = ("dog", "cat", "rain", "beach")
PLAIN = (0.0, 0.0, 0.0)  # pixels stay in [0, 1]
STEPS = Preprocess(32, interpolation="nearest", mean=PLAIN, std=(1.0, 1.0, 1.0))


def gray(word: str) -> int:
    return 40 + 50 * WORDS.index(word)


def pitch(word: str) -> int:
    return 500 * (1 + WORDS.index(word))


def picture(path: Path, *words: str, size: tuple[int, int] = (64, 48)) -> Path:
    """A picture of one word, or of two side by side."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    half = size[0] // 2
    pixels[:, :half], pixels[:, half:] = gray(words[0]), gray(words[-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def sound(path: Path, word: str, seconds: float = 1.0, phase: float = 0.0) -> Path:
    import soundfile  # pyright: ignore[reportMissingTypeStubs]

    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.3 * np.sin(2 * np.pi * pitch(word) * np.arange(round(16000 * seconds)) / 16000 + phase)
    writer: Any = soundfile
    writer.write(path, wave, 16000)
    return path


def words_of(level: Float[Tensor, " b"]) -> Float[Tensor, "b 5"]:
    """The direction of the word that a level (its number) is nearest to; of none, where it is far from all."""
    nearest = level.round()
    known = (nearest >= 0) & (nearest < len(WORDS)) & ((level - nearest).abs() < 0.35)
    return torch.nn.functional.one_hot(torch.where(known, nearest, torch.tensor(4.0)).long(), 5).float()


@dataclass(frozen=True)
class Planted:
    """`heard` are the files that were read by a sense, in order."""

    heard: list[Path] = field(default_factory=list[Path])

    def image(self, pixels: Float[Tensor, "b 3 32 32"]) -> Float[Tensor, "b 5"]:
        def half(part: Tensor) -> Tensor:
            return words_of((255 * part.mean((1, 2, 3)) - 40) / 50)

        return half(pixels[..., :14]) + half(pixels[..., 18:])

    def text(self, sentences: Sequence[str]) -> Float[Tensor, "b 5"]:
        said = [[float(word in sentence) for word in WORDS] for sentence in sentences]
        return torch.tensor([[*row, 0.0 if any(row) else 1.0] for row in said])

    def sound(self, path: Path) -> Float[Tensor, "clips 1"]:
        waveform, rate = read_audio(path)
        self.heard.append(path)
        loudest = float(torch.fft.rfft(waveform[0]).abs().argmax()) * rate / waveform.shape[1]
        return torch.full((3, 1), loudest / 500 - 1)

    def film(self, path: Path) -> Float[Tensor, "clips 1"]:
        clips = read_clips(path, 2.0, 2, 2)
        self.heard.append(path)
        return torch.stack([(clip.float().mean()[None] - 40) / 50 for clip in clips])

    def embedder(self) -> Embedder:
        def level(x: Tensor) -> Tensor:
            return words_of(x[:, 0])

        def tower(forward: Any, read: Any) -> SenseTower:
            return SenseTower(forward=forward, read=read, pieces=_none)

        return Embedder(
            name="planted",
            fingerprint="planted-1",
            dim=5,
            image=self.image,
            text=self.text,
            preprocess=STEPS,
            senses={
                "audio": tower(level, self.sound),
                "video": tower(level, self.film),
                "depth": tower(_depth, lambda path, **told: DepthSteps().read(path, **told)[None]),
                "thermal": tower(
                    lambda x: words_of((255 * x.mean((1, 2, 3)) - 40) / 50),
                    lambda path, **told: ThermalSteps().read(path, **told)[None],
                ),
                "motion": tower(lambda x: words_of(x[:, 0].mean(-1)), MotionSteps().read),
            },
        )


def _depth(x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 5"]:
    """A word for every whole metre, of a lens of 500 pixels and 0.075 m between the eyes."""
    steps = DepthSteps()
    disparity = (x.mean((1, 2, 3)) * steps.std + steps.mean) * steps.full
    return words_of(0.075 * 500 / disparity - 1)


def _none(path: Path, skip: int) -> Iterator[Piece]:
    raise AssertionError("measuring reads whole files")

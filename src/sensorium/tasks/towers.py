"""The senses that models have beside image and text, as towers that take in whole files or pieces of them."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.data.audio import AudioSteps
from sensorium.data.audio_segments import sound_segments
from sensorium.data.depth import DepthSteps, read_depth
from sensorium.data.motion import MotionSteps, read_motion
from sensorium.data.preprocess import Preprocess
from sensorium.data.thermal import ThermalSteps, read_thermal
from sensorium.data.video import VideoSteps, read_clips, video_segments
from sensorium.models.imagebind import ImageBind, Trunk
from sensorium.tasks.embedding import ImageTower
from sensorium.tasks.senses import Piece, Sense, SenseTower

AT_ONCE = 16  # frames: a convolution's maps of a whole batch of stretches would take two gigabytes


def bound_senses(model: ImageBind) -> dict[Sense, SenseTower]:
    """ImageBind's senses as its authors feed them: of a whole film five clips in three crops, of a sound three clips.

    Pieces are stretches: two seconds of a film (two frames, the middle square) or of a sound, five of motion.
    """
    towers = {name: tower for name, tower in model.towers.items() if isinstance(tower, Trunk)}
    made: dict[str, tuple[Sense, Callable[[Trunk], SenseTower]]] = {
        "vision": ("video", _video),
        "audio": ("audio", _audio),
        "depth": ("depth", _depth),
        "thermal": ("thermal", _thermal),
        "imu": ("motion", _motion),
    }
    return {sense: make(towers[name]) for name, (sense, make) in made.items() if name in towers}


def _video(tower: Trunk) -> SenseTower:
    frames, size, _ = tower.config.sides
    steps, middle = VideoSteps(size=size, frames=frames), VideoSteps(size=size, frames=frames, crops=1)

    def pieces(path: Path, skip: int) -> Iterator[Piece]:
        for part in video_segments(path, frames=frames, skip=skip):
            yield Piece("video", middle(part.frames)[0], part.begin, part.end, size=_size(part.frames))

    return SenseTower(forward=tower, read=steps.read, pieces=pieces)


def _audio(tower: Trunk) -> SenseTower:
    bins, frames = tower.config.sides
    return hearing(tower, AudioSteps(bins=bins, frames=frames))


def hearing(forward: Callable[[Tensor], Tensor], steps: AudioSteps) -> SenseTower:
    """A tower that reads spectrograms: of a whole sound the clips of `steps`, as pieces clips one after another."""
    one = AudioSteps(steps.rate, steps.seconds, 1, steps.bins, steps.frames, steps.mean, steps.std)

    def pieces(path: Path, skip: int) -> Iterator[Piece]:
        for part in sound_segments(path, seconds=steps.seconds, skip=skip):
            yield Piece("audio", one(part.waveform, part.rate)[0], part.begin, part.end)

    return SenseTower(forward=forward, read=steps.read, pieces=pieces)


def _depth(tower: Trunk) -> SenseTower:
    steps = DepthSteps(size=tower.config.sides[0])

    def pieces(path: Path, skip: int) -> Iterator[Piece]:
        if not skip:
            disparity = read_depth(path).disparity
            yield Piece("depth", steps(disparity), size=_size(disparity))

    def read(path: Path, **told: Any) -> Float[Tensor, "1 1 size size"]:
        return steps.read(path, **told)[None]

    return SenseTower(forward=tower, read=read, pieces=pieces)


def _thermal(tower: Trunk) -> SenseTower:
    steps = ThermalSteps(size=tower.config.sides[0])

    def pieces(path: Path, skip: int) -> Iterator[Piece]:
        if not skip:
            warmth = read_thermal(path).warmth
            yield Piece("thermal", steps(warmth), size=_size(warmth))

    def read(path: Path, **told: Any) -> Float[Tensor, "1 1 size size"]:
        return steps.read(path, **told)[None]

    return SenseTower(forward=tower, read=read, pieces=pieces)


def _motion(tower: Trunk) -> SenseTower:
    steps = MotionSteps(steps=tower.config.sides[0])

    def pieces(path: Path, skip: int) -> Iterator[Piece]:
        recording = read_motion(path)
        for part in islice(steps.segments(recording), skip, None):
            yield Piece("motion", part.motion, part.begin - recording.begin, part.end - recording.begin)

    return SenseTower(forward=tower, read=steps.read, pieces=pieces)


def films_as_pictures(image: ImageTower, steps: Preprocess) -> SenseTower:
    """Films for a model of pictures: a stretch is the mean of the unit vectors of its first and its last frame."""

    def inputs(frames: UInt8[Tensor, "3 t h w"]) -> UInt8[Tensor, "t 3 size size"]:
        return torch.stack([steps.fast(frame.permute(1, 2, 0).numpy()) for frame in frames.unbind(1)])

    def forward(frames: UInt8[Tensor, "b t 3 size size"]) -> Float[Tensor, "b d"]:
        some = steps.normalise(frames.flatten(0, 1)).split(AT_ONCE)
        vectors = torch.cat([image(part) for part in some]).float()
        return F.normalize(vectors, dim=-1).unflatten(0, frames.shape[:2]).mean(1)

    def pieces(path: Path, skip: int) -> Iterator[Piece]:
        for part in video_segments(path, skip=skip):
            yield Piece("video", inputs(part.frames), part.begin, part.end, size=_size(part.frames))

    def read(path: Path) -> UInt8[Tensor, "clips t 3 size size"]:
        return torch.stack([inputs(clip) for clip in read_clips(path, 2.0, 5, 2)])

    return SenseTower(forward=forward, read=read, pieces=pieces)


def _size(picture: Tensor) -> tuple[int, int]:
    return picture.shape[-1], picture.shape[-2]

"""A picture, or a moment of a film, with another sense of the same place and time, cut for training as ImageBind's
appendix has it (Girdhar et al. 2023, sections 3.2 and 4).

What both sides share is drawn once: depth and heat lie pixel on pixel with their picture, so the same rectangle is cut
out of both and both are flipped; of a film with its sound or motion, the frames come from the stretch that is heard or
felt. What is random on one side alone (masks, erased parts, which two seconds of a sound beside a still picture) is
drawn by itself. A sample's senses are files, or what their loaders return: SoundSegment, DepthMap, HeatMap, Motion.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf, log
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.data.audio import AudioSteps
from sensorium.data.audio_segments import SoundSegment
from sensorium.data.audio_stream import open_sound
from sensorium.data.augment import ResizedCrop, chances, cut, decoded
from sensorium.data.depth import DepthMap, DepthSteps, read_depth
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.image import read_image
from sensorium.data.motion import Motion, MotionSteps, read_motion
from sensorium.data.preprocess import Preprocess
from sensorium.data.sense_augment import erase, spec_augment
from sensorium.data.sources.kept import stamp
from sensorium.data.stream import Sample, mix
from sensorium.data.thermal import HeatMap, ThermalSteps, read_thermal
from sensorium.data.video import frames_at

Paired = Literal["audio", "depth", "thermal", "motion"]
PAIRED: tuple[Paired, ...] = get_args(Paired)
APART = 0.02  # by how much the sides of two pictures of one view may differ in proportion
TRIES = 10  # of a window of motion that no gap reaches into
Span = tuple[float, float]
Reads = AudioSteps | DepthSteps | ThermalSteps | MotionSteps


@dataclass(frozen=True, kw_only=True)
class Augmented:
    """What is done to a pair in training.

    scale    share of the picture's area that a crop shows; flip: whether it may be mirrored, its depth and heat too
    bins     the widest band of mel bins that is masked; frames: the longest stretch of a spectrogram
    erased   how often a part of depth or heat is erased
    """

    scale: Span = (0.5, 1.0)
    flip: bool = True
    bins: int = 12
    frames: int = 24
    erased: float = 0.25


@dataclass(frozen=True)
class View:
    """What the two sides of a pair share: random numbers of the crop, and which part of the time, from 0 to 1."""

    crop: list[float]
    time: float


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One kind of pairs made ready.

    `reads` is how the sense's trunk is given its own, `steps` how the picture's tower sees pictures, and `frames` how
    many of a moment it takes. A sample with "seen", vectors of what it is paired with, gives one of these in its place:
    the view of its number under the key "views", where there is one.
    """

    sense: Paired
    reads: Reads
    steps: Preprocess
    frames: int = 1
    augmented: Augmented = field(default_factory=Augmented)

    def __call__(self, sample: Sample, generator: torch.Generator) -> Mapping[str, Tensor]:
        """{"image": uint8 frames 3 h w, or "seen": a vector; and the sense}, augmented. Raises Unreadable."""
        key = int(torch.randint(1 << 62, (), generator=generator))
        if (seen := sample.get("seen")) is not None:
            number = key % len(seen)
            view = self.view(sample["views"], number) if "views" in sample else self.view(key, 0)
            return {"seen": seen[number], self.sense: self.sensed(sample, view, generator)}
        view = self.view(key, 0)
        if self.sense in ("depth", "thermal"):  # read once for both sides
            sample = {**sample, self.sense: map_of(sample, self.sense)}
        picture = self.picture(sample, view)
        return {"image": picture, self.sense: self.sensed(sample, view, generator)}

    def view(self, key: int, number: int) -> View:
        """The view of this number among those of a key."""
        drawn = chances(torch.Generator().manual_seed(mix(key, number) >> 1), self._crop.draws + 1)
        return View(drawn[:-1], drawn[-1])

    def plain(self, sample: Sample) -> Mapping[str, Tensor]:
        """The pair as it is measured: nothing augmented, the middle of what lasts longer. Raises Unreadable."""
        if "image" in sample:
            frames = self.steps.pixels(read_image(sample["image"]))[None].expand(self.frames, -1, -1, -1)
        else:
            shown = self._frames(sample, 0.5).permute(0, 2, 3, 1).numpy()
            frames = torch.stack([self.steps.pixels(frame) for frame in shown])
        return {"image": frames, self.sense: self.sensed(sample, None, None)}

    def picture(self, sample: Sample, view: View) -> UInt8[Tensor, "frames 3 size size"]:
        """The picture's side. Raises Unreadable."""
        if "image" in sample:
            pixels, (width, height) = decoded(sample["image"], 2 * self.steps.size)
            self._check_aligned(sample, width, height)
            frames = pixels.expand(self.frames, -1, -1, -1)
        else:
            frames = self._frames(sample, view.time)
            height, width = frames.shape[-2:]
        box, crop = self._crop.box(width, height, view.crop), self._crop
        some = frames[:1] if "image" in sample else frames
        pieces = torch.stack([cut(frame[None], box, crop.size, crop.interpolation) for frame in some])
        return (pieces.flip(-1) if self._flipped(view) else pieces).expand(self.frames, -1, -1, -1)

    def sensed(self, sample: Sample, view: View | None, generator: torch.Generator | None) -> Float[Tensor, "..."]:
        """The sense's side; without a view, as it is measured. Raises Unreadable."""
        a, reads = self.augmented, self.reads
        time = 0.5 if view is None or generator is None else view.time
        if generator is not None and ("image" in sample or "video" not in sample):  # nothing else says when
            (time,) = chances(generator, 1)
        if isinstance(reads, AudioSteps):
            sound = sound_at(sample, reads.seconds, time)
            try:
                heard = reads(sound.waveform, sound.rate)[0]
            except SensoriumError as error:  # less than a frame
                raise Unreadable(_name(sample), str(error)) from error
            return heard if generator is None else spec_augment(heard, generator, bins=a.bins, frames=a.frames)
        if isinstance(reads, MotionSteps):
            recording = motion_of(sample)
            begin = moved_at(sample, recording, reads.seconds, time)
            return recording.window(begin, begin + reads.seconds, reads.steps)
        values = _values(sample, self.sense)
        if view is None or generator is None:
            return reads(values)
        if isinstance(reads, DepthSteps):
            values = (values / reads.full).clamp(0, 1)
        box = self._crop.box(values.shape[1], values.shape[0], view.crop)
        piece = (_cut(values, box, reads.size) - reads.mean) / reads.std
        return erase(piece.flip(-1) if self._flipped(view) else piece, generator, chance=a.erased)

    @property
    def _crop(self) -> ResizedCrop:
        filter = "bicubic" if self.steps.interpolation == "bicubic" else "bilinear"
        return ResizedCrop(self.steps.size, self.augmented.scale, interpolation=filter)

    def _flipped(self, view: View) -> bool:
        return self.augmented.flip and view.crop[-1] < 0.5

    def _frames(self, sample: Sample, time: float) -> UInt8[Tensor, "frames 3 h w"]:
        """Of the stretch that is heard or felt: its middle, or its ends and what lies evenly between."""
        if isinstance(self.reads, AudioSteps):
            seconds = self.reads.seconds
            begin = heard_at(sample, seconds, time)
        elif isinstance(self.reads, MotionSteps):
            seconds, recording = self.reads.seconds, motion_of(sample)
            begin = moved_at(sample, recording, seconds, time)
            begin -= 0 if "begin" in sample else recording.begin  # films begin at 0, clocks may not
        else:
            raise Unreadable(_name(sample), f"a film does not say which of its frames this {self.sense} belongs to")
        n = self.frames
        return frames_at(sample["video"], [begin + seconds * (i + (n == 1) / 2) / max(n - 1, 1) for i in range(n)])

    def _check_aligned(self, sample: Sample, width: int, height: int) -> None:
        if self.sense in ("depth", "thermal"):
            rows, columns = _values(sample, self.sense).shape
            if abs(log(width / height * rows / columns)) > APART:
                sizes = f"the picture is {width}x{height} and its {self.sense} {columns}x{rows}"
                raise Unreadable(_name(sample), f"{sizes}: not one view, pixel by pixel")


def _name(sample: Sample) -> str:
    return str(sample.get("key", "sample"))


def _cut(values: Float[Tensor, "h w"], box: Sequence[float], size: int) -> Float[Tensor, "1 size size"]:
    """As `augment.cut` cuts a picture."""
    left, top = round(box[0]), round(box[1])
    width, height = max(1, round(box[2])), max(1, round(box[3]))
    left, top = min(left, values.shape[1] - width), min(top, values.shape[0] - height)
    part = values[None, None, top : top + height, left : left + width]
    return F.interpolate(part, size=(size, size), mode="bilinear", antialias=True)[0]


def map_of(sample: Sample, sense: Paired) -> DepthMap | HeatMap:
    """The depth or heat of a sample. Raises Unreadable, and SensoriumError where no unit is stated."""
    source: Any = sample[sense]
    if isinstance(source, DepthMap | HeatMap):
        return source
    if sense == "thermal":
        return read_thermal(source)
    return read_depth(source, **{key: sample.get(key) for key in ("unit", "focal", "baseline")})


def _values(sample: Sample, sense: Paired) -> Float[Tensor, "h w"]:
    """Disparity in pixels, or warmth."""
    found = map_of(sample, sense)
    return found.disparity if isinstance(found, DepthMap) else found.warmth


def motion_of(sample: Sample) -> Motion:
    """The recording of a sample. Raises Unreadable, and SensoriumError where no unit is stated."""
    source: Any = sample["motion"]
    return source if isinstance(source, Motion) else _recording(os.fsdecode(source), stamp(source))


@lru_cache(maxsize=8)
def _recording(path: str, state: tuple[int, int, int]) -> Motion:
    """Of one long recording there may be hundreds of samples."""
    return read_motion(path)


def moved_at(sample: Sample, recording: Motion, seconds: float, time: float) -> float:
    """Where a window begins on the recording's clock: `time` from 0 to 1 of what the sample means, or further on where
    a gap is in the way. Raises Unreadable where there is no such window."""
    low = float(sample.get("begin", recording.begin))
    room = float(sample.get("end", recording.end)) - seconds - low
    if room < -recording.step:
        raise Unreadable(_name(sample), f"less than the {seconds:g} s of motion that are read at once")
    for i in range(TRIES):
        begin = low + max(room, 0) * ((time + i / TRIES) % 1 if i else time)
        if begin + seconds <= recording.end + recording.step and not recording.gap(begin, begin + seconds):
            return begin
    raise Unreadable(_name(sample), f"gaps leave no {seconds:g} s in a row ({recording.got})")


def heard_at(sample: Sample, seconds: float, time: float) -> float:
    """When a stretch of a sample's sound begins: `time` from 0 to 1 of what the sample means. Raises Unreadable."""
    source: Any = sample["audio"]
    length = source.end - source.begin if isinstance(source, SoundSegment) else open_sound(source).seconds
    return _begins(sample, length, seconds, time)


def _begins(sample: Sample, length: float, seconds: float, time: float) -> float:
    low = float(sample.get("begin", 0.0))
    return low + time * max(0.0, float(sample.get("end", length)) - seconds - low)


def sound_at(sample: Sample, seconds: float, time: float) -> SoundSegment:
    """The stretch of a sample's sound that `heard_at` says; shorter where the sound, or what the sample means of it,
    is. Raises Unreadable."""
    source: Any = sample["audio"]
    most = float(sample.get("end", inf)) - float(sample.get("begin", 0.0))
    if isinstance(source, SoundSegment):
        begin = _begins(sample, source.end - source.begin, seconds, time)
        at = int(begin * source.rate)
        cut = source.waveform[:, at : at + round(min(seconds, most) * source.rate)]
        return SoundSegment(begin, begin + cut.shape[1] / source.rate, cut, source.rate)
    sound = open_sound(source)
    begin = _begins(sample, sound.seconds, seconds, time)
    first, passed = int(begin * sound.rate), 0
    last = first + round(min(seconds, most) * sound.rate)
    parts: list[Tensor] = []
    for chunk in sound.chunks:
        if passed + chunk.shape[1] > first:
            parts.append(chunk[:, max(0, first - passed) : last - passed])
        passed += chunk.shape[1]
        if passed >= last:
            break
    if not parts:
        raise Unreadable(sound.name, f"holds no sound from {begin:.1f} s on")
    waveform = torch.cat(parts, dim=1)
    return SoundSegment(begin, begin + waveform.shape[1] / sound.rate, waveform, sound.rate)

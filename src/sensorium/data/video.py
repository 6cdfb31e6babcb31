"""Film in, clips of a few frames out, as ImageBind (Girdhar et al. 2023) looks at a video: five clips of two seconds,
two frames a clip, three crops along the longer side. Only the frames that are used are decoded.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from sensorium.data.errors import Unreadable
from sensorium.data.media import clip_times, regular_file
from sensorium.data.preprocess import CLIP_MEAN, CLIP_STD, Triple

AHEAD = 2.0  # seconds: a frame farther on than this is sought, a nearer one is reached by decoding


@dataclass(frozen=True)
class VideoSteps:
    """How a film becomes the clips that ImageBind reads.

    `clips` windows of `seconds` are spread evenly over the film; of each, `frames` are kept, the first and the last
    among them. The short side becomes `size` (bilinear, not antialiased), and `crops` squares are cut along the
    longer one.
    """

    size: int = 224
    seconds: float = 2.0
    clips: int = 5
    frames: int = 2
    crops: int = 3
    mean: Triple = CLIP_MEAN
    std: Triple = CLIP_STD

    def __call__(self, clip: UInt8[Tensor, "3 t h w"]) -> Float[Tensor, "crops 3 frames size size"]:
        """The normalised crops of one decoded clip: left, middle, right, or top, middle, bottom."""
        return self.crop(self.normalise(self.scale(self.sample(clip))))

    def read(self, path: str | os.PathLike[str]) -> Float[Tensor, "views 3 frames size size"]:
        """All crops of all clips of a file, clip by clip; raises Unreadable. A batch of one for the model: `[None]`."""
        clips = read_clips(path, self.seconds, self.clips, self.frames)
        return torch.cat([self(clip) for clip in clips])

    def sample(self, clip: UInt8[Tensor, "3 t h w"]) -> UInt8[Tensor, "3 frames h w"]:
        """Evenly spaced frames, the first and the last among them."""
        return clip[:, evenly(clip.shape[1], self.frames)]

    def scale(self, clip: UInt8[Tensor, "3 t h w"]) -> Float[Tensor, "3 t h2 w2"]:
        """The short side becomes `size`; values in [0, 1]."""
        height, width = clip.shape[-2:]
        if width < height:
            sides = math.floor(height / width * self.size), self.size
        else:
            sides = self.size, math.floor(width / height * self.size)
        return F.interpolate(clip.float() / 255, size=sides, mode="bilinear")

    def normalise(self, clip: Float[Tensor, "3 t h w"]) -> Float[Tensor, "3 t h w"]:
        """Subtract the mean of each colour and divide by its deviation."""
        mean, std = (torch.tensor(v).view(3, 1, 1, 1) for v in (self.mean, self.std))
        return (clip - mean) / std

    def crop(self, clip: Float[Tensor, "3 t h w"]) -> Float[Tensor, "crops 3 t size size"]:
        """Squares spread evenly along the longer side; one crop is the middle."""
        margin = max(clip.shape[-2:]) - self.size
        tall = clip.shape[-2] > clip.shape[-1]
        places = [math.ceil(margin * i / (self.crops - 1)) for i in range(self.crops)] if self.crops > 1 else []
        return torch.stack([clip.narrow(2 if tall else 3, at, self.size) for at in places or [math.ceil(margin / 2)]])


def evenly(length: int, count: int) -> Int[Tensor, " count"]:
    """`count` places from the first to the last of `length`; places repeat where there are fewer."""
    return torch.linspace(0, length - 1, count).clamp(0, length - 1).long()


def read_clips(
    path: str | os.PathLike[str], seconds: float, clips: int, frames: int
) -> list[UInt8[Tensor, "3 frames h w"]]:
    """`frames` evenly spaced frames of each of `clips` windows of a film.

    Memory and time follow the frames that are kept, not the length of the film. Raises Unreadable.
    """
    name = regular_file(path)
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        raise Unreadable(name, "films need one more package: pip install 'sensorium[media]'") from None
    try:
        with av.open(name) as container:
            if not container.streams.video:
                raise Unreadable(name, "holds no pictures")
            stream = container.streams.video[0]
            rate, duration = _rate_and_duration(name, container, stream)
            count = max(1, round(duration * rate))
            wanted: list[list[int]] = []
            for begin, end in clip_times(duration, seconds, clips):
                first = min(math.ceil(rate * float(begin)), count - 1)
                last = min(math.ceil(rate * float(end)), count)
                wanted.append([first + int(i) for i in evenly(max(1, last - first), frames)])
            order = sorted({index for indices in wanted for index in indices})
            found = dict(zip(order, _decode(container, stream, [index / rate for index in order]), strict=True))
    except (FFmpegError, ValueError) as error:
        raise Unreadable(name, f"no film that can be decoded ({error})") from error
    return [torch.stack([found[index] for index in indices], dim=1) for indices in wanted]


def _rate_and_duration(name: str, container: Any, stream: Any) -> tuple[float, float]:
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    duration = float(stream.duration * stream.time_base if stream.duration else (container.duration or 0) / 1e6)
    if rate <= 0 or duration <= 0:
        raise Unreadable(name, "states no length or no frame rate")
    return rate, duration


def _decode(container: Any, stream: Any, times: Sequence[float]) -> Iterator[UInt8[Tensor, "3 h w"]]:
    """The frames shown at these rising times; the last one there is where the film ends early."""
    stream.thread_type = "AUTO"
    base, origin = float(stream.time_base), stream.start_time or 0
    half = 0.5 / float(stream.average_rate or stream.guessed_rate)
    decoder, frame, now = container.decode(stream), None, -math.inf
    for time in times:
        if time > max(now, 0.0) + AHEAD:
            container.seek(origin + int(time / base), stream=stream, backward=True)
            decoder = container.decode(stream)
            now = -math.inf
        while now < time - half and (following := next(decoder, None)) is not None:
            frame, now = following, ((following.pts or 0) - origin) * base
        if frame is None:
            raise ValueError("no frames")
        yield torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)

"""Film in, clips of a few frames out, as ImageBind (Girdhar et al. 2023) looks at a video: five clips of two seconds,
two frames a clip, three crops along the longer side. Only the frames that are used are decoded.
"""

import math
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from sensorium.data.errors import Unreadable
from sensorium.data.image import PIXEL_LIMIT
from sensorium.data.media import clip_times, is_cover, regular_file
from sensorium.data.preprocess import CLIP_MEAN, CLIP_STD, Triple

AHEAD = 2.0  # seconds: a frame farther on than this is sought, a nearer one is reached by decoding
SLACK = 0.01  # seconds by which a time stamp may be rounded up
NARROW = 100  # times as long as wide, or more: scaled up, a frame would take gigabytes
STILL = 3600.0  # seconds for which one frame may stand: a time stamp beyond is damaged
DAMAGED = 100  # packets in a row that cannot be decoded are the end


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


@dataclass(frozen=True)
class VideoSegment:
    """A stretch of a film: begin and end in seconds, and evenly spaced frames of it."""

    begin: float
    end: float
    frames: UInt8[Tensor, "3 frames h w"]


def read_clips(
    path: str | os.PathLike[str], seconds: float, clips: int, frames: int
) -> list[UInt8[Tensor, "3 frames h w"]]:
    """`frames` evenly spaced frames of each of `clips` windows of a film.

    Memory and time follow the frames that are kept, not the length of the film. Frames are upright. Where the film
    ends early, the last one stands for those that are missing. Raises Unreadable.
    """
    with _opened(os.fsdecode(path)) as (container, stream):
        rate, duration = _rate(stream), _duration(container, stream)
        if rate is None or duration is None:
            raise Unreadable(path, "states no length or no frame rate")
        length = max(1, round(duration * rate))
        wanted: list[list[int]] = []
        for begin, end in clip_times(duration, seconds, clips):
            first = min(math.ceil(rate * float(begin)), length - 1)
            last = min(math.ceil(rate * float(end)), length)
            wanted.append([first + int(i) for i in evenly(max(1, last - first), frames)])
        player = _Player(container, stream)
        order = sorted({index for indices in wanted for index in indices})
        found = {index: player.show(index / rate) for index in order}
    return [torch.stack([found[index] for index in indices], dim=1) for indices in wanted]


def frames_at(path: str | os.PathLike[str], times: Sequence[float]) -> UInt8[Tensor, "n 3 h w"]:
    """What a film shows at rising times, in seconds; its last frame where it is over. Raises Unreadable."""
    with _opened(os.fsdecode(path)) as (container, stream):
        player = _Player(container, stream)
        return torch.stack([player.show(time) for time in times])


def video_length(path: str | os.PathLike[str]) -> float | None:
    """How many seconds a film states that it has; None where it states nothing. Raises Unreadable."""
    with _opened(os.fsdecode(path)) as (container, stream):
        return _duration(container, stream)


def video_segments(
    path: str | os.PathLike[str], *, seconds: float = 2.0, frames: int = 2, skip: int = 0
) -> Iterator[VideoSegment]:
    """A film of any length, stretch by stretch: `frames` evenly spaced ones of every `seconds`, the ends among them.

    Only one stretch is in memory. A frame counts as shown until the next one, so that frames of unequal length stand
    where they are seen; the last stretch is as long as what is left. A film that states no length is read to its end.
    The first `skip` stretches are passed over: they are sought, and decoded only where the film cannot be sought in.

    Raises Unreadable: at once where it is no film, and after the last whole stretch where it ends before the length
    that it states.
    """
    with _opened(os.fsdecode(path)) as (container, stream):
        duration, player = _duration(container, stream), _Player(container, stream)
        # The stretch before is looked at too: it tells whether the film goes that far.
        sought = not skip or player.seek((skip - 1) * seconds)
        since, last = max(0, skip - 1) * seconds, None
        for number in count(max(0, skip - 1)) if sought else ():
            begin = number * seconds
            if begin - since > STILL:
                raise Unreadable(path, f"nothing new is shown for an hour from {since:.0f} s on: damaged time stamps?")
            if player.over(begin) or (duration is not None and begin > duration - player.usual / 2):
                break
            end = min(begin + seconds, math.inf if duration is None else duration)
            span = max(0.0, end - begin - player.usual)
            times = [begin + span * i / max(frames - 1, 1) for i in range(frames)]
            shown = [player.show(time) for time in times]
            if player.shown.pts != last:
                since, last = begin, player.shown.pts
            if player.over(end):
                end = min(end, max(player.end, begin + player.usual))
            if number >= skip:
                yield VideoSegment(begin, end, torch.stack(shown, dim=1))
        if sought and duration is not None and player.over(duration) and player.end < duration - max(seconds, 1.0):
            raise Unreadable(path, f"ends after {player.end:.1f} s of the {duration:.1f} s that it states: cut off?")
    if not sought:
        yield from islice(video_segments(path, seconds=seconds, frames=frames), skip, None)


def frame_at(path: str | os.PathLike[str], seconds: float | None = None) -> UInt8[Tensor, "3 h w"]:
    """What a film shows at a time, its last frame where it is over; without a time, a second into it or its middle.

    Raises Unreadable.
    """
    with _opened(os.fsdecode(path)) as (container, stream):
        if seconds is None:
            seconds = min(1.0, (_duration(container, stream) or 0.0) / 2)
        player = _Player(container, stream)
        first = player.show(0.0)  # stands where the film is cut off before that time
        return player.show(seconds) if seconds > 0 else first


@contextmanager
def _opened(name: str) -> Generator[tuple[Any, Any]]:
    """A film's container and its stream of pictures; what FFmpeg raises meanwhile becomes Unreadable."""
    name = regular_file(name)
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        raise Unreadable(name, "films need one more package: pip install 'sensorium[media]'") from None
    try:
        with av.open(name) as container:
            streams: list[Any] = [each for each in container.streams.video if not is_cover(each)]
            if not streams:
                raise Unreadable(name, "holds no pictures")
            if streams[0].codec_context is None:
                raise Unreadable(name, "its pictures are coded in a way that is not known")
            width, height = int(streams[0].width), int(streams[0].height)
            if width * height > PIXEL_LIMIT:
                raise Unreadable(name, f"too many pixels: {width} x {height}")
            if max(width, height) > NARROW * max(1, min(width, height)):
                raise Unreadable(name, f"too narrow: {width} x {height}")
            streams[0].thread_type = "AUTO"
            yield container, streams[0]
    except (FFmpegError, ValueError) as error:
        raise Unreadable(name, f"no film that can be decoded ({error})") from error


def _rate(stream: Any) -> float | None:
    return float(stream.average_rate or stream.guessed_rate or 0) or None


def _duration(container: Any, stream: Any) -> float | None:
    seconds = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
    return seconds if seconds > 0 else None


class _Player:
    """What an open film shows at rising times.

    `usual` is how long a frame lasts on the average, `end` when the last frame that was found is over.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self.container, self.stream = container, stream
        self.usual = 1 / (_rate(stream) or 25.0)
        self.base, self.origin = float(stream.time_base), stream.start_time or 0
        self.reach, self.end = AHEAD, 0.0
        # A film may change its size on the way: all its frames are brought to the one that it states.
        self.sides = {"width": int(stream.width), "height": int(stream.height)}
        self.decoder = container.decode(stream)
        self.shown: Any = None
        self.following = self._next()
        if self.following is None:
            raise ValueError("no frames")
        if not all(self.sides.values()):
            self.sides = {"width": self.following.width, "height": self.following.height}

    def show(self, time: float) -> UInt8[Tensor, "3 h w"]:
        """The frame that is seen at a time; the last one where the film is over."""
        here = self.shown or self.following
        if self.following is not None and time > max(self._at(here), 0.0) + self.reach:
            self._seek(time, self._at(here))
        slack = min(self.usual / 2, SLACK)
        while self.following is not None and (self.shown is None or self._at(self.following) <= time + slack):
            self.shown, self.following = self.following, self._next()
        pixels = self.shown.to_ndarray(format="rgb24", **self.sides)
        upright = np.rot90(pixels, round(self.shown.rotation / 90)).copy()
        return torch.from_numpy(upright).permute(2, 0, 1)

    def seek(self, time: float) -> bool:
        """Go on to a time without decoding what lies before; False where that cannot be, and all is to be decoded."""
        from av.error import FFmpegError

        if time <= self.reach:
            return True
        try:
            self._seek(time, -math.inf)
        except FFmpegError:
            return False
        return self.following is not None and self._at(self.following) <= time

    def over(self, time: float) -> bool:
        """Whether nothing is shown any more at a time."""
        return self.following is None and time >= self.end - self.usual / 2

    def _seek(self, time: float, now: float) -> None:
        self.container.seek(self.origin + int(time / self.base), stream=self.stream, backward=True)
        self.decoder = self.container.decode(self.stream)
        found = self._next()
        if found is not None and self._at(found) <= now:
            self.reach *= 2  # key frames are far apart: what lies between was decoded for nothing
        if found is not None:
            self.shown = None
        self.following = found

    def _next(self) -> Any:
        """The next frame that can be decoded; None where there is none."""
        from av.error import InvalidDataError

        for _ in range(DAMAGED):
            try:
                frame = next(self.decoder, None)
            except InvalidDataError:  # a damaged packet is passed over
                self.decoder = self.container.decode(self.stream)
                continue
            if frame is not None:
                length = float(frame.duration or 0) * self.base
                self.end = max(self.end, self._at(frame) + (length or self.usual))
            return frame
        return None

    def _at(self, frame: Any) -> float:
        return ((frame.pts or 0) - self.origin) * self.base

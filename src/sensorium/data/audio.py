"""Sound in, log-mel spectrograms out: the filter bank of Kaldi (https://kaldi-asr.org, feat/feature-fbank), written
from its definition, and the clips and the normalisation of ImageBind (Girdhar et al. 2023, section 3.4; the numbers
are those of AST, https://arxiv.org/abs/2104.01778).
"""

import math
import os
from dataclasses import dataclass, replace
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sensorium.data.audio_stream import Sound, open_sound
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.media import clip_times

FRAME, HOP = 0.025, 0.010  # seconds
PREEMPHASIS = 0.97
LOWEST = 20.0  # Hz
ZEROS = 6  # zero crossings of the resampling filter on each side
ROLLOFF = 0.99  # its cut-off, as a part of the lower Nyquist frequency
AT_ONCE = 1 << 16  # samples resampled at once
LONG = 120.0  # seconds


@dataclass(frozen=True)
class AudioSteps:
    """How a waveform becomes the clips of spectrograms that ImageBind reads.

    rate       samples a second; other rates are resampled
    seconds    length of a clip; `clips` of them are spread evenly over the sound
    bins       mel bins
    frames     a spectrogram's length: shorter ones are padded with 0, before they are normalised; longer ones cut
    mean, std  of log-mel energies over AudioSet
    """

    rate: int = 16000
    seconds: float = 2.0
    clips: int = 3
    bins: int = 128
    frames: int = 204
    mean: float = -4.268
    std: float = 9.138

    def __call__(self, waveform: Float[Tensor, "channels n"], rate: int) -> Float[Tensor, "clips 1 bins frames"]:
        """The normalised clips of a sound, in [-1, 1], of `rate` samples a second."""
        waveform = resample(waveform, rate, self.rate).clone()
        times = clip_times(waveform.shape[1] / self.rate, self.seconds, self.clips)
        rows: list[Tensor] = []
        for begin, end in times:
            cut = waveform[:, int(begin * self.rate) : int(end * self.rate)]
            cut -= cut.mean()  # in place, as the reference: where clips overlap, the later one finds it taken off
            rows.append(self.normalise(self.spectrogram(cut)))
        return torch.stack(rows)

    def read(self, path: str | os.PathLike[str]) -> Float[Tensor, "clips 1 bins frames"]:
        """The clips of a file; raises Unreadable.

        A sound of more than two minutes is not kept whole: each clip is resampled by itself, which differs from the
        reference by less than a sample.
        """
        sound = open_sound(path)
        try:
            if sound.seconds > LONG and self.clips * self.seconds < LONG:
                one = replace(self, clips=1)
                return torch.cat([one(cut, sound.rate) for cut in _windows(sound, self.seconds, self.clips)])
            return self(_whole(sound), sound.rate)
        except SensoriumError as error:
            raise Unreadable(os.fsdecode(path), str(error)) from error

    def spectrogram(self, waveform: Float[Tensor, "channels n"]) -> Float[Tensor, "1 bins frames"]:
        """Log-mel energies of one clip at `rate`: the mean of all channels is taken off, then the first one is read."""
        energies = filter_bank((waveform - waveform.mean())[0], self.rate, self.bins).T[None, :, : self.frames]
        return F.pad(energies, (0, self.frames - energies.shape[-1]))

    def normalise(self, spectrogram: Float[Tensor, "*b bins frames"]) -> Float[Tensor, "*b bins frames"]:
        """Subtract the mean and divide by the deviation; padding becomes 0.467."""
        return (spectrogram - self.mean) / self.std


def filter_bank(waveform: Float[Tensor, " n"], rate: int, bins: int) -> Float[Tensor, "frames bins"]:
    """Logarithms of mel energies: frames of 25 ms every 10 ms, without dither, as Kaldi defines them.

    Every frame loses its mean, is pre-emphasised and weighted by a Hann window; its power spectrum is gathered by
    triangles that are evenly spaced in mels. Raises SensoriumError where there is less than one frame.
    """
    frame, hop = int(rate * FRAME), int(rate * HOP)
    if len(waveform) < frame:
        raise SensoriumError(f"too short: {len(waveform)} samples, and a frame has {frame}")
    frames = waveform.unfold(0, frame, hop)
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    frames = (frames - PREEMPHASIS * before) * torch.hann_window(frame, periodic=False)
    size = 1 << (frame - 1).bit_length()
    power = torch.fft.rfft(frames, n=size).abs().square()
    return (power @ _triangles(rate, size, bins)).clamp(min=torch.finfo(torch.float32).eps).log()


@cache
def _triangles(rate: int, size: int, bins: int) -> Float[Tensor, "frequencies bins"]:
    def mel(hertz: Tensor) -> Tensor:
        return 1127 * (1 + hertz / 700).log()

    low, high = mel(torch.tensor([LOWEST, rate / 2], dtype=torch.float64))
    corners = low + (high - low) / (bins + 1) * torch.arange(bins + 2)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    at = mel(torch.arange(size // 2 + 1, dtype=torch.float64) * rate / size)[:, None]
    return torch.minimum((at - left) / (centre - left), (right - at) / (right - centre)).clamp(min=0).float()


def resample(waveform: Float[Tensor, "channels n"], old: int, new: int) -> Float[Tensor, "channels m"]:
    """The same sound at another rate, by a sinc under a Hann window (Smith, https://ccrma.stanford.edu/~jos/resample).

    Raises SensoriumError where a rate is below 1.
    """
    if old < 1 or new < 1:
        raise SensoriumError(f"a sound of {old} samples a second cannot be resampled to {new}")
    old, new = old // math.gcd(old, new), new // math.gcd(old, new)
    if old == new:
        return waveform
    cutoff = ROLLOFF * min(old, new)
    reach = math.ceil(ZEROS * old / cutoff)
    # `new` samples come out for every `old`: each of these phases has its own place between samples, and its filter
    place = torch.arange(new, dtype=torch.float64) * old / new
    first = place.floor()
    taps = torch.arange(-reach, reach + 2)
    t = ((first - place)[:, None] + taps) * cutoff / old
    t = t.clamp(-ZEROS, ZEROS)
    kernel = (torch.sinc(t) * (math.pi * t / (2 * ZEROS)).cos().square() * cutoff / old).to(waveform.dtype)
    length = math.ceil(waveform.shape[1] * new / old)
    periods = math.ceil(length / new)
    padded = F.pad(waveform, (reach, reach + 2 + periods * old - waveform.shape[1]))
    index = first.long()[:, None] + reach + taps
    windows = padded.unfold(1, int(index.max()) + 1, old)
    some = max(1, AT_ONCE // new)
    rows = [(part[..., index] * kernel).sum(-1) for part in windows[:, :periods].split(some, dim=1)]
    return torch.cat(rows, dim=1).flatten(1)[:, :length]


def read_audio(path: str | os.PathLike[str]) -> tuple[Float[Tensor, "channels n"], int]:
    """The whole sound of a file in [-1, 1], as `open_sound` reads it, and its samples a second. Raises Unreadable."""
    sound = open_sound(path)
    return _whole(sound), sound.rate


def _whole(sound: Sound) -> Float[Tensor, "channels n"]:
    pieces = list(sound.chunks)
    if not pieces:
        raise Unreadable(sound.name, "holds no sound")
    return torch.cat(pieces, dim=1)


def _windows(sound: Sound, seconds: float, clips: int) -> list[Float[Tensor, "channels n"]]:
    """The samples of each clip, in one pass that keeps no others; what is missing at the end is silent."""
    length = round(seconds * sound.rate)
    starts = [int(begin * sound.rate) for begin, _ in clip_times(sound.seconds, seconds, clips)]
    parts: list[list[Tensor]] = [[] for _ in starts]
    passed = 0
    for chunk in sound.chunks:
        for start, part in zip(starts, parts, strict=True):
            begin, end = max(start - passed, 0), min(start + length - passed, chunk.shape[1])
            if begin < end:
                part.append(chunk[:, begin:end].clone())
        passed += chunk.shape[1]
    if not parts[0]:
        raise Unreadable(sound.name, "holds no sound")
    whole = [torch.cat(part or [parts[0][0][:, :0]], dim=1) for part in parts]
    return [F.pad(part, (0, length - part.shape[1])) for part in whole]

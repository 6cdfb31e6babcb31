"""Sounds made from formulas: the same on every machine."""

import math
import wave
from pathlib import Path

import torch
from torch import Tensor

RATE = 16000


def _time(seconds: float) -> Tensor:
    return torch.arange(round(seconds * RATE)) / RATE


def tones(*hertz: float, seconds: float = 4.0) -> Tensor:
    return sum((0.3 * torch.sin(2 * math.pi * f * _time(seconds)) for f in hertz), torch.zeros(1))


def noise(seconds: float = 4.0) -> Tensor:
    drawn = torch.randn(round(seconds * RATE), generator=torch.Generator().manual_seed(0))
    return 0.3 * drawn.clamp(-1, 1)


def ticks(seconds: float = 4.0) -> Tensor:
    return noise(seconds) * (_time(seconds) % 0.5 < 0.004)


def heart(seconds: float = 4.0) -> Tensor:
    def beat(hertz: float, at: float) -> Tensor:
        t = _time(seconds)
        return 0.7 * torch.sin(2 * math.pi * hertz * t) * torch.exp(-((t % 0.9 - at) ** 2) / 0.0007)

    return beat(50, 0.1) + beat(60, 0.4)


RENDERED = {
    "a telephone": tones(350, 440),  # the dial tone of America
    "a waterfall": noise(),
    "a clock": ticks(),
    "a heart beating": heart(),
    "silence": torch.zeros(4 * RATE),
}


def write(path: Path, samples: Tensor, rate: int = RATE, channels: int = 1) -> Path:
    """As 16-bit PCM."""
    whole = (samples.clamp(-1, 1) * 32767).short()[:, None].expand(-1, channels).contiguous()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(whole.numpy().tobytes())
    return path

"""YAMNet: which of AudioSet's 521 kinds of sound are heard (Plakal & Ellis 2020,
https://github.com/tensorflow/models/tree/master/research/audioset/yamnet; a MobileNet, https://arxiv.org/abs/1704.04861).

A sound of 16,000 samples a second becomes log-mel patches of 0.96 s, one every 0.48 s; thirteen pairs of convolutions,
one for each channel and one across channels, read a patch as a picture of one channel.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.same_conv import SameConv

RATE = 16000
FRAME, HOP, SIZE = 400, 160, 512  # samples: 25 ms every 10 ms, and those of the Fourier transform
BINS, LOWEST, HIGHEST = 64, 125.0, 7500.0  # of the mel scale, in Hz
FLOOR = 0.001  # added before the logarithm
PATCH, STEP = 96, 48  # frames
CLASSES = 521
EPS = 1e-4
# (stride, channels) of the thirteen pairs
PAIRS = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *((1, 512),) * 5, (2, 1024), (1, 1024))


class Layer(nn.Module):
    """A convolution, batch norm without a gain, as it was at the end of training, and ReLU."""

    mean: Tensor
    variance: Tensor

    def __init__(self, inp: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = SameConv(inp, out, kernel, stride, groups=groups, bias=False)
        self.shift = nn.Parameter(torch.zeros(out))
        self.register_buffer("mean", torch.zeros(out))
        self.register_buffer("variance", torch.ones(out))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Height and width shrink by the stride, rounded up."""
        return F.relu(F.batch_norm(self.conv(x), self.mean, self.variance, None, self.shift, eps=EPS))


class YamNet(nn.Module):
    """Waveforms to logits over kinds of sound, patch by patch; several kinds may be heard at once."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        layers = [Layer(1, inner := 32, 3, 2)]
        for stride, out in PAIRS:
            layers += [Layer(inner, inner, 3, stride, groups=inner), Layer(inner, out, 1)]
            inner = out
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(inner, classes)

    def forward(self, waveform: Float[Tensor, "b n"]) -> Float[Tensor, "b patches classes"]:
        """Logits of every patch; a sound of less than one patch is padded with silence."""
        found = patches(waveform)
        x = self.layers(found.flatten(0, 1)[:, None])
        return self.classifier(x.mean((2, 3))).unflatten(0, found.shape[:2])


def patches(waveform: Float[Tensor, "b n"]) -> Float[Tensor, "b patches frames bins"]:
    """Log-mel patches of sounds in [-1, 1] of 16,000 samples a second; what is left at the end makes no patch."""
    least = FRAME + (PATCH - 1) * HOP
    if waveform.shape[1] < least:
        waveform = F.pad(waveform, (0, least - waveform.shape[1]))
    frames = waveform.unfold(1, FRAME, HOP) * torch.hann_window(FRAME, device=waveform.device)
    magnitudes = torch.fft.rfft(frames, n=SIZE).abs()
    energies = (magnitudes @ triangles().to(waveform.device) + FLOOR).log()
    return energies.unfold(1, PATCH, STEP).transpose(2, 3)


def triangles() -> Float[Tensor, "frequencies bins"]:
    """Weights that gather frequencies into bins evenly spaced in mels; the constant part counts for none."""

    def mel(hertz: Tensor) -> Tensor:
        return 1127 * (1 + hertz / 700).log()

    low, high = mel(torch.tensor([LOWEST, HIGHEST], dtype=torch.float64))
    corners = low + (high - low) / (BINS + 1) * torch.arange(BINS + 2)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    at = mel(torch.arange(SIZE // 2 + 1, dtype=torch.float64) * RATE / SIZE)[:, None]
    weights = torch.minimum((at - left) / (centre - left), (right - at) / (right - centre)).clamp(min=0)
    weights[0] = 0
    return weights.float()

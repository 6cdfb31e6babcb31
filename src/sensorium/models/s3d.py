"""S3D-G (Xie et al. 2017, https://arxiv.org/abs/1712.04851), as MIL-NCE trained it on HowTo100M
(Miech et al. 2020, https://arxiv.org/abs/1912.06430).

Inception for video with space and time convolved one after the other, every branch gated by its own average.
VideoCLIP reads its vectors, one a second.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

Clip = Float[Tensor, "b _ _ _ _"]


@dataclass(frozen=True, kw_only=True)
class S3DConfig:
    """`embed` is the width of the space of clips and sentences; `words` = 0 leaves the sentence tower away."""

    embed: int = 512
    words: int = 66250
    word_width: int = 300
    hidden: int = 2048


PRESETS = {"s3d-howto100m": S3DConfig()}

# Channels of a mixed block: 1×1; 1×1 then 3×3×3, twice; 1×1 after the pool (Szegedy et al. 2014, table 1).
Branches = tuple[int, int, int, int, int, int]
MIXED: dict[str, Branches] = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}


class Convolution(nn.Module):
    """A convolution in space, or in space and time at once; norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int], padding: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel, padding=padding, bias=False)
        self.norm = nn.BatchNorm3d(outputs)

    def forward(self, x: Clip) -> Clip:
        """Convolve, norm, bend."""
        return F.relu(self.norm(self.conv(x)))


class Separable(nn.Module):
    """3×3 in space, then 3 in time (figure 5 of S3D)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.space = Convolution(inputs, outputs, (1, 3, 3), (0, 1, 1))
        self.time = Convolution(outputs, outputs, (3, 1, 1), (1, 0, 0))

    def forward(self, x: Clip) -> Clip:
        """Space, then time."""
        return self.time(self.space(x))


class Gate(nn.Module):
    """Scale every channel by what the average over space and time says (section 4.3 of S3D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)

    def forward(self, x: Clip) -> Clip:
        """The same clip, its channels scaled between 0 and 1."""
        return x * torch.sigmoid(self.project(x.mean((2, 3, 4))))[:, :, None, None, None]


def _point(inputs: int, outputs: int) -> Convolution:
    return Convolution(inputs, outputs, (1, 1, 1), (0, 0, 0))


class Mixed(nn.Module):
    """Four branches side by side, each gated (figure 4 of S3D)."""

    def __init__(self, inputs: int, b: Branches) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                nn.Sequential(_point(inputs, b[0]), Gate(b[0])),
                nn.Sequential(_point(inputs, b[1]), Separable(b[1], b[2]), Gate(b[2])),
                nn.Sequential(_point(inputs, b[3]), Separable(b[3], b[4]), Gate(b[4])),
                nn.Sequential(nn.MaxPool3d(3, 1, 1), _point(inputs, b[5]), Gate(b[5])),
            ]
        )

    def forward(self, x: Clip) -> Clip:
        """The branches' channels one after another."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Pool(nn.Module):
    """A max pool as TensorFlow pads it ("SAME"): zeros, more of them at the end."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        excess = [max(k - s, 0) for k, s in zip(kernel, stride, strict=True)]
        self.padding = [side for e in reversed(excess) for side in (e // 2, e - e // 2)]
        self.pool = nn.MaxPool3d(kernel, stride, ceil_mode=True)

    def forward(self, x: Clip) -> Clip:
        """A smaller clip."""
        return self.pool(F.pad(x, self.padding))


def blocks_to_channels(video: Float[Tensor, "b c t h w"]) -> Clip:
    """2×2×2 blocks of pixels as channels: the places in a block outside, the colours inside."""
    b, c, t, h, w = video.shape
    x = video.reshape(b, c, t // 2, 2, h // 2, 2, w // 2, 2)
    return x.permute(0, 3, 5, 7, 1, 2, 4, 6).flatten(1, 4)


class Stem(nn.Module):
    """Blocks of pixels become channels; then one convolution where Inception has a 7×7 with stride."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = Convolution(24, width, (2, 4, 4), (0, 0, 0))

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Clip:
        """Half the size in time and space. The padding is the reference's after it drops each axis's first slice."""
        return self.convolution(F.pad(blocks_to_channels(video), (1, 2, 1, 2, 0, 1)))


class SentenceTower(nn.Module):
    """MIL-NCE's text side: word vectors, a layer, the maximum over words, a layer."""

    def __init__(self, c: S3DConfig) -> None:
        super().__init__()
        self.word, self.up = nn.Embedding(c.words, c.word_width), nn.Linear(c.word_width, c.hidden)
        self.out = nn.Linear(c.hidden, c.embed)

    def forward(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b embed"]:
        """One vector a sentence; id 0 is padding, a word like another as the reference has it."""
        return self.out(F.relu(self.up(self.word(ids))).amax(1))


class S3D(nn.Module):
    """Clips of even length and sides to one vector each."""

    def __init__(self, config: S3DConfig) -> None:
        super().__init__()
        self.config = config
        self.stem, self.point, self.separable, self.gate = Stem(64), _point(64, 64), Separable(64, 192), Gate(192)
        self.mixed, inputs = nn.ModuleDict(), 192
        for name, b in MIXED.items():
            self.mixed[name] = Mixed(inputs, b)
            inputs = b[0] + b[2] + b[4] + b[5]
        self.pool2, self.pool3 = (Pool((1, 3, 3), (1, 2, 2)) for _ in range(2))
        self.pool4, self.pool5 = Pool((3, 3, 3), (2, 2, 2)), Pool((2, 2, 2), (2, 2, 2))
        self.project = nn.Linear(inputs, config.embed)
        self.text = SentenceTower(config) if config.words else None

    def _stages(self, video: Float[Tensor, "b 3 t h w"]) -> Iterator[tuple[str, Clip]]:
        if any(side % 2 for side in video.shape[2:]):
            raise ValueError(f"length, height and width must be even, not {tuple(video.shape[2:])}")
        x = self.stem(video)
        yield "stem", x
        x = self.pool3(self.gate(self.separable(self.point(self.pool2(x)))))
        for name, mixed in self.mixed.items():
            if name == "4b":
                x = self.pool4(x)
            if name == "5b":
                x = self.pool5(x)
            x = mixed(x)
            yield name, x

    def maps(self, video: Float[Tensor, "b 3 t h w"]) -> dict[str, Clip]:
        """The stem's map and every mixed block's, by name; raises ValueError for an odd length or side."""
        return dict(self._stages(video))

    def represent(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b 1024"]:
        """The mean over time and space of the last map; raises ValueError for an odd length or side."""
        last = video
        for _, stage in self._stages(video):
            last = stage  # no map is kept longer than the next one needs it
        return last.mean((2, 3, 4))

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b embed"]:
        """One vector a clip of RGB in [0, 1] (30 frames of 224×224 for a second); VideoCLIP's frame feature."""
        return self.project(self.represent(video))

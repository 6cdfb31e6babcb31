"""Film: the frames asked for, and only the seconds that hold them, into the clips of ImageBind."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sensorium.data.errors import Unreadable
from sensorium.data.media import clip_times
from sensorium.data.video import VideoSteps, evenly, read_clips

av: Any = pytest.importorskip("av")
RATE = 10


def film(path: Path, frames: int, size: tuple[int, int] = (64, 48)) -> Path:
    """A film whose every frame is one gray, brighter from frame to frame, a key frame every second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, "yuv420p", RATE
        stream.bit_rate = 2_000_000
        for i in range(frames):
            pixels = np.full((size[1], size[0], 3), 20 + 200 * i // frames, dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def gray(index: int, frames: int) -> float:
    return 20 + 200 * index // frames


@pytest.mark.parametrize("frames", [100, 25, 12, 1])
def test_first_and_last_frame_of_every_clip(frames: int, tmp_path: Path) -> None:
    clips = read_clips(film(tmp_path / "a.mp4", frames), 2.0, 5, 2)
    assert len(clips) == 5
    duration = frames / RATE
    for clip, (begin, _) in zip(clips, clip_times(duration, 2.0, 5), strict=True):
        assert clip.shape == (3, 2, 48, 64)
        first = min(int(np.ceil(float(begin) * RATE - 1e-6)), frames - 1)
        last = min(first + 19, frames - 1)
        for frame, index in zip(clip.unbind(1), (first, last), strict=True):
            assert abs(float(frame.float().mean()) - gray(index, frames)) <= 2 * 200 / frames + 2


def test_views(tmp_path: Path) -> None:
    views = VideoSteps(size=32).read(film(tmp_path / "a.mp4", 60))
    assert views.shape == (15, 3, 2, 32, 32)
    assert views.isfinite().all()


@pytest.mark.parametrize("sides", [(30, 53), (53, 30), (24, 24), (24, 25)])
def test_crops_reach_both_ends(sides: tuple[int, int]) -> None:
    steps = VideoSteps(size=24)
    clip = torch.randint(256, (3, 7, *sides), dtype=torch.uint8)
    scaled = steps.scale(clip)
    crops = steps.crop(scaled)
    assert crops.shape == (3, 3, 7, 24, 24)
    assert torch.equal(crops[0], scaled[..., :24, :24])
    assert torch.equal(crops[2], scaled[..., -24:, -24:])
    assert torch.equal(VideoSteps(size=24, crops=1).crop(scaled)[0], crops[1])


def test_evenly() -> None:
    assert evenly(7, 2).tolist() == [0, 6]
    assert evenly(1, 2).tolist() == [0, 0]
    assert evenly(5, 1).tolist() == [0]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no film")
    for name, reason in (("a.mp4", "no film"), ("b.mp4", "no such file"), (".", "a folder")):
        with pytest.raises(Unreadable, match=reason):
            read_clips(tmp_path / name, 2.0, 5, 2)

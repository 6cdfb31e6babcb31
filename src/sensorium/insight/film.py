"""Looks at films as films: overlays of numbers on frames, written as an animation."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from sensorium.data.errors import SensoriumError, printable, system_reason

FILMS = (".gif", ".mp4")
RATE = 6  # frames a second
SIDE = 480  # pixels of a frame's longer side
# viridis (van der Walt & Smith 2015) at even steps: drawn without matplotlib, which the page does without
RAMP = torch.tensor([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], dtype=torch.float32)


def ramp(
    values: Float[Tensor, "rows columns"], low: float | None = None, high: float | None = None
) -> UInt8[Tensor, "3 rows columns"]:
    """Numbers as colours from violet (`low`, else the smallest) to yellow (`high`, else the largest)."""
    low, high = float(values.min()) if low is None else low, float(values.max()) if high is None else high
    at = ((values.float() - low) / max(high - low, 1e-12)).clamp(0, 1) * (len(RAMP) - 1)
    below = at.floor().clamp(max=len(RAMP) - 2).long()
    return torch.lerp(RAMP[below], RAMP[below + 1], (at - below)[..., None]).round().to(torch.uint8).permute(2, 0, 1)


def beside(picture: UInt8[Tensor, "3 h w"], map: UInt8[Tensor, "3 rows columns"]) -> UInt8[Tensor, "3 height width"]:
    """A picture and a map of it side by side, both SIDE pixels long or a little less; sides are even, as films need."""
    scale = SIDE / max(picture.shape[1:])
    size = [max(2, round(side * scale / 2) * 2) for side in picture.shape[1:]]
    shown = (
        torch.nn.functional.interpolate(picture[None].float(), size=size, mode="bilinear", antialias=True)
        .round()
        .to(torch.uint8)
    )
    return torch.cat([shown, torch.nn.functional.interpolate(map[None], size=size, mode="nearest")], dim=3)[0]


def check_film(path: Path, what: str, looks: Sequence[str]) -> None:
    """Raises SensoriumError where a look makes no film, or none of this kind can be written."""
    if what not in looks or what == "gram":
        raise SensoriumError(f"{what} makes no film: name a .png file")
    if path.suffix.lower() == ".mp4":
        try:
            import av as av
        except ImportError:
            raise SensoriumError(".mp4 needs one more package: pip install 'sensorium[media]'; .gif does not") from None


def save_film(frames: Iterable[UInt8[Tensor, "3 _ _"]], path: Path) -> None:
    """Write frames as a .gif that repeats or an .mp4 (H.264), whole or not at all; all take the first one's size.

    Raises SensoriumError when the file cannot be written.
    """
    pictures = [Image.fromarray(frame.permute(1, 2, 0).contiguous().cpu().numpy()) for frame in frames]
    pictures = [picture.resize(pictures[0].size) for picture in pictures]
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".gif":
            first, *rest = [picture.quantize(128) for picture in pictures]
            first.save(partial, "GIF", save_all=True, append_images=rest, duration=1000 // RATE, loop=0)
        else:
            _write_mp4(pictures, partial)
        partial.replace(path)
    except OSError as error:
        raise SensoriumError(f"cannot write {printable(str(path))}: {system_reason(error)}") from None


def _write_mp4(pictures: Sequence[Image.Image], path: Path) -> None:
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = "yuv420p"  # what browsers show
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())

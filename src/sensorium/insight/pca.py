"""What a picture is made of: principal components of its places' vectors as colours, as DINOv2 (Oquab et al. 2023,
figure 1) and DINOv3 (Siméoni et al. 2025) draw them.

A picture's first component tells its ground from what stands on it. The ground is left out, and the three components
that are drawn are those of the rest: one basis for all pictures, so that like parts have like colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from sensorium.data.errors import SensoriumError
from sensorium.insight.drawing import Figure, drawing, fitted, heading, page, quiet

SHOWN = 6  # pictures in one drawing
LEVELS = 256  # thresholds that are tried
ENDS = (0.01, 0.99)  # quantiles of a component that become no colour and full colour
MARGIN = 0.15  # of a picture's side, at each end: what lies there is more likely ground


@dataclass(frozen=True, kw_only=True)
class Components:
    """Three components of every place: of all places together (`whole`), and of those off the ground (`parts`).

    `objects` says which places are off the ground, and `share` what part of the variance each of the six holds.
    """

    whole: tuple[Float[Tensor, "_ _ 3"], ...]
    parts: tuple[Float[Tensor, "_ _ 3"], ...]
    objects: tuple[Bool[Tensor, "_ _"], ...]
    share: Float[Tensor, "2 3"]


def place_components(maps: Sequence[Float[Tensor, "_ _ channels"]]) -> Components:
    """The components of the places of all pictures together, and of those off each picture's ground.

    Vectors are compared by direction: brought to length 1, so that a few very long ones do not take the basis. A
    picture is parted by Otsu's threshold (1979) on its own first component, which also parts pictures of unlike things;
    the ground is the side that has the larger share of the margins. The sign of the other components, which is
    arbitrary, makes their largest weight positive. Raises SensoriumError where a picture has fewer than four places.
    """
    if min((x.shape[0] * x.shape[1] for x in maps), default=0) < 4:
        raise SensoriumError("components need four places in a picture at least: show it larger, with --size")
    units = [F.normalize(x.float(), dim=-1) for x in maps]
    whole, whole_share = _components(units, [torch.ones(x.shape[:2], dtype=torch.bool) for x in maps])
    objects = [_off_the_ground(unit) for unit in units]
    parts, parts_share = _components(units, objects)
    return Components(
        whole=tuple(whole), parts=tuple(parts), objects=tuple(objects), share=torch.stack([whole_share, parts_share])
    )


def _off_the_ground(unit: Float[Tensor, "rows columns channels"]) -> Bool[Tensor, "rows columns"]:
    """Where the picture's first component is on the side that has the smaller share of the margins."""
    first = _components([unit], [torch.ones(unit.shape[:2], dtype=torch.bool)])[0][0][..., 0]
    high = first > otsu(first.flatten())
    return ~high if _at_margin(high) > _at_margin(~high) else high


def otsu(values: Float[Tensor, " n"]) -> float:
    """The threshold whose two sides differ most from each other for their sizes (Otsu 1979, equation 18)."""
    low, high = float(values.min()), float(values.max())
    counts = torch.histc(values.double(), LEVELS, low, high)
    centres = low + (torch.arange(LEVELS, dtype=torch.double) + 0.5) * (high - low) / LEVELS
    below, mass = counts.cumsum(0), (counts * centres).cumsum(0)
    above = below[-1] - below
    between = (mass[-1] * below - mass * below[-1]).square() / (below * above).clamp(min=1)
    best = (between == between.max()).nonzero().double().mean()  # the middle of a gap between the two
    return low + (float(best) + 1) * (high - low) / LEVELS


def _components(
    units: Sequence[Float[Tensor, "_ _ channels"]], counted: Sequence[Bool[Tensor, "_ _"]]
) -> tuple[list[Float[Tensor, "_ _ 3"]], Float[Tensor, " 3"]]:
    """Projections of all places on the components of those that count, and the components' shares of the variance."""
    width, number = units[0].shape[-1], sum(int(mask.sum()) for mask in counted)
    pairs = list(zip(units, counted, strict=True))
    mean = sum((unit[mask].double().sum(0) for unit, mask in pairs), torch.zeros(width).double()) / max(number, 1)
    if number < width:  # the same directions, of a smaller matrix
        some = torch.cat([unit[mask] for unit, mask in pairs]).double() - mean
        lengths, mixed = torch.linalg.eigh(some @ some.mT / max(number, 1))
        basis = F.normalize(some.mT @ mixed.flip(1)[:, :3], dim=0)
    else:
        products = torch.zeros(width, width).double()
        for unit, mask in pairs:
            some = unit[mask].double() - mean
            products += some.mT @ some
        lengths, directions = torch.linalg.eigh(products / number)
        basis = directions.flip(1)[:, :3]
    missing = 3 - basis.shape[1]
    basis = F.pad(basis * basis.gather(0, basis.abs().argmax(0, keepdim=True)).sign(), (0, missing))
    lengths = F.pad(lengths.clamp(min=0), (missing, 0))
    share = lengths.flip(0)[:3] / lengths.sum().clamp(min=torch.finfo(lengths.dtype).tiny)
    return [((unit.double() - mean) @ basis).float() for unit in units], share.float()


def _at_margin(mask: Bool[Tensor, "rows columns"]) -> float:
    """What share of the mask's places lies at the picture's margins."""
    rows, columns = (max(1, int(MARGIN * side)) for side in mask.shape)
    return 1 - int(mask[rows:-rows, columns:-columns].sum()) / max(int(mask.sum()), 1)


def colours(
    maps: Sequence[Float[Tensor, "_ _ 3"]], counted: Sequence[Bool[Tensor, "_ _"]]
) -> list[UInt8[Tensor, "3 _ _"]]:
    """Components as red, green and blue over one range for all pictures; white where a place does not count."""
    some = torch.cat([x[mask] for x, mask in zip(maps, counted, strict=True)])
    if not len(some):
        return [torch.full((3, *mask.shape), 255, dtype=torch.uint8) for mask in counted]
    ordered = some.sort(0).values
    low, high = (ordered[round(end * (len(some) - 1))] for end in ENDS)
    span = (high - low).clamp(min=torch.finfo(torch.float32).tiny)
    return [
        (((x - low) / span).clamp(0, 1).where(mask[..., None], 1) * 255).round().to(torch.uint8).permute(2, 0, 1)
        for x, mask in zip(maps, counted, strict=True)
    ]


@drawing
def draw_components(
    result: Components, pictures: Sequence[UInt8[Tensor, "3 _ _"]], names: Sequence[str] = (), title: str = ""
) -> Figure:
    """Each picture, the components of all its places, and those of the objects alone.

    `pictures` may be fewer than were looked at: the first ones.
    """
    shown = min(len(pictures), SHOWN)
    everywhere = [torch.ones_like(mask) for mask in result.objects]
    columns = [
        list(pictures[:shown]),
        colours(result.whole, everywhere)[:shown],
        colours(result.parts, result.objects)[:shown],
    ]
    tall = sum(min(1.6, x.shape[1] / x.shape[2]) for x in pictures[:shown])
    figure = page(7.8, 2.4 * tall + 0.24 * shown + 1.25)
    grid = figure.subplots(
        shown, 3, squeeze=False, height_ratios=[min(1.6, x.shape[1] / x.shape[2]) for x in pictures[:shown]]
    )
    for column, drawn in enumerate(columns):
        for row, picture in enumerate(drawn):
            axes = grid[row, column]
            height, width = pictures[row].shape[1:]
            axes.imshow(picture.permute(1, 2, 0).cpu().numpy(), extent=(0, width, height, 0))
            quiet(axes)
    for axes, name in zip(grid[0], ("what the model saw", "all places", "without the ground"), strict=True):
        axes.set_title(name, fontsize=9)
    for row, name in enumerate(names[:shown]):
        grid[row, 0].set_xlabel(fitted(name, 32), fontsize=8)
    of_all, of_parts = (", ".join(f"{float(x):.0%}" for x in row) for row in result.share)
    more = f"; {len(result.whole) - shown} more in the numbers" if len(result.whole) > shown else ""
    heading(
        figure,
        title or "Principal components of places",
        f"three components as red, green and blue, with {of_all} of the variance of all places and {of_parts} of "
        f"those off the ground; one basis for all pictures{more}",
    )
    return figure

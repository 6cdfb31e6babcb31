"""A space of many senses as a map, and how far its senses lie apart: the modality gap (Liang et al. 2022, "Mind the
gap", https://arxiv.org/abs/2203.02053, section 2).

Vectors of one sense lie in a narrow cone of their own, so that a map by distances first of all tells senses apart. With
each sense's mean taken off, what is left can show whether things that belong together lie together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sensorium.data.errors import SensoriumError
from sensorium.insight.drawing import INK, QUIET, Axes, Figure, drawing, fitted, heading, page
from sensorium.insight.things import LOOKS, counted, legend

PERPLEXITY = 30.0  # how many neighbours t-SNE thinks of: van der Maaten's usual number
FEWEST = 6  # things that t-SNE needs
MOST = 3000  # things on a map: t-SNE of so many takes half a minute
LINES = 400  # pairs that are joined
CALLED = 40  # things whose names are written beside them


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far senses lie apart, of vectors of length 1; NaN where there are no such samples.

    `apart` is the distance of two senses' means (0 where they are one, 2 at most), `within` the mean cosine of two
    things of one sense. `paired` is the mean cosine of partners, `unpaired` that of all others of these two senses.
    """

    senses: tuple[str, ...]
    counts: tuple[int, ...]
    pairs: Float[Tensor, "s s"]
    apart: Float[Tensor, "s s"]
    within: Float[Tensor, " s"]
    paired: Float[Tensor, "s s"]
    unpaired: Float[Tensor, "s s"]


def modality_gap(vectors: Float[Tensor, "n d"], senses: Sequence[str], pairs: Sequence[tuple[int, int]] = ()) -> Gap:
    """The gap between the senses of some vectors of any length; `pairs` are places of partners, in either order.

    Time and memory grow with the number of vectors, not with its square. Raises SensoriumError where there is none.
    """
    units, names = _checked(vectors, senses)
    index = torch.tensor([names.index(sense) for sense in senses])
    number = len(names)
    counts = torch.bincount(index, minlength=number).double()
    sums = torch.zeros(number, units.shape[1]).double().index_add(0, index, units.double())
    means = sums / counts[:, None]
    products, others = sums @ sums.mT, counts[:, None] * counts
    products, others = products - counts.diag(), others - counts.diag()  # nothing is compared with itself
    found, joined = torch.zeros(2, number, number).double()
    for i, j in pairs:
        cosine = float(units[i] @ units[j])
        for a, b in {(int(index[i]), int(index[j])), (int(index[j]), int(index[i]))}:
            found[a, b] += 1
            joined[a, b] += cosine
    return Gap(
        senses=names,
        counts=tuple(int(count) for count in counts.tolist()),
        pairs=found.float(),
        apart=torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist").float(),
        within=_mean(products, others).diagonal(),
        paired=_mean(joined, found),
        unpaired=_mean(products - joined, others - found),
    )


def _mean(sums: Float[Tensor, "s s"], counts: Float[Tensor, "s s"]) -> Float[Tensor, "s s"]:
    return (sums / counts).where(counts > 0, float("nan")).float()


def centred(vectors: Float[Tensor, "n d"], senses: Sequence[str]) -> Float[Tensor, "n d"]:
    """The vectors with their sense's mean taken off, of length 1 again: the gap is gone, what is left is content.

    A sense of one thing alone is nothing but its mean: it stays zero.
    """
    units, _ = _checked(vectors, senses)
    result = torch.zeros_like(units)
    for sense in dict.fromkeys(senses):
        mine = torch.tensor([each == sense for each in senses])
        off = units[mine] - units[mine].mean(0)
        result[mine] = F.normalize(off, dim=-1).where(off.norm(dim=-1, keepdim=True) > 1e-5, 0)
    return result


def plane(vectors: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " 2"]]:
    """The first two principal components, and what share of the variance each holds.

    A component's sign, which is arbitrary, makes its largest weight positive.
    """
    some = vectors.double() - vectors.double().mean(0)
    _, lengths, directions = torch.linalg.svd(some, full_matrices=False)
    directions, variance = F.pad(directions[:2], (0, 0, 0, max(0, 2 - len(directions)))), lengths.square()
    signs = directions.gather(1, directions.abs().argmax(1, keepdim=True)).sign()
    share = F.pad(variance, (0, 2))[:2] / variance.sum().clamp(min=torch.finfo(variance.dtype).tiny)
    return (some @ (directions * signs).mT).float(), share.float()


def neighbours(vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n 2"] | None:
    """t-SNE (van der Maaten & Hinton 2008) by scikit-learn, from the principal components, the same in every run.

    Near things stay near; distances between groups mean nothing. None without scikit-learn, or for fewer than six.
    """
    if len(vectors) < FEWEST or find_spec("sklearn") is None:
        return None
    from sklearn.manifold import TSNE

    begin = plane(vectors)[0].numpy()
    begin = begin / max(float(begin[:, 0].std()), 1e-12) * 1e-4
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    method: Any = TSNE(2, perplexity=perplexity, init=begin, random_state=0)  # pyright: ignore[reportArgumentType]
    found = method.fit_transform(vectors.float().numpy())
    return torch.from_numpy(np.asarray(found, np.float32))


@dataclass(frozen=True, kw_only=True)
class SpaceMap:
    """Places of all things as they are and with the senses' means taken off, by both methods, and the gap of both.

    `share` is what part of the variance the two principal components hold.
    """

    components: Float[Tensor, "2 n 2"]
    share: Float[Tensor, "2 2"]
    neighbours: Float[Tensor, "2 n 2"] | None
    gap: Gap
    rest: Gap


def space_map(vectors: Float[Tensor, "n d"], senses: Sequence[str], pairs: Sequence[tuple[int, int]] = ()) -> SpaceMap:
    """The map of some vectors of any length; raises SensoriumError where there are fewer than two."""
    units, _ = _checked(vectors, senses)
    if len(units) < 2:
        raise SensoriumError("a map needs two things at least")
    off = centred(units, senses)
    planes, by_near = [plane(each) for each in (units, off)], [neighbours(each) for each in (units, off)]
    return SpaceMap(
        components=torch.stack([each[0] for each in planes]),
        share=torch.stack([each[1] for each in planes]),
        neighbours=torch.stack([each for each in by_near if each is not None]) if by_near[0] is not None else None,
        gap=modality_gap(units, senses, pairs),
        rest=modality_gap(off, senses, pairs),
    )


def _checked(vectors: Float[Tensor, "n d"], senses: Sequence[str]) -> tuple[Float[Tensor, "n d"], tuple[str, ...]]:
    """Vectors of length 1, and the senses that are there, in the order of LOOKS."""
    if not len(vectors) or len(vectors) != len(senses):
        raise SensoriumError(f"{len(vectors)} vectors of {len(senses)} things: give one of each at least")
    names = tuple(sorted(set(senses), key=list(LOOKS).index))
    return F.normalize(vectors.detach().cpu().float(), dim=-1), names


def in_words(result: SpaceMap) -> str:
    """The largest distance of two senses' means, and pairs against others, over all senses, before and after."""
    gap, names = result.gap, [LOOKS[sense][0] for sense in result.gap.senses]
    if len(names) < 2:
        return f"one sense alone, {names[0]}"
    a, b = (names[i] for i in sorted(divmod(int(gap.apart.argmax()), len(names))))
    said = f"means of {a} and {b} {float(gap.apart.max()):.2f} apart"
    some = gap.pairs.triu() > 0
    if not bool(some.any()):
        return said
    weights = gap.pairs[some] / gap.pairs[some].sum()
    numbers = [each[some].nan_to_num() @ weights for each in (gap.paired, gap.unpaired)]
    numbers += [each[some].nan_to_num() @ weights for each in (result.rest.paired, result.rest.unpaired)]
    paired, others, after, rest = (float(number) for number in numbers)
    off = f"with means taken off {after:z.2f} and {rest:z.2f}"
    return f"{said}; cosine of pairs {paired:z.2f}, of others {others:z.2f}; {off}"


@drawing
def draw_space(
    result: SpaceMap,
    senses: Sequence[str],
    pairs: Sequence[tuple[int, int]] = (),
    names: Sequence[str] = (),
    title: str = "",
    remark: str = "",
) -> Figure:
    """The maps side by side, coloured by sense, partners joined; below, the gap of every two senses in numbers.

    Names are written where there are few.
    """
    methods = [("principal components", result.components)]
    if result.neighbours is not None:
        methods.append(("t-SNE: near things stay near", result.neighbours))
    rows = _rows(result)
    below = 0.2 * len(rows) + 0.75
    figure = page(4.5 * max(len(methods), 1.6), 7.6 + below + 1.1)
    grid = figure.add_gridspec(3, len(methods), height_ratios=[3.8, 3.8, below])
    for column, (name, places) in enumerate(methods):
        for row, state in enumerate(("as they are", "means taken off")):
            axes = figure.add_subplot(grid[row, column])
            _scatter(axes, places[row], senses, pairs)
            _write(axes, places[row], names if len(names) <= CALLED else ())
            share = (
                f", {' and '.join(f'{float(x):.0%}' for x in result.share[row])} of the variance" if not column else ""
            )
            axes.set_title(f"{state}: {name}{share}", fontsize=8.5, loc="left", color=QUIET)
    _table(figure.add_subplot(grid[2, :]), rows)
    missing = "" if result.neighbours is not None else "; t-SNE needs six things and scikit-learn"
    legend(figure.axes[0], result.gap.senses, loc="best", handletextpad=0.2)
    heading(figure, title or "A space of many senses", f"{counted(senses)}{remark}; lines join pairs{missing}")
    return figure


def _scatter(axes: Axes, places: Float[Tensor, "n 2"], senses: Sequence[str], pairs: Sequence[tuple[int, int]]) -> None:
    from matplotlib.collections import LineCollection

    few = [pairs[i * len(pairs) // LINES] for i in range(LINES)] if len(pairs) > LINES else pairs
    if few:
        ends = np.stack([places[[i for i, _ in few]], places[[j for _, j in few]]], axis=1)
        axes.add_collection(
            LineCollection(list(ends), colors=INK, linewidths=0.6, alpha=max(0.12, 0.5 - len(few) / 800))
        )
    size = 34 if len(senses) < 200 else 14 if len(senses) < 1000 else 6
    for sense in sorted(set(senses), key=list(LOOKS).index):
        mine = places[torch.tensor([each == sense for each in senses])].numpy()
        _, colour, mark = LOOKS[sense]
        axes.scatter(
            mine[:, 0], mine[:, 1], s=size, c=colour, marker=mark, linewidths=0.3, edgecolors="white", zorder=2
        )
    axes.margins(0.07)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color="#d8d4cb", linewidth=0.8)


def _write(axes: Axes, places: Float[Tensor, "n 2"], names: Sequence[str]) -> None:
    """Names beside their places, towards the middle where they would leave the frame."""
    edge = float(places[:, 0].min() + 0.8 * (places[:, 0].max() - places[:, 0].min()))
    for (x, y), name in zip(places.tolist(), names, strict=True):
        side, along = ("right", -4) if x > edge else ("left", 4)
        text = axes.annotate(
            fitted(name, 16), (x, y), (along, 3), textcoords="offset points", ha=side, fontsize=6.5, color=QUIET
        )
        text.set_in_layout(False)


def _rows(result: SpaceMap) -> list[tuple[str, ...]]:
    """For every two senses: names, distance of means, how many pairs, cosines of pairs and others, before and after."""
    senses, rows = result.gap.senses, list[tuple[str, ...]]()
    for i in range(len(senses)):
        for j in range(i + 1, len(senses)):
            count = int(result.gap.pairs[i, j])
            numbers = [float(each[i, j]) for gap in (result.gap, result.rest) for each in (gap.paired, gap.unpaired)]
            if min(result.gap.counts[i], result.gap.counts[j]) < 2:  # one alone is its mean: nothing is left of it
                numbers[2:] = [math.nan, math.nan]
            rows.append(
                (
                    f"{LOOKS[senses[i]][0]} – {LOOKS[senses[j]][0]}",
                    f"{float(result.gap.apart[i, j]):.2f}",
                    f"{count:,}",
                    *("–" if math.isnan(number) else f"{number:z.2f}" for number in numbers),
                )
            )
    return rows


def _table(axes: Axes, rows: Sequence[tuple[str, ...]]) -> None:
    axes.set_axis_off()
    if not rows:
        return
    places = (0.0, 0.36, 0.46, 0.58, 0.69, 0.83, 0.94)
    heads = ("two senses", "means apart", "pairs", "cosine of pairs", "of others", "means off: pairs", "others")
    axes.set(xlim=(0, 1), ylim=(len(rows) + 1.6, 0))
    for y, row in enumerate((heads, *rows)):
        for x, cell in zip(places, row, strict=True):
            ink, weight = (QUIET, "bold") if y == 0 else (INK, "normal")
            side = "left" if x == 0 else "right"
            axes.text(x, y + 0.7, cell, fontsize=8, ha=side, va="center", color=ink, weight=weight)

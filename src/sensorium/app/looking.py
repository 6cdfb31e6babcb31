"""`sensorium look`: what a model learned and what it looks at, as a picture and as numbers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.app.console import count, short, stderr, stdout, waiting
from sensorium.data.errors import SensoriumError, Unreadable, printable

if TYPE_CHECKING:  # these bring torch and NumPy, which help and usage errors do without
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from sensorium.data.preprocess import Preprocess
    from sensorium.tasks.embedding import Embedder

BATCH = 8  # pictures that attention is watched on at a time
FRAMES = 12  # of a film
DENSE = ("attention", "pca", "cosine", "norms", "gram")  # they see whole pictures, and films


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a look found: its numbers, how they are drawn, and the one sentence for the terminal.

    `frames` are what a film is made of, a picture each, where there is one to make.
    """

    numbers: dict[str, Any]
    draw: "Callable[[str], Figure]"
    sentence: str
    frames: "Callable[[], Iterable[Tensor]] | None" = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What was asked of a look: each of them reads what concerns it."""

    texts: Sequence[str] = ()
    size: int | None = None
    layer: int | None = None
    at: str | None = None
    cutoff: float | None = None
    against: Sequence[str] = ()
    frames: int = FRAMES
    neurons: int | None = None


@dataclass(kw_only=True)
class View:
    """What to look into, and what to show it. `steps` prepares squares, at the size that was asked for."""

    name: str
    source: str
    embedder: "Embedder"
    model: "nn.Module"
    steps: "Preprocess"
    files: Sequence[Path]
    wanted: Wanted = field(default_factory=Wanted)

    def __post_init__(self) -> None:
        self.read: list[Path] = []
        self.problems: list[Unreadable] = []

    def batches(self, size: int = BATCH) -> "Iterator[Tensor]":
        """The pixels of the files, (b, 3, size, size) of uint8, in their order; what cannot be read is noted.

        Raises SensoriumError where none could be read.
        """
        import torch

        from sensorium.data.image import read_image
        from sensorium.tasks.decoding import decoded

        for block in decoded(self.files, lambda path: self.steps.pixels(read_image(path)), size):
            good = [(path, row) for path, row in block if not isinstance(row, Unreadable)]
            self.problems += [row for _, row in block if isinstance(row, Unreadable)]
            self.read += [path for path, _ in good]
            if good:
                yield torch.stack([row for _, row in good])
        self.check_any()

    def check_any(self) -> None:
        """Raises SensoriumError where nothing could be read."""
        if not self.read:
            reasons = "; ".join(map(str, self.problems[:7])) or "there are none in what was given"
            raise SensoriumError(f"no picture to look at: {reasons}")

    def inputs(self, pixels: "Tensor") -> "Tensor":
        """What the model reads, where it reads it."""
        return self.steps.normalise(pixels.to(self.embedder.device))


def look_into(
    model: str,
    files: Sequence[Path],
    *,
    what: str,
    wanted: Wanted | None = None,
    out: Path | None = None,
    data: Path | None = None,
) -> None:
    """Draw what was asked for into `out` and write its numbers into `data`; the name of a drawing is found if need be.

    Raises SensoriumError where the model has no such thing, or there is nothing to look at.
    """
    from sensorium.app.classifying import pictures_below
    from sensorium.app.looking_dense import LOOKS as DENSE_LOOKS
    from sensorium.insight.drawing import check_drawable, save
    from sensorium.insight.film import FILMS, check_film, save_film
    from sensorium.insight.numbers import check_format, write_numbers

    if out is None and data is None:
        out = Path(f"sensorium-{what}.png")
    moving = out is not None and out.suffix.lower() in FILMS
    if out is not None:
        check_film(out, what, DENSE) if moving else check_drawable(out)
    if data is not None:
        check_format(data)
    paths, problems = pictures_below(files)
    view = _view(model, paths, wanted or Wanted(), square=what not in DENSE)
    view.problems += problems
    with waiting(f"looking at {what}"):
        seen = (LOOKS | DENSE_LOOKS)[what](view)
        if out is not None and moving:
            assert seen.frames is not None
            save_film(seen.frames(), out)
        elif out is not None:
            save(seen.draw(view.name), out)
        if data is not None:
            write_numbers({"model": view.name, "what": what, **seen.numbers}, data)
    for problem in view.problems:
        stderr().print(printable(f"{short(problem.path)}: {problem.reason}"), markup=False)
    for path in (out, data):
        if path is not None:
            stdout().print(f"{short(path)}: {seen.sentence}", markup=False)


def _view(source: str, files: Sequence[Path], wanted: Wanted, *, square: bool) -> View:
    """The model in full precision: bf16 would show its rounding."""
    size = wanted.size if square else None
    with waiting(f"loading {source} …"):
        import sensorium

        loaded = sensorium.load(source)
    if isinstance(loaded, sensorium.Loaded):
        raise SensoriumError(f"{source} is {loaded.found}: it does not read pictures alone, as a ViT or a CLIP does")
    if loaded.model is None:
        raise SensoriumError(f"{source} does not show how it works")
    return View(
        name=Path(source).name,
        source=source,
        embedder=loaded,
        model=loaded.model,
        steps=loaded.preprocess if size is None else _resized(loaded.preprocess, size, loaded.model),
        files=files,
        wanted=wanted,
    )


def _resized(steps: "Preprocess", size: int, model: "nn.Module") -> "Preprocess":
    """The same preparation to another size, with the same margin around the crop."""
    from sensorium.insight.vit_like import patch_side

    side = patch_side(model) or 1
    if size < side or size % side:
        near = max(side, round(size / side) * side)
        raise SensoriumError(
            f"--size {size}: this model reads patches of {side} pixels; name a multiple, such as {near}"
        )
    return replace(
        steps, size=size, resize_to=None if steps.resize_to is None else round(steps.resize_to * size / steps.size)
    )


def filters(view: View) -> Seen:
    """What the patch embedding looks for."""
    from sensorium.insight.filters import draw_filters, principal_filters
    from sensorium.insight.numbers import numbers_of

    found = principal_filters(view.model)
    return Seen(
        numbers=numbers_of(found),
        draw=lambda name: draw_filters(found, f"{name}: filters of the patch embedding"),
        sentence=f"the first {len(found.share)} principal components of {found.filters:,} filters hold "
        f"{float(found.share.sum()):.0%} of their variance",
    )


def positions(view: View) -> Seen:
    """Whether the position embeddings form a picture."""
    from sensorium.insight.numbers import numbers_of
    from sensorium.insight.positions import draw_positions, in_words, position_similarity

    found = position_similarity(view.model)
    return Seen(
        numbers=numbers_of(found),
        draw=lambda name: draw_positions(found, f"{name}: position embeddings"),
        sentence=f"mean cosine of {in_words(found)}",
    )


def distance(view: View) -> Seen:
    """How far each head looks, over all pictures."""
    from sensorium.insight.distance import attention_distance, draw_distance
    from sensorium.insight.numbers import numbers_of
    from sensorium.insight.vit_like import vit_like

    vit_like(view.model)  # before the pictures are read
    found = attention_distance(view.model, (view.inputs(pixels) for pixels in view.batches()))
    first, last = float(found.pixels[0].mean()), float(found.pixels[-1].mean())
    return Seen(
        numbers=numbers_of(found),
        draw=lambda name: draw_distance(found, f"{name}: how far attention looks"),
        sentence=f"{first:.0f} pixels in the first layer, {last:.0f} in the last, over "
        f"{count(found.pictures, 'picture')} of {view.steps.size} pixels (looking everywhere alike: {found.even:.0f})",
    )


def rollout(view: View) -> Seen:
    """Where in each picture the output comes from."""
    from sensorium.insight.numbers import numbers_of
    from sensorium.insight.rollout import SHOWN, attention_rollout, draw_rollout, joined
    from sensorium.insight.vit_like import vit_like

    vit_like(view.model)
    shown: list[Tensor] = []
    parts: list[Any] = []
    for pixels in view.batches():
        shown += list(pixels[: max(SHOWN + 1 - len(shown), 0)])
        parts.append(attention_rollout(view.model, view.inputs(pixels)))
    found = joined(parts)
    names = [path.name for path in view.read]
    return Seen(
        numbers={**numbers_of(found), "files": [str(path) for path in view.read]},
        draw=lambda name: draw_rollout(found, shown, names, f"{name}: attention rollout"),
        sentence=f"{count(len(names), 'picture')}, {found.maps.shape[1]} x {found.maps.shape[2]} patches each",
    )


def similarity(view: View) -> Seen:
    """Every picture against every text."""
    import torch

    from sensorium.insight.numbers import numbers_of
    from sensorium.insight.similarity import PICTURES, draw_similarity, image_text_similarity

    if view.embedder.text is None:
        raise SensoriumError(
            f"{view.embedder.name} reads no text: similarity needs a CLIP, dino.txt, ImageBind or pocket"
        )
    words = view.embedder.embed(text=view.wanted.texts)["text"]
    shown: list[Tensor] = []
    rows: list[Tensor] = []
    with torch.inference_mode():
        for pixels in view.batches(32):
            shown += list(pixels[: max(PICTURES - len(shown), 0)])
            rows.append(view.embedder.image(view.inputs(pixels)).float().cpu())
    found = image_text_similarity(torch.cat(rows), words, view.embedder.logit_scale)
    low, high = float(found.cosines.min()), float(found.cosines.max())
    return Seen(
        numbers={**numbers_of(found), "files": [str(path) for path in view.read], "text": list(view.wanted.texts)},
        draw=lambda name: draw_similarity(found, shown, view.wanted.texts, f"{name}: pictures and texts"),
        sentence=f"{count(len(view.read), 'picture')} against {count(len(view.wanted.texts), 'text')}, "
        f"cosines from {low:z.2f} to {high:z.2f}",
    )


LOOKS: dict[str, Callable[[View], Seen]] = {
    "filters": filters,
    "positions": positions,
    "distance": distance,
    "rollout": rollout,
    "similarity": similarity,
}

"""The looks at every place of a picture or of a film's frames: attention, components, similarity, norms, Gram drift."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.app.console import count
from sensorium.app.looking import Seen, View
from sensorium.data.errors import SensoriumError, Unreadable, printable
from sensorium.data.folder import FILM_SUFFIXES

if TYPE_CHECKING:  # these bring torch and NumPy, which help and usage errors do without
    from torch import Tensor, nn

    from sensorium.insight.places import Sight
    from sensorium.nn.register_neurons import Register
    from sensorium.nn.vit_like import ViTLike

SEARCHED = 32  # pictures in which the neurons of a test-time register are looked for


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture as the model sees it, its sides multiples of the step, and its own size (width, height)."""

    name: str
    pixels: "Tensor"
    size: tuple[int, int]


def shown(view: View, step: tuple[int, int]) -> Iterator[Shown]:
    """The pictures of the files, whole, and of films some frames, evenly apart; what cannot be read is noted.

    Raises SensoriumError where none could be read.
    """
    from PIL import Image

    from sensorium.data.image import read_image
    from sensorium.data.video import read_clips
    from sensorium.insight.places import fitted_to

    size = view.wanted.size
    if size is not None and size < max(step):
        raise SensoriumError(f"--size {size}: this model reads places of {max(step)} pixels; name a larger one")
    for path in view.files:
        try:
            if path.suffix.lower() in FILM_SUFFIXES:
                clips = read_clips(path, 0.0, view.wanted.frames, 1)
                pictures = [Image.fromarray(clip[:, 0].permute(1, 2, 0).contiguous().numpy()) for clip in clips]
                names = [f"{path.name}, {i} of {len(clips)}" for i in range(1, len(clips) + 1)]
            else:
                pictures, names = [read_image(path)], [path.name]
        except Unreadable as problem:
            view.problems.append(problem)
            continue
        view.read.append(path)
        for picture, name in zip(pictures, names, strict=True):
            yield Shown(name=name, pixels=fitted_to(picture, view.steps, step, size), size=picture.size)
    view.check_any()


@dataclass(frozen=True, kw_only=True)
class Given:
    """A test-time register, and how many neurons it took over, of which layers, for how many outliers."""

    register: "Register"
    neurons: int
    layers: Sequence[int]
    outliers: int


@contextmanager
def given_register(view: View, vit: "ViTLike", pictures: Sequence[Shown]) -> Generator[Given | None]:
    """Inside the block the model has a test-time register, if one was asked for: for the outliers of these pictures.

    The first 32 are searched, and of large ones the first window. Raises SensoriumError where there are no outliers, or
    not so many neurons.
    """
    from sensorium.insight.places import WINDOW
    from sensorium.nn.register_neurons import register_at_test_time, register_neurons

    if (wanted := view.wanted.neurons) is None:
        yield None
        return
    down, across = (WINDOW // side * side for side in vit.patches.stride[-2:])
    images = (view.inputs(each.pixels[None, :, :down, :across]) for each in pictures[:SEARCHED])
    try:
        found = register_neurons(vit, images, wanted, cutoff=view.wanted.cutoff)
    except ValueError as error:
        raise SensoriumError(f"--register-neurons {wanted}: {view.name} has none such: {error}") from None
    if found is None:
        raise SensoriumError(
            "--register-neurons: these pictures have no outliers to move; see --what norms, where --cutoff may be lower"
        )
    with register_at_test_time(vit, found.neurons) as register:
        layers = [block + 1 for block in sorted(found.neurons)]
        count = sum(map(len, found.neurons.values()))
        yield Given(register=register, neurons=count, layers=layers, outliers=found.outliers)


def told(given: Given | None) -> str:
    """The register in words."""
    if given is None:
        return ""
    layers = ", ".join(map(str, given.layers))
    return (
        f"; a test-time register took over {count(given.neurons, 'neuron')} of layer {layers}, "
        f"found by {count(given.outliers, 'outlier')}"
    )


def is_film(view: View) -> bool:
    """Whether all that is looked at are the frames of one film."""
    return len(view.read) == 1 and view.read[0].suffix.lower() in FILM_SUFFIXES


def attention(view: View) -> Seen:
    """What the class token and the registers look at."""
    import torch

    from sensorium.insight.attention import draw_attention, draw_film, token_attention
    from sensorium.insight.film import beside, ramp
    from sensorium.insight.vit_like import vit_like

    vit = vit_like(view.model)
    pictures = list(shown(view, (vit.patches.stride[-2], vit.patches.stride[-1])))
    with given_register(view, vit, pictures) as given:
        found = [token_attention(view.model, view.inputs(each.pixels[None]), view.wanted.layer) for each in pictures]
    if given is not None:  # it stands last, just before the patches
        found = [replace(each, asking=(*each.asking[:-1], "test-time register")) for each in found]
    pixels, names = [each.pixels for each in pictures], [each.name for each in pictures]
    elsewhere = float(torch.stack([each.elsewhere[0].mean() for each in found]).mean())
    highest = max(float(each.mean().max()) for each in found)
    return Seen(
        numbers={
            "files": names,
            "asking": list(found[0].asking),
            "layer": found[0].layer,
            **_each("maps", [each.maps for each in found]),
            **_each("elsewhere", [each.elsewhere for each in found]),
        },
        draw=lambda name: (draw_film if is_film(view) else draw_attention)(found, pixels, names, f"{name}: attention"),
        sentence=f"{count(len(names), 'picture')}, {found[0].maps.shape[1]} heads of layer {found[0].layer}; "
        f"{elsewhere:.0%} of the {found[0].asking[0]}'s attention goes to tokens without a place{told(given)}",
        frames=lambda: (
            beside(each.pixels, ramp(seen.mean(), 0.0, highest)) for each, seen in zip(pictures, found, strict=True)
        ),
    )


def pca(view: View) -> Seen:
    """What the pictures are made of."""
    import torch

    from sensorium.insight.film import beside
    from sensorium.insight.pca import colours, draw_components, place_components

    pictures, maps = _dense(view)
    found = place_components(maps)
    pixels, names = [each.pixels for each in pictures], [each.name for each in pictures]
    objects = float(torch.cat([x.flatten() for x in found.objects]).float().mean())
    return Seen(
        numbers={
            "files": names,
            "share": found.share,
            **_each("whole", found.whole),
            **_each("parts", found.parts),
            **_each("objects", found.objects),
        },
        draw=lambda name: draw_components(found, pixels, names, f"{name}: principal components"),
        sentence=f"{count(len(names), 'picture')}; {objects:.0%} of the places are off the ground",
        frames=lambda: (
            beside(each.pixels, map) for each, map in zip(pictures, colours(found.parts, found.objects), strict=True)
        ),
    )


def cosine(view: View) -> Seen:
    """What is like one place of the first picture."""
    from sensorium.insight.cosine import draw_places, place_similarity
    from sensorium.insight.film import beside, ramp

    pictures, maps = _dense(view)
    place = _place(view.wanted.at or "", pictures[0], maps[0])
    found = place_similarity(maps, place)
    pixels, names = [each.pixels for each in pictures], [each.name for each in pictures]
    low = min(float(x.min()) for x in found.cosines)
    means = [float(x.mean()) for x in found.cosines]
    return Seen(
        numbers={"files": names, "place": list(place), **_each("cosines", found.cosines)},
        draw=lambda name: draw_places(found, pixels, names, f"{name}: what is like this place"),
        sentence=f"row {place[0] + 1}, column {place[1] + 1} of {maps[0].shape[0]} x {maps[0].shape[1]} places in "
        f"{printable(names[0])}; cosines from {low:z.2f}, on average {sum(means) / len(means):z.2f}",
        frames=lambda: (
            beside(each.pixels, ramp(map, low, 1.0)) for each, map in zip(pictures, found.cosines, strict=True)
        ),
    )


def norms(view: View) -> Seen:
    """How long tokens are, and which stand out."""
    from sensorium.insight.film import beside, ramp
    from sensorium.insight.norms import draw_norms, in_words, norms_of_tokens, outliers_in
    from sensorium.insight.places import numbered
    from sensorium.insight.vit_like import vit_like

    vit = vit_like(view.model)
    layer, stride = numbered(view.wanted.layer, len(vit.blocks)), vit.patches.stride
    pictures = list(shown(view, (stride[-2], stride[-1])))
    device = view.embedder.device
    seen: list[Tensor] = []
    registers: list[Tensor] = []
    with given_register(view, vit, pictures) as given:
        for each in pictures:
            seen.append(norms_of_tokens(vit, each.pixels, view.steps, device))
            registers += [] if given is None else [given.register.norms[:, 0].cpu()]
    found = outliers_in(seen, view.wanted.cutoff)
    pixels, names = [each.pixels for each in pictures], [each.name for each in pictures]
    logs = [x[layer - 1].clamp(min=1e-6).log() for x in found.norms]
    low, high = min(float(x.min()) for x in logs), max(float(x.max()) for x in logs)
    return Seen(
        numbers={
            "files": names,
            "layer": layer,
            "cutoffs": found.cutoffs,
            "fractions": found.fractions,
            **_each("norms", found.norms),
            **_each("register", registers),
        },
        draw=lambda name: draw_norms(found, pixels, names, f"{name}: norms of the patches' tokens", layer=layer),
        sentence=f"after layer {layer}, {in_words(found, layer)} (norm above {float(found.cutoffs[layer - 1]):.3g})"
        f"{told(given)}",
        frames=lambda: (beside(each.pixels, ramp(x, low, high)) for each, x in zip(pictures, logs, strict=True)),
    )


def gram(view: View) -> Seen:
    """How the places' likeness to each other changes from checkpoint to checkpoint."""
    from sensorium.insight.drift import draw_drift, gram_drift
    from sensorium.insight.places import sight_of

    pictures, first = _dense(view)
    names, pixels = [each.name for each in pictures], [each.pixels for each in pictures]
    features, checkpoints = [first], [view.name]
    for source in view.wanted.against:
        model = checkpoint(source, view).to(view.embedder.device)
        sight = sight_of(model)
        features.append([_read(sight, each.pixels, view) for each in pictures])
        checkpoints.append(Path(source).name)
    places = [_place(view.wanted.at or "0.5,0.5", each, x) for each, x in zip(pictures, first, strict=True)]
    found = gram_drift(features, places)
    means = ", ".join(
        f"{name} {value:.3g}" for name, value in zip(checkpoints[1:], found.drift[1:].mean(1).tolist(), strict=True)
    )
    return Seen(
        numbers={
            "files": names,
            "checkpoints": checkpoints,
            "drift": found.drift,
            "places": [list(place) for place in places],
            **{f"maps_{m}_{p}": x for m, row in enumerate(found.maps, 1) for p, x in enumerate(row, 1)},
        },
        draw=lambda name: draw_drift(found, pixels, checkpoints, names, f"{name}: drift of the Gram matrix"),
        sentence=f"{count(len(names), 'picture')}; mean squared difference from {view.name}: {means}",
    )


def checkpoint(source: str, view: View) -> "nn.Module":
    """Another checkpoint: whatever `load` takes, or a step's folder of a run of the same model.

    Raises SensoriumError where the folder holds other weights than the first model's.
    """
    from sensorium.checkpoints.load import load_model
    from sensorium.training.saving import MANIFEST, read_weights

    if not (Path(source) / MANIFEST).is_file():
        return load_model(source).model.eval()
    model = load_model(view.source).model
    try:
        model.load_state_dict(_within(read_weights(Path(source)), list(model.state_dict())))
    except RuntimeError as error:
        reason = printable(str(error).splitlines()[-1].strip())
        raise SensoriumError(f"{printable(source)} holds other weights than {view.name}: {reason}") from None
    return model.eval()


def _within(saved: "dict[str, Tensor]", names: Sequence[str]) -> "dict[str, Tensor]":
    """The tensors of one model in a run's checkpoint, which may hold it several times: as a teacher, if so."""
    ends = [name.removesuffix(names[0]) for name in saved if name.endswith(names[0])]
    whole = [start for start in ends if all(start + name in saved for name in names)]
    if not whole:
        return saved
    start = max(whole, key=lambda start: (start.startswith("teacher"), -len(start)))
    return {name: saved[start + name] for name in names}


def _dense(view: View) -> "tuple[list[Shown], list[Tensor]]":
    """The pictures, and the vectors of their places at the layer that was asked for."""
    from sensorium.insight.places import sight_of

    sight = sight_of(view.model)
    pictures = list(shown(view, sight.step))
    return pictures, [_read(sight, each.pixels, view) for each in pictures]


def _read(sight: "Sight", pixels: "Tensor", view: View) -> "Tensor":
    from sensorium.insight.places import features_of

    return features_of(sight, pixels, view.steps, view.embedder.device, view.wanted.layer)


def _place(at: str, picture: Shown, map: "Tensor") -> tuple[int, int]:
    """Row and column of `x,y`: pixels of the file's picture, or fractions of its sides where a point is in them."""
    from sensorium.insight.cosine import place_at

    try:
        x, y = (float(each) for each in at.split(","))
    except ValueError:
        raise SensoriumError(f"--at {at}: x,y in pixels (120,80) or as fractions (0.5,0.25)") from None
    if "." not in at:
        x, y = (x + 0.5) / picture.size[0], (y + 0.5) / picture.size[1]
    if not (0 <= x <= 1 and 0 <= y <= 1):
        size = f"{picture.size[0]} x {picture.size[1]} pixels"
        raise SensoriumError(f"--at {at} lies outside of {printable(picture.name)}, which has {size}")
    return place_at(x, y, *map.shape[:2])


def _each(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """An entry for every picture, since they differ in shape: name_1, name_2 and so on, in the order of the files."""
    return {f"{name}_{i}": value for i, value in enumerate(values, 1)}


LOOKS: dict[str, Callable[[View], Seen]] = {
    "attention": attention,
    "pca": pca,
    "cosine": cosine,
    "norms": norms,
    "gram": gram,
}

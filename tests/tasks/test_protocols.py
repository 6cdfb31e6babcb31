"""Whole protocols on real handwritten digits, read by a small ViT of random weights: above chance where they learn."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import sensorium
from sensorium.checkpoints.formats import PRESETS
from sensorium.checkpoints.load import save_model
from sensorium.data.errors import SensoriumError
from sensorium.data.labelled import Captioned, Labelled, open_captioned, open_labelled
from sensorium.models.vit import ViT, fine_tuned
from sensorium.tasks import features, protocols
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.features import Progress, compute
from sensorium.tasks.loading import in_memory
from sensorium.tasks.metrics import OWN_METRIC
from sensorium.tasks.protocols import How
from sensorium.tasks.published import PUBLISHED, published
from sensorium.tasks.zero_shot import class_vectors
from tests import families, tiny
from tests.digits import write_digits


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    folder = tmp_path_factory.mktemp("vit")
    save_model(tiny.build(tiny.VIT), folder, naming="timm")
    model = sensorium.load(folder, device="cpu")
    assert isinstance(model, Embedder)
    return replace(model, preprocess=replace(model.preprocess, size=32, resize_to=32))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Labelled, Labelled]:
    root = tmp_path_factory.mktemp("digits")
    train = write_digits(root / "train", start=0, count=700)
    test = write_digits(root / "test", start=1000, count=200)
    (test / "3" / "broken.png").write_bytes(b"\x89PNG nothing")
    return open_labelled(train), open_labelled(test)


def test_probe(vit: Embedder, digits: tuple[Labelled, Labelled]) -> None:
    result = protocols.probe(vit, *digits)
    assert result.metrics["accuracy"] > 0.7
    assert result.own == "accuracy"
    assert (result.pictures, result.settings["training pictures"]) == (200, 700)
    assert [Path(each.path).name for each in result.unreadable] == ["broken.png"]
    assert 1e-6 < result.settings["C"] <= 1e6
    valid = Labelled(
        name="v",
        pictures=digits[0].pictures[::4],
        labels=digits[0].labels[::4],
        classes=digits[0].classes,
        unreadable=[],
    )
    assert protocols.probe(vit, *digits, valid=valid).settings["training pictures"] == 875


def test_neighbours_and_few_shot(vit: Embedder, digits: tuple[Labelled, Labelled], tmp_path: Path) -> None:
    how = How(keep=tmp_path)
    near = protocols.nearest_neighbours(vit, *digits, how=how)
    assert near.metrics["accuracy"] > 0.3  # chance is 0.1
    assert near.settings["k"] == 20
    few = protocols.few_shot(vit, *digits, shots=(1, 20), how=how)
    assert list(few.metrics) == ["1-shot", "20-shot"]
    assert 0.1 < few.metrics["1-shot"] < few.metrics["20-shot"]
    assert few.settings["spread of 1-shot"] > 0
    assert few.rate == 0, "features were kept"
    with pytest.raises(SensoriumError, match=r"500-shot: 0 has \d+ readable pictures"):
        protocols.few_shot(vit, *digits, shots=(500,), how=how)
    with pytest.raises(SensoriumError, match="one draw at least"):
        protocols.few_shot(vit, *digits, draws=0, how=how)


def test_own_classes(vit: Embedder, digits: tuple[Labelled, Labelled]) -> None:
    """The head's scores, whatever the data's classes are called."""
    test = digits[1]
    result = protocols.own_classes(vit, test)
    good = [row for row, path in enumerate(test.pictures) if path.name != "broken.png"]
    assert vit.model is not None
    pixels = torch.stack([vit.preprocess.pixels(Image.open(test.pictures[row])) for row in good])
    guessed = vit.model(vit.preprocess.normalise(pixels)).argmax(1)
    right = np.mean([int(guess) == test.labels[row][0] for guess, row in zip(guessed, good, strict=True)])
    assert result.metrics["accuracy"] == pytest.approx(right)
    backward = protocols.own_classes(vit, test, names=[str(9 - number) for number in range(10)])
    turned = replace(test, labels=[(9 - label,) for (label,) in test.labels])
    assert backward.metrics == pytest.approx(protocols.own_classes(vit, turned).metrics)
    some = Labelled(name="some", pictures=test.pictures[:5], labels=[(0,)] * 5, classes=("0", "7"), unreadable=[])
    assert protocols.own_classes(vit, some).pictures == 5
    with pytest.raises(SensoriumError, match=r"some has 2 classes and .* 10: which is which"):
        protocols.own_classes(vit, replace(some, classes=("a", "b")))
    with pytest.raises(SensoriumError, match="a is no class of the model"):
        protocols.own_classes(vit, replace(some, classes=("a", "b")), names=[str(number) for number in range(10)])
    with pytest.raises(SensoriumError, match="3 names for the 10 classes"):
        protocols.own_classes(vit, some, names=["a", "b", "c"])


def test_zero_shot(embedder: Embedder, photographs: list[Path]) -> None:
    test = Labelled(
        name="p",
        pictures=photographs[:6],
        labels=[(i % 3,) for i in range(6)],
        classes=("a_b", "c", "d"),
        unreadable=[],
    )
    result = protocols.zero_shot(embedder, test, templates=["a {}", "the {}"])
    scores = (
        embedder.embed(images=photographs[:6])["images"]
        @ class_vectors(embedder, ["a b", "c", "d"], ["a {}", "the {}"]).T
    )
    assert result.metrics["accuracy"] == pytest.approx(np.mean(scores.argmax(1).numpy() == np.arange(6) % 3))
    assert result.settings == {"classes": 3, "templates": 2}
    named = protocols.zero_shot(embedder, test, names=["x", "y", "y"], how=How(data="pets"))
    assert named.own == "mean-per-class"
    several = replace(test, labels=[(0, 1), (1,), (2,), (0, 1, 2), (), (2,)])
    assert list(protocols.zero_shot(embedder, several).metrics) == ["mAP", "mAP over all points"]


def test_captions(embedder: Embedder, photographs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    said = [(f"picture {number}", f"number {number}") for number in range(8)]
    paths = [tmp_path / "bad.jpg", *photographs[:7]]
    result = protocols.captions(embedder, Captioned(name="c", pictures=paths, captions=said, unreadable=[]))
    assert (result.pictures, result.settings["captions"]) == (7, 14)
    assert [Path(each.path).name for each in result.unreadable] == ["bad.jpg"]
    images = embedder.embed(images=paths[1:])["images"]
    words = embedder.embed(text=[text for texts in said[1:] for text in texts])["text"]
    best = (words @ images.T).argmax(1)
    assert result.metrics["text-to-image R@1"] == pytest.approx(np.mean(best.numpy() == np.repeat(np.arange(7), 2)))
    assert result.metrics["text-to-image R@10"] == 1
    assert 1 <= result.metrics["image-to-text median rank"] <= 13


def test_what_does_not_fit(vit: Embedder, digits: tuple[Labelled, Labelled], tmp_path: Path) -> None:
    train, test = digits
    with pytest.raises(SensoriumError, match=r"0, 1, 2, 3 … .* not among the 2 classes"):
        protocols.probe(vit, replace(train, classes=("a", "b")), test)
    several = replace(test, labels=[(0, 1), *test.labels[1:]])
    with pytest.raises(SensoriumError, match="kNN needs one label a picture"):
        protocols.nearest_neighbours(vit, train, several)
    with pytest.raises(SensoriumError, match="no text tower"):
        protocols.zero_shot(vit, test)
    (tmp_path / "no.png").write_bytes(b"")
    nothing = Labelled(name="n", pictures=[tmp_path / "no.png"], labels=[(0,)], classes=train.classes, unreadable=[])
    with pytest.raises(SensoriumError, match=r"none of the 1 pictures could be read: .*no\.png: empty file"):
        protocols.nearest_neighbours(vit, train, nothing)
    lost = replace(
        train,
        pictures=[
            tmp_path / "no.png" if label == (4,) else path
            for path, label in zip(train.pictures, train.labels, strict=True)
        ],
    )
    with pytest.raises(SensoriumError, match="no picture of 4 can be read"):
        protocols.nearest_neighbours(vit, lost, test)


def test_kept_features_are_not_computed_again(
    vit: Embedder, digits: tuple[Labelled, Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was stopped goes on where it was, and gives what an uninterrupted one gives."""
    monkeypatch.setattr(features, "SHARD", 50)
    paths = digits[1].pictures
    whole = compute(vit, paths, "features")
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if progress.done > 120:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute(vit, paths, "features", keep=tmp_path / "kept", progress=stop, batch=16)
    assert [each.done for each in seen][:3] == [16, 32, 48]
    assert seen[0].total == len(paths)
    assert len(list((tmp_path / "kept").iterdir())) == 2
    rest = compute(vit, paths, "features", keep=tmp_path / "kept")
    assert rest.computed == len(paths) - 100
    torch.testing.assert_close(rest.vectors, whole.vectors)
    assert rest.rows == whole.rows
    again = compute(vit, paths, "features", keep=tmp_path / "kept")
    assert again.computed == 0
    assert [str(each) for each in again.unreadable] == [str(each) for each in whole.unreadable]
    assert compute(vit, paths, "scores", keep=tmp_path / "kept").computed == len(paths)
    assert compute(replace(vit, fingerprint="x"), paths, "features", keep=tmp_path / "kept").computed == len(paths)


def test_kept_files_that_are_damaged_or_out_of_date(vit: Embedder, tmp_path: Path) -> None:
    data = open_labelled(write_digits(tmp_path / "d", start=0, count=20))
    first = compute(vit, data.pictures, "features", keep=tmp_path / "kept")
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    again = compute(vit, data.pictures, "features", keep=tmp_path / "kept")
    assert again.computed == 20
    torch.testing.assert_close(load_file(file)["vectors"], first.vectors)
    Image.new("RGB", (40, 40), "red").save(data.pictures[0])
    changed = compute(vit, data.pictures, "features", keep=tmp_path / "kept")
    assert changed.computed == 20
    assert not torch.equal(changed.vectors[0], first.vectors[0])
    (tmp_path / "file").touch()
    with pytest.raises(SensoriumError, match="a file, not a folder"):
        compute(vit, data.pictures, "features", keep=tmp_path / "file" / "x")


def test_a_file_that_is_listed_twice_has_two_rows(vit: Embedder, photographs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    paths = [photographs[0], photographs[0], tmp_path / "bad.png", photographs[1], photographs[0]]
    found = compute(vit, paths, "features")
    assert found.rows == [0, 1, 3, 4]
    torch.testing.assert_close(found.vectors[0], found.vectors[3])


def test_numbers_that_are_not_finite(vit: Embedder, photographs: list[Path]) -> None:
    broken = replace(vit, image=lambda pixels: torch.full((len(pixels), 3), torch.nan))
    with pytest.raises(SensoriumError, match=r"not finite, first for .*astronaut\.png"):
        compute(broken, photographs[:2], "features")


@pytest.mark.parametrize("name", ["clip", "vit", "dinov2", "dinov3", "convnext", "imagebind"])
def test_every_family_has_features_to_probe(name: str, tmp_path: Path, photographs: list[Path]) -> None:
    from sensorium.checkpoints.formats import FAMILIES

    config = families.CONFIGS[name]
    if name in ("clip", "imagebind"):  # their own words, so that no vocabulary is needed beside the weights
        config = replace(config, text=replace(config.text, words=49408, context=77))
    save_model(families.build(config), tmp_path, naming=FAMILIES[name].formats[0].naming)
    model = sensorium.load(tmp_path, device="cpu")
    assert isinstance(model, Embedder)
    found = compute(model, photographs[:3], "features")
    inputs = model.preprocess.normalise(torch.stack([model._decode_listed(path) for path in photographs[:3]]))
    tower = model.features or model.image
    torch.testing.assert_close(found.vectors, tower(inputs).detach(), atol=1e-4, rtol=1e-4)
    projected = compute(model, photographs[:3], "embedding").vectors
    assert projected.shape[1] == model.dim
    if name in ("clip", "imagebind"):
        assert found.vectors.shape[1] == (64 if name == "clip" else 32) != model.dim
    if name != "vit":
        with pytest.raises(SensoriumError, match="no classes of its own"):
            compute(model, photographs[:3], "scores")


def test_pocket_has_features_and_classes(photographs: list[Path]) -> None:
    model = sensorium.load("pocket", device="cpu")
    assert isinstance(model, Embedder)
    chelsea = [photographs[2]]
    assert compute(model, chelsea, "features").vectors.shape == (1, 1280)
    scores = compute(model, chelsea, "scores").vectors
    assert scores.shape == (1, 1000)
    assert 281 <= int(scores.argmax()) <= 285, "a cat"


def test_a_model_in_memory_is_measured_as_it_stands(
    embedder: Embedder, photographs: list[Path], digits: tuple[Labelled, Labelled]
) -> None:
    """The same as from its file; and what is learned later is seen."""
    model = tiny.with_vocabulary().requires_grad_()
    here = in_memory(model, embedder.preprocess)
    torch.testing.assert_close(
        here.embed(images=photographs[:2], text="a"),
        embedder.embed(images=photographs[:2], text="a"),
        atol=1e-5,
        rtol=1e-5,
    )
    assert here.logit_scale == pytest.approx(embedder.logit_scale)
    learning = tiny.build(tiny.VIT)
    assert isinstance(learning, ViT)
    steps = replace(embedder.preprocess, size=32)
    learning.head.weight.data.zero_()
    marks: set[str] = set()
    for number in (3, 4):
        learning.head.bias.data.copy_(torch.eye(10)[number])
        later = in_memory(learning, steps)
        share = np.mean([label == (number,) for label in digits[1].labels])
        found = protocols.own_classes(later, digits[1]).metrics["accuracy"]
        assert found == pytest.approx(share, abs=0.006)  # one of the threes cannot be read
        marks.add(later.fingerprint)
    assert len(marks) == 2
    with pytest.raises(SensoriumError, match="does not embed pictures"):
        in_memory(torch.nn.Linear(2, 2), steps)


def test_fine_tuning_begins_at_nothing_and_at_any_size() -> None:
    model = tiny.build(replace(tiny.VIT, representation=24))
    assert isinstance(model, ViT)
    begun = fine_tuned(model, 7, image=48)
    picture = torch.randn(2, 3, 48, 48)
    assert torch.equal(begun(picture), torch.zeros(2, 7))
    torch.testing.assert_close(begun.represent(picture), model.represent(picture))
    assert begun.config == replace(model.config, classes=7, representation=0, image=48)
    begun.head.bias.data.fill_(3.0)
    assert model.head.bias.abs().max() < 3, "a copy"
    assert all(p.requires_grad for p in begun.parameters())


def test_the_published_table() -> None:
    known = [row for row in PUBLISHED if row.model in PRESETS]
    assert len(known) >= 60
    assert all(row.source and row.metric and 0 < row.value <= 100 for row in PUBLISHED)
    assert len({(r.model, r.data, r.protocol, r.metric, r.source) for r in PUBLISHED}) == len(PUBLISHED)
    assert {row.value for row in published("clip-vit-b-32", "zero-shot", "imagenet")} == {63.2, 63.32}
    assert not published("clip-vit-b-32", "zero-shot", "pets")
    assert {row.data for row in published("clip-vit-b-32", "retrieval")} == {"coco"}
    assert set(OWN_METRIC.values()) == {"mean-per-class", "ROC-AUC", "top-1-5", "mAP", "mAP over all points"}


@pytest.fixture
def manifest(tmp_path: Path, photographs: list[Path]) -> Path:
    rows = [{"path": str(path), "caption": path.stem} for path in photographs[:4]]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "c.jsonl"


def test_captions_from_a_table(embedder: Embedder, manifest: Path) -> None:
    assert protocols.captions(embedder, open_captioned(manifest)).pictures == 4

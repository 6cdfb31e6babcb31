"""`sensorium evaluate` on real files."""

import json
from pathlib import Path

import pytest

from sensorium.app.cli import main
from sensorium.checkpoints.load import save_model
from tests import tiny
from tests.digits import write_digits


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with digits, a ViT of ten classes and a CLIP."""
    from sensorium.data.preprocess import Preprocess

    root = tmp_path_factory.mktemp("evaluate")
    write_digits(root / "train", start=0, count=200)
    write_digits(root / "test", start=1000, count=60)
    (root / "test" / "3" / "broken.png").write_bytes(b"\x89PNG nothing")
    save_model(tiny.build(tiny.VIT), root / "vit", naming="timm")
    save_model(tiny.with_vocabulary(), root / "clip", naming="transformers", steps=Preprocess(32, rgb="before"))
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    (root / "names.txt").write_text("\n".join(names))
    (root / "templates.txt").write_text("a {}\nthe number {}\n")
    rows = [f"{path.relative_to(root)},{names[int(path.parent.name)]}" for path in sorted(root.glob("test/*/1*.png"))]
    (root / "captions.csv").write_text("\n".join(["path,caption", *rows]))
    return root


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(("evaluate", *words))
    out, err = capsys.readouterr()
    return code, out, err


def found(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize("protocol", ["probe", "knn", "few-shot"])
def test_what_learns(capsys: pytest.CaptureFixture[str], protocol: str) -> None:
    words = (protocol, "--train", "train", "--data", "test", "--keep", "kept", "--shots", "3,10", "--k", "5")
    answer = found(capsys, "./vit", *words)
    assert answer["protocol"] == protocol
    assert answer["pictures"] == 60
    assert answer["value"] > 0.15
    assert answer["unreadable"] == [{"path": "test/3/broken.png", "reason": "not an image"}]
    assert found(capsys, "./vit", *words)["pictures_per_second"] == 0


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "./vit", "classify", "--data", "test")
    assert code == 0
    assert "classify, test, 60 pictures" in out
    assert "mean-per-class" in out
    assert "pictures per second" in out
    assert "Published" not in out
    assert "1 picture could not be read" in err
    assert "test/3/broken.png: not an image" in err


def test_published_numbers_stand_beside(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.checkpoints.formats.like_preset", lambda model: "clip-vit-b-32")
    words = ("./clip", "zero-shot", "--data", "test", "--labels", "names.txt", "--templates", "templates.txt")
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert "Published, if these are the weights of clip-vit-b-32:" in out
    assert "63.32" in out
    assert "80 templates" in out
    answer = found(capsys, *words)
    assert answer["settings"] == {"classes": 10, "templates": 2}
    assert {row["value"] for row in answer["published"]} == {63.2, 63.32}
    other = found(capsys, *words, "--dataset", "Pets")
    assert (other["published"], other["metric"]) == ([], "mean-per-class")


def test_retrieval(capsys: pytest.CaptureFixture[str]) -> None:
    answer = found(capsys, "./clip", "retrieval", "--data", "captions.csv")
    assert answer["pictures"] == 60
    assert answer["metric"] == "text-to-image R@1"
    assert answer["metrics"]["image-to-text median rank"] >= 1
    assert "median rank" in run(capsys, "./clip", "retrieval", "--data", "captions.csv")[1]


def test_a_thousand_folders_of_wordnet_numbers_are_imagenet(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are called by ImageNet's names, in their order: nobody says "a photo of a n01440000"."""
    from sensorium.data.imagenet import imagenet_names
    from sensorium.tasks import zero_shot

    for number in range(1000):
        (tmp_path / f"n{1440000 + number:08}").mkdir()
        (tmp_path / f"n{1440000 + number:08}" / "a.png").write_bytes(b"")
    picture = next(Path("train/1").glob("*.png"))
    (tmp_path / "n01440001" / "a.png").write_bytes(picture.read_bytes())
    asked: list[tuple[str, ...]] = []
    whole = zero_shot.class_vectors

    def few(embedder: object, labels: tuple[str, ...], *rest: object, **options: object) -> object:
        asked.append(tuple(labels))
        return whole(embedder, labels, ["{}"], repeats=True)

    monkeypatch.setattr("sensorium.tasks.protocols.class_vectors", few)
    answer = found(capsys, "./clip", "zero-shot", "--data", str(tmp_path))
    assert asked == [imagenet_names()]
    assert (answer["data"], answer["pictures"], len(answer["unreadable"])) == ("imagenet", 1, 999)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("vit", "probe", "--data", "test"), 1, "probe learns from pictures: name them with --train"),
        (("vit", "classify", "--data", "test", "--train", "train"), 1, "learns from no pictures"),
        (("vit", "knn", "--data", "test/1", "--train", "train"), 1, "test/1: no class folders in it"),
        (("vit", "classify", "--data", "none"), 1, "none: no such file"),
        (("vit", "retrieval", "--data", "captions.csv"), 1, "no text tower"),
        (("clip", "retrieval", "--data", "names.txt"), 1, "names.txt: nothing that is known"),
        (("clip", "zero-shot", "--data", "test", "--labels", "templates.txt"), 1, "2 names and the data 10 classes"),
        (("clip", "zero-shot", "--data", "test", "--labels", "imagenet"), 1, "10 classes, and ImageNet 1000"),
        (("clip", "zero-shot", "--data", "test", "--templates", "names.txt"), 1, "'zero' needs exactly one {}"),
        (("clip", "classify", "--data", "test"), 1, "has no classes of its own"),
        (("vit", "zero-shot", "--data", "test"), 1, "no text tower"),
        (("vit", "few-shot", "--data", "test", "--train", "train", "--shots", "5,x"), 2, "--shots: whole numbers"),
        (("vit", "knn", "--data", "test", "--train", "train", "--k", "500"), 1, "k=500: there are 200 pictures"),
        (
            ("vit", "knn", "--data", "test", "--train", "train", "--labels", "names.txt"),
            1,
            "knn has no use for --labels",
        ),
        (("vit", "guess", "--data", "test"), 2, "guess"),
        (("vit", "probe"), 2, "--data"),
    ],
)
def test_what_cannot_be_measured(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str
) -> None:
    given, out, err = run(capsys, f"./{words[0]}", *words[1:])
    assert said in " ".join(err.split())
    assert (given, out) == (code, "")

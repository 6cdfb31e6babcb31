"""`sensorium evaluate` of dense tasks on real files, in published layouts."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.app.cli import main
from sensorium.checkpoints.load import save_model
from tests.tiny_dense import colour_vit, colours

PALETTE = np.array([(20, 20, 60), (230, 40, 40), (40, 220, 60)], dtype=np.uint8)
APART = np.array([(10, 10, 120), (250, 240, 60)], dtype=np.uint8)  # so that LOST's products differ in sign
Pixels = np.ndarray


def shown(seed: int, labels: Pixels) -> Pixels:
    noise = np.random.default_rng(seed).integers(-10, 11, (*labels.shape, 3))
    return (PALETTE[labels].astype(int) + noise).clip(0, 255).astype(np.uint8)


def scene(seed: int) -> Pixels:
    """A red and a green square on dark ground."""
    random = np.random.default_rng(seed)
    labels = np.zeros((48, 64), dtype=np.uint8)
    for kind in (1, 2):
        y, x = 4 * random.integers(0, 8), 4 * random.integers(0, 12)
        labels[y : y + 16, x : x + 16] = kind
    return labels


def save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of colours, one without patches, and a small set in the layout of each kind."""
    root = tmp_path_factory.mktemp("dense")
    save_model(colour_vit(), root / "colours", naming="timm", steps=colours().preprocess)
    for seed in range(10):
        part = "training" if seed < 7 else "validation"
        save(root / "ade" / "images" / part / f"{seed}.jpg", shown(seed, scene(seed)))
        save(root / "ade" / "annotations" / part / f"{seed}.png", scene(seed) + np.uint8(1))
        metres = np.kron(np.random.default_rng(seed).uniform(1, 9, (6, 8)), np.ones((8, 8)))
        save(root / "far" / "images" / f"{seed}.png", np.stack([(metres * 25).astype(np.uint8)] * 3, 2))
        save(root / "far" / "depth" / f"{seed}.png", (metres * 1000).astype(np.uint16))
    for number in range(6):
        labels = np.zeros((64, 96), dtype=np.uint8)
        labels[8:32, 4 * number + 4 : 4 * number + 28] = 1
        labels[40:56, 60 - 4 * number : 76 - 4 * number] = 2
        save(root / "DAVIS" / "JPEGImages" / "480p" / "drift" / f"{number:05}.jpg", shown(number, labels))
        save(root / "DAVIS" / "Annotations" / "480p" / "drift" / f"{number:05}.png", labels)
    listing = root / "DAVIS" / "ImageSets" / "2017" / "val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("drift\n")
    _voc(root / "VOC2007")
    _spair(root / "SPair-71k")
    _oxford(root / "oxford")
    return root


def _voc(folder: Path) -> None:
    names = [f"{seed:06}" for seed in range(4)]
    for seed, name in enumerate(names):
        labels = np.where(scene(seed) == 1, 1, 0).astype(np.uint8)
        save(folder / "JPEGImages" / f"{name}.jpg", APART[labels])
        rows, columns = np.nonzero(labels)
        corners = [("xmin", columns.min() + 1), ("ymin", rows.min() + 1)]
        corners += [("xmax", columns.max() + 1), ("ymax", rows.max() + 1)]
        box = "".join(f"<{corner}>{value}</{corner}>" for corner, value in corners)
        text = f"<annotation><object><name>cat</name><bndbox>{box}</bndbox></object></annotation>"
        (folder / "Annotations").mkdir(exist_ok=True, parents=True)
        (folder / "Annotations" / f"{name}.xml").write_text(text)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "trainval.txt").write_text("\n".join(names))


def _spair(folder: Path) -> None:
    for name, kind in (("a", (0, 1, 2)), ("b", (1, 2, 0))):
        labels = np.kron(np.array([kind]), np.ones((32, 32), dtype=int)).astype(np.uint8)
        save(folder / "JPEGImages" / "cat" / f"{name}.jpg", PALETTE[labels])
    pair = {
        "category": "cat",
        "src_imname": "a.jpg",
        "trg_imname": "b.jpg",
        "src_kps": [[16, 16], [48, 16], [80, 16]],
        "trg_kps": [[80, 16], [16, 16], [48, 16]],
        "src_bndbox": [0, 0, 96, 32],
        "trg_bndbox": [0, 0, 96, 32],
    }
    (folder / "PairAnnotation" / "test").mkdir(parents=True)
    (folder / "PairAnnotation" / "test" / "a-b.json").write_text(json.dumps(pair))
    (folder / "Layout" / "large").mkdir(parents=True)
    (folder / "Layout" / "large" / "test.txt").write_text("a-b\n")


def _oxford(folder: Path) -> None:
    for number in range(6):
        save(folder / "jpg" / f"g{number}.jpg", np.full((40, 40, 3), PALETTE[number % 3], dtype=np.uint8))
    save(folder / "jpg" / "q.jpg", np.full((40, 40, 3), PALETTE[1], dtype=np.uint8))
    entry = {"easy": [1], "hard": [4], "junk": [0], "bbx": [0, 0, 40, 40]}
    content = {"imlist": [f"g{number}" for number in range(6)], "qimlist": ["q"], "gnd": [entry]}
    (folder / "gnd_roxford5k.json").write_text(json.dumps(content))


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(("evaluate", *words))
    out, err = capsys.readouterr()
    return code, out, err


LEARN = ("--steps", "20", "--rate", "0.2", "--keep", "kept")
ASKED = {
    "segmentation": (("--train", "ade", "--data", "ade", "--size", "48", *LEARN), "ade20k", "mIoU"),
    "depth": (("--train", "far", "--data", "far", "--size", "24", *LEARN), None, "RMSE"),
    "discovery": (("--data", "VOC2007", "--split", "trainval", "--keep", "kept"), "voc2007", "CorLoc"),
    "correspondence": (("--data", "SPair-71k", "--size", "12", "--keep", "kept"), "spair", "recall"),
    "tracking": (("--data", "DAVIS", "--size", "64", "--keep", "kept"), "davis2017", "J&F"),
    "instances": (("--data", "oxford", "--keep", "kept"), "oxford", "mAP Hard"),
}
ENOUGH = {"segmentation": 0.4, "discovery": 0.99, "correspondence": 0.99, "tracking": 0.85, "instances": 0.99}


@pytest.mark.parametrize("protocol", ASKED)
def test_every_task_from_files(capsys: pytest.CaptureFixture[str], protocol: str) -> None:
    words, data, metric = ASKED[protocol]
    code, out, err = run(capsys, "./colours", protocol, *words, "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert (answer["protocol"], answer["data"], answer["metric"]) == (protocol, data, metric)
    if protocol == "depth":
        assert answer["value"] < 2.0, "metres; a constant is off by 2.3"
    else:
        assert answer["value"] > ENOUGH[protocol]
    again = json.loads(run(capsys, "./colours", protocol, *words, "--json")[1])
    assert again["pictures_per_second"] == 0, "features were kept"
    assert again["metrics"] == answer["metrics"]


def test_published_numbers_stand_beside(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.checkpoints.formats.like_preset", lambda model: "dinov3-vit-7b-16")
    _, out, _ = run(capsys, "./colours", "tracking", "--data", "DAVIS", "--size", "64", "--method", "dino")
    assert "J&F on davis2017                 83.3" in out
    assert "neighbourhood square" in out
    _, out, _ = run(
        capsys, "./colours", "depth", "--train", "far", "--data", "far", "--steps", "2", "--dataset", "nyud"
    )
    assert "RMSE on nyud                    0.309" in out
    line = next(line for line in out.splitlines() if line.startswith("  RMSE  "))
    assert 0 < float(line.split()[1]) < 10, "metres, not percent"


def test_thresholds_and_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--method", "tokencut", "--reads", "tokens", "--tau=-1.1,0.2", "--blocks=-2,-1")
    code, out, err = run(capsys, "./colours", "discovery", "--data", "VOC2007", *words, "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["settings"] == {"method": "tokencut", "reads": "tokens", "tau": 0.2, "thresholds tried": 2}
    assert answer["value"] == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("segmentation", "--data", "ade"), 1, "segmentation learns from pictures: name them with --train"),
        (("tracking", "--data", "DAVIS", "--train", "ade"), 1, "tracking learns from no pictures"),
        (("tracking", "--data", "DAVIS", "--steps", "5"), 1, "no use for --steps: it is for segmentation and depth"),
        (("tracking", "--data", "DAVIS", "--method", "lost"), 1, "--method lost: tracking has dinov3 and dino"),
        (("knn", "--data", "ade", "--train", "ade", "--size", "5"), 1, "knn has no use for --size"),
        (("instances", "--data", "oxford", "--labels", "x"), 1, "instances has no use for --labels"),
        (("discovery", "--data", "VOC2007", "--tau", "low"), 2, "--tau: numbers with commas"),
        (("discovery", "--data", "VOC2007", "--blocks", "7"), 1, "has blocks 0 to 1; asked for: 7"),
        (("tracking", "--data", "VOC2007"), 1, "VOC2007"),
        (("tracking", "--data", "DAVIS", "--size", "0"), 2, "--size and --steps must be at least 1"),
        (("depth", "--data", "far", "--train", "far", "--rate", "0"), 2, "--rate above 0"),
    ],
)
def test_what_makes_no_sense(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str) -> None:
    found, out, err = run(capsys, "./colours", *words)
    assert (found, out) == (code, ""), err
    assert said in err


def test_a_model_without_patches_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "pocket", "tracking", "--data", "DAVIS", "--size", "64")
    assert code == 1
    assert "does not read pictures as patches" in err

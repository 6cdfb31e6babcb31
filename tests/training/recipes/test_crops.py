"""Self-supervision on whatever a user has: plain folders, class folders, lists, tars; damaged files; workers."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.errors import SensoriumError
from sensorium.training.loop import train
from sensorium.training.recipe import Engine
from sensorium.training.recipes import dinov3
from sensorium.training.recipes import dinov3_parts as parts
from sensorium.training.run_folder import RunFolder, read_metrics
from sensorium.training.saving import found, read_weights
from sensorium.training.world import World
from tests.training.lines import SMALL


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))


def png(number: int) -> bytes:
    """Noise that is red for even numbers, blue for odd ones."""
    pixels = np.random.default_rng(number).integers(0, 60, (24, 28, 3), dtype=np.uint8)
    pixels[..., 2 * (number % 2)] += 180
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def plain(folder: Path) -> str:
    folder.mkdir()
    for i in range(12):
        (folder / f"{i:02}.png").write_bytes(png(i))
    return str(folder)


def classes(folder: Path) -> str:
    for i in range(12):
        inside = folder / ("blue" if i % 2 else "red")
        inside.mkdir(parents=True, exist_ok=True)
        (inside / f"{i:02}.png").write_bytes(png(i))
    return str(folder)


def listed(folder: Path) -> str:
    plain(folder)
    rows = [{"path": f"{i:02}.png", "label": i % 2} for i in range(12)]
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(folder / "list.jsonl")


def tars(folder: Path) -> str:
    folder.mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for i in range(6 * shard, 6 * shard + 6):
                for name, content in ((f"{i:02}.png", png(i)), (f"{i:02}.cls", str(i % 2).encode())):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return f"{folder}/{{0..1}}.tar"


def settings(data: str, **others: Any) -> parts.Settings:
    return parts.Settings(**{**SMALL, "data": data, "batch": 4, "epochs": 1.0, "evaluations": 1, **others})


def run(s: parts.Settings, folder: Path, engine: Engine | None = None) -> RunFolder:
    place = RunFolder(folder)
    place.create({"recipe": "test", "settings": {}, "engine": {}})
    train(dinov3.dinov3(s, World()), engine or Engine(), place, World())
    return place


@pytest.mark.parametrize("make", [plain, classes, listed, tars])
def test_pictures_need_no_labels(make: Any, tmp_path: Path) -> None:
    recipe = dinov3.dinov3(settings(make(tmp_path / "data")), World())
    assert recipe.evaluate is None
    assert recipe.steps == 3
    batches = list(recipe.data.batches(4, start=0, steps=3))
    assert [tuple(batch["local"].shape) for batch in batches] == [(4, 3, 3, 16, 16)] * 3
    reds = sum((batch["global"].float().mean((1, 3, 4)).argmax(1) == 0).sum() for batch in batches)
    assert 3 <= reds <= 9, "pictures of both kinds"


@pytest.mark.parametrize("make", [classes, listed, tars])
def test_labelled_pictures_are_asked_for_their_neighbours(make: Any, tmp_path: Path) -> None:
    data = make(tmp_path / "data")
    place = run(settings(data, validation=make(tmp_path / "asked")), tmp_path / "run")
    assert read_metrics(place)[-1]["evaluate/knn"] == 1.0, "red or blue, and the same pictures are remembered"
    with pytest.raises(SensoriumError, match="has no labels to measure with: leave validation out"):
        dinov3.dinov3(settings(data, validation=plain(tmp_path / "plain")), World())


def test_workers_change_nothing(tmp_path: Path) -> None:
    s = settings(plain(tmp_path / "data"))
    places = [run(s, tmp_path / f"run-{n}", Engine(workers=n)) for n in (0, 1)]
    alone, helped = (read_weights(found(place)[-1]) for place in places)
    assert all(torch.equal(alone[name], helped[name]) for name in alone)
    assert [record["loss"] for record in read_metrics(places[0])] == [
        record["loss"] for record in read_metrics(places[1])
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_listed_and_training_goes_on(workers: int, tmp_path: Path) -> None:
    data = plain(tmp_path / "data")
    (tmp_path / "data" / "05.png").write_bytes(png(5)[:200])
    (tmp_path / "data" / "07.png").write_bytes(b"")
    place = run(settings(data, epochs=1.0), tmp_path / "run", Engine(workers=workers))
    assert len(read_metrics(place)) == 3
    damaged = json.loads((place.path / "damaged-0.json").read_text())
    assert {Path(name).name for name in damaged} == {"05.png", "07.png"}
    assert all(damaged.values()), "with reasons"

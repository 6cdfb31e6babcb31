"""Files of every sense as vectors: clips averaged, told facts heeded, damage listed, work kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.errors import SensoriumError
from sensorium.data.given import Given
from sensorium.tasks.features import Progress, compute
from tests.data.test_segments import film
from tests.planted_senses import WORDS, Planted, gray, sound
from tests.tiny_senses import imagebind


def direction(word: str) -> list[float]:
    return [float(word == each) for each in (*WORDS, None)]


def motion(path: Path, levels: list[float]) -> Path:
    """Five seconds of each level, ten readings a second."""
    rows = ["time_s,accl_x (m/s2),accl_y,accl_z,gyro_x (rad/s),gyro_y,gyro_z"]
    rows += [f"{i / 10:.1f},{levels[i // 50]},1,1,1,1,1" for i in range(50 * len(levels))]
    path.write_text("\n".join(rows) + "\n")
    return path


def vectors(planted: Planted, *given: Given) -> list[list[float]]:
    return compute(planted.embedder(), given, "embedding").vectors.tolist()


def test_every_sense(tmp_path: Path) -> None:
    planted = Planted()
    assert vectors(planted, Given(sound(tmp_path / "a.wav", "cat"), "audio")) == [direction("cat")]
    bright = film(tmp_path / "a.mp4", [gray("cat")] * 20 + [gray("rain")] * 20)
    (seen,) = vectors(planted, Given(bright, "video"))
    assert seen == [0, 0.5, 0.5, 0, 0], "the mean of two clips' vectors of length 1, and no more"
    Image.fromarray(np.full((24, 32), 2000, np.uint16)).save(tmp_path / "d.png")
    told = (("unit", "mm"), ("focal", 500.0))
    assert vectors(planted, Given(tmp_path / "d.png", "depth", told)) == [direction("cat")]
    nearer = (("unit", "mm"), ("focal", 1000.0))
    assert vectors(planted, Given(tmp_path / "d.png", "depth", nearer)) == [direction("dog")]
    heat = np.full((24, 32), gray("beach"), np.uint8)
    heat[:, :16] = gray("dog")
    Image.fromarray(heat).save(tmp_path / "t.png")
    left, right = (Given(tmp_path / "t.png", "thermal", (("box", box),)) for box in ((0, 4, 16, 20), (16, 4, 32, 20)))
    assert vectors(planted, left, right) == [direction("dog"), direction("beach")]
    moved = motion(tmp_path / "m.csv", [1.0, 3.0])
    early, late = (Given(moved, "motion", (("begin", begin), ("end", begin + 4.5))) for begin in (0.0, 5.4))
    assert vectors(planted, early, late) == [direction("cat"), direction("beach")]


def test_damaged_files_are_listed_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF nothing at all")
    Image.fromarray(np.full((24, 32), 2000, np.uint16)).save(tmp_path / "d.png")
    files = [Given(tmp_path / "bad.wav", "audio"), Given(sound(tmp_path / "a.wav", "dog"), "audio")]
    found = compute(Planted().embedder(), files, "embedding")
    assert found.rows == [1]
    assert [Path(each.path).name for each in found.unreadable] == ["bad.wav"]
    with pytest.raises(SensoriumError, match=r"none of the 1 files could be read: .*a depth map states no unit"):
        compute(Planted().embedder(), [Given(tmp_path / "d.png", "depth")], "embedding")


def test_what_was_computed_is_kept(tmp_path: Path) -> None:
    files = [Given(sound(tmp_path / f"{number}.wav", WORDS[number % 4]), "audio") for number in range(6)]
    (tmp_path / "bad.wav").write_bytes(b"RIFF nothing at all")
    files.insert(2, Given(tmp_path / "bad.wav", "audio"))
    told: list[Progress] = []
    first, second = Planted(), Planted()
    keep = tmp_path / "kept"
    fresh = compute(first.embedder(), files, "embedding", keep=keep, progress=told.append)
    assert (told[-1].done, told[-1].total) == (7, 7)
    assert told[-1].rate > 0
    kept = compute(second.embedder(), files, "features", keep=keep)
    assert (len(first.heard), second.heard, kept.computed) == (6, [], 0)
    assert torch.equal(kept.vectors, fresh.vectors)
    assert [each.path for each in kept.unreadable] == [str(tmp_path / "bad.wav")]
    sound(tmp_path / "3.wav", "rain", seconds=1.5)
    compute(second.embedder(), files, "embedding", keep=keep)
    assert len(second.heard) == 6, "a file has changed"


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.tasks.features.FEW", 2)
    files = [Given(sound(tmp_path / f"{number}.wav", "dog"), "audio") for number in range(6)]

    def stop(progress: Progress) -> None:
        if progress.done >= 5:
            raise KeyboardInterrupt

    first, second = Planted(), Planted()
    with pytest.raises(KeyboardInterrupt):
        compute(first.embedder(), files, "embedding", keep=tmp_path / "kept", progress=stop)
    compute(second.embedder(), files, "embedding", keep=tmp_path / "kept")
    assert sorted(path.name for path in second.heard) == ["4.wav", "5.wav"]


def test_a_sense_that_the_model_lacks(tmp_path: Path) -> None:
    from dataclasses import replace

    deaf = replace(Planted().embedder(), senses={})
    heard = Given(sound(tmp_path / "a.wav", "dog"), "audio")
    with pytest.raises(SensoriumError, match="planted has no audio: it has image, text"):
        compute(deaf, [heard], "embedding")
    with pytest.raises(SensoriumError, match="files of one sense at a time, not of audio and video"):
        compute(deaf, [heard, Given(heard.path, "video")], "embedding")


def test_what_is_measured_is_what_a_model_embeds(tmp_path: Path) -> None:
    """ImageBind from a file, by each of its senses: the vectors of `embed`, but for their length."""
    bound = imagebind(tmp_path / "model")
    (tmp_path / "depth.json").write_text('{"unit": "mm", "focal": 500}')
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(1000, 4000, (24, 32)).astype(np.uint16)).save(tmp_path / "d.png")
    Image.fromarray(draw.integers(0, 255, (24, 32)).astype(np.uint8)).save(tmp_path / "t.png")
    files = {
        "audio": sound(tmp_path / "a.wav", "cat", seconds=5.0),
        "video": film(tmp_path / "a.mp4", list(range(0, 250, 5))),
        "depth": tmp_path / "d.png",
        "thermal": tmp_path / "t.png",
        "motion": motion(tmp_path / "m.csv", [1.0, 3.0]),
    }
    for sense, path in files.items():
        found = compute(bound, [Given(path, sense)], "embedding").vectors
        whole: dict[str, list[Path]] = {sense: [path]}
        torch.testing.assert_close(torch.nn.functional.normalize(found, dim=-1), bound.embed(**whole)[sense])  # pyright: ignore
        assert float(found.norm()) <= 1 + 1e-5
    told = Given(files["depth"], "depth", (("unit", "mm"), ("focal", 900.0)))
    assert not torch.allclose(
        compute(bound, [told], "embedding").vectors, bound.embed(depth=[files["depth"]])["depth"], atol=1e-3
    )
    cut = Given(files["thermal"], "thermal", (("box", (0, 0, 40, 9)),))
    with pytest.raises(SensoriumError, match=r"a box .* of 32 x 24 pixels"):
        compute(bound, [cut], "embedding")

"""Both sides of a pair are cut alike: pixel on pixel, and at the same moment."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.audio import AudioSteps
from sensorium.data.audio_segments import SoundSegment
from sensorium.data.depth import DepthMap, DepthSteps
from sensorium.data.errors import Unreadable
from sensorium.data.motion import Motion, MotionSteps
from sensorium.data.paired import Augmented, Pair, motion_of, moved_at, sound_at
from sensorium.data.preprocess import Preprocess
from sensorium.data.sources import open_source
from sensorium.data.thermal import HeatMap, ThermalSteps
from sensorium.data.video import frames_at
from tests.data.test_segments import film

STEPS = Preprocess(size=32, interpolation="bilinear")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(height: int = 60, width: int = 80) -> dict[str, Any]:
    """A picture whose red says what its depth and its heat say: a hill somewhere."""
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    hill = np.exp(-((x - 0.3) ** 2 + (y - 0.6) ** 2) * 6)
    pixels = np.repeat(np.round(255 * hill)[..., None], 3, 2).astype(np.uint8)
    hill = torch.from_numpy(hill).float()
    return {"key": "hill", "image": pixels, "depth": DepthMap(hill, 0.0, "a hill"), "thermal": HeatMap(hill, None, "")}


@pytest.mark.parametrize("sense", ["depth", "thermal"])
@pytest.mark.parametrize("seed", range(12))
def test_depth_and_heat_are_cut_and_mirrored_with_their_picture(sense: Any, seed: int) -> None:
    reads = DepthSteps(size=32, full=1.0, mean=0.0, std=1.0) if sense == "depth" else ThermalSteps(size=32)
    pair = Pair(sense=sense, reads=reads, steps=STEPS, augmented=Augmented(scale=(0.2, 1.0), erased=0.0))
    made = pair(scene(), generator(seed))
    assert made["image"].shape == (1, 3, 32, 32)
    torch.testing.assert_close(made[sense][0], made["image"][0, 0] / 255, atol=0.01, rtol=0)


def test_crops_differ_some_are_mirrored_and_a_larger_map_is_cut_alike() -> None:
    reads = DepthSteps(size=32, full=1.0, mean=0.0, std=1.0)
    pair = Pair(sense="depth", reads=reads, steps=STEPS, augmented=Augmented(scale=(0.9, 1.0), erased=0.0))
    finer = scene() | {"depth": scene(120, 160)["depth"]}
    tops: set[bool] = set()
    for seed in range(20):
        made = pair(finer, generator(seed))
        torch.testing.assert_close(
            made["depth"][0], made["image"][0, 0] / 255, atol=0.06, rtol=0
        )  # whole pixels are cut
        tops.add(bool(made["depth"][0].amax(0).argmax() < 16))
    assert tops == {True, False}, "the hill is left, or right in the mirror"
    unmirrored = replace(pair, augmented=replace(pair.augmented, flip=False))
    assert all(unmirrored(finer, generator(seed))["depth"][0].amax(0).argmax() < 16 for seed in range(20))
    with pytest.raises(Unreadable, match="the picture is 80x60 and its depth 60x60: not one view"):
        pair(scene() | {"depth": scene(60, 60)["depth"]}, generator(0))


def test_the_measured_pair_is_not_augmented() -> None:
    pair = Pair(sense="depth", reads=DepthSteps(size=32), steps=STEPS)
    made, s = pair.plain(scene()), scene()
    assert torch.equal(made["image"][0], STEPS.pixels(s["image"]))
    assert torch.equal(made["depth"], DepthSteps(size=32)(s["depth"].disparity))


def counting(seconds: float = 10.0, rate: int = 1000) -> SoundSegment:
    """A sound whose samples tell their time."""
    return SoundSegment(0.0, seconds, torch.arange(int(seconds * rate))[None] / (seconds * rate), rate)


def test_two_seconds_of_a_sound_are_anywhere_in_what_is_meant() -> None:
    starts = [float(sound_at({"audio": counting()}, 2.0, time).waveform[0, 0]) * 10 for time in (0.0, 0.5, 1.0)]
    assert starts == pytest.approx([0, 4, 8], abs=0.01)
    meant = {"audio": counting(), "begin": 3.0, "end": 6.0}
    starts = [float(sound_at(meant, 2.0, time).waveform[0, 0]) * 10 for time in (0.0, 1.0)]
    assert starts == pytest.approx([3, 4], abs=0.01)
    assert sound_at({"audio": counting(0.5)}, 2.0, 0.7).waveform.shape == (1, 500), "a short one is whole"
    short = {"begin": 1.0, "end": 1.5}
    assert sound_at({"audio": counting()} | short, 2.0, 0.7).waveform.shape == (1, 500), "no more than what is meant"


def test_of_a_file_the_same_stretch_comes_as_of_its_samples(tmp_path: Path) -> None:
    soundfile: Any = pytest.importorskip("soundfile")
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 100_000)
    soundfile.write(tmp_path / "a.wav", wave, 8000, subtype="FLOAT")
    there = SoundSegment(0.0, 12.5, torch.from_numpy(wave).float()[None], 8000)
    for time in (0.0, 0.3, 1.0):  # the last is in the second piece that the file is read in
        a, b = sound_at({"audio": tmp_path / "a.wav"}, 2.0, time), sound_at({"audio": there}, 2.0, time)
        meant = {"audio": tmp_path / "a.wav", "begin": 1.0, "end": 1.5}
        assert sound_at(meant, 2.0, time).end == pytest.approx(1.5)
        assert torch.equal(a.waveform, b.waveform)
        assert (a.begin, a.end) == pytest.approx((b.begin, b.end))
    with pytest.raises(Unreadable, match=r"a\.wav: holds no sound from 40\.0 s on"):
        sound_at({"audio": tmp_path / "a.wav", "begin": 40.0, "end": 45.0}, 2.0, 0.0)
    pair = Pair(sense="audio", reads=AudioSteps(clips=1), steps=STEPS)
    soundfile.write(tmp_path / "b.wav", wave[:3], 8000)
    with pytest.raises(Unreadable, match="too short"):
        pair.plain({"image": scene()["image"], "audio": tmp_path / "b.wav"})


def gray(path: Path, seconds: float = 8.0) -> Path:
    """A film that becomes brighter and brighter."""
    return film(path, [2 * i for i in range(int(seconds * 10))])


def motion(begin: float = 0.0, seconds: float = 8.0, hole: tuple[float, float] = (9e9, 9e9)) -> Motion:
    """A recording whose readings tell their time, from its beginning."""
    times = begin + np.arange(int(seconds * 100)) / 100
    kept = (times < hole[0]) | (times > hole[1])
    return Motion("m", times[kept], np.repeat((times - begin)[kept][:, None], 6, 1), "")


@pytest.mark.parametrize("begin", [0.0, 1.7e9])
def test_frames_are_of_the_stretch_that_is_felt(tmp_path: Path, begin: float) -> None:
    sample = {"video": gray(tmp_path / "a.mp4"), "motion": motion(begin)}
    pair = Pair(sense="motion", reads=MotionSteps(steps=50), steps=STEPS, frames=2, augmented=Augmented(flip=False))
    times: list[float] = []
    for seed in range(6):
        made = pair(sample, generator(seed))
        felt = made["motion"][0, 0], made["motion"][0, -1]
        seen = made["image"][:, 0].float().mean((1, 2)) / 20  # 20 levels a second
        assert float(seen[0]) == pytest.approx(float(felt[0]), abs=0.25)
        assert float(seen[1]) == pytest.approx(float(felt[1]), abs=0.35)
        times.append(float(felt[0]))
    assert max(times) - min(times) > 1, "anywhere in the film"
    middle = pair.plain(sample)
    assert float(middle["motion"][0, 0]) == pytest.approx(1.55, abs=0.02), "the mean of a tenth of a second"
    one = replace(pair, frames=1).plain(sample)
    assert float(one["image"][0, 0].float().mean() / 20) == pytest.approx(4, abs=0.25), "the middle one"


def test_frames_are_of_the_stretch_that_is_heard(tmp_path: Path) -> None:
    sample = {"video": gray(tmp_path / "a.mp4"), "audio": counting(8.0, 16000)}
    pair = Pair(sense="audio", reads=AudioSteps(clips=1), steps=STEPS)
    for seed in range(4):
        view = pair.view(seed, 0)
        seen = float(pair.picture(sample, view)[0, 0].float().mean() / 20)
        assert seen == pytest.approx(6 * view.time + 1, abs=0.3)
    with pytest.raises(Unreadable, match="a film does not say which of its frames this depth belongs to"):
        Pair(sense="depth", reads=DepthSteps(size=32), steps=STEPS).plain({"video": sample["video"], "depth": None})


def test_windows_of_motion_avoid_gaps() -> None:
    holed = motion(seconds=30.0, hole=(10.0, 12.0))
    for time in np.linspace(0, 1, 21):
        begin = moved_at({"key": "m"}, holed, 5.0, float(time))
        assert begin + 5 <= 10.02 or begin >= 11.98
    with pytest.raises(Unreadable, match=r"gaps leave no 5 s in a row"):
        moved_at({"key": "m"}, motion(seconds=9.0, hole=(4.0, 5.0)), 5.0, 0.5)
    with pytest.raises(Unreadable, match=r"less than the 5 s"):
        moved_at({"key": "m"}, motion(seconds=3.0), 5.0, 0.5)
    assert motion_of({"motion": holed}) is holed


def test_frames_at_times(tmp_path: Path) -> None:
    found = frames_at(gray(tmp_path / "a.mp4"), [0.0, 4.0, 99.0]).float().mean((1, 2, 3)) / 20
    assert found.tolist() == pytest.approx([0, 4, 7.9], abs=0.25)


def test_lists_name_files_of_several_senses(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "pairs.csv").write_text(
        "image,audio,depth,unit,focal,begin,end,text\na.png,a.wav,d.png,mm,520,1,3.5,hum\n"
    )
    row = open_source(tmp_path / "pairs.csv")[0]
    assert (row["audio"], row["depth"]) == (tmp_path / "a.wav", tmp_path / "d.png")
    assert (row["unit"], row["focal"], row["begin"], row["end"], row["text"]) == ("mm", 520.0, 1.0, 3.5, "hum")
    (tmp_path / "felt.jsonl").write_text('{"video": "a.mp4", "motion": "a.csv"}\n{"video": 3, "motion": "a.csv"}\n')
    source = open_source(tmp_path / "felt.jsonl")
    assert source[0]["motion"] == tmp_path / "a.csv"
    assert "image" not in source[0]
    with pytest.raises(Unreadable, match="video is no path"):
        source[1]

"""`sensorium evaluate` of every sense, on small sets in their published layouts, by a model that knows four words."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sensorium
from sensorium.app.cli import main
from sensorium.data.audio import read_audio
from sensorium.data.region_files import write_regions
from sensorium.data.regions import Regions
from tests.data.test_published_sets import MIDS
from tests.data.test_segments import film
from tests.data.test_sensed import voc
from tests.planted_senses import WORDS, Planted, gray, picture, sound
from tests.tasks.test_sensed import motion


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(vars(sensorium), "load", lambda name, **_: Planted().embedder())
    return tmp_path


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The sounds that are read from now on."""
    files: list[Path] = []

    def read(path: Path) -> Any:
        files.append(path)
        return read_audio(path)

    monkeypatch.setattr("tests.planted_senses.read_audio", read)
    return files


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(("evaluate", "planted", *words))
    out, err = capsys.readouterr()
    return code, out, " ".join(err.split())


def found(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code, out, err = run(capsys, *words, "--json")
    assert code == 0, err
    return json.loads(out)


def esc50(root: Path, copies: int = 2) -> None:
    """Five folds with `copies` sounds of each word; in the first fold, one dog sounds like a cat."""
    (root / "meta").mkdir(parents=True)
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for number, word in enumerate(WORDS):
            for copy in range(copies):
                name = f"{fold}-{copy}-A-{number}.wav"
                wrong = fold == 1 and word == "dog" and copy == 0
                sound(root / "audio" / name, "cat" if wrong else word, phase=fold + copy)
                rows.append(f"{name},{fold},{number},{word},False,1,A")
    (root / "meta/esc50.csv").write_text("\n".join(rows))


def test_esc_50(place: Path, capsys: pytest.CaptureFixture[str], heard: list[Path]) -> None:
    esc50(place / "ESC-50")
    (place / "ESC-50/audio/5-1-A-3.wav").write_bytes(b"RIFF\0\0\0\0WAVE nothing")
    words = ("zero-shot", "--data", "ESC-50", "--keep", "kept")
    answer = found(capsys, *words)
    assert (answer["data"], answer["files"], answer["metric"]) == ("esc-50", 39, "accuracy")
    assert answer["value"] == pytest.approx(38 / 39)
    assert answer["settings"] == {"classes": 4, "templates": 1}
    assert [Path(each["path"]).name for each in answer["unreadable"]] == ["5-1-A-3.wav"]
    assert len(heard) == 40
    code, out, err = run(capsys, *words)
    assert code == 0
    assert len(heard) == 40, "kept"
    assert "zero-shot, ESC-50, 39 sounds" in out
    assert "features as kept" in out
    assert "1 file could not be read and counts for nothing" in err.replace("count for", "counts for")
    assert found(capsys, *words[:3], "--split", "1")["value"] == pytest.approx(7 / 8)
    assert found(capsys, *words[:3], "--split", "2,3")["value"] == 1


def test_few_shot_over_folds(place: Path, capsys: pytest.CaptureFixture[str], heard: list[Path]) -> None:
    esc50(place / "ESC-50")
    answer = found(capsys, "few-shot", "--data", "ESC-50", "--train", "ESC-50", "--shots", "1,2,8")
    assert len(heard) == 40, "each sound once"
    assert answer["settings"]["folds"] == 5
    assert list(answer["metrics"]) == ["1-shot", "2-shot", "8-shot"]
    # fold 1 is right in 7 of 8; all others are, unless the sound that is wrong is among those learned from
    assert answer["metrics"]["8-shot"] == pytest.approx((7 / 8 + 4) / 5)
    assert answer["metrics"]["1-shot"] <= answer["metrics"]["8-shot"]
    parts = ("--data", "ESC-50", "--train", "ESC-50", "--split", "1", "--train-split", "2,3,4,5")
    assert found(capsys, "knn", *parts, "--k", "3")["value"] == pytest.approx(7 / 8)
    assert found(capsys, "probe", *parts)["value"] == pytest.approx(7 / 8)
    assert list(found(capsys, "few-shot", *parts)["metrics"]) == ["1-shot", "2-shot", "4-shot", "8-shot"]
    code, _, err = run(capsys, "knn", "--data", "ESC-50", "--train", "ESC-50")
    assert (code, "has folds: name them, such as --split 1" in err) == (1, True)
    code, _, err = run(capsys, "knn", *parts[:4], "--split", "1", "--train-split", "1,2")
    assert (code, "8 samples both to learn from and to measure on" in err) == (1, True)


def test_audioset_has_several_labels(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = "".join(f'{number},/m/{number},"{word}"\n' for number, word in enumerate(WORDS))
    (place / "class_labels_indices.csv").write_text(MIDS.splitlines()[0] + "\n" + names)
    rows = ["# Segments csv", "# num_ytids=3", "# YTID, start_seconds, end_seconds, positive_labels"]
    for number, labels in enumerate(("/m/0,/m/3", "/m/1", "/m/2")):
        sound(place / f"audio/id-{number}-xxxxx.wav", WORDS[number])
        rows.append(f'id-{number}-xxxxx, 0.000, 10.000, "{labels}"')
    (place / "eval_segments.csv").write_text("\n".join(rows))
    answer = found(capsys, "zero-shot", "--data", "eval_segments.csv")
    assert (answer["data"], answer["metric"]) == ("audioset", "mAP over all points")
    # three words are found at once; nothing sounds like a beach, and the sound that has it too stands among three
    assert answer["value"] == pytest.approx((3 + 1 / 3) / 4)


def test_depth_heat_and_motion(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = {"dog": 1000, "cat": 2000, "rain": 3000}
    for word, millimetres in classes.items():
        folder = place / f"depth/{word}"
        folder.mkdir(parents=True)
        Image.fromarray(np.full((24, 32), millimetres, np.uint16)).save(folder / "a.png")
        (folder / "depth.json").write_text('{"unit": "mm", "focal": 500}')
        (place / f"imu/{word}").mkdir(parents=True)
        motion(place / f"imu/{word}/a.csv", [float(WORDS.index(word))] if word != "dog" else [0.001])
    assert found(capsys, "zero-shot", "--data", "depth", "--from", "depth")["value"] == 1
    answer = found(capsys, "zero-shot", "--data", "imu", "--from", "motion")
    assert (answer["value"], answer["files"]) == (1, 3)
    code, _, err = run(capsys, "zero-shot", "--data", "depth", "--from", "audio")
    assert code == 1
    assert "depth: a folder of 3 classes without samples of audio; there is depth, text" in err


def test_llvip_s_people(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A cat stands for a person here: the gray of a cat in a street of rain."""
    monkeypatch.setattr("sensorium.data.measured.PEOPLE", ("somebody", "cat"))
    monkeypatch.setattr("sensorium.data.measured.STREET", ("road", "rain"))
    picture(place / "LLVIP/visible/test/1.png", "dog")
    heat = np.full((48, 64), gray("rain"), np.uint8)
    heat[4:30, 2:14] = gray("cat")
    (place / "LLVIP/infrared/test").mkdir(parents=True)
    Image.fromarray(heat).save(place / "LLVIP/infrared/test/1.png")
    (place / "LLVIP/Annotations").mkdir()
    voc(place / "LLVIP/Annotations/1.xml", [(2, 4, 14, 30)])
    answer = found(capsys, "zero-shot", "--data", "LLVIP")
    assert (answer["data"], answer["files"], answer["value"]) == ("llvip", 2, 1)
    assert answer["settings"] == {"classes": 2, "templates": 7}


def test_clotho_and_published_numbers(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ["file_name,caption_1,caption_2,caption_3,caption_4,caption_5"]
    for word in WORDS:
        sound(place / f"evaluation/{word} here.wav", word)
        rows.append(f"{word} here.wav,a {word},the {word},one {word},{word}s,nothing")
    (place / "clotho_captions_evaluation.csv").write_text("\n".join(rows))
    answer = found(capsys, "retrieval", "--data", "clotho_captions_evaluation.csv")
    assert answer["metric"] == "text-to-audio R@1"
    assert answer["value"] == pytest.approx(4 / 5), "a caption of nothing is nearest to none of four"
    assert answer["metrics"]["audio-to-text R@1"] == 1
    assert answer["settings"]["captions"] == 20
    from dataclasses import replace

    monkeypatch.setitem(
        vars(sensorium), "load", lambda name, **_: replace(Planted().embedder(), name="imagebind-huge", model=None)
    )
    code, out, _ = run(capsys, "retrieval", "--data", "clotho_captions_evaluation.csv")
    assert code == 0
    assert "text-to-audio R@1 on clotho" in out
    assert "28.4" in out
    assert "9.3" not in out
    assert "R@1 by chance 25" in out


def test_films(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "videos").mkdir()
    rows = ["key,vid_key,video_id,sentence"]
    for number, (seen, heard) in enumerate((("dog", 500), ("dog", 1500), ("cat", 1000))):
        wave = 0.3 * np.sin(2 * np.pi * heard * np.arange(32000) / 16000)[None]
        film(place / f"videos/video{number}.mp4", [gray(seen)] * 20, sound=wave)
        rows.append(f"ret{number},msr{number},video{number},a {seen} and {WORDS[heard // 500 - 1]}")
    (place / "MSRVTT_JSFUSION_test.csv").write_text("\n".join(rows))
    words = ("retrieval", "--data", "MSRVTT_JSFUSION_test.csv")
    alone, both = found(capsys, *words), found(capsys, *words, "--to", "video+0.5*audio")
    assert (alone["data"], alone["metric"], both["metric"]) == (
        "msr-vtt",
        "text-to-video R@1",
        "text-to-video+audio R@1",
    )
    assert alone["value"] < both["value"] == 1
    assert found(capsys, *words, "--from", "audio", "--to", "video")["metric"] == "audio-to-video R@1"


def test_arithmetic(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["path,label"]
    for word in WORDS:
        picture(place / f"{word}.png", word)
        sound(place / f"{word}.wav", word)
        rows += [f"{word}.png,{word}", f"{word}.wav,{word}"]
    picture(place / "both.png", "dog", "rain")
    (place / "mixed.csv").write_text("\n".join([*rows, "both.png,dog|rain"]))
    code, out, _ = run(capsys, "arithmetic", "--data", "mixed.csv")
    assert code == 0
    assert "mAP                            100.00" in out
    assert "mAP of audio alone" in out
    assert "questions 2, question image + audio, among image" in out
    code, _, err = run(capsys, "arithmetic", "--data", "mixed.csv", "--from", "image")
    assert (code, "--from names two senses" in err) == (1, True)


def test_detection(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voc_set = place / "VOC2007"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (voc_set / folder).mkdir(parents=True)
    pixels = np.full((64, 96, 3), 255, np.uint8)
    pixels[:, :58] = gray("dog")
    Image.fromarray(pixels).save(voc_set / "JPEGImages/1.jpg", quality=100)
    corners = "<xmin>1</xmin><ymin>1</ymin><xmax>58</xmax><ymax>64</ymax>"
    (voc_set / "Annotations/1.xml").write_text(
        f"<annotation><object><name>dog</name><bndbox>{corners}</bndbox></object></annotation>"
    )
    (voc_set / "ImageSets/Main/test.txt").write_text("1\n")
    for word in ("dog", "cat"):
        sound(place / f"sounds/{word}/1.wav", word)
    words = ("detection", "--data", "VOC2007", "--prompts", "sounds")
    answer = found(capsys, *words)
    assert (answer["metric"], answer["metrics"]["recall"], answer["pictures"]) == ("AP50", 1, 1)
    boxes = np.array([[0, 0, 58, 64], [30, 0, 96, 64]], np.float32)
    (place / "kept").mkdir()
    write_regions(
        place / "kept/1.npz", Regions(features=np.zeros((2, 1), np.float32), boxes=boxes, width=96, height=64)
    )
    assert found(capsys, *words, "--proposals", "kept")["value"] == 1
    code, _, err = run(capsys, *words, "--proposals", str(place / "nothing"))
    assert (code, "nothing" in err) == (1, True)
    assert answer["settings"]["asked by"] == "audio"
    assert found(capsys, "detection", "--data", "VOC2007", "--from", "text")["settings"]["asked by"] == "names"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("classify", "--data", "a", "--from", "audio"), 1, "classify has no use for --from: it is for zero-shot and"),
        (("zero-shot", "--data", "a", "--to", "audio"), 1, "zero-shot has no use for --to: it is for retrieval"),
        (("retrieval", "--data", "a", "--prompts", "b"), 1, "has no use for --prompts: it is for detection"),
        (("zero-shot", "--data", "none", "--from", "audio"), 1, "none: no such file or folder"),
        (("zero-shot", "--data", "t.csv", "--from", "smell"), 1, "--from smell: one sense of image, video, audio"),
        (("zero-shot", "--data", "t.csv", "--from", "audio", "--size", "9"), 1, "zero-shot has no use for --size"),
        (("zero-shot", "--data", "t.csv", "--from", "audio", "--split", "9"), 1, "no sample with {'split': '9'}"),
        (("retrieval", "--data", "t.csv", "--from", "smell"), 1, "'smell': senses joined by +"),
        (("retrieval", "--data", "t.csv", "--from", "audio"), 1, "a table without samples of audio and text"),
        (("knn", "--data", "t.csv", "--from", "audio"), 1, "knn learns from pictures: name them with --train"),
        (("detection", "--data", "composed"), 1, "--prompts names the sounds that ask, a folder a class"),
    ],
)
def test_what_cannot_be_measured(
    place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str
) -> None:
    sound(place / "a.wav", "dog")
    (place / "t.csv").write_text("audio,label\na.wav,dog\na.wav,cat\n")
    given, out, err = run(capsys, *words)
    assert said in err
    assert (given, out) == (code, "")


def test_hostile_files_are_named_and_left_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import soundfile  # pyright: ignore[reportMissingTypeStubs]

    writer: Any = soundfile
    for word in ("dog", "cat"):
        sound(place / f"all/{word}/a.wav", word)
        film(place / f"all/{word}/a.mp4", [gray(word)] * 20)
        motion(place / f"all/{word}/imu.csv", [1.0] if word == "cat" else [0.001])
    writer.write(place / "all/dog/none.wav", np.zeros(0), 16000)
    whole = (place / "all/cat/a.mp4").read_bytes()
    (place / "all/cat/cut.mp4").write_bytes(whole[: len(whole) // 3])
    rows = (place / "all/cat/imu.csv").read_text().splitlines()
    (place / "all/cat/imu off.csv").write_text("\n".join([rows[0], *(f"{i / 10},0,0,0,0,0,0" for i in range(60))]))
    np.save(place / "all/dog/depth.npy", np.full((24, 32), np.nan, np.float32))
    heard = found(capsys, "zero-shot", "--data", "all", "--from", "audio")
    assert heard["value"] == 1
    reasons = {Path(each["path"]).name: each["reason"] for each in heard["unreadable"]}
    assert set(reasons) == {"none.wav", "a.mp4", "cut.mp4"}, "silent films have no sound"
    seen = found(capsys, "zero-shot", "--data", "all", "--from", "video")
    assert (seen["value"], seen["files"], [Path(each["path"]).name for each in seen["unreadable"]]) == (
        1,
        2,
        ["cut.mp4"],
    )
    moved = found(capsys, "zero-shot", "--data", "all", "--from", "motion")
    assert (moved["value"], moved["files"]) == (1, 2)
    assert "reads zero throughout" in moved["unreadable"][0]["reason"]
    code, _, err = run(capsys, "zero-shot", "--data", "all", "--from", "depth")
    assert (code, "none of the 1 files could be read" in err) == (1, True)

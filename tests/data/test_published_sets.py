"""Published sets of several senses, laid out as their authors do, whole and with parts missing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sensorium.app.cli import main
from sensorium.data.audio_segments import sound_segments
from sensorium.data.depth import read_depth
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.image import read_image
from sensorium.data.motion import MotionSteps, read_motion
from sensorium.data.senses import describe
from sensorium.data.sources import open_source
from sensorium.data.sources.clips import Clips
from sensorium.data.sources.pairs import SCENES
from sensorium.data.stream import Source, Stream
from sensorium.data.thermal import read_thermal
from tests.data.test_segments import film

soundfile: Any = pytest.importorskip("soundfile")


def sound(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(16000)), 16000)
    return path


def picture(path: Path, gray: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 24), (gray, gray, gray)).save(path)
    return path


def opened(path: Path) -> Clips:
    source = open_source(path)
    assert isinstance(source, Clips)
    for row in source.rows:
        assert describe(row), "every file that a sample names can be read"
    return source


def test_esc_50(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n1-100032-A-0.wav,1,0,dog,True,100032,A\n"
        "5-9032-A-1.wav,5,1,crying_baby,False,9032,A\n2-1-A-1.wav,2,1,crying_baby,False,1,A\n"
    )
    for name in ("1-100032-A-0", "5-9032-A-1"):
        sound(tmp_path / f"audio/{name}.wav")
    source = opened(tmp_path)
    assert (source.kind, source.classes) == ("ESC-50", ("dog", "crying baby"))
    assert [(row["label"], row["text"], row["fold"]) for row in source] == [(0, "dog", 1), (1, "crying baby", 5)]
    assert source.problems == ("1 of 3 samples are not there: audio/2-1-A-1.wav",)
    assert len(source.only(fold=5)) == 1
    assert [row["label"] for row in source.of(["crying baby"]).rows] == [0]
    with pytest.raises(SensoriumError, match=r"no sample with \{'fold': 3\}; there are \{'fold': \['1', '5'\]\}"):
        source.only(fold=3)
    assert open_source(tmp_path / "meta/esc50.csv").kind == "ESC-50"


MIDS = 'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/05zppz,"Male speech, man speaking"\n'


def test_audioset(tmp_path: Path) -> None:
    table = tmp_path / "balanced_train_segments.csv"
    table.write_text(
        "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=3, num_segs=3, num_unique_labels=2\n"
        '# YTID, start_seconds, end_seconds, positive_labels\n--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/m/05zppz"\n'
        '-0RWZT-miFs, 420.000, 430.000, "/m/09x0r"\n-gone-gone-, 0.000, 10.000, "/m/09x0r"\n'
    )
    sound(tmp_path / "balanced_train/Y--PJHxphWEs.wav")
    film(tmp_path / "balanced_train/-0RWZT-miFs_420000_430000.mp4", [9] * 20, sound=np.zeros((1, 16000)))
    with pytest.raises(
        SensoriumError, match=r"the names of AudioSet's labels are missing: put class_labels_indices.csv"
    ):
        open_source(table)
    (tmp_path / "class_labels_indices.csv").write_text(MIDS)
    source = opened(table)
    assert source.classes == ("Speech", "Male speech, man speaking")
    assert [row["labels"] for row in source] == [(0, 1), (0,)]
    assert source[0]["text"] == ("Speech", "Male speech, man speaking")
    assert "video" in source[1]
    assert "video" not in source[0]
    assert source.problems[0].startswith("1 of 3 samples are not there: -gone-gone-_000000, -gone-gone-_0")
    assert open_source(tmp_path).kind == "AudioSet's segments"
    table.write_text(table.read_text().replace("/m/05zppz", "/m/strange"))
    with pytest.raises(SensoriumError, match=r"label /m/strange is not in class_labels_indices.csv"):
        open_source(table)


def test_vggsound(tmp_path: Path) -> None:
    (tmp_path / "vggsound.csv").write_text(
        '---g-f_I2yQ,1,"people marching, band",test\n--0PQM4-hqg,30,waterfall burbling,train\n'
        "--gone-gone,5,waterfall burbling,train\n"
    )
    sound(tmp_path / "audio/---g-f_I2yQ_000001.wav")
    film(sound(tmp_path / "video/x.wav").with_name("--0PQM4-hqg_000030.mp4"), [9] * 20, sound=np.zeros((1, 16000)))
    source = opened(tmp_path)
    assert source.classes == ("people marching, band", "waterfall burbling")
    assert [(row["label"], row["split"]) for row in source] == [(0, "test"), (1, "train")]
    assert len(source.only(split="test")) == 1


def test_clotho(tmp_path: Path) -> None:
    header = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
    for split in ("development", "evaluation"):
        row = f'{split} rain.wav,Rain falls.,"Rain, on a roof.",It pours.,Water.,Drops.\n'
        (tmp_path / f"clotho_captions_{split}.csv").write_text(header + row)
        sound(tmp_path / split / f"{split} rain.wav")
    source = opened(tmp_path / "clotho_captions_evaluation.csv")
    assert source[0]["text"] == ("Rain falls.", "Rain, on a roof.", "It pours.", "Water.", "Drops.")
    assert source[0]["split"] == "evaluation"
    with pytest.raises(
        SensoriumError, match=r"holds clotho_captions_development.csv, clotho_captions_evaluation.csv: name"
    ):
        open_source(tmp_path)
    (tmp_path / "clotho_captions_validation.csv").write_text(header + "gone.wav,a,b,c,d,e\n")
    with pytest.raises(SensoriumError, match=r"Clotho, but not one of 1 samples is there: validation/gone.wav"):
        open_source(tmp_path / "clotho_captions_validation.csv")


def test_audiocaps(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text(
        "audiocap_id,youtube_id,start_time,caption\n103549,7fmOlUlwoNg,20,Constant rattling\n"
        '103548,7fmOlUlwoNg,20,"Rattling, sharp vibrations"\n103541,6BJ455B1aAs,0,A rocket flies\n'
    )
    sound(tmp_path / "test/7fmOlUlwoNg_20.wav")
    sound(tmp_path / "test/103541.wav")
    source = opened(tmp_path / "test.csv")
    assert [row["text"] for row in source] == [("Constant rattling", "Rattling, sharp vibrations"), ("A rocket flies",)]
    assert next(sound_segments(source[0]["audio"])).end == 1.0


def sun_view(root: Path, place: str, scene: str, focal: float = 529.5) -> Path:
    view = root / place
    picture(view / "image/0001.jpg")
    (view / "depth_bfx").mkdir()
    millimetres = np.full((24, 32), 2000, np.uint16)
    Image.fromarray((millimetres << 3) | (millimetres >> 13)).save(view / "depth_bfx/0001.png")
    (view / "scene.txt").write_text(scene)
    (view / "intrinsics.txt").write_text(f"{focal} 0 365\n0 529.5 265\n0 0 1\n")
    return view


def test_sun_rgb_d(tmp_path: Path) -> None:
    root = tmp_path / "SUNRGBD"
    sun_view(root, "kv1/NYUdata/NYU0001", "living_room", 518.86)
    sun_view(root, "xtion/sun3ddata/room/0001", "idk")
    sun_view(root, "realsense/lg/0002", "office")
    (sun_view(root, "kv2/kinect2data/0003", "office") / "intrinsics.txt").unlink()
    source = opened(tmp_path)
    assert source.classes == ("idk", "living room", "office")
    assert [row["baseline"] for row in source] == [0.075, 0.095, 0.095]
    assert source.problems[1].startswith("1 of 4 samples are not there: kv2/kinect2data/0003/intrinsics.txt")
    first = source[0]
    depth = read_depth(first["depth"], unit="sun", focal=first["focal"], baseline=first["baseline"])
    assert float(depth.disparity.mean()) == pytest.approx(0.075 * 518.86 / 2.0, rel=1e-4)
    assert len(SCENES) == 19
    measured = source.of([name for name in SCENES if name in source.classes])
    assert [(measured.classes[row["label"]]) for row in measured.rows] == ["living room", "office"]


def test_sun_rgb_d_s_splits(tmp_path: Path) -> None:
    io = pytest.importorskip("scipy.io")
    sun_view(tmp_path / "SUNRGBD", "kv1/a/1", "office")
    sun_view(tmp_path / "SUNRGBD", "kv2/b/2", "office")
    table = tmp_path / "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
    table.parent.mkdir(parents=True)
    names = {key: np.array([[f"/n/fs/sun3d/data/SUNRGBD/{place}"]], object) for key, place in
             (("alltrain", "kv1/a/1/"), ("alltest", "kv2/b/2"))}  # fmt: skip
    io.savemat(table, names)
    source = opened(tmp_path)
    assert [row["split"] for row in source] == ["train", "test"]
    assert source.problems == ()


def test_nyu_depth(tmp_path: Path) -> None:
    for scene in ("bathroom", "home_office_0003"):
        picture(tmp_path / f"a/test/{scene}/rgb_00045.jpg")
        Image.fromarray(np.full((24, 32), 2500, np.uint16)).save(tmp_path / f"a/test/{scene}/sync_depth_00045.png")
    picture(tmp_path / "a/train/bathroom/rgb_00001.jpg")
    source = opened(tmp_path / "a")
    assert source.classes == ("bathroom", "home office")
    assert [(row["text"], row["split"]) for row in source] == [("bathroom", "test"), ("home office", "test")]
    assert "the depth of train/bathroom/rgb_00001.jpg" in source.problems[0]
    picture(tmp_path / "b/nyu_images/0001.png")
    (tmp_path / "b/nyu_depths").mkdir()
    np.save(tmp_path / "b/nyu_depths/0001.npy", np.full((24, 32), 2.5, np.float32))
    other = opened(tmp_path / "b")
    a, b = (read_depth(row["depth"], unit=row["unit"], focal=row["focal"]) for row in (source[0], other[0]))  # pyright: ignore
    assert np.allclose(a.disparity, b.disparity, rtol=1e-4)


def test_llvip(tmp_path: Path) -> None:
    for split, name in (("train", "010001"), ("test", "190001"), ("test", "190002")):
        picture(tmp_path / f"visible/{split}/{name}.jpg", 40)
        if name != "190002":
            picture(tmp_path / f"infrared/{split}/{name}.jpg", 200)
    (tmp_path / "Annotations").mkdir()
    source = opened(tmp_path)
    assert [(row["key"], row["split"]) for row in source] == [("test/190001", "test"), ("train/010001", "train")]
    assert source.problems == ("1 of 3 samples are not there: infrared/test/190002.jpg",)
    assert read_image(source[0]["image"]).getpixel((3, 3))[0] < 60  # pyright: ignore
    assert float(read_thermal(source[0]["thermal"]).warmth.mean()) > 0.7
    for part in (tmp_path / "visible").rglob("*.jpg"):
        part.unlink()
    with pytest.raises(SensoriumError, match="LLVIP, but not one of 0 samples is there"):
        open_source(tmp_path)


def ego4d_table(path: Path, seconds: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(0, seconds, 0.01)
    rows = ["component_idx,component_timestamp_ms,canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z"]
    rows += [f"0,{1000 * t:.2f},{1000 * t:.2f},0.1,{np.sin(t):.4f},0.1,0.2,0.3,9.8" for t in times]
    path.write_text("\n".join(rows) + "\n0,1,,,,,,,\n")


def test_ego4d(tmp_path: Path) -> None:
    ego4d_table(tmp_path / "imu/0a.csv", 21)
    ego4d_table(tmp_path / "imu/1b.csv", 12)
    (tmp_path / "full_scale").mkdir()
    film(tmp_path / "full_scale/0a.mp4", [9] * 20)
    source = opened(tmp_path)
    assert [row["key"] for row in source] == ["0a@0.00", "0a@5.00", "0a@10.00", "0a@15.00", "1b@0.00", "1b@5.00"]
    assert source.problems == ("1 of 2 recordings have no film, such as 1b",)
    said = [
        {"timestamp_sec": t, "narration_text": text}
        for t, text in ((9.5, "#C C opens the #unsure"), (20.9, "#O man X"))
    ]
    (tmp_path / "annotations").mkdir()
    narrations = {"videos": {"0a": {"narration_pass_1": {"narrations": said}}}}
    (tmp_path / "annotations/narration.json").write_text(json.dumps(narrations))
    (row,) = opened(tmp_path)
    assert (row["begin"], row["end"], row["text"]) == (7.0, 12.0, "someone opens the something")
    assert row["video"].name == "0a.mp4"
    x = read_motion(row["motion"]).window(row["begin"], row["end"], MotionSteps().steps)
    assert float(x[4, 0]) == pytest.approx(np.sin(7.0), abs=0.01)
    (tmp_path / "annotations/narration.json").write_text('{"videos": [1]}')
    with pytest.raises(Unreadable, match=r"narration.json: not Ego4D's narrations"):
        open_source(tmp_path)


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    table = tmp_path / "esc50.csv"
    table.write_text("filename,fold,target,category\na.wav,one,0,dog\n")
    sound(tmp_path / "a.wav")
    with pytest.raises(Unreadable, match=r"esc50.csv: not as it is published \(invalid literal"):
        open_source(table)
    table.write_text("filename,fold,target,category\na.wav,1,0\n")
    with pytest.raises(Unreadable, match="not as it is published"):
        open_source(table)


def test_other_tables_and_folders_are_what_they_were(tmp_path: Path) -> None:
    picture(tmp_path / "visible/a.jpg")
    picture(tmp_path / "infrared/b.jpg")
    assert open_source(tmp_path).kind == "a folder of 2 classes"
    (tmp_path / "a.csv").write_text("image,caption\nvisible/a.jpg,gray\n")
    assert not isinstance(open_source(tmp_path / "a.csv"), Clips)


def test_they_stream_and_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split, name in (("train", "010001"), ("train", "010002")):
        picture(tmp_path / f"visible/{split}/{name}.jpg", 40)
        picture(tmp_path / f"infrared/{split}/{name}.jpg", 200)
    source: Source = open_source(tmp_path)
    stream = Stream(sources=[source], prepare=lambda sample, _: {"x": read_thermal(sample["thermal"]).warmth}, seed=0)
    batch = next(iter(stream.batches(2, start=0, steps=1, rank=0, world=1, workers=0)))
    assert batch["x"].shape == (2, 24, 32)
    assert main(["data", "show", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "LLVIP, 2 samples" in said.replace("\n", " ")
    assert "as the camera shows it" in said.replace("\n", " ")
    (tmp_path / "infrared/train/010002.jpg").write_bytes(b"\xff\xd8\xff nothing")
    assert main(["data", "show", str(tmp_path)]) == 1
    assert "truncated or damaged" in capsys.readouterr().out.replace("\n", " ")

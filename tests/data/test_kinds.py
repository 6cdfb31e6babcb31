"""A folder of everything: each file is known for what it is, whatever it is called."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sensorium.data.errors import Unreadable
from sensorium.data.kinds import kind_of
from tests.data.test_motion import NAMES, clock, signal, table
from tests.data.test_segments import film, tone

av: Any = pytest.importorskip("av")
soundfile: Any = pytest.importorskip("soundfile")


def gray(path: Path, dtype: type = np.uint16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.arange(48 * 64).reshape(48, 64) % 251).astype(dtype)).save(path)
    return path


def test_every_kind(tmp_path: Path) -> None:
    times = clock(100, 1)
    Image.new("RGB", (30, 20), (200, 30, 90)).save(tmp_path / "photo.jpg")
    film(tmp_path / "film.mp4", [9] * 5)
    film(tmp_path / "film.mkv", [9] * 5, sound=tone(0.5, 16000)[None])
    for suffix in ("wav", "flac", "ogg", "mp3"):
        soundfile.write(tmp_path / f"sound.{suffix}", tone(0.5, 16000), 16000)
    with av.open(str(tmp_path / "voice.mp4"), "w") as container:  # a film's container with sound alone
        stream = container.add_stream("aac", rate=16000, layout="mono")
        samples = av.AudioFrame.from_ndarray(tone(0.5, 16000)[None].astype(np.float32), format="fltp", layout="mono")
        samples.rate = 16000
        for packet in [*stream.encode(samples), *stream.encode()]:
            container.mux(packet)
    table(tmp_path / "walk.csv", times, signal(times))
    pq.write_table(pa.table({name: [1.0] for name in NAMES}), tmp_path / "walk.parquet")
    np.save(tmp_path / "walk.npy", signal(times))
    np.savez(tmp_path / "walk.npz", accelerometer=signal(times)[:, :3], gyroscope=signal(times)[:, 3:])
    np.save(tmp_path / "room.npy", np.ones((48, 64), np.float32))
    np.savez(tmp_path / "room.npz", depth=np.ones((48, 64), np.float32))
    (tmp_path / "room.exr").write_bytes(b"\x76\x2f\x31\x01 and so on")
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7 and so on")
    (tmp_path / "people.csv").write_text("name,age\nAda,36\n")
    (tmp_path / "notes.txt").write_text("none of these")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "table.parquet")
    (tmp_path / "empty").write_bytes(b"")
    expected = {
        "picture": ["photo.jpg"],
        "video": ["film.mp4", "film.mkv"],
        "sound": ["sound.wav", "sound.flac", "sound.ogg", "sound.mp3", "voice.mp4"],
        "motion": ["walk.csv", "walk.parquet", "walk.npy", "walk.npz"],
        "depth": ["room.npy", "room.npz", "room.exr"],
        "document": ["paper.pdf"],
        None: ["people.csv", "notes.txt", "table.parquet", "empty"],
    }
    for kind, names in expected.items():
        assert {name: kind_of(tmp_path / name) for name in names} == dict.fromkeys(names, kind)
    for name, kind in (
        ("film.mp4", "video"),
        ("sound.flac", "sound"),
        ("photo.jpg", "picture"),
        ("paper.pdf", "document"),
    ):
        (tmp_path / name).rename(tmp_path / "no-suffix")
        assert kind_of(tmp_path / "no-suffix") == kind


def test_gray_pictures_are_what_they_are_called(tmp_path: Path) -> None:
    for name, kind in (
        ("a.png", "picture"),
        ("a_depth.png", "depth"),
        ("depth/a.png", "depth"),
        ("scene/disparity/left/a.tiff", "depth"),
        ("infrared/test/a.png", "thermal"),
        ("FLIR_0042.tiff", "thermal"),
        ("deep/depth/of/field/a.png", "picture"),
        ("depths of winter thermal springs.png", "depth"),
    ):
        assert kind_of(gray(tmp_path / name)) == kind, name
    assert kind_of(gray(tmp_path / "infrared/eight.png", np.uint8)) == "thermal"
    (tmp_path / "infrared/photo.jpg").unlink(missing_ok=True)
    Image.new("RGB", (30, 20), (200, 30, 90)).save(tmp_path / "infrared/photo.jpg")
    assert kind_of(tmp_path / "infrared/photo.jpg") == "picture", "a photograph in colours stays one"
    gray(tmp_path / "scans/a.png")
    (tmp_path / "scans/depth.json").write_text('{"unit": "mm", "focal": 520}')
    assert kind_of(tmp_path / "scans/a.png") == "depth"


def test_damaged_files_keep_their_kind(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", [9] * 50)
    (tmp_path / "a.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:400])
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY nothing")
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "d.csv").write_bytes(b"accl_x,\xff\xfe\n")
    (tmp_path / "imu.csv").write_text("t,ax,ay,az\n")
    kinds = [kind_of(tmp_path / name) for name in ("a.mp4", "b.npy", "c.npz", "d.csv", "imu.csv")]
    assert kinds == ["video", None, None, None, "motion"]
    with pytest.raises(Unreadable, match="no such file"):
        kind_of(tmp_path / "gone")
    with pytest.raises(Unreadable, match="a folder"):
        kind_of(tmp_path)

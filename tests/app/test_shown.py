"""What a file of every kind looks like at a moment, and what is played of it."""

from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from sensorium.app.heard import as_mp4, as_wav, heard
from sensorium.app.shown import show, thumbnail
from sensorium.data.audio_stream import open_sound
from sensorium.data.errors import Unreadable
from sensorium.data.kinds import kind_of
from sensorium.insight.drawing import ACCENT
from tests.app.everything import COLOURS_OF_FILM, KINDS, RATE, tones, write_everything, write_film
from tests.search.fake import COLOURS

GREEN = ImageColor.getrgb(ACCENT)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_everything(tmp_path_factory.mktemp("everything"))


def middle(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"))[picture.height // 2, picture.width // 2].astype(int)


def test_every_kind_is_what_it_is_called_and_has_a_picture(files: dict[str, Path]):
    for name, kind in KINDS.items():
        assert kind_of(files[name]) == kind
        for size in (320, 640):
            picture = show(files[name], kind, size).picture
            assert max(picture.size) <= size
            flat = len(set(picture.convert("L").tobytes())) == 1
            assert flat == (name == "walk.mp4"), f"{name} shows something, and the film one colour"
        assert Image.open(BytesIO(thumbnail(files[name], kind, 320))).format == "JPEG"


@pytest.mark.parametrize("number", range(5))
def test_a_film_shows_the_frame_of_the_moment(files: dict[str, Path], number: int):
    picture = show(files["walk.mp4"], "video", 320, at=2.0 * number + 0.5).picture
    assert np.abs(middle(picture) - COLOURS[COLOURS_OF_FILM[number]]).max() < 12


def test_a_film_that_is_cut_off_shows_what_there_is(files: dict[str, Path], tmp_path: Path):
    with (
        av.open(str(files["walk.mp4"])) as source,
        av.open(str(tmp_path / "front.mp4"), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = (tmp_path / "front.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 7 // 10])
    assert show(tmp_path / "cut.mp4", "video", 320, at=9.5).picture.width == 160


def test_a_sound_shows_where_the_moment_lies_and_low_notes_below(files: dict[str, Path]):
    picture = np.asarray(show(files["tones.wav"], "sound", 640, at=6.0, until=8.0).picture).astype(int)
    marked = np.flatnonzero((np.abs(picture[-1] - GREEN).max(-1)) < 12)
    begin, end = 6 - 4, 10  # ten seconds around the moment, and the sound is over at ten
    assert marked.min() / 640 == pytest.approx((6 - begin) / (end - begin), abs=0.01)
    assert marked.max() / 640 == pytest.approx((8 - begin) / (end - begin), abs=0.01)
    dark = picture[: picture.shape[0] * 9 // 10].sum(-1)
    low, high = (dark[:, round((at - begin) / (end - begin) * 640)].argmin() for at in (4.5, 5.5))
    assert low > high + 20, "440 Hz stands below 1,760 Hz"


def test_depth_and_heat_say_what_their_colours_measure(files: dict[str, Path]):
    depth = show(files["room_depth.png"], "depth", 320)
    assert (depth.low, depth.high) == ("3.87 m", "1.00 m")
    top, bottom = (np.asarray(depth.picture)[row, 5].tolist() for row in (10, -1))
    assert sum(bottom[:2]) > 400 > sum(top[:2]), "near is yellow, far is violet"
    heat = show(files["hand_thermal.tiff"], "thermal", 320)
    assert (heat.low, heat.high) == ("20.0 °C", "35.0 °C")
    assert middle(heat.picture).sum() > 600
    assert np.asarray(heat.picture)[2, 2].sum() < 30


def test_motion_is_six_lines_with_the_moment_shaded(files: dict[str, Path]):
    shown = show(files["imu.csv"], "motion", 640, at=5.0, until=10.0)
    picture = np.asarray(shown.picture).astype(int)
    marked = np.flatnonzero(np.abs(picture[-1] - GREEN).max(-1) < 12)
    assert (marked.min() / 640, marked.max() / 640) == pytest.approx((5 / 12, 10 / 12), abs=0.01)
    red = (picture[..., 0] > 150) & (picture[..., 1] < 110)
    assert np.ptp(np.flatnonzero(red[:192, :200].any(1))) < 5, "still at first"
    assert np.ptp(np.flatnonzero(red[:192, 400:].any(1))) > 60, "shaken later"
    assert "x red" in shown.said


def test_a_document_shows_the_page(files: dict[str, Path]):
    pages = [show(files["manual.pdf"], "document", 400, page=number) for number in (1, 2, 3)]
    assert [each.said for each in pages] == ["page 1 of 3", "page 2 of 3", "page 3 of 3"]
    assert pages[0].picture.size == (300, 400)
    assert len({each.picture.tobytes() for each in pages}) == 3
    with pytest.raises(Unreadable, match="no page 4"):
        show(files["manual.pdf"], "document", 400, page=4)


def test_what_cannot_be_shown_says_why(tmp_path: Path, files: dict[str, Path]):
    (tmp_path / "lone_depth.png").write_bytes(files["room_depth.png"].read_bytes())
    with pytest.raises(Unreadable, match=r"lone_depth.png: a depth map states no unit"):
        show(tmp_path / "lone_depth.png", "depth", 320)
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4 nothing")
    with pytest.raises(Unreadable, match=r"a.pdf"):
        show(tmp_path / "a.pdf", "document", 320)
    with pytest.raises(Unreadable, match=r"no sound from 20\.0"):
        heard(files["tones.wav"], 20, 22)


@pytest.mark.parametrize("name", ["tones.wav", "walk.mp4"])
def test_a_stretch_of_sound_is_the_very_one(files: dict[str, Path], name: str):
    sound = heard(files[name], 3.5, 5.25)
    expected = tones()[round(3.5 * RATE) : round(5.25 * RATE)]
    wave = sound.waveform[0].numpy()
    assert len(wave) == pytest.approx(len(expected), abs=2)
    n = min(len(wave), len(expected))
    correlation = float(np.corrcoef(wave[:n], expected[:n])[0, 1])
    assert correlation > 0.98, "a shift by a few samples would undo it"
    with av.open(BytesIO(as_wav(files[name], 3.5, 5.25))) as played:
        assert played.duration / 1e6 == pytest.approx(1.75, abs=0.01)


@pytest.mark.parametrize("sound", [True, False])
def test_a_stretch_of_a_film_is_encoded_for_every_browser(tmp_path: Path, sound: bool):
    path = write_film(tmp_path / "old.avi", codec="mpeg4", sound=sound, size=(1920, 1080))
    with av.open(BytesIO(as_mp4(path, 3.0, 7.0))) as played:
        names = {stream.codec_context.name for stream in played.streams}
        assert names == ({"h264", "aac"} if sound else {"h264"})
        assert played.streams.video[0].width == 854
        assert played.duration / 1e6 == pytest.approx(4.0, abs=0.15)
        frames = [frame.to_ndarray(format="rgb24")[200, 200].astype(int) for frame in played.decode(video=0)]
    assert len(frames) == 40
    for at, colour in ((2, "green"), (20, "blue"), (38, "yellow")):
        assert np.abs(frames[at] - COLOURS[colour]).max() < 16


@pytest.mark.parametrize("channels", [1, 8])
def test_sound_of_many_channels(tmp_path: Path, channels: int):
    """PyAV ends the process where it is asked for eight planes."""
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("flac", rate=48000, layout="mono" if channels == 1 else "7.1")
        wave = (np.sin(np.arange(48000 * 3)[:, None] / 20 + np.arange(channels)) * 9000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave.reshape(1, -1), format="s16", layout=stream.layout.name)
        frame.rate, frame.pts = 48000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    sound = heard(tmp_path / "a.mkv", 1.0, 2.0)
    np.testing.assert_allclose(sound.waveform.numpy(), wave[48000:96000].T / 32768, atol=1e-4)
    whole = torch.cat(list(open_sound(tmp_path / "a.mkv").chunks), dim=1)
    np.testing.assert_allclose(whole.numpy(), wave.T / 32768, atol=1e-4)
    with av.open(BytesIO(as_wav(tmp_path / "a.mkv", 0, 1))) as played:
        assert played.streams.audio[0].channels == min(channels, 2)

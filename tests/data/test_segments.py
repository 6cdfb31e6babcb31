"""Long films and sounds, stretch by stretch in bounded memory; hostile ones are read, or named with a reason."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sensorium.data.audio import AudioSteps
from sensorium.data.audio_segments import sound_segments
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.video import VideoSteps, _Player, read_clips, video_segments  # pyright: ignore[reportPrivateUsage]

av: Any = pytest.importorskip("av")
soundfile: Any = pytest.importorskip("soundfile")


def film(
    path: Path,
    grays: list[int],
    times: list[float] | None = None,
    *,
    rate: int = 10,
    size: tuple[int, int] = (64, 48),
    keys: int = 10,
    sound: np.ndarray | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """A film of one gray a frame, shown at these seconds; `sound` is (1, n) at 16 kHz."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, "yuv420p", keys
        stream.bit_rate, stream.codec_context.time_base = 1_000_000, Fraction(1, 1000)
        heard = container.add_stream("aac", rate=16000, layout="mono") if sound is not None else None
        for i, gray in enumerate(grays):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), gray, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(1000 * (times[i] if times else i / rate)), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if heard is not None:
            samples = av.AudioFrame.from_ndarray(sound.astype(np.float32), format="fltp", layout="mono")
            samples.rate, samples.pts, samples.time_base = 16000, 0, Fraction(1, 16000)
            container.mux(heard.encode(samples))
            container.mux(heard.encode())
    return path


def brightness(frames: torch.Tensor) -> list[int]:
    return [round(float(frame.float().mean())) for frame in frames.unbind(1)]


def test_a_film_stretch_by_stretch(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [2 * i for i in range(95)])
    segments = list(video_segments(path))
    assert [(s.begin, round(s.end, 6)) for s in segments] == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 9.5)]
    for segment, (first, last) in zip(segments, [(0, 19), (20, 39), (40, 59), (60, 79), (80, 94)], strict=True):
        assert brightness(segment.frames) == pytest.approx([2 * first, 2 * last], abs=3)
    assert VideoSteps(size=32)(segments[0].frames).shape == (3, 3, 2, 32, 32)
    (whole,) = video_segments(path, seconds=60, frames=5)
    assert whole.end == pytest.approx(9.5)
    assert brightness(whole.frames) == pytest.approx([0, 47, 94, 141, 188], abs=4)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_of_unequal_length_stand_where_they_are_seen(tmp_path: Path, suffix: str) -> None:
    times = [0, 0.1, 0.2, 5.0, 5.1, 9.0, 9.9]
    path = film(tmp_path / f"a.{suffix}", [0, 40, 80, 120, 160, 200, 240], times, keys=3)
    segments = list(video_segments(path, seconds=1))
    assert len(segments) == 10
    seen = [brightness(segment.frames)[0] for segment in segments]
    assert seen == pytest.approx([0, 80, 80, 80, 80, 120, 160, 160, 160, 200], abs=4)
    (clip,) = read_clips(path, 20.0, 1, 2)
    assert brightness(clip)[0] == pytest.approx(0, abs=4)
    assert brightness(clip)[1] >= 155


def test_key_frames_far_apart_are_no_trap(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [(7 * i) % 250 for i in range(900)], keys=600)
    segments = list(video_segments(path, seconds=5))
    assert len(segments) == 18
    for i, segment in enumerate(segments):
        assert brightness(segment.frames) == pytest.approx([7 * 50 * i % 250, 7 * (50 * i + 49) % 250], abs=4)


def test_a_film_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [2 * i for i in range(100)], options={"movflags": "faststart"})
    data = path.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 6 // 10])
    seen = []
    with pytest.raises(Unreadable, match=r"cut.mp4: ends after \d\.\d s of the 10\.0 s that it states: cut off\?"):
        seen.extend(segment.begin for segment in video_segments(tmp_path / "cut.mp4", seconds=1))
    assert len(seen) >= 3
    assert seen == [float(i) for i in range(len(seen))]
    assert len(read_clips(tmp_path / "cut.mp4", 2.0, 5, 2)) == 5
    film(tmp_path / "b.mp4", [2 * i for i in range(100)])  # its table of contents stands at the end
    (tmp_path / "b.mp4").write_bytes((tmp_path / "b.mp4").read_bytes()[:-1500])
    with pytest.raises(Unreadable, match="no film that can be decoded"):
        list(video_segments(tmp_path / "b.mp4"))


def test_a_film_held_upright(tmp_path: Path) -> None:
    """As phones write it: the picture lies on its side, and the track says to turn it."""
    path = film(tmp_path / "a.mp4", [0] * 3, size=(64, 32))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        pixels = np.zeros((32, 64, 3), np.uint8)
        pixels[:, :32] = 250
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # the matrix: turn clockwise by a quarter
    one, minus = (1 << 16).to_bytes(4, "big"), (-(1 << 16)).to_bytes(4, "big", signed=True)
    data[at : at + 20] = bytes(4) + one + bytes(4) + minus + bytes(4)
    path.write_bytes(data)
    (segment,) = video_segments(path)
    assert segment.frames.shape == (3, 2, 64, 32)
    assert segment.frames[..., :28, :].float().mean() > 200, "what was on the left is on top"
    assert segment.frames[..., 36:, :].float().mean() < 50


def test_a_damaged_packet_is_passed_over(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [2 * i for i in range(100)])
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for at, size in packets[41:44]:
        data[at : at + size] = bytes(size)
    path.write_bytes(data)
    segments = list(video_segments(path, seconds=1))
    assert len(segments) == 10
    assert brightness(segments[8].frames) == pytest.approx([160, 178], abs=4)


def test_a_film_that_changes_its_size_keeps_the_first(tmp_path: Path) -> None:
    frames = [av.VideoFrame.from_ndarray(np.full((48, 64, 3), 100, np.uint8), format="rgb24") for _ in range(20)]
    frames += [av.VideoFrame.from_ndarray(np.full((96, 128, 3), 200, np.uint8), format="rgb24") for _ in range(20)]
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        second = av.CodecContext.create("mjpeg", "w")
        second.width, second.height, second.pix_fmt, second.time_base = 128, 96, "yuvj420p", Fraction(1, 10)
        for i, frame in enumerate(frames):
            frame.pts, frame.time_base = i, Fraction(1, 10)
            for packet in (stream if i < 20 else second).encode(frame):
                packet.stream = stream
                container.mux(packet)
    for skip in (0, 1):
        segments = list(video_segments(tmp_path / "a.avi", skip=skip))
        assert [segment.frames.shape for segment in segments] == [(3, 2, 48, 64)] * (2 - skip)
        assert brightness(segments[-1].frames) == pytest.approx([200, 200], abs=4)
    assert {clip.shape for clip in read_clips(tmp_path / "a.avi", 2.0, 5, 2)} == {(3, 2, 48, 64)}


def test_seeking_is_given_up_where_it_does_not_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "a.mp4", [9] * 900, keys=600)
    steps: list[int] = []
    whole = _Player._next
    monkeypatch.setattr(_Player, "_next", lambda self: steps.append(1) or whole(self))
    assert len(list(video_segments(path, seconds=5))) == 18
    assert len(steps) < 2500, "going back to the first key frame every time would take 7,000"


def test_a_frame_that_would_stand_for_hours(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", [0, 100, 200], [0, 1, 20_000])
    seen: list[float] = []
    with pytest.raises(Unreadable, match="nothing new is shown for an hour from 0 s on: damaged time stamps"):
        seen.extend(segment.begin for segment in video_segments(path, seconds=100))
    assert seen[-1] == 3600
    assert next(video_segments(path, seconds=100, skip=40)).begin == 4000, "asked for, it is there"


def test_headers_that_would_take_all_memory(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16000), 16000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[24:28] = (2_000_000_000).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(Unreadable, match="states 2,000,000,000 samples a second: damaged"):
        next(sound_segments(tmp_path / "a.wav"))
    with pytest.raises(Unreadable, match="too narrow: 4000 x 16"):
        next(video_segments(film(tmp_path / "a.mp4", [0] * 5, size=(4000, 16))))


def test_what_is_no_film_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(16000), 16000)
    (tmp_path / "b.mp4").write_bytes(b"no film")
    for name, reason in (
        ("a.wav", "holds no pictures"),
        ("b.mp4", "no film that can be decoded"),
        ("c.mp4", "no such"),
    ):
        for read in (lambda path: list(video_segments(path)), lambda path: read_clips(path, 2.0, 5, 2)):
            with pytest.raises(Unreadable, match=reason):
                read(tmp_path / name)


def tone(seconds: float, rate: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize(("suffix", "rate", "channels"), [("wav", 96000, 8), ("flac", 44100, 2), ("ogg", 22050, 1)])
def test_a_sound_stretch_by_stretch(tmp_path: Path, suffix: str, rate: int, channels: int) -> None:
    wave = np.repeat(tone(7.5, rate)[:, None], channels, axis=1) * np.linspace(0, 1, round(7.5 * rate))[:, None]
    soundfile.write(tmp_path / f"a.{suffix}", wave, rate, format=suffix.upper())
    segments = list(sound_segments(tmp_path / f"a.{suffix}"))
    assert [(round(s.begin, 2), round(s.end, 2)) for s in segments] == [(0, 2), (2, 4), (4, 6), (5.5, 7.5)]
    for segment in segments:
        assert segment.waveform.shape == (channels, 2 * rate)
        expected = torch.from_numpy(wave[round(segment.begin * rate) : round(segment.end * rate)].T).float()
        torch.testing.assert_close(segment.waveform, expected, atol=0.06 if suffix == "ogg" else 1e-3, rtol=0)
    clips = AudioSteps(clips=1)(segments[0].waveform, segments[0].rate)
    assert clips.shape == (1, 1, 128, 204)
    assert clips.isfinite().all()


def test_a_stretch_is_what_the_whole_would_give(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(2.0, 16000), 16000)
    (segment,) = sound_segments(tmp_path / "a.wav")
    steps = AudioSteps(clips=1)
    assert torch.equal(steps(segment.waveform, segment.rate), steps.read(tmp_path / "a.wav"))


def test_short_sounds(tmp_path: Path) -> None:
    for samples, reason in ((1, "too short: 1 samples of 16,000 a second"), (0, "holds no sound")):
        soundfile.write(tmp_path / "a.wav", np.zeros(samples), 16000)
        with pytest.raises(Unreadable, match=reason):
            list(sound_segments(tmp_path / "a.wav"))
        with pytest.raises(Unreadable, match=r"too short|holds no sound"):
            AudioSteps().read(tmp_path / "a.wav")
    soundfile.write(tmp_path / "a.wav", tone(0.03, 16000), 16000)
    (segment,) = sound_segments(tmp_path / "a.wav")
    assert segment.end == pytest.approx(0.03)
    assert AudioSteps(clips=1)(segment.waveform, segment.rate).shape == (1, 1, 128, 204)


def test_the_sound_of_a_film_keeps_its_time(tmp_path: Path) -> None:
    wave = np.zeros((1, 16000 * 6))
    wave[0, 16000 * 5 :] = tone(1.0, 16000)
    path = film(tmp_path / "a.mp4", [100] * 60, sound=wave)
    segments = list(sound_segments(path, seconds=1))
    loud = [float(segment.waveform.abs().max()) > 0.2 for segment in segments]
    assert loud[:6] == [False] * 5 + [True]
    assert segments[5].begin == pytest.approx(5.0)
    edge = int((segments[5].waveform[0].abs() > 0.2).nonzero()[0])
    assert edge < 0.02 * 16000, "the tone begins with the sixth second"
    with pytest.raises(Unreadable, match="holds no sound"):
        list(sound_segments(film(tmp_path / "mute.mp4", [0] * 10)))


def test_sound_before_the_first_picture_is_left_out(tmp_path: Path) -> None:
    wave = np.concatenate([tone(2.0, 16000), np.zeros(16000 * 4)])[None]
    path = film(tmp_path / "a.mkv", [100] * 40, [2 + i / 10 for i in range(40)], sound=wave)
    (segment,) = video_segments(path, seconds=9)
    assert segment.begin == 0
    first = next(sound_segments(path, seconds=1))
    assert first.waveform[:, 2000:].abs().max() < 0.05, "the tone is over when the first picture is shown"


def test_a_damaged_sound_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 16000 * 20)
    soundfile.write(tmp_path / "a.flac", noise, 16000)
    data = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(data[: len(data) // 2])
    seen = []
    try:
        seen.extend(segment.end for segment in sound_segments(tmp_path / "a.flac"))
    except Unreadable as error:
        assert "damaged after" in error.reason  # noqa: PT017
    assert 4 <= max(seen) <= 12
    (tmp_path / "b.wav").write_bytes(b"RIFF nothing")
    for name, reason in (("b.wav", "no sound that can be decoded"), ("c.wav", "no such file"), (".", "a folder")):
        with pytest.raises(SensoriumError, match=reason):
            list(sound_segments(tmp_path / name))


# The system's own peak of this process alone: getrusage would give that of the process which started it, too.
GROWTH = """
import sys
from pathlib import Path
from sensorium.data.{module} import {function} as segments
def memory(what):
    status = Path("/proc/self/status").read_text()
    return int(status.split(what + ":")[1].split()[0]) >> 10
next(segments(sys.argv[1]))
Path("/proc/self/clear_refs").write_text("5")
before, count = memory("VmRSS"), 0
for segment in segments(sys.argv[1]):
    count += 1
print(count, memory("VmHWM") - before)
"""


def growth(path: Path, module: str, function: str) -> tuple[int, int]:
    """How many stretches a file has, and the MiB by which a process that reads them all grows."""
    code = GROWTH.format(module=module, function=function)
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    count, size = map(int, run.stdout.split())
    return count, size


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system does not tell a process's peak")
def test_an_hour_of_sound_in_bounded_memory(tmp_path: Path) -> None:
    minute = (tone(60, 8000) * 32767).astype(np.int16)
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 8000, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(minute)
    count, size = growth(tmp_path / "a.wav", "audio_segments", "sound_segments")
    assert count == 1800
    assert size < 40, "read whole, it would take 115"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system does not tell a process's peak")
def test_two_hours_of_film_in_bounded_memory(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [i % 250 for i in range(7200)], rate=1, size=(64, 48), keys=60)
    count, size = growth(path, "video", "video_segments")
    assert count == 3600
    assert size < 30, "decoded whole, it would take 66"

"""Sound: files of every kind into the spectrograms of ImageBind."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sensorium.data.audio import AudioSteps, filter_bank, read_audio, resample
from sensorium.data.errors import SensoriumError, Unreadable

soundfile = pytest.importorskip("soundfile")


def tone(hertz: float, rate: int, seconds: float) -> Tensor:
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(int(rate * seconds)) / rate)[None]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_files(suffix: str, tmp_path: Path) -> None:
    path, wave = tmp_path / f"tone.{suffix}", tone(1000, 22050, 3.0).expand(2, -1)
    soundfile.write(path, wave.T.numpy(), 22050)
    samples, rate = read_audio(path)
    assert rate == 22050
    assert samples.shape[0] == 2
    assert abs(samples.shape[1] - wave.shape[1]) < 3000
    clips = AudioSteps().read(path)
    assert clips.shape == (3, 1, 128, 204)
    assert clips.isfinite().all()
    mel = 1127 * math.log(1 + 1000 / 700)  # the tone is found in its own bin
    low, high = (1127 * math.log(1 + f / 700) for f in (20, 8000))
    assert abs(int(clips[1, 0, :, 50].argmax()) - (mel - low) / (high - low) * 129) < 2


def test_the_sound_of_a_film(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "tone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(1000, 16000, 1.0).numpy(), format="fltp", layout="mono")
        frame.rate = 16000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    samples, rate = read_audio(path)
    assert rate == 16000
    assert samples.shape[1] >= 16000
    assert 0.3 < samples.abs().max() < 0.7


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF nothing")
    soundfile.write(tmp_path / "b.wav", torch.zeros(100, 1).numpy(), 16000)
    for name, reason in (("a.wav", "no sound"), ("b.wav", "too short"), ("c.wav", "no such file"), (".", "a folder")):
        with pytest.raises(Unreadable, match=reason):
            AudioSteps().read(tmp_path / name)
    with pytest.raises(SensoriumError, match="cannot be resampled"):
        resample(torch.zeros(1, 10), 0, 16000)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([8000, 11025, 16000, 22050, 44100, 44101, 48000]), st.integers(1, 5000))
def test_resampled_length_and_tone(rate: int, length: int) -> None:
    out = resample(torch.ones(2, length), rate, 16000)
    assert out.shape == (2, math.ceil(length * 16000 / rate))
    margin = 40 * 16000 // min(rate, 16000)
    inside = out[:, margin:-margin] if out.shape[1] > 2 * margin else out[:, :0]
    torch.testing.assert_close(inside, torch.ones_like(inside), atol=2e-2, rtol=0)


def test_resampling_keeps_a_tone() -> None:
    out, expected = resample(tone(440, 44100, 0.5), 44100, 16000), tone(440, 16000, 0.5)
    torch.testing.assert_close(out[:, 100:-100], expected[:, 100:-100], atol=2e-3, rtol=0)


def test_long_sounds_are_resampled_in_pieces() -> None:
    wave = torch.randn(1, 300_000)
    whole = resample(wave, 48000, 16000)
    torch.testing.assert_close(resample(wave[:, :60_000], 48000, 16000)[:, :19_000], whole[:, :19_000])


@pytest.mark.parametrize("rate", [16000, 22050])
def test_clips_of_a_long_sound_are_those_of_the_whole(rate: int, tmp_path: Path) -> None:
    noise = torch.randn(rate * 150, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.01, 0.2, rate * 150)
    soundfile.write(tmp_path / "a.wav", noise.numpy(), rate)
    steps = AudioSteps()
    clips, whole = steps.read(tmp_path / "a.wav"), steps(*read_audio(tmp_path / "a.wav"))
    assert clips.shape == whole.shape
    if rate == steps.rate:
        torch.testing.assert_close(clips, whole)
    assert (clips - whole)[..., 1:197].abs().mean() < 0.02
    assert (clips - whole.roll(1, 0)).abs().mean() > 0.1


def test_silence_is_the_floor_and_padding_is_zero() -> None:
    steps = AudioSteps()
    spectrogram = steps.spectrogram(torch.zeros(1, 16000))
    assert spectrogram.shape == (1, 128, 204)
    floor = math.log(torch.finfo(torch.float32).eps)
    torch.testing.assert_close(spectrogram[..., :98], torch.full((1, 128, 98), floor))
    assert (spectrogram[..., 98:] == 0).all()
    assert filter_bank(torch.zeros(400), 16000, 128).shape == (1, 128)


def test_the_waveform_is_left_as_it_is() -> None:
    wave = torch.randn(1, 40_000) + 1
    before = wave.clone()
    AudioSteps()(wave, 16000)
    assert torch.equal(wave, before)

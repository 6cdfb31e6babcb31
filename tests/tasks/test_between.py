"""Retrieval between senses and arithmetic of them: ranks worked out by hand, on a model that knows four words."""

from pathlib import Path

import pytest
import torch

from sensorium.data.errors import SensoriumError
from sensorium.data.sensed import open_samples
from sensorium.tasks.arithmetic import arithmetic, composed
from sensorium.tasks.between import between, mix_of
from tests.data.test_segments import film
from tests.planted_senses import WORDS, Planted, gray, picture, sound

TEXT, AUDIO, IMAGE = (mix_of(sense) for sense in ("text", "audio", "image"))


def test_several_captions_a_sound(tmp_path: Path) -> None:
    """Captions that name another sound are found where that one stands; of a sound's own, the best counts."""
    for word in WORDS[:3]:
        sound(tmp_path / f"{word}.wav", word)
    (tmp_path / "t.csv").write_text(
        "audio,caption\ndog.wav,a dog barks\ndog.wav,a cat meows\ncat.wav,a cat purrs\nrain.wav,the beach in rain\n"
        "gone.wav,nothing\n"
    )
    result = between(Planted().embedder(), open_samples(tmp_path / "t.csv"), TEXT, AUDIO)
    assert result.own == "text-to-audio R@1"
    # "a cat meows" belongs to the dog: the cat comes first, and the dog shares the second place with the rain
    assert result.metrics["text-to-audio R@1"] == pytest.approx(3 / 4)
    assert result.metrics["text-to-audio median rank"] == 1
    # of the captions of others, "a cat meows" is as near to the cat as its own: a tie, which costs half a place
    assert result.metrics["audio-to-text R@1"] == pytest.approx(2 / 3)
    assert result.metrics["audio-to-text R@5"] == 1
    assert (result.pictures, result.unit) == (3, "sample")
    assert result.settings == {"captions": 4, "R@1 by chance": 33.33}
    assert [Path(each.path).name for each in result.unreadable] == ["gone.wav"]
    turned = between(Planted().embedder(), open_samples(tmp_path / "t.csv"), AUDIO, TEXT)
    assert turned.own == "audio-to-text R@1"
    assert turned.metrics == result.metrics


def test_any_sense_finds_any_other(tmp_path: Path) -> None:
    for word in WORDS:
        sound(tmp_path / f"{word}.wav", word)
        picture(tmp_path / f"{word}.png", word)
    rows = ["audio,image", *(f"{word}.wav,{word}.png" for word in WORDS)]
    picture(tmp_path / "beach.png", "dog")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    result = between(Planted().embedder(), open_samples(tmp_path / "t.csv"), AUDIO, IMAGE)
    # the dog's sound finds two dogs; the beach's finds none, and its own stands among four equals
    assert result.metrics["audio-to-image R@1"] == pytest.approx(2 / 4)
    assert result.metrics["audio-to-image R@5"] == 1
    assert result.metrics["image-to-audio R@1"] == pytest.approx(3 / 4)
    with pytest.raises(SensoriumError, match="audio finds itself"):
        between(Planted().embedder(), open_samples(tmp_path / "t.csv"), AUDIO, AUDIO)
    with pytest.raises(SensoriumError, match="without samples of depth and audio; there is image, audio"):
        between(Planted().embedder(), open_samples(tmp_path / "t.csv"), mix_of("depth"), AUDIO)


def test_films_with_their_sound(tmp_path: Path) -> None:
    """Two films look alike and sound otherwise: sight alone cannot tell them apart, both together can."""
    for name, seen, heard in (("a", "dog", "rain"), ("b", "dog", "beach"), ("c", "cat", "cat")):
        film(tmp_path / f"{name}.mp4", [gray(seen)] * 20)
        sound(tmp_path / f"{name}.wav", heard)
    (tmp_path / "t.csv").write_text(
        "video,audio,text\na.mp4,a.wav,a dog in the rain\nb.mp4,b.wav,a dog at the beach\nc.mp4,c.wav,a cat\n"
    )
    data = open_samples(tmp_path / "t.csv")
    alone = between(Planted().embedder(), data, TEXT, mix_of("video"))
    both = between(Planted().embedder(), data, TEXT, mix_of("video + 0.5*audio"))
    assert alone.metrics["text-to-video R@1"] == pytest.approx(1 / 3)
    assert both.metrics["text-to-video+audio R@1"] == 1
    assert both.settings["video+audio"] == "1 + 0.5"
    (tmp_path / "b.wav").write_bytes(b"RIFF nothing")
    less = between(Planted().embedder(), data, TEXT, mix_of("video+audio"))
    assert (less.pictures, [Path(each.path).name for each in less.unreadable]) == (2, ["b.wav"])


@pytest.mark.parametrize("words", ["smell", "video+", "0*audio", "x*audio", "audio+audio", "nan*audio"])
def test_sums_that_make_no_sense(words: str) -> None:
    with pytest.raises(SensoriumError, match=r"senses joined by \+|each sense once"):
        mix_of(words)


def test_composed_questions_by_hand() -> None:
    """Of two directions and their sum: the sum comes first for both together, second for either alone."""
    first, second = torch.tensor([[3.0, 0, 0]]), torch.tensor([[0, 0.5, 0]])
    gallery = torch.tensor([[1.0, 0.1, 0], [0.1, 1, 0], [1, 1, 0], [0, 0, 1], [3, 0, 0]])
    relevant = torch.tensor([[False, False, True, False, False]])
    left_out = torch.tensor([[False, False, False, False, True]])
    found = composed(first, second, gallery, torch.tensor([[0, 0]]), relevant, left_out)
    assert (found.both, found.first, found.second, found.questions) == (1, 0.5, 0.5, 1)
    assert found.chance == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """One picture and one sound of each word, and pictures of two words."""
    rows = ["path,label"]
    for word in WORDS:
        rows += [f"{picture(tmp_path / f'{word}.png', word).name},{word}"]
        rows += [f"{sound(tmp_path / f'{word}.wav', word).name},{word}"]
    for a, b in (("dog", "beach"), ("dog", "rain"), ("cat", "rain")):
        rows.append(f"{picture(tmp_path / f'{a} {b}.png', a, b).name},{a}|{b}")
    (tmp_path / "mixed.csv").write_text("\n".join(rows))
    return tmp_path / "mixed.csv"


def test_a_picture_plus_a_sound_finds_what_has_both(mixed: Path) -> None:
    result = arithmetic(Planted().embedder(), open_samples(mixed), "image", "audio", "image")
    assert result.metrics["mAP"] == 1
    assert result.settings["questions"] == 6, "each of three pairs both ways round"
    assert (result.pictures, result.own) == (7, "mAP")
    # a dog alone finds both pictures with a dog, of which one is right: 1/2; a beach or a cat finds its only one
    assert result.metrics["mAP of image alone"] == pytest.approx((4 / 2 + 2) / 6)
    # a sound finds the picture of itself alone first; then one of one (1/2) or of two (1/3) is right
    assert result.metrics["mAP of audio alone"] == pytest.approx((2 / 2 + 4 / 3) / 6)
    # one relevant of six: the question's own picture is left out
    assert result.metrics["mAP by chance"] == pytest.approx(sum(1 / i for i in range(1, 7)) / 6)
    words = arithmetic(Planted().embedder(), open_samples(mixed), "audio", "text", "image")
    assert words.metrics["mAP"] == 1
    assert words.metrics["mAP of text alone"] < 1


def test_arithmetic_needs_what_has_both(mixed: Path) -> None:
    mixed.write_text("\n".join(line for line in mixed.read_text().splitlines() if "|" not in line))
    with pytest.raises(SensoriumError, match=r"no image with two labels \(dog\|beach\), of which one has image"):
        arithmetic(Planted().embedder(), open_samples(mixed), "image", "audio", "image")
    with pytest.raises(SensoriumError, match="two different senses, and a target that is no text"):
        arithmetic(Planted().embedder(), open_samples(mixed), "image", "image", "image")

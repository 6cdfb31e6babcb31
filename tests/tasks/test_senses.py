"""Every sense of a model: whole files as the paper reads them, pieces of files of any length, and resuming exactly."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import sensorium
from sensorium.data.audio import AudioSteps
from sensorium.data.depth import DepthSteps
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.image import read_image
from sensorium.data.kind_names import Sense, Spot
from sensorium.data.kinds import KINDS, Kind, kind_of
from sensorium.data.motion import MotionSteps
from sensorium.data.thermal import ThermalSteps
from sensorium.data.video import VideoSteps, read_clips
from sensorium.models.imagebind import ImageBind
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.pieces import MANY, example, pieces
from sensorium.tasks.senses import Piece
from tests.data.test_segments import film, tone
from tests.tiny_senses import everything, imagebind, pdf, recording, spots


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("imagebind")


@pytest.fixture(scope="module")
def model(saved: Path) -> Embedder:
    return imagebind(saved)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    return everything(tmp_path_factory.mktemp("files"))


def test_every_sense_is_imagebind_s_own(model: Embedder, files: dict[Kind, Path]) -> None:
    bind = model.model
    assert isinstance(bind, ImageBind)
    inputs = {
        "video": ("vision", VideoSteps(size=32).read(files["video"])),
        "audio": ("audio", AudioSteps(bins=32, frames=44).read(files["sound"])),
        "depth": ("depth", DepthSteps(size=32).read(files["depth"])[None]),
        "thermal": ("thermal", ThermalSteps(size=32).read(files["thermal"])[None]),
        "motion": ("imu", MotionSteps(steps=64).read(files["motion"])),
    }
    vectors = model.embed(
        images=[files["picture"]],
        video=[files["video"]],
        audio=[files["sound"], str(files["video"])],
        depth=[files["depth"]],
        thermal=[files["thermal"]],
        motion=[files["motion"]],
    )
    for sense, (modality, clips) in inputs.items():
        expected = F.normalize(bind.embed(modality, clips[None]), dim=-1)
        torch.testing.assert_close(vectors[sense][:1], expected, atol=1e-5, rtol=1e-5)
        assert model.has(sense)
    assert vectors["audio"].shape == (2, 24)
    assert (vectors["audio"][0] - vectors["audio"][1]).abs().max() > 1e-4


def test_what_cannot_be_read_is_named_or_masked(model: Embedder, files: dict[Kind, Path], tmp_path: Path) -> None:
    np.save(tmp_path / "no unit.npy", np.ones((30, 40), np.float32))
    (tmp_path / "b.png").write_bytes(b"no depth")
    with pytest.raises(
        Unreadable, match=r"no unit\.npy: a depth map states no unit: pass unit=.*; and 1 more: .*b\.png"
    ):
        model.embed(depth=[tmp_path / "no unit.npy", files["depth"], tmp_path / "b.png"])
    vectors = model.embed(depth=[tmp_path / "b.png", files["depth"]], unreadable="mask")
    assert vectors["depth_readable"].tolist() == [False, True]
    assert not vectors["depth"][0].any()
    with pytest.raises(SensoriumError, match=r"audio takes a list; for one file write audio=\[file\]"):
        model.embed(audio=str(files["sound"]))


def test_a_part_of_the_senses(model: Embedder, saved: Path, files: dict[Kind, Path], tmp_path: Path) -> None:
    ears = sensorium.load(saved, senses=("audio", "text"))
    assert isinstance(ears, Embedder)
    assert ears.fingerprint == model.fingerprint
    assert ears.kinds == ("video", "sound", "document")
    assert ears.lacks("sound") is None
    assert ears.lacks("thermal") == f"{saved} does not see heat: thermal pictures are left out"
    torch.testing.assert_close(
        ears.embed(audio=[files["sound"]])["audio"], model.embed(audio=[files["sound"]])["audio"]
    )
    with pytest.raises(SensoriumError, match="has no video: it has text, audio"):
        ears.embed(video=[files["video"]])
    with pytest.raises(SensoriumError, match="was loaded without pictures: name image among its senses"):
        ears.embed(images=[files["picture"]])
    assert [piece.sense for piece in pieces(ears, files["video"], "video")] == ["audio"] * 4
    assert [piece.page for piece in pieces(ears, files["document"], "document")] == [1, 3]
    with pytest.raises(Unreadable, match="does not see heat"):
        list(pieces(ears, files["thermal"], "thermal"))
    sensorium.save(ears, tmp_path, naming="imagebind")
    with pytest.raises(SensoriumError, match="has no sense depth; it has text, audio"):
        sensorium.load(tmp_path, senses=("audio", "depth"))
    with pytest.raises(SensoriumError, match="senses: name one at least of text, audio"):
        sensorium.load(tmp_path, senses=())
    with pytest.raises(SensoriumError, match="loaded whole: leave senses out"):
        sensorium.load("pocket", senses=("image",))


# -- pieces -----------------------------------------------------------------------------------------------------------


def told(piece: Piece) -> tuple[str, float | None, float | None, int | None]:
    times = [None if time is None else round(time, 2) for time in (piece.begin, piece.end)]
    return piece.sense, times[0], times[1], piece.page


def test_pieces_of_every_kind(model: Embedder, files: dict[Kind, Path]) -> None:
    found = {kind: list(pieces(model, files[kind], kind)) for kind in KINDS}
    assert {kind: kind_of(files[kind]) for kind in KINDS} == {kind: kind for kind in KINDS}
    assert [told(piece) for piece in found["video"]][:5] == [
        ("video", 0, 2, None),
        ("audio", 0, 2, None),
        ("video", 2, 4, None),
        ("audio", 2, 4, None),
        ("video", 4, 6, None),
    ]
    assert [told(piece)[0] for piece in found["video"]][5:] == ["audio", "audio"], "the sound is a little longer"
    assert [told(piece)[1:3] for piece in found["sound"]] == [(0, 2), (2, 4), (4, 6), (5.5, 7.5)]
    assert [told(piece) for piece in found["motion"]] == [
        ("motion", 0, 5, None),
        ("motion", 5, 10, None),
        ("motion", 7, 12, None),
    ]
    assert [told(piece)[0::3] for piece in found["document"]] == [
        ("image", 1),
        ("text", 1),
        ("image", 2),
        ("image", 3),
        ("text", 3),
    ]
    assert [piece.input for piece in found["document"] if piece.sense == "text"] == ["Dear reader", "Yours"]
    for kind, size in (("picture", (60, 40)), ("depth", (64, 48)), ("thermal", (60, 40)), ("document", (300, 400))):
        assert found[kind][0].size == size
    for parts in found.values():
        for piece in parts:
            vector = model.vectors(piece.sense, [piece.input])
            assert vector.shape == (1, 24)
            assert float(vector.norm()) == pytest.approx(1, abs=1e-5)


def same(left: list[Piece], right: list[Piece]) -> bool:
    def equal(a: Piece, b: Piece) -> bool:
        if isinstance(a.input, str) or isinstance(b.input, str):
            return a.input == b.input
        return torch.equal(a.input, b.input)

    facts = [[(p.sense, p.begin, p.end, p.page, p.size) for p in some] for some in (left, right)]
    return facts[0] == facts[1] and all(equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Kind]]:
    """Files of many pieces each, of every kind that has several; and odd ones among them."""
    folder = tmp_path_factory.mktemp("long")
    rng = np.random.default_rng(0)
    uneven = np.cumsum(rng.choice([0.05, 0.1, 0.4, 3.0], 80)).tolist()
    grays = rng.integers(0, 255, 300).tolist()
    heard = rng.normal(0, 0.1, 16000 * 29)
    both = {"sound": heard[None], "keys": 25}
    paths: dict[str, tuple[Path, Kind]] = {
        "film": (film(folder / "a.mp4", grays, **both), "video"),
        "film of unequal frames": (film(folder / "b.mkv", grays[:80], uneven, keys=7), "video"),
        "film of few key frames": (film(folder / "c.mp4", grays, keys=1000), "video"),
        "film that outlasts its sound": (film(folder / "d.mp4", grays, sound=heard[None, : 16000 * 9]), "video"),
        "sound that outlasts its film": (film(folder / "e.mp4", grays[:90], **both), "video"),
        "film cut off": (folder / "f.mkv", "video"),
        "motion": (recording(folder / "g.csv", seconds=58), "motion"),
        "document": (pdf(folder / "h.pdf", [rng.choice(["", "some words"]) for _ in range(12)]), "document"),
    }
    whole = film(folder / "whole.mkv", grays, **both)
    (folder / "f.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    for suffix in ("wav", "flac", "ogg", "mp3"):
        soundfile.write(folder / f"i.{suffix}", heard, 16000, format=suffix.upper())
        paths[suffix] = folder / f"i.{suffix}", "sound"
    return paths


NAMES = ["film", "film of unequal frames", "film of few key frames", "film that outlasts its sound"]
NAMES += ["sound that outlasts its film", "film cut off", "motion", "document", "wav", "flac", "ogg", "mp3"]


@pytest.mark.parametrize("name", NAMES)
def test_pieces_go_on_where_they_were_left(name: str, model: Embedder, long: dict[str, tuple[Path, Kind]]) -> None:
    path, kind = long[name]
    whole, ended = collected(model, path, kind)
    assert len(whole) >= 10

    @settings(max_examples=12, deadline=None)
    @given(st.integers(0, len(whole)))
    def check(done: int) -> None:
        rest, reason = collected(model, path, kind, spots(whole[:done]))
        assert same(rest, whole[done:])
        assert reason == ended

    check()


def collected(model: Embedder, path: Path, kind: Kind, kept: Sequence[Spot] = ()) -> tuple[list[Piece], str | None]:
    found: list[Piece] = []
    try:
        found.extend(pieces(model, path, kind, kept))
    except Unreadable as error:
        return found, error.reason
    return found, None


@pytest.mark.parametrize("mute", [False, True])
def test_a_film_is_sought_in(mute: bool, model: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sensorium.data.video import _Player  # pyright: ignore[reportPrivateUsage]

    path = film(tmp_path / "a.mp4", [i % 250 for i in range(600)], sound=None if mute else np.zeros((1, 16000 * 60)))
    steps: list[int] = []
    whole = _Player._next
    monkeypatch.setattr(_Player, "_next", lambda self: steps.append(1) or whole(self))
    senses: list[Sense] = ["video"] if mute else ["video", "audio"]
    kept = [Spot(0, sense, 2.0 * i, 2.0 * i + 2) for i in range(26) for sense in senses]
    assert next(pieces(model, path, "video", kept)).begin == pytest.approx(52)
    assert len(steps) < 200, "decoded from the beginning, it would be 540"


def test_a_film_of_which_the_sound_cannot_be_read(model: Embedder, tmp_path: Path) -> None:
    mute = film(tmp_path / "a.mp4", [10] * 50)
    assert [piece.sense for piece in pieces(model, mute, "video")] == ["video"] * 3
    short = film(tmp_path / "b.mkv", [10] * 50, sound=np.zeros((1, 16)))
    found, _ = collected(model, short, "video")
    assert [piece.sense for piece in found][:1] == ["video"]


# -- models of pictures ------------------------------------------------------------------------------------------------


def test_any_model_of_pictures_sees_films_and_documents(embedder: Embedder, files: dict[Kind, Path]) -> None:
    assert embedder.kinds == ("picture", "video", "document")
    assert embedder.lacks("sound") == f"{embedder.name} does not hear: sounds are left out"
    first, *_ = pieces(embedder, files["video"], "video")
    frames = read_clips(files["video"], 2.0, 5, 2)
    assert isinstance(first.input, torch.Tensor)
    assert first.input.dtype == torch.uint8
    rows = [embedder.embed(images=list(clip.permute(1, 2, 3, 0).numpy()))["images"].mean(0) for clip in frames]
    torch.testing.assert_close(
        embedder.vectors("video", [first.input])[0], F.normalize(rows[0], dim=0), atol=1e-3, rtol=1e-3
    )
    whole = F.normalize(torch.stack([F.normalize(row, dim=0) for row in rows]).mean(0), dim=0)
    torch.testing.assert_close(embedder.embed(video=[files["video"]])["video"][0], whole, atol=1e-3, rtol=1e-3)
    senses = [piece.sense for piece in pieces(embedder, files["document"], "document")]
    assert senses == ["image", "text", "image", "image", "text"]


# -- examples ---------------------------------------------------------------------------------------------------------


def test_any_file_is_an_example(model: Embedder, files: dict[Kind, Path], tmp_path: Path) -> None:
    for kind in KINDS:
        vector = model.embed_example(files[kind])
        assert vector.shape == (24,)
        assert float(vector.norm()) == pytest.approx(1, abs=1e-5)
    parts = [model.vectors(piece.sense, [piece.input]) for piece in pieces(model, files["sound"], "sound")]
    torch.testing.assert_close(model.embed_example(files["sound"]), F.normalize(torch.cat(parts).mean(0), dim=0))
    picture = read_image(files["picture"])
    torch.testing.assert_close(model.embed_example(picture), model.embed(images=[picture])["images"][0])
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(Unreadable, match="neither picture, film"):
        model.embed_example(tmp_path / "notes.txt")


def test_a_long_file_is_seen_here_and_there(model: Embedder, tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 8000, 1) as file:
        for second in range(400):
            file.write(np.full(8000, second / 400))
    found = example(model, tmp_path / "a.wav", "sound")
    assert MANY / 2 <= len(found) <= MANY
    steps = np.diff([piece.begin for piece in found])
    assert steps.min() == steps.max()
    assert (found[-1].end or 0) > 380
    path = film(tmp_path / "b.mp4", [i % 250 for i in range(400)], rate=1, keys=5, sound=tone(8, 16000)[None])
    seen = example(model, path, "video")
    assert [piece.sense for piece in seen] == ["video"] * MANY
    assert (seen[-1].end or 0) > 390
    cut = film(tmp_path / "c.mkv", [i % 250 for i in range(50)], keys=5)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    assert example(model, cut, "video"), "as far as it can be read"

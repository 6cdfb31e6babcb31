import pytest
import torch

from sensorium.checkpoints.ear import MEANINGS
from sensorium.checkpoints.pocket import read_packed
from sensorium.training.recipes.pocket_sound import kinds, main, meanings, wordings
from sensorium.training.recipes.pocket_sound_words import COMMON, WORDS


def test_the_recipe_makes_what_is_shipped(tmp_path):
    main(["--out", str(tmp_path / "ear.safetensors")])
    again, shipped = (read_packed(path)["meanings"] for path in (tmp_path / "ear.safetensors", MEANINGS))
    torch.testing.assert_close(again, shipped, rtol=0, atol=5e-3)  # a step of the rounding


def test_every_wording_is_of_a_kind_that_the_classifier_has():
    assert set(WORDS) | COMMON <= set(kinds())


def test_remarks_in_brackets_are_not_said():
    assert wordings(["Whimper (dog)", "Bark", "Ship"], {"Bark": "a dog barking"}) == [
        ("whimper", "whimper"),
        ("bark", "a dog barking"),
        ("ship", "ship"),
    ]


def test_common_kinds_are_faint():
    vectors = torch.eye(4)[:, None].expand(4, 2, 4)
    found = meanings(vectors, ["a", "b", "c", "d"], frozenset({"b"}))
    lengths = found.norm(dim=1)
    assert float(lengths[1] / lengths[0]) == pytest.approx(0.1)

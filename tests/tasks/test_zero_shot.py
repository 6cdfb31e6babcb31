from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from sensorium.data.errors import SensoriumError
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.zero_shot import TEMPLATES, class_vectors, classify

LABELS = ["cat", "space rocket", "coffee"]


def test_ensembling_by_hand(embedder: Embedder) -> None:
    templates = ["a photo of a {}.", "{}, drawn", "the {}"]
    vectors = class_vectors(embedder, LABELS, templates)
    for label, vector in zip(LABELS, vectors, strict=True):
        sentences = embedder.embed(text=[template.format(label) for template in templates])["text"]
        torch.testing.assert_close(vector, F.normalize(sentences.mean(0), dim=0), atol=1e-5, rtol=1e-5)


def test_one_template_is_the_sentence_itself(embedder: Embedder) -> None:
    torch.testing.assert_close(
        class_vectors(embedder, LABELS, ["{}"]), embedder.embed(text=LABELS)["text"], atol=1e-5, rtol=1e-5
    )


def test_probabilities(embedder: Embedder, photographs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    images = [photographs[0], tmp_path / "bad.jpg", photographs[1]]
    result = classify(embedder, images, [" cat ", "dog"])
    assert result.labels == ("cat", "dog")
    assert result.readable == [True, False, True]
    assert result.probabilities.shape == (2, 2)
    torch.testing.assert_close(result.probabilities.sum(1), torch.ones(2))
    good = embedder.embed(images=[photographs[0], photographs[1]])["images"]
    cosines = good @ class_vectors(embedder, ["cat", "dog"]).T
    torch.testing.assert_close(result.probabilities, (embedder.logit_scale * cosines).softmax(1), atol=1e-5, rtol=1e-4)


def test_the_order_of_labels_does_not_matter(embedder: Embedder, photographs: list[Path]) -> None:
    forward = classify(embedder, photographs[:3], LABELS).probabilities
    backward = classify(embedder, photographs[:3], LABELS[::-1]).probabilities
    torch.testing.assert_close(forward, backward.flip(1), atol=1e-5, rtol=1e-4)


def test_no_readable_picture(embedder: Embedder, tmp_path: Path) -> None:
    result = classify(embedder, [tmp_path / "none.jpg"], LABELS)
    assert result.probabilities.shape == (0, 3)
    assert result.readable == [False]


@pytest.mark.parametrize(
    ("labels", "templates", "words"),
    [
        ([], TEMPLATES, "labels: at least one"),
        (["cat", "  "], TEMPLATES, "none empty"),
        (["cat", "dog", "cat "], TEMPLATES, "labels: cat stands there more than once"),
        (["cat"], ["a photo"], r"templates: 'a photo' needs exactly one \{\}"),
        (["cat"], ["{} and {}"], "needs exactly one"),
        (["cat"], [], "templates: at least one"),
    ],
)
def test_what_cannot_be_asked(embedder: Embedder, labels: list[str], templates: list[str], words: str) -> None:
    with pytest.raises(SensoriumError, match=words):
        class_vectors(embedder, labels, templates)


def test_braces_in_a_label_are_letters(embedder: Embedder) -> None:
    vectors = class_vectors(embedder, ["{} {0}", "cat"], ["a {}"])
    torch.testing.assert_close(vectors[0], embedder.embed(text="a {} {0}")["text"][0], atol=1e-5, rtol=1e-5)

"""Probe, neighbours, few-shot and retrieval on plain vectors: against scikit-learn, and against slow words."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier

from sensorium.data.errors import SensoriumError
from sensorium.nn.neighbours import vote
from sensorium.tasks import few_shot, linear_probe
from sensorium.tasks.linear_probe import STEPS, fit, hold_out, probe, strength, sweep
from sensorium.tasks.metrics import judge, top_k
from sensorium.tasks.retrieval_metrics import caption_ranks, ranks


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = load_digits(return_X_y=True)
    return torch.from_numpy(x), torch.from_numpy(y).long()


def labelled(truth: torch.Tensor) -> list[tuple[int, ...]]:
    return [(int(each),) for each in truth]


@pytest.mark.parametrize("c", [1e-4, 0.03, 10.0])
def test_logistic_regression_is_scikit_learns(digits: tuple[torch.Tensor, torch.Tensor], c: float) -> None:
    x, y = digits[0][:600], digits[1][:600]
    ours = fit(x, labelled(y), 10, c=c, iterations=5000, flat=1e-9)
    theirs = LogisticRegression(C=c, max_iter=20000, tol=1e-8).fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(ours.weight.T, theirs.coef_, atol=2e-3 * np.abs(theirs.coef_).max())
    there = torch.from_numpy(theirs.coef_).T, torch.from_numpy(theirs.intercept_)
    loss, other = (
        torch.nn.functional.cross_entropy(x @ weight + bias, y) + weight.square().sum() / (2 * c * len(x))
        for weight, bias in ((ours.weight, ours.bias), there)
    )
    assert float(loss) == pytest.approx(float(other), rel=1e-6)
    probabilities = ours(digits[0][600:]).softmax(1)
    np.testing.assert_allclose(probabilities, theirs.predict_proba(digits[0][600:].numpy()), atol=6e-3)


def test_several_labels_are_as_many_yes_or_no(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = digits[0][:300], digits[1][:300]
    ours = fit(x, [tuple(k for k, on in enumerate((v % 2, v > 4)) if on) for v in y.tolist()], 2, c=0.1, flat=1e-9)
    for k, yes in enumerate((y % 2 == 1, y > 4)):
        theirs = LogisticRegression(C=0.1, max_iter=20000, tol=1e-8).fit(x.numpy(), yes.numpy())
        np.testing.assert_allclose(ours.weight[:, k], theirs.coef_[0], atol=1e-3 * np.abs(theirs.coef_).max())


def test_a_start_changes_the_time_and_not_the_model(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = digits[0][:300], labelled(digits[1][:300])
    cold = fit(x, y, 10, c=0.1, flat=1e-9)
    warm = fit(x, y, 10, c=0.1, flat=1e-9, start=fit(x, y, 10, c=0.05, flat=1e-9))
    torch.testing.assert_close(warm.weight, cold.weight, atol=1e-5, rtol=1e-3)
    soon = fit(x, y, 10, c=0.1, start=cold)
    assert soon.iterations < fit(x, y, 10, c=0.1).iterations / 4


def test_what_is_added_to_all_vectors_does_not_matter(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = digits[0][:300], labelled(digits[1][:300])
    near, far = fit(x, y, 10, c=0.1, flat=1e-9), fit(x + 1000, y, 10, c=0.1, flat=1e-9)
    torch.testing.assert_close(near(x).softmax(1), far(x + 1000).softmax(1), atol=1e-4, rtol=1e-3)


def test_the_grid_is_the_papers() -> None:
    assert (strength(0), strength(STEPS)) == (pytest.approx(1e-6), pytest.approx(1e6))
    assert strength(8) / strength(0) == pytest.approx(10)


def test_the_sweep_closes_in_on_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores with one peak, at step 37 of 96: found, with 15 tries instead of 97."""
    tries: list[int] = []

    def fake_fit(x: torch.Tensor, labels: object, classes: int, *, c: float, start: object = None) -> object:
        return lambda valid: torch.tensor(c)

    monkeypatch.setattr(linear_probe, "fit", fake_fit)
    peak = lambda scores, labels: -abs(float(torch.log10(scores)) + 6 - 37 / 8)  # noqa: E731
    nothing = torch.zeros(1, 1)
    c, tried = sweep(nothing, [(0,)], nothing, [(0,)], 1, judge=peak, tried=tries.append)
    assert c == strength(37)
    assert max(tried, key=lambda value: tried[value]) == c
    assert len(tried) == len(tries) == 15
    assert list(tried) == sorted(tried)


def test_a_probe_learns_digits_and_chance_is_chance(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = digits[0].float(), digits[1]
    found = probe(x[:600], labelled(y[:600]), 10, judge=judge(None))
    assert top_k(found.model(x[1200:]), y[1200:]) > 0.88
    assert 1e-6 < found.c < 1e6
    shuffled = y[torch.randperm(600, generator=torch.Generator().manual_seed(0))]
    nothing = probe(x[:600], labelled(shuffled), 10, judge=judge(None))
    assert top_k(nothing.model(x[1200:]), y[1200:]) < 0.3


def test_given_validation_pictures_are_learned_from_in_the_end(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = digits
    found = probe(x[:200], labelled(y[:200]), 10, judge=judge(None), valid=(x[200:300], labelled(y[200:300])))
    whole = fit(x[:300], labelled(y[:300]), 10, c=found.c)
    torch.testing.assert_close(found.model.weight, whole.weight)


@given(st.lists(st.integers(2, 30), min_size=2, max_size=5), st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_some_of_each_class_is_held_out_and_never_all(sizes: list[int], seed: int) -> None:
    labels = [(number,) for number, size in enumerate(sizes) for _ in range(size)]
    held = hold_out(labels, len(sizes), seed=seed)
    for number, size in enumerate(sizes):
        out = sum(labels[row] == (number,) for row in held)
        assert out == max(1, int(size / 5))
    assert held == hold_out(labels, len(sizes), seed=seed)


def test_nothing_can_be_held_out_of_one() -> None:
    with pytest.raises(SensoriumError, match="class 1 has a single picture"):
        hold_out([(0,), (0,), (1,)], 2)


@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from([0.07, 0.5]))
@settings(deadline=None, max_examples=30)
def test_neighbours_are_scikit_learns(seed: int, k: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    train, test = (torch.randn(n, 6, generator=generator, dtype=torch.float64) for n in (40, 15))
    labels = torch.arange(40) % 4

    def weights(distance: np.ndarray) -> np.ndarray:
        return np.exp((1 - distance) / temperature)

    theirs = KNeighborsClassifier(k, weights=weights, metric="cosine").fit(train.numpy(), labels.numpy())
    ours = vote(train, labels, test, 4, k=k, temperature=temperature)
    np.testing.assert_allclose(ours, theirs.predict_proba(test.numpy()), atol=1e-9)


@pytest.mark.parametrize("n", [30, 200], ids=["fewer pictures than numbers", "more"])
def test_ridge_is_scikit_learns(digits: tuple[torch.Tensor, torch.Tensor], n: int) -> None:
    x, y = digits[0][:n], digits[1][:n]
    scores = few_shot.ridge(x, y, digits[0][500:], 10, penalty=3.0)
    mean, std = x.mean(0), x.std(0, correction=0) + few_shot.EPS
    inputs = torch.cat([(x - mean) / std, torch.full((n, 1), few_shot.BIAS)], 1)
    outputs = torch.cat([(digits[0][500:] - mean) / std, torch.full((len(digits[0]) - 500, 1), few_shot.BIAS)], 1)
    targets = 2 * torch.nn.functional.one_hot(y, 10) - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Ridge(alpha=3.0, fit_intercept=False, solver="svd").fit(inputs.numpy(), targets.numpy())
    np.testing.assert_allclose(scores, theirs.predict(outputs.numpy()), atol=1e-6)


def test_a_draw_is_of_so_many_of_each(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    names = [str(number) for number in range(10)]
    rows = few_shot.draw(digits[1], names, 5, seed=3)
    assert digits[1][rows].bincount().tolist() == [5] * 10
    assert len(set(rows)) == 50
    assert rows == few_shot.draw(digits[1], names, 5, seed=3) != few_shot.draw(digits[1], names, 5, seed=4)
    with pytest.raises(SensoriumError, match="500-shot: 0 has 178 readable pictures"):
        few_shot.draw(digits[1], names, 500, seed=0)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=50)
def test_ranks_of_captions_by_sorting(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    owner = torch.cat([torch.arange(7), torch.randint(0, 7, (12,), generator=generator)])
    texts = torch.randn(19, 3, generator=generator, dtype=torch.float64)
    to_text, to_image = caption_ranks(images, texts, owner)
    for i in range(7):
        order = (images[i] @ texts.T).argsort(descending=True).tolist()
        first = min(order.index(j) for j in range(19) if owner[j] == i)
        assert to_text[i] == 1 + first
    for j in range(19):
        order = (images @ texts[j]).argsort(descending=True).tolist()
        assert to_image[j] == 1 + order.index(int(owner[j]))


def test_one_caption_each_is_the_square_case() -> None:
    torch.manual_seed(0)
    images, texts = torch.randn(2, 40, 3).round()  # many ties
    to_text, to_image = caption_ranks(images, texts, torch.arange(40))
    torch.testing.assert_close(to_text, ranks(images @ texts.T))
    torch.testing.assert_close(to_image, ranks(texts @ images.T))


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    images, texts, owner = torch.randn(9, 4), torch.randn(27, 4), torch.arange(27) % 9
    whole = caption_ranks(images, texts, owner)
    votes = vote(images, torch.arange(9), texts, 9, k=3)
    monkeypatch.setattr("sensorium.tasks.retrieval_metrics.BLOCK", 4)
    monkeypatch.setattr("sensorium.nn.neighbours.BLOCK", 4)
    torch.testing.assert_close(caption_ranks(images, texts, owner), whole)
    torch.testing.assert_close(vote(images, torch.arange(9), texts, 9, k=3), votes)


def test_a_picture_without_captions() -> None:
    with pytest.raises(ValueError, match="at least one caption"):
        caption_ranks(torch.eye(3), torch.eye(3), torch.tensor([0, 0, 1]))

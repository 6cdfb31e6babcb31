"""Metrics against scikit-learn, and what must hold of any of them."""

import warnings
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs

from sensorium.data.errors import SensoriumError
from sensorium.tasks.metrics import (
    all_points_precision,
    average_precision,
    chance_precision,
    headline,
    mean_average_precision,
    mean_per_class,
    measure,
    membership,
    own_metric,
    roc_auc,
    top_1_5,
    top_k,
)


@st.composite
def scored(draw: st.DrawFn, classes: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores, with ties in many of them, and the true classes."""
    k = classes or draw(st.integers(2, 8))
    n = draw(st.integers(2, 30))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scores = torch.randint(0, draw(st.sampled_from([3, 1000])), (n, k), generator=generator).double()
    return scores, torch.randint(0, k, (n,), generator=generator)


def quiet(metric: Any, *values: Any, **options: Any) -> float:
    with warnings.catch_warnings():  # classes that are predicted and never true
        warnings.simplefilter("ignore")
        return float(metric(*values, **options))


@given(scored())
def test_accuracy_and_mean_per_class(drawn: tuple[torch.Tensor, torch.Tensor]) -> None:
    scores, truth = drawn
    first = scores.numpy().argmax(1)
    assert top_k(scores, truth) == pytest.approx(theirs.accuracy_score(truth, first))
    assert mean_per_class(scores, truth) == pytest.approx(quiet(theirs.balanced_accuracy_score, truth, first))


@given(scored(), st.integers(1, 6))
def test_top_k(drawn: tuple[torch.Tensor, torch.Tensor], k: int) -> None:
    scores, truth = drawn
    scores = scores + torch.rand(scores.shape, dtype=torch.float64)  # scikit-learn breaks ties the other way round
    labels = np.arange(scores.shape[1])
    if scores.shape[1] > 2:
        expected = quiet(theirs.top_k_accuracy_score, truth, scores.numpy(), k=k, labels=labels)
        assert top_k(scores, truth, k) == pytest.approx(expected)
    assert top_k(scores, truth, k) <= top_k(scores, truth, k + 1) <= top_k(scores, truth, scores.shape[1]) == 1
    assert top_1_5(scores, truth) == (top_k(scores, truth, 1) + top_k(scores, truth, 5)) / 2


@given(scored(2))
def test_roc_auc(drawn: tuple[torch.Tensor, torch.Tensor]) -> None:
    scores, truth = drawn
    if truth.unique().numel() < 2:
        with pytest.raises(SensoriumError, match="both classes"):
            roc_auc(scores[:, 1], truth == 1)
        return
    assert roc_auc(scores[:, 1], truth == 1) == pytest.approx(theirs.roc_auc_score(truth, scores[:, 1]))
    assert roc_auc(-scores[:, 1], truth == 1) == pytest.approx(1 - roc_auc(scores[:, 1], truth == 1))


@given(scored(3))
def test_average_precision_over_eleven_points(drawn: tuple[torch.Tensor, torch.Tensor]) -> None:
    scores, truth = drawn
    relevant = truth == 0
    if not relevant.any():
        with pytest.raises(SensoriumError, match="one relevant"):
            average_precision(scores[:, 0], relevant)
        return
    precision, recall, _ = theirs.precision_recall_curve(relevant, scores[:, 0])
    # its last point, precision 1 at recall 0, is no measurement
    points = [precision[:-1][recall[:-1] >= point / 10 - 1e-9].max() for point in range(11)]
    assert average_precision(scores[:, 0], relevant) == pytest.approx(np.mean(points))


@given(scored())
def test_the_order_of_the_pictures_does_not_matter(drawn: tuple[torch.Tensor, torch.Tensor]) -> None:
    scores, truth = drawn
    labels = [(int(each),) for each in truth]
    assert measure(scores.flip(0), labels[::-1]) == pytest.approx(measure(scores, labels))


def test_an_ap_by_hand() -> None:
    """Relevant at places 1, 3 and 6 of 6: precisions 1, 2/3 and 1/2 from recalls 1/3, 2/3 and 1 on."""
    scores, relevant = torch.arange(6, 0, -1).float(), torch.tensor([True, False, True, False, False, True])
    assert average_precision(scores, relevant) == pytest.approx((4 * 1 + 3 * 2 / 3 + 4 * 1 / 2) / 11)


def test_a_score_for_everything_is_no_merit() -> None:
    """Equal scores name the first class, and rank nothing."""
    scores, truth = torch.zeros(10, 10), torch.arange(10)
    assert top_k(scores, truth) == mean_per_class(scores, truth) == pytest.approx(0.1)
    assert roc_auc(torch.zeros(10), truth > 3) == 0.5


def test_what_is_measured_follows_the_labels() -> None:
    many, two = torch.eye(6), torch.eye(2)
    assert set(measure(many, [(i,) for i in range(6)])) == {"accuracy", "mean-per-class", "top-5", "top-1-5"}
    assert measure(two, [(0,), (1,)])["ROC-AUC"] == 1
    assert list(measure(many, [(0, 1), (1,), (2,), (), (4,), (5,)])) == ["mAP", "mAP over all points"]
    assert "ROC-AUC" not in measure(two, [(0,), (0,)])


def test_several_labels_a_picture() -> None:
    table = membership([(0, 2), (), (1,)], 3)
    assert table.tolist() == [[True, False, True], [False, False, False], [False, True, False]]
    scores = table.double()
    assert mean_average_precision(scores, table) == 1
    assert mean_average_precision(torch.cat([scores, scores[:, :1] * 0], 1), membership([(0, 2), (), (1,)], 4)) == 1


def test_each_data_set_has_its_own_metric() -> None:
    assert (own_metric("pets"), own_metric("voc2007"), own_metric("imagenet")) == ("mean-per-class", "mAP", "accuracy")
    found = measure(torch.eye(6), [(i,) for i in range(6)])
    assert headline(found, "kinetics700") == "top-1-5"
    assert headline(found, "voc2007") == "accuracy"  # asked for mAP, but the labels are single: what there is
    assert headline(found, None) == "accuracy"


settings.register_profile("metrics", deadline=None)
settings.load_profile("metrics")


@given(scored(3))
def test_average_precision_over_all_points(drawn: tuple[torch.Tensor, torch.Tensor]) -> None:
    scores, truth = drawn
    relevant = truth == 0
    if not relevant.any():
        with pytest.raises(SensoriumError, match="one relevant"):
            all_points_precision(scores[:, 0], relevant)
        return
    wanted = theirs.average_precision_score(relevant, scores[:, 0])
    assert all_points_precision(scores[:, 0], relevant) == pytest.approx(wanted)


@pytest.mark.parametrize(("relevant", "items"), [(1, 1), (1, 4), (2, 5), (3, 6), (4, 4)])
def test_what_chance_gives_is_the_mean_over_all_orders(relevant: int, items: int) -> None:
    order = torch.arange(items, 0, -1).double()
    values = [
        all_points_precision(order, torch.tensor([place in chosen for place in range(items)]))
        for chosen in combinations(range(items), relevant)
    ]
    assert chance_precision(relevant, items) == pytest.approx(np.mean(values))

"""How good scores are, by the metric of each data set (CLIP, table 9): larger is better, and 1 is best.

Ties are broken by the lower class number where one class must be named, and count half where pictures are ranked.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.data.errors import SensoriumError

Scores = Float[Tensor, "n classes"]
Truth = Int[Tensor, " n"]

# The metric of each of CLIP's data sets that is not measured by plain accuracy (Radford et al. 2021, table 9).
OWN_METRIC = {
    "aircraft": "mean-per-class",
    "audioset": "mAP over all points",
    "caltech101": "mean-per-class",
    "flowers": "mean-per-class",
    "hateful-memes": "ROC-AUC",
    "kinetics700": "top-1-5",
    "pets": "mean-per-class",
    "voc2007": "mAP",
}


def top_k(scores: Scores, truth: Truth, k: int = 1) -> float:
    """The fraction whose class is among the k best scores."""
    own = scores.gather(1, truth[:, None])
    before = torch.arange(scores.shape[1], device=scores.device) < truth[:, None]
    place = (scores > own).sum(1) + ((scores == own) & before).sum(1)
    return (place < k).double().mean().item()


def mean_per_class(scores: Scores, truth: Truth) -> float:
    """Accuracy within each class, averaged over the classes that have pictures."""
    right = torch.zeros(scores.shape[1], dtype=torch.float64)
    right.index_add_(0, truth, (_best(scores) == truth).double())
    pictures = truth.bincount(minlength=scores.shape[1])
    return (right / pictures)[pictures > 0].mean().item()


def top_1_5(scores: Scores, truth: Truth) -> float:
    """The mean of top-1 and top-5 accuracy (Kinetics)."""
    return (top_k(scores, truth, 1) + top_k(scores, truth, 5)) / 2


def average_precision(scores: Float[Tensor, " n"], relevant: Bool[Tensor, " n"]) -> float:
    """VOC 2007's: the best precision at recalls of at least 0, 0.1, ... 1, averaged over these eleven points.

    Precision is taken only between unequal scores, so the order of ties does not matter. Raises SensoriumError where
    nothing is relevant.
    """
    positives = int(relevant.sum())
    if not positives:
        raise SensoriumError("average precision needs at least one relevant picture")
    order = scores.argsort(descending=True)
    ordered, found = scores[order], relevant[order].cumsum(0)
    ends = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, dtype=torch.bool)])
    precision = (found / torch.arange(1, len(found) + 1).double())[ends]
    recalled = found[ends]
    # in whole numbers: 0.3 of 10 is 3, not a little less
    points = [precision[recalled * 10 >= point * positives].max() for point in range(11)]
    return torch.stack(points).mean().item()


def all_points_precision(scores: Float[Tensor, " n"], relevant: Bool[Tensor, " n"]) -> float:
    """The area under precision by recall, a step for every relevant item (AudioSet's; scikit-learn's).

    Precision is taken only between unequal scores. Raises SensoriumError where nothing is relevant.
    """
    positives = int(relevant.sum())
    if not positives:
        raise SensoriumError("average precision needs at least one relevant item")
    order = scores.argsort(descending=True)
    ordered, found = scores[order], relevant[order].cumsum(0)
    ends = torch.cat([ordered[1:] != ordered[:-1], torch.ones(1, dtype=torch.bool)])
    precision = (found / torch.arange(1, len(found) + 1).double())[ends]
    gained = found[ends].diff(prepend=found.new_zeros(1))
    return (precision * gained).sum().item() / positives


def chance_precision(relevant: int, items: int) -> float:
    """What `all_points_precision` is in the mean over all orders of `items`, of which so many are relevant."""
    harmonic = sum(1 / place for place in range(1, items + 1)) / items
    return harmonic + (relevant - 1) / max(items - 1, 1) * (1 - harmonic)


def mean_average_precision(
    scores: Scores,
    relevant: Bool[Tensor, "n classes"],
    precision: Callable[[Tensor, Tensor], float] = average_precision,
) -> float:
    """`average_precision`, or another, averaged over the classes that have pictures."""
    shown = [k for k in range(scores.shape[1]) if relevant[:, k].any()]
    return sum(precision(scores[:, k], relevant[:, k]) for k in shown) / max(len(shown), 1)


def roc_auc(scores: Float[Tensor, " n"], positive: Bool[Tensor, " n"]) -> float:
    """The chance that a positive picture scores above a negative one; a tie counts half.

    Raises SensoriumError unless there are pictures of both kinds.
    """
    here, there = scores[positive].double(), scores[~positive].double().sort().values
    if not len(here) or not len(there):
        raise SensoriumError("ROC-AUC needs pictures of both classes")
    below = torch.searchsorted(there, here, right=False) + torch.searchsorted(there, here, right=True)
    return (below.double().mean() / 2 / len(there)).item()


def measure(scores: Scores, labels: Sequence[tuple[int, ...]]) -> dict[str, float]:
    """Every metric that the labels allow, the usual one first.

    With one label a picture: accuracy, mean-per-class; with more than five classes top-5 and top-1-5; with two
    ROC-AUC, the second class being the positive one. With several labels a picture: mAP over eleven points, and over
    all.
    """
    scores = scores.cpu()
    if any(len(label) != 1 for label in labels):
        relevant = membership(labels, scores.shape[1])
        return {
            "mAP": mean_average_precision(scores, relevant),
            "mAP over all points": mean_average_precision(scores, relevant, all_points_precision),
        }
    truth = torch.tensor([label[0] for label in labels])
    found = {"accuracy": top_k(scores, truth), "mean-per-class": mean_per_class(scores, truth)}
    if scores.shape[1] > 5:
        found |= {"top-5": top_k(scores, truth, 5), "top-1-5": top_1_5(scores, truth)}
    if scores.shape[1] == 2 and len(truth.unique()) == 2:
        found["ROC-AUC"] = roc_auc(scores[:, 1] - scores[:, 0], truth == 1)
    return found


def own_metric(data: str | None) -> str:
    """The metric by which a data set is reported."""
    return OWN_METRIC.get(data or "", "accuracy")


def headline(metrics: dict[str, float], data: str | None) -> str:
    """The name of the data set's own metric among those measured, or of the first."""
    own = own_metric(data)
    return own if own in metrics else next(iter(metrics))


def judge(data: str | None) -> Callable[[Scores, Sequence[tuple[int, ...]]], float]:
    """The data set's own metric alone, for sweeps that compare many scores."""

    def value(scores: Scores, labels: Sequence[tuple[int, ...]]) -> float:
        found = measure(scores, labels)
        return found[headline(found, data)]

    return value


def membership(labels: Sequence[tuple[int, ...]], classes: int) -> Bool[Tensor, "n classes"]:
    """Labels as a table of yes and no."""
    table = torch.zeros(len(labels), classes, dtype=torch.bool)
    for row, label in enumerate(labels):
        table[row, list(label)] = True
    return table


def _best(scores: Scores) -> Truth:
    """The class with the best score, the first of equals."""
    classes = torch.arange(scores.shape[1], device=scores.device)
    return torch.where(scores == scores.amax(1, keepdim=True), classes, scores.shape[1]).amin(1)

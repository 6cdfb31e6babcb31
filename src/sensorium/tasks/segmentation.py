"""Linear segmentation: the class of every pixel, read from frozen patches by a linear layer (DINOv3, section 6.1.2).

mIoU is taken from one confusion matrix over all pictures: TP / (TP + FP + FN) of each class, averaged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Integer
from torch import Tensor

from sensorium.data.dense import Segmented, SegmentedPicture
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.nn.patch_maps import sample_map
from sensorium.tasks.dense_features import Patches, View, pictured
from sensorium.tasks.dense_linear import Bank, DenseLinear, Training, Truths, learn, pixel_places, some_of, upsampled
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.protocols import How, Result

VIEW = View(short=32)  # 512 pixels where a patch has 16
Confusion = Int[Tensor, "classes classes"]


def confusion(
    predicted: Int[Tensor, "*n"], truth: Integer[Tensor, "*n"], classes: int, *, ignore: int = 255
) -> Confusion:
    """How many pixels of the class of a row were called the class of a column; those labelled `ignore` are left out."""
    counted = truth != ignore
    pairs = truth[counted].long() * classes + predicted[counted].long()
    return torch.bincount(pairs, minlength=classes * classes).unflatten(0, (classes, classes))


@dataclass(frozen=True)
class Overlap:
    """Intersection over union and recall of each class, nan where it has no pixel; their means; accuracy of pixels."""

    classes: Float[Tensor, " classes"]
    recalls: Float[Tensor, " classes"]
    miou: float
    macc: float
    aacc: float


def overlap(table: Confusion) -> Overlap:
    """The measures of a confusion matrix. A class that is neither there nor predicted counts for nothing."""
    right, there, said = table.diagonal().double(), table.sum(1).double(), table.sum(0).double()
    iou, recall = right / (there + said - right), right / there
    return Overlap(iou, recall, iou.nanmean().item(), recall.nanmean().item(), (right.sum() / table.sum()).item())


def linear_segmentation(
    embedder: Embedder,
    train: Segmented,
    test: Segmented,
    *,
    view: View = VIEW,
    training: Training | None = None,
    how: How | None = None,
) -> Result:
    """Learn on `train`, measure on `test`, at the labels' own size.

    Raises SensoriumError where the sets' classes differ or nothing can be learned.
    """
    how, training = how or How(), training or Training()
    if train.classes != test.classes:
        raise SensoriumError(f"{test.name} and {train.name} have other classes: {_few(test)}, {_few(train)}")
    patches, device = Patches(embedder, view, keep=how.keep), embedder.device
    bank = Bank(patches, train, progress=how.progress, stage="understanding the training pictures")
    truths = Truths(lambda row: _labels(train[row], train))

    def loss(maps: Sequence[Tensor], chosen: Sequence[int], generator: torch.Generator) -> Tensor | None:
        scores, classes = [torch.zeros(0, len(train.classes), device=device)], [torch.zeros(0, dtype=torch.long)]
        for scored, index in zip(maps, chosen, strict=True):
            if (labels := truths(bank.rows[index])) is not None:
                pixels = some_of((labels != train.ignore).nonzero(), training.pixels, generator)
                scores.append(sample_map(scored, pixel_places(pixels, labels.shape).to(device)))
                classes.append(labels[pixels[:, 0], pixels[:, 1]].long())
        known = torch.cat(classes).to(device)
        return F.cross_entropy(torch.cat(scores), known) if len(known) else None

    head = DenseLinear(bank.width, len(train.classes), seed=training.seed)
    learn(head, bank, loss, training, device=device, progress=how.progress)
    unreadable = [*bank.unreadable, *truths.unreadable.values()]
    table = torch.zeros(len(test.classes), len(test.classes), dtype=torch.int64)
    measured = 0
    for found in patches.over(range(len(test)), pictured(test), progress=how.progress):
        try:
            if isinstance(found, Unreadable):
                raise found
            item, seen = found
            labels = _labels(item, test)
        except Unreadable as error:
            unreadable.append(error)
            continue
        with torch.inference_mode():
            scored = upsampled(head([seen.patches.to(device)])[0], labels.shape)
        table += confusion(scored.argmax(0).cpu(), labels, len(test.classes), ignore=test.ignore)
        measured += 1
    if not table.sum():
        raise SensoriumError(f"{test.name}: no pixel that counts in any picture that can be read")
    measures = overlap(table)
    return Result(
        protocol="segmentation",
        metrics={"mIoU": measures.miou, "mAcc": measures.macc, "aAcc": measures.aacc},
        own="mIoU",
        settings={
            "classes": len(test.classes),
            "training pictures": len(bank) - len(truths.unreadable),
            "steps": training.steps,
            "learning rate": training.rate,
            "weight decay": training.decay,
        },
        pictures=measured,
        unreadable=unreadable,
        rate=patches.rate,
    )


def _labels(item: SegmentedPicture, data: Segmented) -> Tensor:
    """Labels that are numbers of classes. Raises Unreadable, also for others."""
    labels = item.labels()
    highest = int(torch.where(labels == data.ignore, 0, labels).max())
    if highest >= len(data.classes):
        raise Unreadable(item.key, f"label {highest} where the classes are 0 to {len(data.classes) - 1}")
    return labels


def _few(data: Segmented) -> str:
    more = ", ..." if len(data.classes) > 4 else ""
    return f"{len(data.classes)} ({', '.join(data.classes[:4])}{more})"

"""Linear depth: how far away every pixel is, read from frozen patches by a linear layer (DINOv2, section 7.4; DINOv3).

AdaBins (Bhat et al. 2021) with evenly spaced bins: the layer weighs 256 depths, weights are relu(x) + 0.1 divided by
their sum, and the depth is the weighted mean. Weights are stretched four times before that, depths after it to the
picture's size. The loss is the scale-invariant one of logarithms (Eigen et al. 2014), its square root as in AdaBins.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sensorium.data.dense import Depths
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.nn.patch_maps import sample_map
from sensorium.tasks.dense_features import Patches, View, pictured
from sensorium.tasks.dense_linear import Bank, DenseLinear, Training, Truths, learn, pixel_places, some_of, upsampled
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.protocols import How, Result

VIEW = View(short=30)  # NYU's own 480 pixels where a patch has 16
STEPS = 38_400
BINS = 256
FLOOR = 0.1
STRETCH = 4
FLAT, MEAN = 1e-3, 0.15  # what is added to depths before the logarithm; how much of the mean error's square counts


def depth_of(logits: Float[Tensor, "bins rows columns"], near: float, far: float) -> Float[Tensor, "rows columns"]:
    """The mean of evenly spaced depths from `near` to `far`, weighted by relu(logits) + 0.1."""
    weights = logits.relu() + FLOOR
    depths = torch.linspace(near, far, len(logits), device=logits.device, dtype=logits.dtype)
    return torch.einsum("krc,k->rc", weights / weights.sum(0), depths)


def scale_invariant(predicted: Float[Tensor, " n"], truth: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """sqrt(var(g) + 0.15 mean(g)^2), g = log(predicted) - log(truth)."""
    wrong = (predicted + FLAT).log() - (truth + FLAT).log()
    return (wrong.var() + MEAN * wrong.mean().square()).clamp(min=1e-12).sqrt()


def counted(truth: Float[Tensor, "h w"], near: float, far: float) -> Bool[Tensor, "h w"]:
    """Pixels that are measured: of known depth, from `near` to `far`; outside a protocol's crop the set knows none."""
    return truth.isfinite() & (truth > 0) & (truth >= near) & (truth <= far)


def depth_errors(predicted: Float[Tensor, " n"], truth: Float[Tensor, " n"]) -> dict[str, float]:
    """RMSE in metres, AbsRel = mean(|error| / truth), delta1 = the share within a factor of 1.25."""
    p, t = predicted.double(), truth.double()
    return {
        "RMSE": (p - t).square().mean().sqrt().item(),
        "AbsRel": ((p - t).abs() / t).mean().item(),
        "delta1": (torch.maximum(p / t, t / p) < 1.25).double().mean().item(),
    }


def linear_depth(
    embedder: Embedder,
    train: Depths,
    test: Depths,
    *,
    view: View = VIEW,
    training: Training | None = None,
    how: How | None = None,
) -> Result:
    """Learn on `train`, measure on `test` at the depth's own size; every measure is the mean over pictures.

    Raises SensoriumError where nothing can be learned or measured.
    """
    how, training = how or How(), training or Training(steps=STEPS)
    patches, device = Patches(embedder, view, keep=how.keep), embedder.device
    bank = Bank(patches, train, progress=how.progress, stage="understanding the training pictures")
    truths = Truths(lambda row: train[row].depth())

    def loss(maps: Sequence[Tensor], chosen: Sequence[int], generator: torch.Generator) -> Tensor | None:
        found, depths = [torch.zeros(0, device=device)], [torch.zeros(0)]
        for scored, index in zip(maps, chosen, strict=True):
            if (truth := truths(bank.rows[index])) is not None:
                pixels = some_of(counted(truth, train.near, train.far).nonzero(), training.pixels, generator)
                places = pixel_places(pixels, truth.shape).to(device)
                found.append(sample_map(_stretched(scored, train)[None], places)[:, 0])
                depths.append(truth[pixels[:, 0], pixels[:, 1]])
        known = torch.cat(depths).to(device)
        return scale_invariant(torch.cat(found), known) if len(known) > 1 else None

    head = DenseLinear(bank.width, BINS, seed=training.seed)
    learn(head, bank, loss, training, device=device, progress=how.progress)
    unreadable = [*bank.unreadable, *truths.unreadable.values()]
    each: list[dict[str, float]] = []
    for found in patches.over(range(len(test)), pictured(test), progress=how.progress):
        try:
            if isinstance(found, Unreadable):
                raise found
            item, seen = found
            truth = item.depth()
        except Unreadable as error:
            unreadable.append(error)
            continue
        with torch.inference_mode():
            small = _stretched(head([seen.patches.to(device)])[0], train)
            predicted = upsampled(small[None], truth.shape)[0].clamp(test.near, test.far).cpu()
        if (valid := counted(truth, test.near, test.far)).any():
            each.append(depth_errors(predicted[valid], truth[valid]))
    if not each:
        raise SensoriumError(f"{test.name}: no pixel that counts in any picture that can be read")
    return Result(
        protocol="depth",
        metrics={name: sum(one[name] for one in each) / len(each) for name in each[0]},
        own="RMSE",
        settings={
            "near": test.near,
            "far": test.far,
            "training pictures": len(bank) - len(truths.unreadable),
            "steps": training.steps,
            "learning rate": training.rate,
            "weight decay": training.decay,
        },
        pictures=len(each),
        unreadable=unreadable,
        rate=patches.rate,
    )


def _stretched(logits: Float[Tensor, "bins rows columns"], data: Depths) -> Float[Tensor, "h w"]:
    """Depths of a map four times as large: a linear layer and a stretch may change places."""
    rows, columns = logits.shape[1:]
    return depth_of(upsampled(logits, (STRETCH * rows, STRETCH * columns)), data.near, data.far)

"""Few-shot linear classification (Dosovitskiy et al. 2020, section 4.1): ridge regression to {-1, 1}^K, in closed form.

What the paper leaves open follows the authors' evaluator (google-research/big_vision, evaluators/fewshot_lsr.py):
vectors are standardised by the training pictures, a constant of 100 stands for the bias, the penalty is 2^10, and
the result is the mean of three draws.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.data.errors import SensoriumError

SHOTS, DRAWS = (5, 10), 3
PENALTY = 2.0**10
BIAS = 100.0
EPS = 1e-5


def draw(labels: Int[Tensor, " n"], classes: Sequence[str], shots: int, *, seed: int) -> list[int]:
    """Rows of `shots` pictures of each class; raises SensoriumError naming a class that has fewer."""
    generator = torch.Generator().manual_seed(seed)
    rows: list[int] = []
    for number, name in enumerate(classes):
        own = (labels == number).nonzero()[:, 0]
        if not 1 <= shots <= len(own):
            raise SensoriumError(f"{shots}-shot: {name} has {len(own)} readable pictures to learn from")
        rows += own[torch.randperm(len(own), generator=generator)[:shots]].tolist()
    return rows


def drawn(
    train: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    test: Float[Tensor, "m d"],
    classes: Sequence[str],
    shots: int,
    draws: int,
    seed: int,
) -> Iterator[Float[Tensor, "m classes"]]:
    """The scores of every draw."""
    for number in range(draws):
        rows = draw(labels, classes, shots, seed=seed + number)
        yield ridge(train[rows], labels[rows], test, len(classes))


def ridge(
    train: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    test: Float[Tensor, "m d"],
    classes: int,
    *,
    penalty: float = PENALTY,
) -> Float[Tensor, "m classes"]:
    """Scores of the least-squares model with the penalty, in double precision.

    Through the n x n matrix of products where there are fewer pictures than numbers, else through the d x d one.
    """
    x, y = train.double(), -torch.ones(len(train), classes, dtype=torch.float64, device=train.device)
    y[torch.arange(len(y)), labels] = 1
    mean, std = x.mean(0), x.std(0, correction=0) + EPS

    def prepared(z: Tensor) -> Tensor:
        return torch.cat([(z - mean) / std, z.new_full((len(z), 1), BIAS)], dim=1)

    x, z = prepared(x), prepared(test.double())
    if len(x) < x.shape[1]:
        return z @ (x.T @ torch.linalg.solve(x @ x.T + penalty * torch.eye(len(x)).to(x), y))
    return z @ torch.linalg.solve(x.T @ x + penalty * torch.eye(x.shape[1]).to(x), x.T @ y)

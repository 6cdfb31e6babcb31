"""Files of any sense as vectors, for measuring: whole files by the paper's protocol, their clips averaged.

Every clip's vector gets length 1, and a file's is the mean of its clips', not scaled again: so its product with a text
is the mean of its clips' cosines, as ImageBind's authors have it (their code scales, then averages).
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.errors import Unreadable, about
from sensorium.data.given import Given
from sensorium.tasks.decoding import decoded
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.senses import Sense, SenseTower

FILES = {"video": 2, "audio": 16}  # read at once, twice as many ahead: a film's clips are 18 MB
OTHERS = 32
CLIPS = 32  # that go through the model together


def read_given(
    embedder: Embedder, files: Sequence[Given], *, batch: int | None = None
) -> Iterator[tuple[Float[Tensor, "n dim"], list[Unreadable | None]]]:
    """As `Embedder.read`, of files of one other sense: a batch's vectors, and for each of its files None or why not.

    Raises SensoriumError where the model lacks the sense.
    """
    sense = cast(Sense, files[0].sense)
    tower = embedder.tower(sense)

    def read(given: Given) -> Tensor:
        return clips_of(tower, given)

    with closing(decoded(files, read, batch or FILES.get(sense, OTHERS))) as blocks:
        for block in blocks:
            good = [row for _, row in block if not isinstance(row, Unreadable)]
            yield _forward(embedder, sense, good), [row if isinstance(row, Unreadable) else None for _, row in block]


def clips_of(tower: SenseTower, given: Given) -> Float[Tensor, "clips *input"]:
    """What a tower is given of a file. Raises Unreadable, also where a unit is missing."""
    told: dict[str, Any] = dict(given.told)
    with about(given.path):
        return tower.read(given.path, **told)


def _forward(embedder: Embedder, sense: Sense, files: Sequence[Tensor]) -> Float[Tensor, "n dim"]:
    if not files:
        return torch.zeros(0, embedder.dim)
    counts = [len(clips) for clips in files]
    found = [embedder.vectors(sense, list(some)) for some in torch.cat(list(files)).split(CLIPS)]
    return torch.stack([own.mean(0) for own in torch.cat(found).split(counts)])

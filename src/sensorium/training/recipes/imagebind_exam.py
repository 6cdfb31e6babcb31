"""How bound senses are judged while they learn: whether held-out pairs find one another, and whether a sense finds the
words for what it never was paired with (the emergent zero-shot of Girdhar et al. 2023, section 4)."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.data.augment import one_text
from sensorium.data.errors import SensoriumError
from sensorium.data.paired import Pair, Paired
from sensorium.data.stream import Sample, Source
from sensorium.models.imagebind import ImageBind, Modality
from sensorium.training.recipes.imagebind_data import measured
from sensorium.training.recipes.imagebind_towers import Towers
from sensorium.training.world import World

Evaluate = Callable[[int], Mapping[str, float]]
MODALITY: dict[Paired, Modality] = {"audio": "audio", "depth": "depth", "thermal": "thermal", "motion": "imu"}
VALIDATED = 1000  # pairs of a sense; they are read once and stay in memory
AT_ONCE = 64
T = TypeVar("T")


class Exam:
    """Held-out samples of one sense, with the vectors of their pictures and of the words for them, where they have any.

    Names of the scores begin with the sense's. Raises SensoriumError where none of the samples can be read.
    """

    def __init__(self, pair: Pair, sources: Sequence[Source], towers: Towers, world: World, *, pictures: bool) -> None:
        inputs: list[Mapping[str, Tensor]] = []
        samples: list[Sample] = []
        for source in sources:
            some, of = measured(source, pair, VALIDATED - len(inputs), pictures=pictures)
            inputs, samples = [*inputs, *some], [*samples, *of]
        if not inputs:
            raise SensoriumError(f"{sources[0].name}: none of the held-out pairs can be read")
        self.sense: Paired = pair.sense
        self.world, self.samples = world, samples
        self.inputs = [each[pair.sense] for each in inputs]
        shown = [torch.stack([each["image"] for each in some]) for some in _parts(inputs)] if pictures else []
        self.pictures = torch.cat([towers.see(some, world.device) for some in shown]) if pictures else None
        texts = [one_text(sample) if sample.get("text") else "" for sample in samples]
        names = sorted(set(texts)) if all(texts) else []
        self.own = torch.tensor([names.index(text) for text in texts] if names else [], dtype=torch.long)
        self.words = towers.read(names) if len(names) > 1 else None

    def outputs(self, trunk: Callable[[Tensor], Tensor]) -> Tensor:
        """What a trunk makes of all samples."""
        return torch.cat([trunk(torch.stack(some).to(self.world.device)).float() for some in _parts(self.inputs)])

    def scores(self, trunk: nn.Module) -> dict[str, float]:
        """R@1 among all held-out pairs, both ways; and how often a sense finds its own words among all that differ."""
        sensed, found = F.normalize(self.outputs(trunk), dim=-1), dict[str, float]()
        own = torch.arange(len(sensed))
        if self.pictures is not None:
            found[f"{self.sense}_to_image_r1"] = hits(sensed @ self.pictures.T, own)
            found[f"image_to_{self.sense}_r1"] = hits(self.pictures @ sensed.T, own)
        if self.words is not None:
            found[f"{self.sense}_to_text_r1"] = hits(sensed @ self.words.T, self.own)
        return found


def _parts(rows: Sequence[T]) -> list[list[T]]:
    return [list(rows[i : i + AT_ONCE]) for i in range(0, len(rows), AT_ONCE)]


def hits(scores: Float[Tensor, "n m"], own: Int[Tensor, " n"]) -> float:
    """How often the highest score is that of the own one."""
    return float((scores.argmax(1) == own.to(scores.device)).float().mean())


def exam(
    kinds: Mapping[Paired, Sequence[Source]],
    pairs: Mapping[Paired, Pair],
    trunks: ImageBind,
    towers: Towers,
    world: World,
) -> Evaluate | None:
    """The exams of all senses that have held-out pairs, and "recall", the mean over senses of R@1 both ways; None
    where none has. Pictures are seen, and files read, when it is first asked."""
    if not kinds:
        return None
    exams: list[Exam] = []

    def evaluate(step: int) -> Mapping[str, float]:
        if not exams:
            exams.extend(Exam(pairs[sense], kinds[sense], towers, world, pictures=True) for sense in kinds)
        each = [exam.scores(trunks.towers[MODALITY[exam.sense]]) for exam in exams]
        recalls = [value for scores in each for name, value in scores.items() if "text" not in name]
        return dict(chain.from_iterable(scores.items() for scores in each)) | {"recall": sum(recalls) / len(recalls)}

    return evaluate

"""DINOv3's claims in miniature (Siméoni et al. 2025, sections 4 and 5.2), on cut-out photographs on recurring grounds.

(a) In a long training what is known of whole pictures goes on to grow while patches lose what they were good for.
(b) Gram anchoring to an early teacher brings patches back; (c) one that sees twice the resolution brings back more.
(d) A small student of a trained teacher is better than the same student on its own.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.claims.outcome import Curve, Finding, Outcome
from sensorium.claims.training import Record, trained
from sensorium.data.dense import IGNORED
from sensorium.data.preprocess import Preprocess
from sensorium.data.standins.cutouts import CLASSES
from sensorium.data.standins.things import Things, things
from sensorium.models.dinov3 import DINOv3
from sensorium.nn.neighbours import vote
from sensorium.tasks.few_shot import ridge
from sensorium.tasks.metrics import top_k
from sensorium.tasks.segmentation import confusion, overlap
from sensorium.training.recipe import Recipe
from sensorium.training.recipes import dinov3 as ssl
from sensorium.training.recipes import dinov3_distill, dinov3_gram
from sensorium.training.recipes import dinov3_parts as parts
from sensorium.training.run_folder import RunFolder
from sensorium.training.saving import name_of
from sensorium.training.world import World

PAPER = "DINOv3 (Siméoni et al. 2025)"
EARLY = 0.2  # of the long training: where the paper's patches are best, and its Gram teacher is from
BLOCK = 128


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The long training, and how long what follows it takes."""

    long: parts.Settings
    looks: int = 10  # of the long training
    refine: float = 3.0  # passes of each refinement
    student: float = 8.0  # passes of the students
    every: int = 2  # only one of so many training pictures is remembered


SMALL = parts.Settings(data="things", decay="none", warmup=0.03)
FULL = Budget(long=replace(SMALL, epochs=24.0))
QUICK = Budget(long=replace(SMALL, width=64, depth=2, local=2, epochs=0.3), looks=3, refine=0.1, student=0.1, every=16)


@dataclass(frozen=True)
class Truth:
    """Pictures with the number of their thing, and of each patch the number of its class."""

    pixels: Float[Tensor, "n 3 h w"]
    thing: Int[Tensor, " n"]
    patches: Int[Tensor, "n patches"]

    @classmethod
    def of(cls, source: Things, steps: Preprocess, patch: int, every: int = 1) -> "Truth":
        """One of `every` pictures. A patch has a class where one fills three quarters of it, else it counts not."""
        rows, seen = range(0, len(source), every), source.segmented()
        found: list[Tensor] = []
        labels: list[Tensor] = []
        for row in rows:
            truth = seen[row].labels().long()
            kind = int(truth.max())
            share = F.avg_pool2d((truth > 0).float()[None], patch).flatten()
            labels.append(torch.where(share > 0.75, kind, torch.where(share < 0.25, 0, IGNORED)))
            found.append(torch.from_numpy(source[row]["image"].copy()).permute(2, 0, 1))
        thing = torch.tensor([source[row]["label"] for row in rows])
        return cls(steps.normalise(torch.stack(found)), thing, torch.stack(labels))


@dataclass(frozen=True)
class Exam:
    """What a trunk knows: of whole pictures, by their neighbours; of patches, by a linear layer."""

    memory: Truth
    asked: Truth
    things: int

    def __call__(self, trunk: DINOv3) -> dict[str, float]:
        """`knn`: top-1 of the thing among all; `miou`: linear segmentation of patches; `apart`: how much more alike
        patches of the thing are among themselves than to the ground, in cosine."""
        (memory, patches), (asked, theirs) = (features(trunk, part.pixels) for part in (self.memory, self.asked))
        scores = vote(memory, self.memory.thing, asked, self.things, k=10)
        known, truth = (part.patches.flatten() for part in (self.memory, self.asked))
        counted, tested = known != IGNORED, truth != IGNORED
        said = ridge(
            patches.flatten(0, 1)[counted], known[counted], theirs.flatten(0, 1)[tested], len(CLASSES), penalty=1e3
        )
        table = confusion(said.argmax(1), truth[tested], len(CLASSES))
        alike = F.normalize(theirs, dim=-1) @ F.normalize(theirs, dim=-1).mT
        inside, ground = ((self.asked.patches > 0) & (self.asked.patches != IGNORED)).float(), self.asked.patches == 0
        both = [_mean(alike, inside, other) for other in (inside, ground.float())]
        return {
            "knn": top_k(scores, self.asked.thing),
            "miou": overlap(table).miou,
            "apart": float((both[0] - both[1]).mean()),
        }


def _mean(x: Float[Tensor, "n p p"], rows: Float[Tensor, "n p"], columns: Float[Tensor, "n p"]) -> Float[Tensor, " n"]:
    pairs = rows[:, :, None] * columns[:, None]
    return (x * pairs).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)


@torch.no_grad()
def features(trunk: DINOv3, pixels: Float[Tensor, "n 3 h w"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n p d"]]:
    """The class token and the patches of every picture."""
    seen = [trunk(some) for some in pixels.split(BLOCK)]
    return torch.cat([x.cls.float() for x in seen]), torch.cat([x.patches.float() for x in seen])


def claim(folder: Path, *, quick: bool, bf16: bool, say: Callable[[str], None]) -> Outcome:
    """Train all models, measure, compare. What was trained before in this folder is not trained again."""
    begun, b = time.monotonic(), QUICK if quick else FULL
    steps = parts.steps_for(b.long.size)
    memory, asked = (things(part) for part in ("train", "validation"))
    exam = Exam(
        Truth.of(memory, steps, b.long.patch, b.every), Truth.of(asked, steps, b.long.patch), len(memory.classes)
    )
    curves: list[Curve] = []

    def run(name: str, recipe: Recipe, settings: object, trunk: DINOv3, looks: int) -> list[Record]:
        say(name)
        every = max(1, recipe.steps // looks)

        def look(step: int) -> dict[str, float]:
            return exam(trunk)

        recipe = replace(recipe, evaluate=look, evaluate_every=every, best=None)
        return trained(recipe, settings, folder / name.replace(" ", "-"), bf16=bf16, save_every=every, keep=looks + 2)

    def measured(name: str, records: list[Record], after: int = 0) -> None:
        rows = [x for x in records if K in x]
        seen = [(after + x["step"]) * b.long.batch for x in rows]
        curves.extend(Curve(panel=panel, name=name, x=seen, y=[x[key] for x in rows]) for key, panel in PANELS.items())

    torch.manual_seed(b.long.seed)
    model = parts.Distilled(parts.Branch(parts.trunk_of(b.long), b.long))
    recipe = ssl.self_distillation(model, b.long, World())
    long = run("long", recipe, b.long, model.teacher.trunk, b.looks)
    measured("long training", long)
    looks = [x for x in long if K in x]
    first, last = looks[max(0, round(EARLY * len(looks)) - 1)], looks[-1]
    run_folder = RunFolder(folder / "long")
    early = run_folder.checkpoints / name_of(int(first["step"]))

    ends: dict[str, Record] = {}
    for name, weight, finer in (("no anchor", 0.0, 1.0), ("anchor", 2.0, 1.0), ("fine anchor", 2.0, 2.0)):
        s = dinov3_gram.Settings(
            **{key: getattr(b.long, key) for key in KEPT},
            start=str(run_folder.path),
            early=str(early),
            gram=weight,
            finer=finer,
            momentum=(0.98, 0.98),
            epochs=b.refine,
            replacements=0,
        )
        refined = dinov3_gram.dinov3_gram(s, World())
        assert isinstance(refined.model, parts.Distilled)
        records = run(name, refined, s, refined.model.teacher.trunk, 2)
        ends[name] = records[-1]
        measured(f"then with {name}" if weight else "then without", records, after=int(long[-1]["step"]))

    a = replace(b.long, width=64, depth=4, epochs=b.student, decay="cosine")
    kept = {key: getattr(a, key) for key in KEPT}
    d = dinov3_distill.Settings(
        **kept, teacher=str(run_folder.path), students=("64x4",), momentum=a.momentum, epochs=b.student
    )
    distilled = dinov3_distill.dinov3_distill(d, World())
    assert isinstance(distilled.model, dinov3_distill.Class)
    pupil = run("student", distilled, d, dinov3_distill.averages(distilled.model)[0], 4)
    torch.manual_seed(a.seed)
    lonely = parts.Distilled(parts.Branch(parts.trunk_of(a), a))
    alone = run("student alone", ssl.self_distillation(lonely, a, World()), a, lonely.teacher.trunk, 4)
    measured("student of the long training", pupil)
    measured("the same student alone", alone)

    there = f"after {int(first['step']) * b.long.batch:,} pictures, {{:.3f}} after {int(last['step']) * b.long.batch:,}"
    both = [f"{name} {pupil[-1][key]:.3f} against {alone[-1][key]:.3f}" for key, name in ((K, "kNN"), (M, "mIoU"))]
    return Outcome(
        paper=PAPER,
        setting=f"{len(memory):,} pictures of {len(memory.classes)} cut-out things; {len(asked):,} others are the test",
        findings=[
            Finding(
                claim="in a long training whole pictures are known better and better",
                measured=f"kNN {first[K]:.3f} {there.format(last[K])}",
                verdict=last[K] > first[K],
            ),
            Finding(
                claim="while patches get worse",
                measured=f"linear segmentation (mIoU) {first[M]:.3f} {there.format(last[M])}",
                verdict=last[M] < first[M],
            ),
            Finding(
                claim="going on with Gram anchoring to the early teacher, patches are better than without",
                measured=f"from {last[M]:.3f}: without {ends['no anchor'][M]:.3f}, with {ends['anchor'][M]:.3f}",
                verdict=ends["anchor"][M] > ends["no anchor"][M],
            ),
            Finding(
                claim="a teacher that sees twice the resolution makes them better still",
                measured=f"{ends['fine anchor'][M]:.3f} against {ends['anchor'][M]:.3f}",
                verdict=ends["fine anchor"][M] > ends["anchor"][M],
            ),
            Finding(
                claim="a distilled student beats the same student alone",
                measured=", ".join(both),
                verdict=pupil[-1][K] > alone[-1][K] and pupil[-1][M] > alone[-1][M],
            ),
        ],
        curves=curves,
        axes={panel: ("pictures seen in training", panel) for panel in PANELS.values()},
        numbers={f"{name} {key}": x[f"evaluate/{key}"] for name, x in ends.items() for key in ("knn", "miou", "apart")},
        seconds=time.monotonic() - begun,
    )


K, M = "evaluate/knn", "evaluate/miou"
PANELS = {K: "whole pictures: kNN", M: "patches: linear mIoU"}
KEPT = (
    "data",
    "patch",
    "size",
    "local_size",
    "local",
    "batch",
    "learning_rate",
    "weight_decay",
    "warmup",
    "koleo_group",
    "seed",
)

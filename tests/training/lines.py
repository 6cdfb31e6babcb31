"""The smallest recipes: two blocks that learn a fixed map, and a CLIP on random pairs.

Used by the tests in this process and, as `sensorium train tests.training.lines:line`, in processes that are killed.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.models.clip import CLIP
from sensorium.objectives.contrastive import contrastive
from sensorium.training.chunked import chunked
from sensorium.training.ema import follow
from sensorium.training.optimisers import adamw, lamb, lars, sgd
from sensorium.training.recipe import Batch, Data, Recipe
from sensorium.training.recipes import (
    dino_txt,
    dinov3,
    dinov3_distill,
    dinov3_gram,
    imagebind,
    imagebind_tune,
)
from sensorium.training.recipes import dinov3_parts as parts
from sensorium.training.schedules import cosine
from sensorium.training.world import World
from tests import tiny

Row = dict[str, Tensor]


class Rows:
    """Rows that follow from their position alone, as a Stream's do; `before` is called before each step's batch."""

    def __init__(self, row: Callable[[int], Row], before: Callable[[int], None] = lambda step: None) -> None:
        self.row, self.before, self.damaged = row, before, {"row 3": "torn"}

    def batches(self, batch: int, *, start: int, steps: int, rank: int = 0, world: int = 1, workers: int = 0) -> "Rows":
        self.plan = (batch, start, steps, rank, world)
        return self

    def __iter__(self) -> Iterator[Batch]:
        batch, start, steps, rank, world = self.plan
        share = batch // world
        for step in range(start, steps):
            self.before(step)
            first = step * batch + rank * share
            rows = [self.row(position) for position in range(first, first + share)]
            yield {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


@dataclass(frozen=True, kw_only=True)
class Settings:
    data: str = ""
    steps: int = 12
    batch: int = 8
    width: int = 6
    rate: float = 0.01
    drop: float = 0.1
    optimiser: Literal["adamw", "sgd", "lars", "lamb"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.95)
    spoil: int = -1  # the batch of this step holds a NaN
    kill: int = -1  # SIGKILL on asking for the batch of this step
    interrupt: int = -1  # or SIGINT
    chunk: int = 0
    evaluate_every: int = 0


class Block(nn.Module):
    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.map, self.drop = nn.Linear(width, width), nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(torch.tanh(self.map(x)))


class Line(nn.Module):
    """A token that is added (one row: some processes hold none of it), two blocks, a gain without dimensions."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.cls = nn.Parameter(torch.randn(1, s.width))
        self.blocks = nn.ModuleList(Block(s.width, s.drop) for _ in range(2))
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.cls
        for block in self.blocks:
            x = block(x)
        return self.gain * x


OPTIMISERS = {"adamw": adamw(0.1), "sgd": sgd(0.1), "lars": lars(0.1), "lamb": lamb(0.1)}


def _before(s: Settings) -> Callable[[int], None]:
    def before(step: int) -> None:
        if step == s.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == s.interrupt:
            os.kill(os.getpid(), signal.SIGINT)

    return before


def line(settings: Settings, world: World) -> Recipe:
    """Learn a fixed map; a teacher follows."""
    s = settings
    torch.manual_seed(world.rank)  # whatever a process builds, it gets the weights of process 0
    student, teacher = Line(s), Line(s).requires_grad_(False)
    target = torch.randn(s.width, s.width, generator=torch.Generator().manual_seed(0))
    momentum = torch.linspace(0.5, 0.9, s.steps)

    def row(position: int) -> Row:
        x = torch.randn(s.width, generator=torch.Generator().manual_seed(position))
        return {"x": x + float("nan") if position == s.spoil * s.batch else x}

    def losses(batch: Batch, step: int) -> dict[str, Tensor]:
        x = batch["x"]
        y = student(x)
        with torch.no_grad():
            agree = F.mse_loss(teacher(x), y)
        return {"fit": F.mse_loss(y, x @ target.to(x)), "small": 0.01 * y.square().mean(), "_agree": agree}

    def evaluate(done: int) -> dict[str, float]:
        return {"score": -abs(done - 6.0), "fit": F.mse_loss(student(target), target @ target).item()}

    return Recipe(
        model=nn.ModuleDict({"student": student, "teacher": teacher}),
        losses=losses,
        data=Rows(row, _before(s)),
        optimiser=OPTIMISERS[s.optimiser],
        schedule={"learning_rate": cosine(s.rate, 0.0, s.steps, warmup=2)},
        steps=s.steps,
        batch=s.batch,
        after_step=lambda step: follow(teacher.parameters(), student.parameters(), float(momentum[step])),
        evaluate=evaluate,
        evaluate_every=s.evaluate_every,
        best="score",
        blocks=lambda model: [module for module in model.modules() if isinstance(module, Block)],
    )


class Watched:
    """Another recipe's data; `before` is called before each step's batch."""

    def __init__(self, data: Data, before: Callable[[int], None]) -> None:
        self.data, self.before = data, before

    def batches(
        self, batch: int, *, start: int, steps: int, rank: int = 0, world: int = 1, workers: int = 0
    ) -> "Watched":
        self.rows = self.data.batches(batch, start=start, steps=steps, rank=rank, world=world, workers=workers)
        self.start, self.damaged = start, self.rows.damaged
        return self

    def __iter__(self) -> Iterator[Batch]:
        rows = iter(self.rows)
        for step in count(self.start):
            self.before(step)
            if (batch := next(rows, None)) is None:
                return
            yield batch


SMALL: Mapping[str, Any] = {
    "width": 64, "depth": 2, "registers": 2, "size": 32, "local_size": 16, "local": 3, "hidden": 24,
    "prototypes": (20, 12), "bottleneck": 8, "koleo_group": 2, "frozen": 0.1, "learning_rate": 1e-3,
}  # fmt: skip


def _steps(s: Settings, source: str) -> dict[str, Any]:
    pictures = len(list(Path(source).glob("*.png")))
    return {"data": source, "batch": s.batch, "epochs": (s.steps + 0.5) * s.batch / pictures}


def dino(settings: Settings, world: World) -> Recipe:
    """Self-supervision on the pictures of a folder, centred as `optimiser` says."""
    centring = "softmax" if settings.optimiser == "sgd" else "sinkhorn"
    s = parts.Settings(**SMALL, **_steps(settings, settings.data), centring=centring)
    recipe = dinov3.dinov3(s, world)
    return replace(recipe, data=Watched(recipe.data, _before(settings)))


def anchored(settings: Settings, world: World) -> Recipe:
    """Gram anchoring on the pictures of a folder, which holds the run that it starts from, too."""
    s = dinov3_gram.Settings(**SMALL, **_steps(settings, settings.data), start=f"{settings.data}/run")
    recipe = dinov3_gram.dinov3_gram(s, world)
    return replace(recipe, data=Watched(recipe.data, _before(settings)))


def distilled(settings: Settings, world: World) -> Recipe:
    """Two students of the run in the pictures' folder."""
    s = dinov3_distill.Settings(
        **SMALL, **_steps(settings, settings.data), teacher=f"{settings.data}/run", students=("64x1", "64x2")
    )
    recipe = dinov3_distill.dinov3_distill(s, world)
    return replace(recipe, data=Watched(recipe.data, _before(settings)))


WORDS: Mapping[str, Any] = {"text_width": 64, "text_depth": 1, "words": 600, "context": 12, "learning_rate": 2e-3}


def worded(settings: Settings, world: World) -> Recipe:
    """Words for the trunk of the run in the pictures' folder, where every picture has a caption."""
    s = dino_txt.Settings(
        **WORDS, **_steps(settings, settings.data), trunk=f"{settings.data}/run", chunk=settings.chunk
    )
    recipe = dino_txt.dino_txt(s, world)
    return replace(recipe, data=Watched(recipe.data, _before(settings)))


BOUND: Mapping[str, Any] = {"width": 64, "depth": 1, "stride": 16, "size": 32, "learning_rate": 2e-3}


def bound(settings: Settings, world: World) -> Recipe:
    """Sound and depth bound to the CLIP in the pairs' folder; its pictures are seen twice before, where drop is 0."""
    s, seen = settings, 0 if settings.drop else 2
    given = {**BOUND, "data": (f"{s.data}/pairs.jsonl",), "towers": f"{s.data}/clip", "batch": s.batch}
    rows = 2 * len((Path(s.data) / "pairs.jsonl").read_text().splitlines())  # a turn for each of the two senses
    bind = imagebind.Settings(
        **given, epochs=(s.steps + 0.5) * s.batch / rows, senses=("audio", "depth"), seen=seen, chunk=s.chunk
    )
    recipe = imagebind.imagebind(bind, world)
    return replace(recipe, data=Watched(recipe.data, _before(s)))


def tuned(settings: Settings, world: World) -> Recipe:
    """Adapters for the sound of the binding in the pairs' folder."""
    s = settings
    rows = len((Path(s.data) / "pairs.jsonl").read_text().splitlines())
    tune = imagebind_tune.Settings(
        data=(f"{s.data}/pairs.jsonl",), model=f"{s.data}/binding", mode="lora", rank=2, batch=s.batch,
        epochs=(s.steps + 0.5) * s.batch / rows, chunk=s.chunk, learning_rate=1e-2,
    )  # fmt: skip
    recipe = imagebind_tune.imagebind_tune(tune, world)
    return replace(recipe, data=Watched(recipe.data, _before(s)))


def clip(settings: Settings, world: World) -> Recipe:
    """CLIP with the gathered contrast, in chunks where asked for."""
    s = settings
    torch.manual_seed(0)
    model = CLIP(tiny.CLIP_VIT)

    def row(position: int) -> Row:
        dice = torch.Generator().manual_seed(position)
        return {
            "image": torch.randn(3, 32, 32, generator=dice),
            "text": torch.cat([torch.randint(1, 60, (5,), generator=dice), torch.tensor([63, 0, 0])]),
        }

    def losses(batch: Batch, step: int) -> dict[str, Tensor]:
        a = F.normalize(chunked(model.vision, batch["image"], chunk=s.chunk), dim=-1)
        b = F.normalize(chunked(model.text, batch["text"], chunk=s.chunk), dim=-1)
        loss = contrastive(
            a, b, model.log_scale.exp(), all_a=world.gather(a), all_b=world.gather(b), offset=world.rank * len(a)
        )
        return {"contrastive": loss}

    return Recipe(
        model=model,
        losses=losses,
        data=Rows(row, _before(s)),
        optimiser=sgd(0.1),
        schedule={"learning_rate": cosine(s.rate, 0.0, s.steps)},
        steps=s.steps,
        batch=s.batch,
    )

"""The claims of Vision Transformers Need Registers (Darcet et al. 2023) in miniature, on cut-out photographs on grounds
that recur.

(a) What measures outliers finds planted ones exactly, and the neuron that makes them (Jiang et al. 2025). (b) A long
training leads to outliers; registers take them away, attention is smoother, and objects are found. (c) Outliers know
less of their place and more of the picture. The paper sees outliers in large models alone: where none appear here,
that is what is said.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sensorium.claims.outcome import Curve, Finding, Outcome
from sensorium.claims.register_exam import (
    FAR,
    Exam,
    Known,
    Single,
    in_medians,
    known_by_tokens,
    norms_of,
    pictures,
    planted,
    tail,
    twice,
)
from sensorium.claims.training import trained
from sensorium.data.standins import composed
from sensorium.data.standins.things import Things, things
from sensorium.insight.vit_like import vit_like
from sensorium.models.dinov3 import DINOv3
from sensorium.nn.register_neurons import TIMES, register_at_test_time, register_neurons
from sensorium.training.recipes import dinov3 as ssl
from sensorium.training.recipes import dinov3_parts as parts
from sensorium.training.world import World

PAPER = "Vision Transformers Need Registers (Darcet et al. 2023)"
COUNTS = (0, 4)  # registers
SOME = 0.001  # share of the tokens above which there are outliers
NEURONS = 10  # that a test-time register takes over


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One training, made twice; how often it is looked at, and on how much."""

    training: parts.Settings
    looks: int = 6
    every: int = 2  # only one of so many training pictures is remembered
    looked_at: int = 306  # pictures whose tokens are looked at
    scenes: int = 400


TRAINING = parts.Settings(data="things", depth=6, epochs=6.0)
FULL = Budget(training=TRAINING)
QUICK = Budget(
    training=replace(TRAINING, width=64, depth=2, local=2, epochs=0.1), looks=2, every=16, looked_at=20, scenes=8
)


def claim(folder: Path, *, quick: bool, bf16: bool, say: Callable[[str], None]) -> Outcome:
    """Plant, train twice, measure, compare. What was trained before in this folder is not trained again."""
    begun, b = time.monotonic(), QUICK if quick else FULL
    both = (things("train"), things("validation"))
    steps = parts.steps_for(b.training.size)
    scenes = composed.boxed("train", b.scenes)
    say("pictures and scenes")
    exam = Exam.of(both, scenes, steps, every=b.every, looked_at=b.looked_at)
    say("planted outliers")
    torch.manual_seed(b.training.seed)
    plants = planted(parts.trunk_of(replace(b.training, registers=0)).eval(), exam.large)
    rows: dict[int, list[dict[str, float]]] = {}
    trunks: dict[int, DINOv3] = {}
    for count in COUNTS:
        say(f"a training with {count} registers" if count else "a training without registers")
        rows[count], trunks[count] = _looked(replace(b.training, registers=count), exam, b, folder, bf16=bf16)
    say("what single tokens know")
    begin, plain = rows[0][0], rows[0][-1]
    there = plain["outliers"] >= max(
        SOME, 2 * begin["outliers"]
    )  # without training, norms are contrasts of the picture
    known, late = (_known(trunks[0], both, exam, b), _late(trunks[0], exam)) if there else (None, None)
    other = rows[COUNTS[1]][-1]
    return Outcome(
        paper=PAPER,
        setting=f"{len(both[0]):,} pictures of {exam.things} cut-out things, seen {b.training.epochs:g} times, "
        f"by a trunk of {b.training.depth} layers of {b.training.width}",
        findings=[
            Finding(
                claim="planted outliers are found exactly, with the neuron that makes them, and move to a test-time "
                "register",
                measured=plants.words,
                verdict=plants.exact,
            ),
            Finding(
                claim="a long training without registers leads to outliers, about ten times as long as other tokens",
                measured=f"{_share(plain, 'outliers')} of the tokens above {TIMES:g} medians of the last layer, "
                f"{_share(plain, 'far')} above {FAR:g}; the longest {plain['largest']:.1f}; "
                f"before training {_share(begin, 'outliers')}, {begin['largest']:.1f}",
                verdict=plain["far"] >= SOME and there,
            ),
            Finding(
                claim="with registers there are none",
                measured=f"{_share(other, 'outliers')} above {TIMES:g} medians, {_share(other, 'far')} above {FAR:g}; "
                f"the longest {other['largest']:.1f}" + ("" if there else "; but there are none without them"),
                verdict=other["outliers"] < plain["outliers"] / 10 if there else None,
            ),
            Finding(
                claim="the class token's attention is smoother with registers",
                measured=f"total variation {plain['variation']:.3f} without, {other['variation']:.3f} with",
                verdict=other["variation"] < plain["variation"],
            ),
            Finding(
                claim="object discovery (LOST) becomes better with registers",
                measured=f"CorLoc {plain['corloc']:.3f} without, {other['corloc']:.3f} with, of {b.scenes} scenes",
                verdict=other["corloc"] > plain["corloc"] + _noise(plain["corloc"], b.scenes),
            ),
            Finding(
                claim="what is known of whole pictures does not suffer",
                measured=f"kNN {plain['knn']:.3f} without, {other['knn']:.3f} with",
                verdict=other["knn"] > plain["knn"] - _noise(plain["knn"], len(exam.asked)),
            ),
            _told(known, there),
            Finding(
                claim="a register that was never trained takes the outliers away, too (Jiang et al. 2025)",
                measured="no outliers at this size"
                if late is None
                else f"{late[0]:.2%} of the tokens before, {late[1]:.2%} after {NEURONS} neurons were moved",
                verdict=None if late is None else late[1] < late[0] / 10,
            ),
        ],
        curves=[*_curves(rows, b), *_tails(trunks, exam)],
        axes={
            "outliers": ("pictures seen in training", f"% of tokens above {TIMES:g} and {FAR:g} medians"),
            "longest token": ("pictures seen in training", "largest norm in medians of the last layer"),
            "norms at the end": ("log10 of the norm in medians", "log10 of the share of longer tokens"),
            "class token's attention": ("pictures seen in training", "total variation of its map"),
            "object discovery": ("pictures seen in training", "CorLoc of LOST"),
            "whole pictures": ("pictures seen in training", "kNN, top-1 of the things"),
        },
        numbers={f"{_name(count)}: {key}": value for count in COUNTS for key, value in rows[count][-1].items()},
        seconds=time.monotonic() - begun,
    )


def _looked(
    s: parts.Settings, exam: Exam, b: Budget, folder: Path, *, bf16: bool
) -> tuple[list[dict[str, float]], DINOv3]:
    """Train, and look before, on the way and after: the looks, with the "step" of each, and the teacher's trunk."""
    recipe = ssl.dinov3(s, World())
    assert isinstance(recipe.model, parts.Distilled)
    trunk = recipe.model.teacher.trunk

    def look(step: int) -> Mapping[str, float]:
        return exam(trunk)

    every = -(-recipe.steps // b.looks)
    recipe = replace(recipe, evaluate=look, evaluate_every=every, best=None, export=None)
    first = exam(trunk) | {"step": 0.0}
    name = f"registers-{s.registers}"
    records = trained(recipe, s, folder / name, bf16=bf16)
    looks = [record for record in records if "evaluate/knn" in record]
    return [first, *({key.removeprefix("evaluate/"): x for key, x in look.items()} for look in looks)], trunk


def _known(trunk: DINOv3, both: tuple[Things, Things], exam: Exam, b: Budget) -> Known | None:
    large = twice(parts.steps_for(b.training.size))
    train, test = (
        Single.of(trunk, *pictures(part, large, every)) for part, every in zip(both, (b.every, 1), strict=True)
    )
    return known_by_tokens(train, test, exam.things)


def _told(known: Known | None, there: bool) -> Finding:
    """Figure 5b and table 1 of the paper."""
    measured = "no outliers at this size" if not there else "too few outliers to read anything from them"
    if known is not None:
        measured = (
            f"their place: top-1 {known.place[0]:.3f} from an outlier, {known.place[1]:.3f} from another token; "
            f"the thing: {known.thing[0]:.3f} and {known.thing[1]:.3f} ({known.count} of each)"
        )
    return Finding(
        claim="outliers know less of their place, and more of the picture, than other tokens",
        measured=measured,
        verdict=None if known is None else known.place[0] < known.place[1] and known.thing[0] > known.thing[1],
    )


def _late(trunk: DINOv3, exam: Exam) -> tuple[float, float] | None:
    """The share of outliers without and with a test-time register; None where none are found to begin with."""
    found = register_neurons(vit_like(trunk), list(exam.large.split(64)), NEURONS)
    if found is None:
        return None
    before = in_medians(norms_of(trunk, exam.large))[-1]
    with register_at_test_time(vit_like(trunk), found.neurons):
        after = in_medians(norms_of(trunk, exam.large))[-1]
    return float((before > TIMES).float().mean()), float((after > TIMES).float().mean())


def _curves(rows: Mapping[int, list[dict[str, float]]], b: Budget) -> list[Curve]:
    panels = {
        "longest token": "largest",
        "class token's attention": "variation",
        "object discovery": "corloc",
        "whole pictures": "knn",
    }
    curves: list[Curve] = []
    for count, looks in rows.items():
        seen = [row["step"] * b.training.batch for row in looks]
        for key, times in (("outliers", TIMES), ("far", FAR)):
            name = f"{_name(count)}, above {times:g}"
            curves.append(Curve(panel="outliers", name=name, x=seen, y=[100 * row[key] for row in looks]))
        curves += [
            Curve(panel=panel, name=_name(count), x=seen, y=[row[key] for row in looks])
            for panel, key in panels.items()
        ]
    return curves


def _tails(trunks: Mapping[int, DINOv3], exam: Exam) -> list[Curve]:
    curves: list[Curve] = []
    for count, trunk in trunks.items():
        x, y = tail(in_medians(norms_of(trunk, exam.large))[-1].flatten())
        curves.append(Curve(panel="norms at the end", name=_name(count), x=x, y=y))
    return curves


def _name(count: int) -> str:
    return f"{count} registers" if count else "without registers"


def _share(row: Mapping[str, float], key: str) -> str:
    return f"{row[key]:.2%}"


def _noise(share: float, count: int) -> float:
    """Two standard errors of the difference of two such shares."""
    return 2 * (2 * share * (1 - share) / count) ** 0.5

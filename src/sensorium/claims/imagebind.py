"""ImageBind's claims in miniature (Girdhar et al. 2023, sections 3.2, 4.1, 4.3 and 5.1), on pairs that are real,
rendered and generated.

Two small towers learn from pictures with captions, and are frozen. A trunk a sense then learns from pictures with that
sense, and never meets a word. (a) Each sense finds the words all the same, far above chance. (b) It does so better
where the image tower is stronger. (c) A picture and a sound, added up, find the picture that has both.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.claims.imagebind_exam import RANKS, Exam, Found, Sums, arithmetic, by_class, embedded, words
from sensorium.claims.imagebind_pairs import NAMES, REAL, SETS, SIDE, Pairs, Prepare, Ready, Remembered, pairs_of, seen
from sensorium.claims.outcome import Curve, Finding, Outcome
from sensorium.claims.training import evaluated, trained
from sensorium.data.paired import PAIRED, Paired
from sensorium.data.sets import stamps
from sensorium.data.standins import things
from sensorium.data.stream import Source, Stream
from sensorium.training.recipe import Recipe
from sensorium.training.recipes import clip as captions
from sensorium.training.recipes import imagebind as binding
from sensorium.training.recipes.imagebind_exam import MODALITY
from sensorium.training.recipes.imagebind_towers import Towers, open_towers
from sensorium.training.world import World

T = TypeVar("T")
PAPER = "ImageBind (Girdhar et al. 2023)"
FAR = 3.0  # times chance, to be called far above it
CAPTIONED = (5.0, 3.0, 2.0, 3.0)  # shares of layers, exercises, stamps and things in what the towers learn from
BySense = dict[Paired, T]
WEAK, STRONG = "weaker towers", "stronger towers"


SMALL = binding.Settings(width=128, depth=2, size=SIDE, stride=16, batch=64, scale=20.0)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What is trained: towers, the weaker for a shorter time, and a trunk a sense for either. Scales of the cosines are
    not the paper's, whose batches are 32 times as large; nor is the rate of motion, which is 0.3 of what is set."""

    clip: captions.Settings = field(
        default_factory=lambda: captions.Settings(data="layers", image=48, channels=16, text_width=128, text_depth=2)
    )
    passes: dict[str, float] = field(default_factory=lambda: {WEAK: 6.0, STRONG: 20.0})  # of the towers, over `layers`
    bind: BySense[binding.Settings] = field(
        default_factory=lambda: {
            "audio": replace(SMALL, epochs=400.0),
            "depth": replace(SMALL, epochs=20.0),
            "thermal": replace(SMALL, epochs=20.0),
            "motion": replace(SMALL, width=64, epochs=20.0, learning_rate=3e-3),
        }
    )
    looks: int = 4


QUICK = Budget(
    passes={WEAK: 0.2, STRONG: 0.5},
    bind={sense: replace(SMALL, width=64, depth=1, epochs=0.3) for sense in PAIRED},
    looks=2,
)


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one pair of towers led to. `itself` is the zero-shot of the image tower; `met` top-1 of what a trunk was
    trained with."""

    towers: Towers
    itself: Found
    trunks: BySense[nn.Module]
    found: BySense[Found]
    met: BySense[float]
    exams: BySense[Exam]


@contextmanager
def one_thread() -> Generator[None]:
    """Models this small gain nothing by a second one, and lose much where the machine is busy; so the numbers are the
    same on any number of cores, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def claim(folder: Path, *, quick: bool, bf16: bool, say: Callable[[str], None]) -> Outcome:
    """Train all towers and trunks, measure, compare. What was trained before in this folder is not trained again."""
    begun, b = time.monotonic(), QUICK if quick else Budget()
    run = Run(folder, b, bf16=bf16, say=say)
    say("pairs of pictures with sounds, depth, heat and motion")
    pairs: BySense[Pairs] = {sense: pairs_of(sense) for sense in PAIRED}
    sides = {name: run.side(name, pairs) for name in (WEAK, STRONG)}
    strong, weak = sides[STRONG], sides[WEAK]
    bounds: BySense[tuple[Found, Found]] = {sense: run.taught(pairs[sense], strong) for sense in PAIRED}
    untrained: BySense[Found] = {sense: each[0] for sense, each in bounds.items()}
    taught: BySense[Found] = {sense: each[1] for sense, each in bounds.items()}
    say("a picture and a sound, added up")
    sums = _sums(pairs, strong, bf16=bf16)
    return Outcome(
        paper=PAPER,
        setting="senses bound to pictures alone, words never met; "
        f"the image tower itself: top-1 {strong.itself.top1:.3f} of {strong.itself.classes} captions",
        findings=[
            *(_emergent(sense, strong, taught[sense], untrained[sense]) for sense in PAIRED),
            _stronger(sides),
            _added(sums),
        ],
        curves=[*run.curves, *_chances(run.curves, strong), *_by_tower(weak, strong), *_by_rank(sums)],
        axes={
            **{_panel(sense): ("pairs seen in training", "zero-shot top-1") for sense in PAIRED},
            "the stronger the image tower": ("its own zero-shot top-1", "emergent zero-shot top-1"),
            "image + sound finds both": ("among the first", f"of {sums.queries} questions"),
        },
        numbers=_numbers(sides, taught, untrained, sums),
        seconds=time.monotonic() - begun,
    )


@dataclass(frozen=True)
class Run:
    """Trainings below one folder, and the curves that they left."""

    folder: Path
    budget: Budget
    bf16: bool
    say: Callable[[str], None]
    curves: list[Curve] = field(default_factory=list)

    def side(self, name: str, pairs: BySense[Pairs]) -> Side:
        """Towers, and a trunk a sense that learns to meet the image tower."""
        towers = self.towers(name)
        scenes = pairs["depth"]
        files = {split: scenes.pictures(scenes.rows(split)) for split in ("test", "unseen")}
        itself = Exam(scenes, words(scenes, towers), self.bf16).of(
            {split: seen(every, towers, bf16=self.bf16)[:, 0] for split, every in files.items()}
        )
        side = Side(towers=towers, itself=itself, trunks={}, found={}, met={}, exams={})
        looked: dict[str, Float[Tensor, "n 2 d"]] = {}  # depth and heat have their pictures in common
        for sense, each in pairs.items():
            side.exams[sense] = exam = Exam(each, words(each, towers), self.bf16)
            rows = each.rows("train")
            if each.source.name not in looked:
                looked[each.source.name] = seen(each.pictures(rows), towers, bf16=self.bf16)
            ready = Ready(each, rows, looked[each.source.name])
            trunk = self.trunk(f"{NAMES[sense]} to {name}", ready, towers, exam)[1]
            side.trunks[sense], side.found[sense], side.met[sense] = trunk, exam(trunk), exam.met(trunk)
        return side

    def towers(self, name: str) -> Towers:
        """Two towers that learn from pictures with captions of all that will be met."""
        self.say(f"{name}: pictures and captions contrasted")
        place = self.folder / name.replace(" ", "-")
        s = replace(self.budget.clip, epochs=self.budget.passes[name])
        recipe = captions.clip(s, World())
        assert isinstance(recipe.data, Stream)
        prepare = recipe.data.prepare
        stream = Stream(
            sources=[Remembered(each) for each in captioned()],
            weights=CAPTIONED,
            prepare=prepare,
            seed=s.seed,
        )
        trained(replace(recipe, data=stream, evaluate=None), s, place, bf16=self.bf16)
        assert recipe.export is not None
        recipe.export(place / "model")
        return open_towers(str(place / "model"), torch.device("cpu"))

    def trunk(self, name: str, ready: Ready, towers: Towers, exam: Exam) -> tuple[Found, nn.Module]:
        """What a trunk finds untrained, and the trunk trained: by the recipe, on pairs that the tower has seen."""
        self.say(name)
        sense = ready.pairs.sense
        s = replace(self.budget.bind[sense], towers=towers.source, senses=(sense,))
        recipe = binding.bound(s, World(), [ready])
        trunk = _trunk(recipe, sense)
        data = Stream(sources=[ready], prepare=Prepare(sense, s), seed=s.seed)
        before = exam(trunk)

        def look(step: int) -> dict[str, float]:
            trunk.eval()
            found = exam(trunk)
            trunk.train()
            return {"top1": found.top1, "unseen": found.unseen}

        every = max(1, recipe.steps // self.budget.looks)
        recipe = replace(recipe, data=data, evaluate=look, evaluate_every=every, best=None)
        records = trained(recipe, s, self.folder / name.replace(" ", "-"), bf16=self.bf16)
        x, y = evaluated(records, "top1", s.batch)
        met = name.partition(" ")[2]  # "to stronger towers"
        self.curves.append(Curve(panel=_panel(sense), name=met, x=[0, *x], y=[before.top1, *y]))
        return before, trunk

    def taught(self, pairs: Pairs, side: Side) -> tuple[Found, Found]:
        """What the same trunk finds untrained; and taught the words themselves, which bounds what could be found."""
        exam, rows = side.exams[pairs.sense], pairs.rows("train")
        ready = Ready(pairs, rows, exam.names[pairs.labels(rows)][:, None].expand(-1, 2, -1))
        before, trunk = self.trunk(f"{NAMES[pairs.sense]} to words themselves", ready, side.towers, exam)
        return before, exam(trunk)


def captioned() -> list[Source]:
    """Pictures with captions, in the order of CAPTIONED. Of sets with a test, what is not of it; the towers meet every
    thing in some picture, as in the paper."""
    scenes, figures = SETS["depth"](), SETS["motion"]()
    return [scenes.only(split="train"), figures.only(split="train"), stamps(everything=True), things.things("train")]


def _trunk(recipe: Recipe, sense: Paired) -> nn.Module:
    assert isinstance(recipe.model, binding.Bound)
    return recipe.model.trunks.towers[MODALITY[sense]]


def _panel(sense: Paired) -> str:
    return f"{NAMES[sense]} to words ({REAL[sense]})"


def _emergent(sense: Paired, side: Side, taught: Found, untrained: Found) -> Finding:
    found = side.found[sense]
    measured = (
        f"top-1 of {found.classes} captions {found.top1:.3f}, top-5 {found.top5:.3f}; chance {found.chance:.3f}, "
        f"untrained {untrained.top1:.3f}, taught the words themselves {taught.top1:.3f}; "
        f"of what it met beside pictures {side.met[sense]:.3f}"
    )
    if found.unseen_classes:
        measured += (
            f"; {found.unseen_classes} things of which it met nothing: {found.unseen:.3f} among them, "
            f"chance {found.unseen_chance:.3f}, taught {taught.unseen:.3f}"
        )
    return Finding(
        claim=f"{NAMES[sense]} finds words that it never met ({REAL[sense]})",
        measured=measured,
        verdict=found.top1 > FAR * found.chance,
    )


def _stronger(sides: dict[str, Side]) -> Finding:
    weak, strong = sides[WEAK], sides[STRONG]
    said = [f"the tower itself {weak.itself.top1:.3f}, then {strong.itself.top1:.3f}"]
    said += [f"{NAMES[each]} {weak.found[each].top1:.3f}, {strong.found[each].top1:.3f}" for each in PAIRED]
    return Finding(
        claim="the stronger the image tower, the better is every sense",
        measured="; ".join(said),
        verdict=all(strong.found[each].top1 > weak.found[each].top1 for each in PAIRED),
    )


def _added(sums: Sums) -> Finding:
    both, others = "image + sound", ("image alone", "sound alone", "chance")
    told = [f"{name} {sums.precision[name]:.3f}" for name in (both, *others)]
    firsts = [f"{name} {sums.recall[name][0]:.3f}" for name in (both, *others)]
    return Finding(
        claim="a picture of a thing and a sound of another find the picture that has both (composed of real cut-outs)",
        measured=f"mAP among {sums.gallery}: {', '.join(told)}; first of all: {', '.join(firsts)}",
        verdict=all(sums.precision[both] > sums.precision[other] for other in others),
    )


def _sums(pairs: BySense[Pairs], side: Side, *, bf16: bool) -> Sums:
    """The scenes of two things; pictures of one alone; other recordings of what the other is called or sounds like."""
    scenes, sounds = pairs["depth"], pairs["audio"]
    both = [scenes.samples[i] for i in scenes.rows("pairs", things=2)]
    number = {caption: i for i, caption in enumerate(sounds.source.classes)}
    as_sound = torch.tensor([number[caption] for caption in scenes.source.classes])
    labels = as_sound[torch.tensor([row["labels"] for row in both])]
    gallery = seen([row["image"] for row in both], side.towers, bf16=bf16)[:, 0]
    asked, heard = scenes.rows("test"), sounds.rows("test")
    images = seen(scenes.pictures(asked), side.towers, bf16=bf16)[:, 0]
    vectors = embedded(side.trunks["audio"], sounds.inputs[heard], bf16=bf16)
    return arithmetic(
        labels,
        gallery,
        by_class(images, as_sound[scenes.labels(asked)].tolist()),
        by_class(vectors, sounds.labels(heard).tolist()),
    )


def _chances(curves: list[Curve], strong: Side) -> list[Curve]:
    """The level of chance below every sense's curves."""
    last = {curve.panel: curve.x[-1] for curve in curves}
    return [
        Curve(panel=_panel(sense), name="chance", x=[0, last[_panel(sense)]], y=[found.chance, found.chance])
        for sense, found in strong.found.items()
    ]


def _by_tower(weak: Side, strong: Side) -> list[Curve]:
    return [
        Curve(
            panel="the stronger the image tower",
            name=NAMES[sense],
            x=[weak.itself.top1, strong.itself.top1],
            y=[weak.found[sense].top1, strong.found[sense].top1],
        )
        for sense in PAIRED
    ]


def _by_rank(sums: Sums) -> list[Curve]:
    return [
        Curve(panel="image + sound finds both", name=name, x=list(RANKS), y=values)
        for name, values in sums.recall.items()
    ]


def _numbers(sides: dict[str, Side], taught: BySense[Found], untrained: BySense[Found], sums: Sums) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, side in sides.items():
        found[f"{name}: image"] = side.itself.top1
        found |= {f"{name}: {NAMES[sense]}": each.top1 for sense, each in side.found.items()}
    strong = sides[STRONG].found
    for sense in PAIRED:
        found[f"{NAMES[sense]}, of what it met"] = sides[STRONG].met[sense]
        found[f"{NAMES[sense]}, top-5"] = strong[sense].top5
        found[f"{NAMES[sense]}, chance"] = strong[sense].chance
        found[f"{NAMES[sense]}, untrained"] = untrained[sense].top1
        found[f"{NAMES[sense]}, taught the words"] = taught[sense].top1
        if strong[sense].unseen_classes:
            found[f"{NAMES[sense]}, never met"] = strong[sense].unseen
            found[f"{NAMES[sense]}, never met, chance"] = strong[sense].unseen_chance
    return found | {f"mAP, {name}": value for name, value in sums.precision.items()}

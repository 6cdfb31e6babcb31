"""ImageBind's claims in miniature (Girdhar et al. 2023, sections 3.2, 4.1, 4.3 and 5.1), on real, rendered and generated pairs.

Two small towers learn from pictures with captions, and are frozen. A trunk a sense then learns from pictures with that
sense, and never meets a word. (a) Each sense finds the words all the same, far above chance. (b) It does so better where
the image tower is stronger. (c) A picture and a sound, added up, find the picture that has both.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.claims.imagebind_exam import RANKS, Exam, Found, Sums, arithmetic, by_class, embedded, words
from sensorium.claims.imagebind_pairs import NAMES, REAL, Pairs, Prepare, Ready, Remembered, pairs_of, seen
from sensorium.claims.outcome import Curve, Finding, Outcome
from sensorium.claims.training import evaluated, trained
from sensorium.data import sets
from sensorium.data.paired import PAIRED, Paired
from sensorium.data.standins import things
from sensorium.data.stream import Stream
from sensorium.training.recipe import Recipe
from sensorium.training.recipes import clip
from sensorium.training.recipes import imagebind as bind
from sensorium.training.recipes.imagebind_towers import Towers, open_towers
from sensorium.training.world import World

PAPER = "ImageBind (Girdhar et al. 2023)"
FAR = 5.0  # times chance, to be called far above it
CAPTIONED = {"layers": 5.0, "exercises": 1.0, "stamps": 3.0, "things": 3.0}  # shares of what the towers learn from
WEAK, STRONG = "weaker towers", "stronger towers"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What is trained: towers, the weaker for a shorter time, and a trunk a sense for either."""

    clip: clip.Settings = field(
        default_factory=lambda: clip.Settings(
            data="layers", image=48, channels=16, text_width=128, text_depth=2, evaluations=1
        )
    )
    passes: dict[str, float] = field(default_factory=lambda: {WEAK: 3.0, STRONG: 9.0})  # of the towers, over `layers`
    bind: bind.Settings = field(
        default_factory=lambda: bind.Settings(width=128, depth=2, size=96, stride=16, batch=128, masked_frames=24)
    )
    epochs: dict[Paired, float] = field(
        default_factory=lambda: {"audio": 30.0, "depth": 12.0, "thermal": 12.0, "motion": 15.0}
    )
    looks: int = 4


QUICK = Budget(
    passes={WEAK: 0.2, STRONG: 0.5},
    bind=bind.Settings(width=64, depth=1, size=96, stride=16, batch=128),
    epochs={"audio": 0.3, "depth": 0.3, "thermal": 0.3, "motion": 0.3},
    looks=2,
)


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one pair of towers led to. `itself` is the zero-shot of the image tower; `trunks` and `found` a sense."""

    towers: Towers
    itself: Found
    trunks: dict[Paired, nn.Module]
    found: dict[Paired, Found]
    exams: dict[Paired, Exam]


def claim(folder: Path, *, quick: bool, bf16: bool, say: Callable[[str], None]) -> Outcome:
    """Train all towers and trunks, measure, compare. What was trained before in this folder is not trained again."""
    begun, b = time.monotonic(), QUICK if quick else Budget()
    run = Run(folder, b, bf16=bf16, say=say)
    say("pairs of pictures with sounds, depth, heat and motion")
    pairs = {sense: pairs_of(sense) for sense in PAIRED}
    sides = {name: run.side(name, pairs) for name in (WEAK, STRONG)}
    strong, weak = sides[STRONG], sides[WEAK]
    taught, untrained = {}, {}
    for sense in PAIRED:
        untrained[sense], taught[sense] = run.taught(pairs[sense], strong)
    say("a picture and a sound, added up")
    sums = _sums(pairs, strong, bf16=bf16)
    return Outcome(
        paper=PAPER,
        setting="senses bound to pictures alone, words never met; "
        f"the image tower itself: top-1 {strong.itself.top1:.2f} of {strong.itself.classes} captions",
        findings=[
            *(_emergent(sense, strong.found[sense], taught[sense], untrained[sense]) for sense in PAIRED),
            _stronger(sides),
            _added(sums),
        ],
        curves=[*run.curves, *_lines(strong, taught), *_by_tower(weak, strong), *_by_rank(sums)],
        axes={
            **{_panel(sense): ("pairs seen in training", "zero-shot top-1, words never met") for sense in PAIRED},
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

    def side(self, name: str, pairs: dict[Paired, Pairs]) -> Side:
        """Towers, and a trunk a sense that learns to meet the image tower."""
        towers = self.towers(name)
        scenes = pairs["depth"]
        files = {split: scenes.pictures(scenes.rows(split)) for split in ("test", "unseen")}
        itself = Exam(scenes, words(scenes, towers), self.bf16).of(
            {split: seen(every, towers, bf16=self.bf16)[:, 0] for split, every in files.items()}
        )
        side = Side(towers=towers, itself=itself, trunks={}, found={}, exams={})
        for sense, each in pairs.items():
            side.exams[sense] = exam = Exam(each, words(each, towers), self.bf16)
            rows = each.rows("train")
            ready = Ready(each, rows, seen(each.pictures(rows), towers, bf16=self.bf16))
            trunk = self.trunk(f"{NAMES[sense]} to {name}", ready, towers, exam)[1]
            side.trunks[sense], side.found[sense] = trunk, exam(trunk)
        return side

    def towers(self, name: str) -> Towers:
        """Two towers that learn from pictures with captions of all that will be met."""
        self.say(f"{name}: pictures and captions contrasted")
        place, model = self.folder / name.replace(" ", "-"), self.folder / name.replace(" ", "-") / "model"
        s = replace(self.budget.clip, epochs=self.budget.passes[name])
        recipe = clip.clip(s, World())
        assert isinstance(recipe.data, Stream)
        prepare = recipe.data.prepare
        captioned = Stream(
            sources=[Remembered(_captioned(each)) for each in CAPTIONED],
            weights=list(CAPTIONED.values()),
            prepare=prepare,
            seed=s.seed,
        )
        trained(replace(recipe, data=captioned, evaluate=None), s, place, bf16=self.bf16)
        assert recipe.export is not None
        recipe.export(model)
        return open_towers(str(model), torch.device("cpu"))

    def trunk(self, name: str, ready: Ready, towers: Towers, exam: Exam) -> tuple[Found, nn.Module]:
        """What a trunk finds untrained, and the trunk trained: by the recipe, on pairs that the tower has seen."""
        self.say(name)
        sense = ready.pairs.sense
        s = replace(self.budget.bind, towers=towers.source, senses=(sense,), epochs=self.budget.epochs[sense])
        recipe = bind.bound(s, World(), [ready])
        trunk = _trunk(recipe, sense)
        data = Stream(sources=[ready], prepare=Prepare(sense, bind.augmented(s)), seed=s.seed)
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
        self.curves.append(Curve(panel=_panel(sense), name=name.partition(" to ")[2], x=[0, *x], y=[before.top1, *y]))
        return before, trunk

    def taught(self, pairs: Pairs, side: Side) -> tuple[Found, Found]:
        """What the same trunk finds untrained; and taught the words themselves, which bounds what could be found."""
        exam, rows = side.exams[pairs.sense], pairs.rows("train")
        ready = Ready(pairs, rows, exam.names[pairs.labels(rows)][:, None].expand(-1, 2, -1))
        before, trunk = self.trunk(f"{NAMES[pairs.sense]} to words themselves", ready, side.towers, exam)
        return before, exam(trunk)


def _captioned(name: str) -> sets.Opened:
    """Pictures with captions. Of sets with a test, what is not of it; the towers meet every thing, as in the paper."""
    if name == "stamps":
        return sets.stamps(everything=True)
    if name == "things":
        return things.things("train")
    source = sets.fetch(name)
    return source.only(split="train")


def _trunk(recipe: Recipe, sense: Paired) -> nn.Module:
    assert isinstance(recipe.model, bind.Bound)
    return recipe.model.trunks.towers[bind.MODALITY[sense]]


def _panel(sense: Paired) -> str:
    return f"{NAMES[sense]} to words ({REAL[sense]})"


def _emergent(sense: Paired, found: Found, taught: Found, untrained: Found) -> Finding:
    measured = (
        f"top-1 of {found.classes} captions {found.top1:.3f}, top-5 {found.top5:.3f}; chance {found.chance:.3f}, "
        f"untrained {untrained.top1:.3f}, taught the words themselves {taught.top1:.3f}"
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
        claim="a picture of one thing and the sound of another find the picture that has both (real cut-outs, composed)",
        measured=f"mAP among {sums.gallery}: {', '.join(told)}; first of all: {', '.join(firsts)}",
        verdict=all(sums.precision[both] > sums.precision[other] for other in others),
    )


def _sums(pairs: dict[Paired, Pairs], side: Side, *, bf16: bool) -> Sums:
    """The scenes of two things; pictures of one alone; other recordings of what the other is called or sounds like."""
    scenes, sounds = pairs["depth"], pairs["audio"]
    both = [row for row in scenes.source.rows if row.get("split") == "pairs"]
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


def _lines(strong: Side, taught: dict[Paired, Found]) -> list[Curve]:
    """Chance, and what a trunk finds that was taught the words, as a level."""
    return [
        Curve(panel=_panel(sense), name="chance", x=[0, 1], y=[found.chance, found.chance])
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


def _numbers(
    sides: dict[str, Side], taught: dict[Paired, Found], untrained: dict[Paired, Found], sums: Sums
) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, side in sides.items():
        found[f"{name}: image"] = side.itself.top1
        found |= {f"{name}: {NAMES[sense]}": each.top1 for sense, each in side.found.items()}
    strong = sides[STRONG].found
    for sense in PAIRED:
        found[f"{NAMES[sense]}, top-5"] = strong[sense].top5
        found[f"{NAMES[sense]}, chance"] = strong[sense].chance
        found[f"{NAMES[sense]}, untrained"] = untrained[sense].top1
        found[f"{NAMES[sense]}, taught the words"] = taught[sense].top1
        if strong[sense].unseen_classes:
            found[f"{NAMES[sense]}, never met"] = strong[sense].unseen
            found[f"{NAMES[sense]}, never met, chance"] = strong[sense].unseen_chance
    return found | {f"mAP, {name}": value for name, value in sums.precision.items()}

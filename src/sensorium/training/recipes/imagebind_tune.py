"""One sense of an ImageBind, or of a binding, adapted to somebody's own data: wholly, by low-rank adapters (LoRA, Hu et
al. 2021, https://arxiv.org/abs/2106.09685) or by its last layer alone; against pictures, words or labels.

    sensorium train imagebind-tune --data mine.jsonl --set model=runs/sound sense=audio held_out=0.1 --run runs/mine
    sensorium train imagebind-tune --data mine.jsonl --set model=imagebind_huge.pth sense=audio mode=lora rank=8 \\
        paired=text batch=64 chunk=8 precision=bf16 --run runs/lora
    sensorium train imagebind-tune --data clips.jsonl --set model=runs/sound sense=audio mode=linear paired=label \\
        validation=test.jsonl --run runs/classes
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.checkpoints.bindings import is_binding, read_binding
from sensorium.checkpoints.files import write_safetensors
from sensorium.data.augment import label_of, texts_of
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.paired import Pair, Paired
from sensorium.data.stream import Sample, Source, Stream
from sensorium.models.imagebind import ImageBind, Scale, Trunk
from sensorium.training.chunked import chunked
from sensorium.training.optimisers import adamw
from sensorium.training.recipe import Batch, Losses, Recipe
from sensorium.training.recipes.imagebind import UNDECAYED, Augments, Bound, export, marked, pair_of, unit
from sensorium.training.recipes.imagebind_data import Turns, by_sense, divided, opened, seen
from sensorium.training.recipes.imagebind_exam import MODALITY, Evaluate, Exam, hits
from sensorium.training.recipes.imagebind_towers import Towers, model_folder, open_towers
from sensorium.training.recipes.pairs import contrasted
from sensorium.training.schedules import cosine
from sensorium.training.world import World

Mode = Literal["full", "lora", "linear"]
RATES: Mapping[Mode, float] = {"full": 1e-4, "lora": 1e-3, "linear": 1e-3}
ADAPTED = r"blocks\.\d+\.(attention\.(query|key|value|out)|mlp\.(up|down))"  # every linear layer of the blocks


@dataclass(frozen=True, kw_only=True)
class Settings(Augments):
    """One run. The sizes are the model's."""

    model: str = ""  # what is adapted: a run of `imagebind`, a binding, an ImageBind (hub id, folder, file)
    sense: Paired = "audio"
    mode: Mode = "full"
    paired: Literal["image", "text", "label"] = "image"  # what the data has beside the sense
    data: tuple[str, ...] = ()  # sets of such samples: what `sensorium data show` reads
    validation: tuple[str, ...] = ()
    held_out: float = 0.0  # without validation: the share of `data` that serves for it
    rank: int = 8  # of LoRA's adapters
    alpha: float = 16.0  # they count alpha / rank
    seen: int = 0  # crops of each picture that the towers see once, before training; 0: a new one every time
    batch: int = 64
    epochs: float = 10.0
    learning_rate: float = 0.0  # 0: 1e-4 wholly, 1e-3 for adapters or the last layer
    warmup: float = 0.1  # share of the run
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    chunk: int = 0  # rows whose activations are held at once; 0: all (gradient caching, exact)
    evaluations: int = 11
    seed: int = 0


class Tuned(Bound):
    """What is saved: all trunks, of which one learns, and where there are labels a head on its features."""

    def __init__(self, trunks: ImageBind, mark: str, head: nn.Linear | None) -> None:
        super().__init__(trunks, mark)
        self.head = head


def imagebind_tune(s: Settings, world: World) -> Recipe:
    """One sense adapted; RUN/model is what `model` was, with this sense's weights, for `sensorium.load`.

    sensorium train imagebind-tune --data mine.jsonl --set model=runs/sound sense=audio held_out=0.1 --run runs/mine
    """
    if not s.model:
        raise SensoriumError("model: name what is adapted: a run of imagebind, a binding, or ImageBind's weights")
    sources = opened(s.data)
    others = opened(s.validation) if s.validation else []
    if not others and s.held_out:
        parts = [divided(source, s.held_out) for source in sources]
        sources, others = [part for part, _ in parts], [part for _, part in parts if len(part)]
    return tuned(s, world, sources, others)


def tuned(s: Settings, world: World, sources: Sequence[Source], held_out: Sequence[Source] = ()) -> Recipe:
    """The recipe on sources that are open: for sets that no file lists."""
    towers = open_towers(s.model, world.device)
    every, others = (by_sense(some, [s.sense], s.paired)[s.sense] if some else [] for some in (sources, held_out))
    trunks, trunk = build(s, towers)
    classes = names_of([*every, *others]) if s.paired == "label" else ()
    torch.manual_seed(s.seed)
    head = nn.Linear(trunk.config.width, len(classes)) if classes else None
    model = Tuned(trunks, towers.fingerprint, head)
    learns(s, trunk)
    pair = pair_of(s.sense, trunks, towers.steps, towers.frames, s)
    total = max(1, int(s.epochs * sum(map(len, every)) / s.batch))

    def streams() -> Mapping[str, Stream]:
        if s.paired == "text":
            streamed: Sequence[Source] = [told(source, towers) for source in every]
        elif s.paired == "image" and s.seen:
            streamed = [seen(source, pair, s.seen, towers, world, s.seed) for source in every]
        else:
            streamed = every
        prepare = Labelled(pair) if s.paired == "label" else pair
        return {s.sense: Stream(sources=streamed, prepare=prepare, seed=s.seed)}

    evaluate, best = examined(s, model, trunk, pair, others, towers, world)
    rate = s.learning_rate or RATES[s.mode]
    return Recipe(
        model=model,
        losses=losses_of(s, model, trunk, towers, world),
        data=Turns(streams, [1.0], s.batch, total),
        optimiser=adamw(s.weight_decay, betas=s.betas, multipliers=UNDECAYED),
        schedule={"learning_rate": cosine(rate, 0.0, total, warmup=int(s.warmup * total))},
        steps=total,
        batch=s.batch,
        seed=s.seed,
        clip_norm=1.0,
        evaluate=evaluate,
        evaluate_every=max(1, total // max(1, s.evaluations)),
        best=best if evaluate else None,
        export=lambda folder: _export(model, towers, classes, folder),
    )


def build(s: Settings, towers: Towers) -> tuple[ImageBind, Trunk]:
    """The trunks that are exported, nothing of which learns yet, and the one that will. Raises SensoriumError."""
    place = model_folder(s.model)
    modality = MODALITY[s.sense]
    if is_binding(place):
        trunks = read_binding(place).trunks
    elif towers.whole is not None and modality in towers.whole.towers:
        trunks = ImageBind(towers.whole.config.only(modality))
        own = towers.whole.state_dict()
        trunks.load_state_dict({name: own[name].cpu() for name in trunks.state_dict()})
    else:
        raise SensoriumError(f"model={s.model} has no {s.sense}: bind it first (sensorium train imagebind)")
    trunks.eval().requires_grad_(False)
    if modality not in trunks.towers:
        raise SensoriumError(f"model={s.model} has no {s.sense}; it has {', '.join(trunks.config.towers)}")
    return trunks, cast(Trunk, trunks.towers[modality])


def learns(s: Settings, trunk: Trunk) -> None:
    """Let learn what the mode says: all, new adapters in the blocks, or the last layer (a head, where labels are)."""
    if s.mode == "full":
        trunk.train().requires_grad_(True)
        trunk.project.requires_grad_(s.paired != "label")
    elif s.mode == "linear":
        trunk.project.requires_grad_(s.paired != "label")
    else:
        if s.rank < 1:
            raise SensoriumError(f"rank={s.rank}: 1 or more")
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise SensoriumError("mode=lora needs the package peft: pip install 'sensorium[lora]'") from error
        inject_adapter_in_model(LoraConfig(r=s.rank, lora_alpha=cast(int, s.alpha), target_modules=ADAPTED), trunk)
        trunk.train()


def merged(trunks: ImageBind) -> ImageBind:
    """The same trunks with all adapters added into the weights that they adapt, in fp32."""
    plain = ImageBind(trunks.config)
    state = {name.replace(".base_layer.", "."): value for name, value in trunks.state_dict().items()}
    for name, module in trunks.named_modules():
        if hasattr(module, "get_delta_weight"):
            state[f"{name}.weight"] = state[f"{name}.weight"] + cast(Any, module).get_delta_weight("default")
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    return plain.eval().requires_grad_(False)


def losses_of(s: Settings, model: Tuned, trunk: Trunk, towers: Towers, world: World) -> Losses:
    """Cross-entropy of the head's scores, or the contrast with pictures or words over all processes."""
    mark, scale = marked(towers.fingerprint), cast(Scale, model.trunks.scales[MODALITY[s.sense]])

    def losses(batch: Batch, step: int) -> Mapping[str, Tensor]:
        if not torch.equal(model.towers.cpu(), mark):
            raise SensoriumError(f"{towers.source} is not what this run began with: put the old weights back")
        if model.head is not None:
            scores = model.head(chunked(trunk.represent, batch[s.sense], chunk=s.chunk)).float()
            right = (scores.argmax(1) == batch["label"]).float().mean()
            return {"cross_entropy": F.cross_entropy(scores, batch["label"]), "_accuracy": right}
        other = batch["seen"].float() if "seen" in batch else towers.see(batch["image"], world.device)
        sensed = unit(chunked(trunk, batch[s.sense], chunk=s.chunk))
        return {"contrast": contrasted(other, sensed, scale.log.exp(), world)}

    return losses


@dataclass(frozen=True)
class Labelled:
    """A sense with the number of its class."""

    pair: Pair

    def __call__(self, sample: Sample, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Read, augment, number."""
        view = self.pair.view(int(torch.randint(1 << 62, (), generator=generator)), 0)
        sensed = self.pair.sensed(sample, view, generator)
        return {self.pair.sense: sensed, "label": torch.tensor(label_of(sample))}


@dataclass(frozen=True, eq=False)
class Told:
    """A source whose texts the tower has read: samples have "seen", the vectors of their texts, and no picture."""

    source: Source
    vectors: Mapping[str, Tensor]

    @property
    def name(self) -> str:
        """The source's."""
        return self.source.name

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int, /) -> Sample:
        sample = self.source[index]
        if not (texts := texts_of(sample)):
            raise Unreadable(str(sample.get("key", f"{self.name}:{index}")), "has no text")
        plain = {name: value for name, value in sample.items() if name not in ("image", "video")}
        return plain | {"seen": torch.stack([self.vectors[text] for text in texts])}


def told(source: Source, towers: Towers) -> Told:
    """Read every text of a source once: the tower never changes."""
    texts = sorted({text for index in range(len(source)) for text in texts_of(source[index])})
    return Told(source, dict(zip(texts, towers.read(texts).cpu(), strict=True)))


def names_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """The names of the classes, numbers where they have none. Raises SensoriumError where sets differ in them."""
    named = {tuple(getattr(source, "classes", ())) for source in sources}
    if len(named) > 1:
        raise SensoriumError("data and validation have other classes: number them alike")
    if found := next(iter(named)):
        return found
    most = max(label_of(source[index]) for source in sources for index in range(len(source)))
    return tuple(str(number) for number in range(most + 1))


def examined(
    s: Settings, model: Tuned, trunk: Trunk, pair: Pair, held_out: Sequence[Source], towers: Towers, world: World
) -> tuple[Evaluate | None, str]:
    """How often held-out pairs find one another, a sense its words, or the head the class; and the score to go by."""
    best = {"image": "recall", "text": f"{s.sense}_to_text_r1", "label": "accuracy"}[s.paired]
    if not held_out:
        return None, best
    asked: list[Exam] = []

    def evaluate(step: int) -> Mapping[str, float]:
        if not asked:
            asked.append(Exam(pair, held_out, towers, world, pictures=s.paired == "image"))
        (exam,) = asked
        if model.head is not None:
            head = model.head
            own = torch.tensor([label_of(sample) for sample in exam.samples])
            return {"accuracy": hits(exam.outputs(lambda x: head(trunk.represent(x))), own)}
        found = exam.scores(trunk)
        recalls = [value for name, value in found.items() if "text" not in name]
        return found | ({"recall": sum(recalls) / len(recalls)} if recalls else {})

    return evaluate, best


def _export(model: Tuned, towers: Towers, classes: Sequence[str], folder: Path) -> None:
    """What was adapted, adapters merged; and where there are labels, the head on the trunk's features
    (`Trunk.represent`) with the names of its classes."""
    export(merged(model.trunks), towers, folder)
    if model.head is not None:
        write_safetensors(model.head.state_dict(), folder / "head.safetensors")
        (folder / "head.json").write_text(json.dumps({"classes": list(classes)}, indent=2) + "\n", encoding="utf-8")

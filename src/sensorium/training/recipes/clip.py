"""CLIP on pairs of pictures and captions, from scratch or from published weights (Radford et al. 2021, section 2).

    sensorium train clip --data emoji --run runs/emoji --set precision=bf16
    sensorium train clip --data pairs.jsonl --set preset=clip-vit-b-32 batch=1024 chunk=64 --run runs/a
    sensorium train clip --data "shards/{000..099}.tar" --set start=clip-vit-b-16 learning_rate=1e-5 --run runs/b

Cost of the first: 6 minutes on two CPU cores with bf16 instructions (600 pairs a second, 20 passes over 9,800 emoji).
Expected score: top-1 0.362 over all 1,914 concepts for an artist that it never saw (chance 0.0005), 0.234 among the 191
concepts that it never saw (chance 0.005), each by its name alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.checkpoints.load import load_model, save_model
from sensorium.data.augment import SquareCrop
from sensorium.data.errors import SensoriumError
from sensorium.data.preprocess import Preprocess
from sensorium.data.preprocess import clip as clip_steps
from sensorium.data.stream import Stream
from sensorium.data.tokenizer import ClipTokenizer
from sensorium.models.clip import CLIP, PRESETS, CLIPConfig, ResNetTower, TextTower, ViTTower
from sensorium.objectives.contrastive import sigmoid
from sensorium.objectives.words import bag, bag_of_words
from sensorium.training.chunked import chunked
from sensorium.training.optimisers import adamw, undecayed
from sensorium.training.recipe import Batch, Losses, Recipe
from sensorium.training.recipes import pairs
from sensorium.training.schedules import cosine
from sensorium.training.world import World

Objective = Literal["contrastive", "sigmoid", "words"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run. The sizes are those of towers for small pictures, unless `preset` or `start` names others."""

    data: str = "emoji"  # or a folder, manifest, tar pattern ...: what `sensorium data show` reads
    validation: str = ""  # pairs that find one another from time to time, where data is not emoji
    start: str = ""  # weights to go on from: a preset with public weights, a hub id, a folder, a file
    preset: str = ""  # sizes by name, with random weights
    image: int = 64
    tower: Literal["resnet", "vit"] = "resnet"  # of few pictures a ResNet learns more
    channels: int = 32  # of a ResNet's first stage; each has two blocks
    patch: int = 8  # of a ViT, as width and depth
    width: int = 192
    depth: int = 5
    registers: int = 0  # of a ViT: 0 to 16 in Darcet et al. 2024
    text_width: int = 192
    text_depth: int = 3
    context: int = 24
    words: int = 4096  # of CLIP's vocabulary, the most frequent first
    embed: int = 256
    objective: Objective = "contrastive"
    batch: int = 384
    epochs: float = 20.0
    learning_rate: float = 1e-3
    warmup: float = 0.05  # share of the run
    weight_decay: float = 0.2
    beta2: float = 0.98
    eps: float = 1e-6
    chunk: int = 0  # rows whose activations are held at once; 0: all (gradient caching, exact)
    zoom: float = 1.3  # a crop's side is the picture's short one divided by 1 to this; CLIP's own is 1
    held_out: str = "noto"  # the artist whom training on emoji never sees
    evaluations: int = 11
    seed: int = 0


class Trained(nn.Module):
    """The model, and beside it what an objective learns for itself: a bias (SigLIP), a head that names words."""

    def __init__(self, clip: CLIP, objective: Objective) -> None:
        super().__init__()
        self.clip = clip
        self.bias = nn.Parameter(torch.tensor(-10.0)) if objective == "sigmoid" else None
        self.words = nn.Linear(clip.config.embed, clip.config.text.words) if objective == "words" else None
        if objective == "sigmoid":
            clip.log_scale.data.fill_(math.log(10))  # Zhai et al. 2023, section 3.2, as the bias
        if objective == "words":
            clip.text.requires_grad_(False)  # captions are read as bags of words
            clip.log_scale.requires_grad_(False)


def clip(s: Settings, world: World) -> Recipe:
    """CLIP's objective on pairs; what it learns is written to RUN/model, for `sensorium.load`.

    sensorium train clip --data emoji --run runs/emoji --set precision=bf16

    6 minutes on two CPU cores; top-1 0.362 of 1,914 concepts for an artist never seen, 0.234 among 191 concepts never
    seen.
    """
    model, tokenizer, steps = build(s)
    if s.chunk and isinstance(model.config.vision, ResNetTower):
        raise SensoriumError("chunk: batch norm mixes a batch's pictures, so parts of it cannot be computed alone")
    if world.size == 1:  # FSDP takes no such weights
        # convolutions take two thirds of the time so on a CPU; torch's own types forget this form of the call
        model.vision.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    trained = Trained(model, s.objective)
    source, tags, evaluate = pairs.data(s.data, s.validation, s.held_out, sides(trained, tokenizer, steps, world))
    context = model.config.text.context
    crop = SquareCrop(steps.size, zoom=s.zoom)
    prepare = pairs.Prepare(tokenizer=tokenizer, context=context, crop=crop, tags=tags)
    total = max(1, int(s.epochs * len(source) / s.batch))
    losses = {"contrastive": _contrast, "sigmoid": _sigmoid, "words": _words}[s.objective](trained, steps, s, world)

    return Recipe(
        model=trained,
        losses=losses,
        data=Stream(sources=[source], prepare=prepare, seed=s.seed),
        optimiser=adamw(
            s.weight_decay, betas=(0.9, s.beta2), eps=s.eps, multipliers=undecayed("cls", "registers", "positions")
        ),
        schedule={"learning_rate": cosine(s.learning_rate, 0.0, total, warmup=int(s.warmup * total))},
        steps=total,
        batch=s.batch,
        seed=s.seed,
        clip_norm=1.0,  # not the paper's: small batches have wilder gradients
        after_step=pairs.clamped(model),
        evaluate=evaluate,
        evaluate_every=max(1, total // max(1, s.evaluations)),
        export=lambda folder: export(model, tokenizer, steps, folder),
    )


def sides(trained: Trained, tokenizer: ClipTokenizer, steps: Preprocess, world: World) -> pairs.Sides:
    """The model as exams see it: cosines, or where it names words, the mean log likelihood of a name's words."""
    model, head = trained.clip, trained.words

    def image(x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        if head is None:
            return F.normalize(model.vision(x).float(), dim=-1)
        return head(model.vision(x)).float().log_softmax(-1)

    def text(ids: Int[Tensor, "n k"]) -> Float[Tensor, "n d"]:
        if head is None:
            return F.normalize(model.text(ids).float(), dim=-1)
        return words_of(ids, model.config.text.words)

    context = model.config.text.context
    return pairs.Sides(image=image, text=text, tokenizer=tokenizer, context=context, steps=steps, device=world.device)


def build(s: Settings) -> tuple[CLIP, ClipTokenizer, Preprocess]:
    """The model with its tokeniser and preprocessing: loaded, of a preset's size, or small."""
    if s.start and s.preset:
        raise SensoriumError("start brings its own sizes: leave preset out")
    if s.registers < 0:
        raise SensoriumError(f"registers={s.registers}: 0 or more")
    if s.registers and s.start:
        raise SensoriumError("start brings its own registers: leave registers out")
    if s.start:
        loaded = load_model(s.start)
        if not isinstance(loaded.model, CLIP) or loaded.preprocess is None:
            raise SensoriumError(f"start={s.start} is {loaded.found}, no CLIP")
        words = loaded.model.config.text.words
        tokenizer = ClipTokenizer() if words == ClipTokenizer().size else ClipTokenizer.from_file(loaded.folder)
        return loaded.model.train(), tokenizer, loaded.preprocess
    torch.manual_seed(s.seed)
    if s.preset:
        if s.preset not in PRESETS:
            raise SensoriumError(f"preset={s.preset}: no such size; there are {', '.join(PRESETS)}")
        config = with_registers(PRESETS[s.preset], s.registers)
        return CLIP(config), ClipTokenizer(), clip_steps(config.vision.image)
    vit = ViTTower(image=s.image, patch=s.patch, width=s.width, depth=s.depth, heads=s.width // 64, mlp=4 * s.width)
    resnet = ResNetTower(image=s.image, depths=(2, 2, 2, 2), width=s.channels, heads=s.channels // 2)
    config = CLIPConfig(
        vision=vit if s.tower == "vit" else resnet,
        text=TextTower(
            context=s.context,
            words=s.words,
            width=s.text_width,
            depth=s.text_depth,
            heads=s.text_width // 64,
            mlp=4 * s.text_width,
        ),
        embed=s.embed,
    )
    config = with_registers(config, s.registers)
    return CLIP(config), ClipTokenizer.first(s.words), clip_steps(s.image)


def with_registers(c: CLIPConfig, registers: int) -> CLIPConfig:
    """The same sizes with registers. Raises SensoriumError where the image tower has no tokens."""
    if not registers:
        return c
    if isinstance(c.vision, ResNetTower):
        raise SensoriumError(f"registers={registers} are tokens of a ViT, and this image tower is a ResNet: tower=vit")
    return replace(c, vision=replace(c.vision, registers=registers))


def export(model: CLIP, tokenizer: ClipTokenizer, steps: Preprocess, folder: Path) -> None:
    """The model as transformers writes it, in OpenCLIP's names with a ResNet or registers, of which transformers knows
    none; with its tokeniser and preprocessing."""
    v = model.config.vision
    naming = "open_clip" if isinstance(v, ResNetTower) or v.registers else "transformers"
    save_model(model, folder, naming=naming, steps=steps)
    tokenizer.save(folder)


def _contrast(trained: Trained, steps: Preprocess, s: Settings, world: World) -> Losses:
    """Section 2.3."""
    return pairs.contrast(trained.clip, lambda batch: _embed(trained.clip, steps, s, batch), world)


def _sigmoid(trained: Trained, steps: Preprocess, s: Settings, world: World) -> Losses:
    """SigLIP's: every pair of the whole batch is a yes or a no."""
    model, bias = trained.clip, trained.bias
    assert bias is not None

    def losses(batch: Batch, step: int) -> Mapping[str, Tensor]:
        image, text = _embed(model, steps, s, batch)
        scale = model.log_scale.exp()
        loss = sigmoid(image, text, scale, bias, all_b=world.gather(text), offset=world.rank * len(image))
        return {"pairs": loss, "_scale": scale.detach(), "_bias": bias.detach()}

    return losses


def _words(trained: Trained, steps: Preprocess, s: Settings, world: World) -> Losses:
    """The baseline of figure 2: which words does the caption have?"""
    model, head = trained.clip, trained.words
    assert head is not None

    def losses(batch: Batch, step: int) -> Mapping[str, Tensor]:
        logits = head(chunked(model.vision, steps.normalise(batch["image"]), chunk=s.chunk))
        return {"words": bag_of_words(logits, words_of(batch["text"], model.config.text.words))}

    return losses


def words_of(ids: Int[Tensor, "b n"], words: int) -> Float[Tensor, "b words"]:
    """The words of each caption, a row that sums to 1; start, end and padding are none."""
    return bag(ids, (ids > 0) & (ids < words - 2), words)


def _embed(model: CLIP, steps: Preprocess, s: Settings, batch: Batch) -> tuple[Tensor, Tensor]:
    """Both sides on the unit sphere, in fp32."""
    image = chunked(model.vision, steps.normalise(batch["image"]), chunk=s.chunk)
    text = chunked(model.text, batch["text"], chunk=s.chunk)
    return F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)

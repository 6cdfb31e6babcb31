"""dino.txt: a trunk that never read a word is left as it is; two blocks on top of it and a text tower learn to meet
(Jose et al. 2024, https://arxiv.org/abs/2412.16334; as DINOv3 trains it, Siméoni et al. 2025, section 5.3).

    sensorium train dino-txt --data emoji --set trunk=runs/ssl precision=bf16 --run runs/txt
    torchrun --nproc-per-node 8 -m sensorium train dino-txt --data "shards/{000..099}.tar" --into runs/b \\
        --set trunk=dinov3-vit-l-16 batch=4096 chunk=128 text_width=1280 text_depth=24 context=77 words=49408 \\
              layer_scale=1e-5 precision=bf16
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.checkpoints.load import save_model
from sensorium.data.augment import SquareCrop
from sensorium.data.errors import SensoriumError
from sensorium.data.preprocess import Preprocess
from sensorium.data.stream import Stream
from sensorium.data.tokenizer import ClipTokenizer
from sensorium.models.dinotxt import TEXT, DINOtxt, DINOtxtConfig, Vision
from sensorium.training.chunked import chunked
from sensorium.training.optimisers import adamw, undecayed
from sensorium.training.recipe import Batch, Recipe
from sensorium.training.recipes import pairs
from sensorium.training.recipes.dinov3_parts import taught
from sensorium.training.schedules import cosine
from sensorium.training.world import World


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run. The text tower is one for small data; the authors' has the sizes of the second command."""

    data: str = "emoji"  # or a folder, manifest, tar pattern ...: what `sensorium data show` reads
    validation: str = ""  # pairs that find one another from time to time, where data is not emoji
    trunk: str = ""  # what sees, and stays as it is: a run of `dinov3` (or of a refinement), or the weights of a
    # trunk (a preset with public weights, a hub id, a folder, a file)
    image: int = 0  # side of the pictures; 0: as the trunk is shown them
    blocks: int = 2  # on top of the trunk
    layer_scale: float = 0.1  # of these blocks; the authors' long runs begin with 1e-5
    text_width: int = 192
    text_depth: int = 3
    context: int = 24
    words: int = 4096  # of CLIP's vocabulary, the most frequent first
    batch: int = 384
    epochs: float = 20.0
    learning_rate: float = 1e-3
    warmup: float = 0.05  # share of the run
    weight_decay: float = 0.2
    beta2: float = 0.98
    eps: float = 1e-6
    chunk: int = 0  # rows whose activations are held at once; 0: all (gradient caching, exact)
    zoom: float = 1.3  # a crop's side is the picture's short one divided by 1 to this
    held_out: str = "noto"  # the artist whom training on emoji never sees; hold it out of the trunk's run, too
    evaluations: int = 11
    seed: int = 0


def dino_txt(s: Settings, world: World) -> Recipe:
    """Words for a trunk that learned from pictures alone; the whole model is written to RUN/model, for
    `sensorium.load`.

    sensorium train dino-txt --data emoji --set trunk=runs/ssl --run runs/txt
    """
    model, tokenizer, steps = build(s)
    context = model.config.text.context
    sides = pairs.Sides(
        image=lambda x: F.normalize(model.vision(x).float(), dim=-1),
        text=lambda ids: F.normalize(model.text(ids).float(), dim=-1),
        tokenizer=tokenizer,
        context=context,
        steps=steps,
        device=world.device,
    )
    source, tags, evaluate = pairs.data(s.data, s.validation, s.held_out, sides)
    crop = SquareCrop(steps.size, zoom=s.zoom)
    total = max(1, int(s.epochs * len(source) / s.batch))

    def embed(batch: Batch) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        tokens = seen(model.vision, steps, batch["image"], s.chunk)
        image = chunked(model.vision.pooled, tokens, chunk=s.chunk)
        text = chunked(model.text, batch["text"], chunk=s.chunk)
        return F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)

    return Recipe(
        model=model,
        losses=pairs.contrast(model, embed, world),
        data=Stream(
            sources=[source],
            prepare=pairs.Prepare(tokenizer=tokenizer, context=context, crop=crop, tags=tags),
            seed=s.seed,
        ),
        optimiser=adamw(s.weight_decay, betas=(0.9, s.beta2), eps=s.eps, multipliers=undecayed("positions")),
        schedule={"learning_rate": cosine(s.learning_rate, 0.0, total, warmup=int(s.warmup * total))},
        steps=total,
        batch=s.batch,
        seed=s.seed,
        clip_norm=1.0,
        after_step=pairs.clamped(model),
        evaluate=evaluate,
        evaluate_every=max(1, total // max(1, s.evaluations)),
        export=lambda folder: export(model, tokenizer, steps, folder),
    )


@torch.no_grad()
def seen(vision: Vision, steps: Preprocess, pixels: UInt8[Tensor, "b 3 h w"], chunk: int) -> Float[Tensor, "b n width"]:
    """What the trunk makes of pictures: nothing is kept for gradients, which it has none of."""
    return torch.cat([vision.trunk.tokens(steps.normalise(x)) for x in pixels.split(chunk or len(pixels))])


def build(s: Settings) -> tuple[DINOtxt, ClipTokenizer, Preprocess]:
    """The model with its tokeniser and preprocessing: the trunk as it was left, the rest new."""
    if not s.trunk:
        raise SensoriumError("trunk: name what sees: a run of dinov3, a model's folder, or weights (dinov3-vit-b-16)")
    if s.text_width < 64 or s.text_width % 64:
        raise SensoriumError(f"text_width={s.text_width}: heads are 64 wide, so take a multiple of 64")
    if s.blocks < 1:
        raise SensoriumError(f"blocks={s.blocks}: one or more on top of the trunk, which learns nothing itself")
    tokenizer = ClipTokenizer.first(s.words)
    trunk, steps = taught(s.trunk)
    c, size = trunk.config, s.image or steps.size
    if size < c.patch or size % c.patch:
        raise SensoriumError(f"image={size}: take a multiple of the trunk's patch, which is {c.patch}")
    torch.manual_seed(s.seed)
    model = DINOtxt(
        DINOtxtConfig(
            trunk=c,
            blocks=s.blocks,
            hidden=64 * math.ceil(8 * c.width / 3 / 64),  # 2752 of the authors' 1024
            layer_scale=s.layer_scale,
            text=replace(
                TEXT,
                context=s.context,
                words=s.words,
                width=s.text_width,
                depth=s.text_depth,
                heads=s.text_width // 64,
                mlp=4 * s.text_width,
            ),
        )
    ).train()
    model.vision.trunk = trunk.eval().requires_grad_(False)
    return model, tokenizer, replace(steps, size=size, resize="short", resize_to=None)


def export(model: DINOtxt, tokenizer: ClipTokenizer, steps: Preprocess, folder: Path) -> None:
    """The whole model, its trunk too, as its authors name its weights; with its tokeniser and preprocessing."""
    save_model(model, folder, naming="official", steps=steps)
    tokenizer.save(folder)

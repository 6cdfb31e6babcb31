"""ImageBind: senses bound to towers that see and read already, by pairs with pictures alone (Girdhar et al. 2023,
sections 3.2 and 3.3, appendix; https://arxiv.org/abs/2305.05665). The training code that was never released.

    sensorium train imagebind --data pairs.jsonl --run runs/sound
    sensorium train imagebind --data pairs.jsonl --set towers=runs/clip seen=4 width=128 depth=3 --run runs/sound
    torchrun --nproc-per-node 8 -m sensorium train imagebind --data audioset/train_segments.csv --into runs/a \\
        --set towers=openclip-vit-h-14 preset=imagebind-huge batch=2048 chunk=64 epochs=64 learning_rate=1.6e-3 \\
              drop_path=0.1 precision=bf16 workers=16

Cost: that of the trunks, where pictures are seen before (`seen`). Six minutes of one core for `--data layers --set
towers=pocket senses=depth,thermal seen=1 width=128 depth=2 size=96 held_out=0.1 epochs=12 precision=bf16 scale=20`.
Expected score of that: of 620 scenes held out, heat finds its photograph 0.123 of the time (chance 0.002) and its
caption, which it never met, 0.071; depth learns nothing in so few steps (0.003). `sensorium claim imagebind` has
settings at which every sense is learned.

A set's samples say which senses they have (`sensorium data show`): a list of {"image": "a.jpg", "audio": "a.wav"}, or
AudioSet, SUN RGB-D, LLVIP, Ego4D as they are published.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.checkpoints.bindings import is_binding, read_binding, write_binding
from sensorium.checkpoints.load import save_model
from sensorium.data.audio import AudioSteps
from sensorium.data.depth import DepthSteps
from sensorium.data.errors import SensoriumError
from sensorium.data.motion import MotionSteps
from sensorium.data.paired import Augmented, Pair, Paired, Reads
from sensorium.data.preprocess import Preprocess
from sensorium.data.stream import Source, Stream
from sensorium.data.thermal import ThermalSteps
from sensorium.models.imagebind import (
    LARGEST_SCALE,
    PRESETS,
    ImageBind,
    ImageBindConfig,
    Modality,
    Scale,
    TrunkConfig,
)
from sensorium.training.chunked import chunked
from sensorium.training.dropout import drop_path
from sensorium.training.optimisers import adamw, undecayed
from sensorium.training.parameter_groups import Multiplier
from sensorium.training.recipe import Batch, Losses, Recipe
from sensorium.training.recipes.imagebind_data import Turns, by_sense, divided, opened, seen
from sensorium.training.recipes.imagebind_exam import MODALITY, exam
from sensorium.training.recipes.imagebind_towers import Towers, model_folder, open_towers
from sensorium.training.recipes.pairs import contrasted
from sensorium.training.schedules import cosine
from sensorium.training.world import World

MOTION_RATE = 5e-4 / 1.6e-3  # of the others' learning rate
UNDECAYED = undecayed("cls", "positions", "null_key", "null_value", "log")


@dataclass(frozen=True, kw_only=True)
class Augments:
    """What training does to pairs."""

    crop: tuple[float, float] = (0.5, 1.0)  # share of the picture that a crop shows
    flip: bool = True
    masked_bins: int = 12  # SpecAugment's widest band, and its longest stretch of frames
    masked_frames: int = 24
    erased: float = 0.25  # how often a part of depth or heat is erased


@dataclass(frozen=True, kw_only=True)
class Settings(Augments):
    """One run. The trunks are those of a size for one machine, unless `preset` or `start` says otherwise."""

    data: tuple[str, ...] = ()  # sets of pictures or films paired with a sense: what `sensorium data show` reads
    validation: tuple[str, ...] = ()  # pairs that find one another from time to time
    held_out: float = 0.0  # without validation: the share of pictures (or films) of `data` that serve for it
    towers: str = "pocket"  # what sees and reads, and stays as it is: a run of `clip`, a CLIP's or ImageBind's weights
    start: str = ""  # a binding (or its run) to go on from: its towers are meant, and its other trunks are kept
    senses: tuple[str, ...] = ()  # audio, depth, thermal, motion: those to bind; none: all that `data` has
    weights: tuple[float, ...] = ()  # shares of the sets in `data`; none: every sample equally often
    preset: str = "imagebind-tiny"  # sizes of the trunks; imagebind-huge are the paper's
    width: int = 0  # of all trunks, with 64 a head; 0: the preset's, as depth
    depth: int = 0
    size: int = 0  # side of depth and heat, a multiple of 16; 0: the preset's, 224
    stride: int = 0  # between the patches of a spectrogram; 0: the preset's 10; 16 are half as many
    scale: float = 0.0  # what cosines are multiplied by; 0: the paper's (audio 20, depth 5, thermal 10, motion 5)
    learn_scale: bool = False  # and whether it is learned; the paper's only is for text
    seen: int = 0  # crops of each picture that the towers see once, before training; 0: a new one every time
    batch: int = 64
    epochs: float = 20.0  # passes over all samples; the paper repeats small sets 50 times an epoch
    learning_rate: float = 1e-3  # motion's is 0.3 of it, as in the paper
    warmup: float = 0.05  # share of the run
    weight_decay: float = 0.2
    betas: tuple[float, float] = (0.9, 0.95)
    drop_path: float = 0.0
    chunk: int = 0  # rows whose activations are held at once; 0: all (gradient caching, exact)
    evaluations: int = 11
    seed: int = 0


class Bound(nn.Module):
    """What is saved: trunks, with a mark of the towers that they learn to meet, which are none of it."""

    towers: Tensor

    def __init__(self, trunks: ImageBind, mark: str) -> None:
        super().__init__()
        self.trunks = trunks
        self.register_buffer("towers", marked(mark))


def marked(fingerprint: str) -> Tensor:
    """A fingerprint as numbers that a checkpoint can hold."""
    return torch.tensor(list(fingerprint.encode().ljust(64)[:64]), dtype=torch.uint8)


def imagebind(s: Settings, world: World) -> Recipe:
    """Senses for towers that see and read; what they learn is written to RUN/model, for `sensorium.load`.

    sensorium train imagebind --data pairs.jsonl --set held_out=0.1 seen=4 --run runs/sound

    Six minutes of one core for 5,880 photographs with depth and heat (`--data layers`, in full in the module): of 620
    held out, heat finds its photograph 0.123 of the time, chance 0.002.
    """
    sources = opened(s.data)
    others = opened(s.validation) if s.validation else []
    if not others and s.held_out:
        parts = [divided(source, s.held_out) for source in sources]
        sources, others = [part for part, _ in parts], [part for _, part in parts if len(part)]
    return bound(s, world, sources, others)


def bound(s: Settings, world: World, sources: Sequence[Source], held_out: Sequence[Source] = ()) -> Recipe:
    """The recipe on sources that are open: for sets that no file lists."""
    if s.start and s.towers != "pocket":
        raise SensoriumError("start brings its own towers: leave towers out")
    towers = open_towers(s.start or s.towers, world.device)
    kinds = by_sense(sources, s.senses)
    trunks = build(s, towers.dim, [MODALITY[sense] for sense in kinds])
    trained = Bound(trunks, towers.fingerprint)
    pairs: dict[Paired, Pair] = {sense: pair_of(sense, trunks, towers.steps, towers.frames, s) for sense in kinds}
    total = max(1, int(s.epochs * sum(len(source) for every in kinds.values() for source in every) / s.batch))
    exams = by_sense(held_out, [sense for sense in kinds if any(sense in source[0] for source in held_out)])
    evaluate = exam({sense: exams[sense] for sense in kinds if sense in exams}, pairs, trunks, towers, world)
    return Recipe(
        model=trained,
        losses=contrast(trained, towers, s, world),
        data=turns(s, sources, kinds, pairs, towers, world, total),
        optimiser=adamw(s.weight_decay, betas=s.betas, multipliers=multipliers),
        schedule={"learning_rate": cosine(s.learning_rate, 0.0, total, warmup=int(s.warmup * total))},
        steps=total,
        batch=s.batch,
        seed=s.seed,
        clip_norm=1.0,
        after_step=lambda step: clamp(trunks),
        evaluate=evaluate,
        evaluate_every=max(1, total // max(1, s.evaluations)),
        best="recall" if evaluate else None,
        export=lambda folder: export(trunks, towers, folder),
    )


def build(s: Settings, embed: int, modalities: Sequence[Modality]) -> ImageBind:
    """The trunks that learn, in training mode; and those of `start` that do not, as they are."""
    torch.manual_seed(s.seed)
    kept = _kept(s)
    own = {} if kept is None else kept.config.towers
    towers = {m: own.get(m) or (sizes(s, m) if m in modalities else None) for m in MODALITY.values()}
    config = ImageBindConfig(vision=None, text=None, embed=embed, **cast(dict[str, Any], towers))
    model = ImageBind(config)
    if kept is not None:
        model.load_state_dict(model.state_dict() | kept.state_dict())
    for modality in config.towers:
        learns = modality in modalities
        model.towers[modality].train(learns).requires_grad_(learns)
        if learns:
            begun = s.scale or float(cast(Scale, model.scales[modality]).log.exp())
            model.scales[modality] = Scale(begun, learned=s.learn_scale)
            drop_path(model.towers[modality].modules(), s.drop_path)
    return model


def _kept(s: Settings) -> ImageBind | None:
    if not s.start:
        return None
    place = model_folder(s.start)
    if not is_binding(place):
        raise SensoriumError(f"start={s.start}: no binding, nor a run that wrote one; weights are named by towers=")
    return read_binding(place).trunks


def sizes(s: Settings, modality: Modality) -> TrunkConfig:
    """What a trunk reads and how large it is. Raises SensoriumError for sizes that cannot be."""
    if s.preset not in PRESETS:
        raise SensoriumError(f"preset={s.preset}: no such size; there are {', '.join(PRESETS)}")
    config = PRESETS[s.preset].towers[modality]
    assert isinstance(config, TrunkConfig)
    if s.width % 64:
        raise SensoriumError(f"width={s.width}: heads are 64 wide, so take a multiple of 64")
    if s.size % 16:
        raise SensoriumError(f"size={s.size}: patches are 16 wide, so take a multiple of 16")
    if s.width:
        config = replace(config, width=s.width, heads=s.width // 64, mlp=4 * s.width)
    if s.size and modality in ("depth", "thermal"):
        config = replace(config, sides=(s.size, s.size))
    if s.stride and modality == "audio":
        config = replace(config, stride=(s.stride, s.stride))
    return replace(config, depth=s.depth or config.depth)


def pair_of(sense: Paired, trunks: ImageBind, steps: Preprocess, frames: int, s: Augments) -> Pair:
    """How pairs are made ready for these trunks and the picture's tower."""
    how = Augmented(scale=s.crop, flip=s.flip, bins=s.masked_bins, frames=s.masked_frames, erased=s.erased)
    c = cast(TrunkConfig, trunks.config.towers[MODALITY[sense]])
    reads: dict[Paired, Callable[[], Reads]] = {
        "audio": lambda: AudioSteps(clips=1, bins=c.sides[0], frames=c.sides[1]),
        "depth": lambda: DepthSteps(size=c.sides[0]),
        "thermal": lambda: ThermalSteps(size=c.sides[0]),
        "motion": lambda: MotionSteps(steps=c.sides[0]),
    }
    return Pair(sense=sense, reads=reads[sense](), steps=steps, frames=frames, augmented=how)


def turns(
    s: Settings,
    sources: Sequence[Source],
    kinds: Mapping[Paired, Sequence[Source]],
    pairs: Mapping[Paired, Pair],
    towers: Towers,
    world: World,
    steps: int,
) -> Turns:
    """A stream a sense, in turns by the shares of its sets."""
    if s.weights and len(s.weights) != len(sources):
        raise SensoriumError(f"weights: {len(s.weights)} for {len(sources)} sets in data; give one for each")
    of = {id(source): s.weights[i] if s.weights else float(len(source)) for i, source in enumerate(sources)}

    def opened() -> Mapping[str, Stream]:
        streams: dict[str, Stream] = {}
        for sense, every in kinds.items():
            pair, weights = pairs[sense], [of[id(source)] for source in every] if s.weights else None
            looked = [seen(each, pair, s.seen, towers, world, s.seed) for each in every] if s.seen else every
            streams[sense] = Stream(sources=looked, weights=weights, prepare=pair, seed=s.seed)
        return streams

    return Turns(opened, [sum(of[id(source)] for source in every) for every in kinds.values()], s.batch, steps)


def contrast(model: Bound, towers: Towers, s: Settings, world: World) -> Losses:
    """Equation 1, both ways: each pair's picture and sense against those of the whole batch, over all processes."""
    mark = marked(towers.fingerprint)

    def losses(batch: Batch, step: int) -> Mapping[str, Tensor]:
        sense, modality = next((sense, modality) for sense, modality in MODALITY.items() if sense in batch)
        if not torch.equal(model.towers.cpu(), mark):
            raise SensoriumError(f"{towers.source} is not what this run began with: put the old weights back")
        picture = batch["seen"] if "seen" in batch else towers.see(batch["image"], world.device)
        sensed = unit(chunked(model.trunks.towers[modality], batch[sense], chunk=s.chunk))
        scale = cast(Scale, model.trunks.scales[modality]).log.exp()
        loss = contrasted(picture.float(), sensed, scale, world)
        return {"contrast": loss, f"_{sense}": loss.detach(), "_scale": scale.detach()}

    return losses


def unit(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """On the unit sphere, in fp32."""
    return F.normalize(x.float(), dim=-1)


def multipliers(name: str, parameter: Tensor) -> Multiplier:
    """Motion learns slower than the others (appendix)."""
    plain = UNDECAYED(name, parameter)
    return plain._replace(learning_rate=MOTION_RATE) if ".imu." in f".{name}" else plain


def clamp(trunks: ImageBind) -> None:
    """Keep what is learned of the scales from passing a hundred."""
    for scale in trunks.scales.values():
        cast(Scale, scale).log.clamp_(max=torch.tensor(LARGEST_SCALE).log().item())


def export(trunks: ImageBind, towers: Towers, folder: Path) -> None:
    """A binding; where the towers are ImageBind's own, the whole ImageBind with these trunks in it."""
    if towers.whole is None:
        write_binding(trunks, folder, towers=towers.source, towers_fingerprint=towers.fingerprint)
        return
    own = towers.whole
    config = replace(own.config, **{modality: trunks.config.towers[modality] for modality in trunks.config.towers})
    model = ImageBind(config)
    replaced = tuple(f"{room}.{modality}." for modality in trunks.config.towers for room in ("towers", "scales"))
    kept = {name: value for name, value in own.state_dict().items() if not name.startswith(replaced)}
    model.load_state_dict(kept | trunks.state_dict())
    save_model(model, folder, naming="imagebind", steps=towers.steps)
    if towers.tokenizer is not None:
        towers.tokenizer.save(folder)

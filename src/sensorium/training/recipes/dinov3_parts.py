"""What self-supervision trains, and where it goes on from: settings that its recipes share, a student and its teacher,
and their trunks, heads and weights, begun, loaded or taken over from a run (Siméoni et al. 2025, section 3.2)."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from sensorium.checkpoints.load import load_model, save_model
from sensorium.data.errors import SensoriumError
from sensorium.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from sensorium.models.dinov3 import PRESETS, DINOHead, DINOv3, DINOv3Config
from sensorium.training.run_folder import RunFolder
from sensorium.training.saving import MANIFEST, found, read_weights
from sensorium.training.settings import from_json, has

Decay = Literal["cosine", "none"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run. Sizes are those of a trunk for small pictures, unless `preset` or `start` names others."""

    data: str = "things"  # or a folder, manifest, tar pattern ...: what `sensorium data show` reads; no labels needed
    validation: str = ""  # labelled pictures whose neighbours among labelled `data` are asked from time to time
    start: str = ""  # to go on from: a run of this recipe (a folder or one checkpoint), which brings its own sizes; or
    # weights of a trunk (a preset with public weights, a hub id, a folder, a file), whose heads begin anew
    preset: str = ""  # sizes by name, with random weights
    patch: int = 8
    width: int = 128
    depth: int = 4
    registers: int = 4  # 0 to 16 in Darcet et al. 2024
    layer_scale: float = 1.0  # of a trunk that begins anew; DINOv3's long runs begin with 1e-5
    size: int = 48  # of large crops
    local_size: int = 24
    local: int = 4  # small crops a picture
    scale: tuple[float, float] = (0.4, 1.0)  # 0.32 to 1 in DINOv3, as areas; small crops 0.05 to 0.32
    local_scale: tuple[float, float] = (0.1, 0.4)
    flip: bool = True
    prototypes: tuple[int, int] = (512, 512)  # of DINO's head and of iBOT's
    hidden: int = 256  # of both heads
    bottleneck: int = 64
    centring: Literal["sinkhorn", "softmax"] = "sinkhorn"
    koleo: float = 0.1  # the weight
    koleo_group: int = 16  # pictures that are spread among themselves; 0: all of a process
    batch: int = 64
    epochs: float = 20.0
    learning_rate: float = 1e-3
    decay: Decay = "cosine"  # of the rate; DINOv3 keeps its constant
    warmup: float = 0.05  # share of the run, for the rate and the teacher's temperature
    weight_decay: float = 0.04
    layer_decay: float = 1.0  # 0.98 for 7B
    momentum: tuple[float, float] = (0.98, 0.999)  # of the teacher, at first and at last
    temperature: tuple[float, float] = (0.04, 0.05)  # of the teacher, at first and after the warm-up
    frozen: float = 0.01  # share of the run in which the prototypes stay as they began
    drop_path: float = 0.0
    rescale: float = 0.0  # places of patches are scaled by up to this or its inverse; 2 in DINOv3, 0: not at all
    held_out: str = "noto"  # the artist whom training on emoji never sees
    measured: int = 0  # side of the pictures whose neighbours are asked, a multiple of the patch; 0: `size`
    evaluations: int = 4
    seed: int = 0


class Branch(nn.Module):
    """A trunk, and what turns its features into scores for prototypes: of classes (DINO) and of patches (iBOT)."""

    def __init__(self, trunk: DINOv3, s: Settings) -> None:
        super().__init__()
        s = sizes(s)
        self.trunk = trunk
        self.dino, self.ibot = (
            DINOHead(trunk.dim, count, hidden=s.hidden, bottleneck=s.bottleneck).apply(begun) for count in s.prototypes
        )
        for head in (self.dino, self.ibot):
            # of length 1, as DINO holds them by weight norm: shorter ones make a teacher of few steps say nothing
            nn.init.normal_(head.prototypes.weight, std=s.bottleneck**-0.5)


class Distilled(nn.Module):
    """A student and its teacher, of one shape, and where dense features are anchored an earlier teacher's trunk. Only
    the student has gradients."""

    centre: Tensor
    patch_centre: Tensor

    def __init__(self, student: Branch, anchor: DINOv3 | None = None) -> None:
        super().__init__()
        self.student, self.teacher, self.anchor = student.train(), deepcopy(student), anchor
        for frozen in (self.teacher, anchor):
            if frozen is not None:
                frozen.eval().requires_grad_(False)
        self.register_buffer("centre", torch.zeros(1, student.dino.prototypes.out_features))
        self.register_buffer("patch_centre", torch.zeros(1, student.ibot.prototypes.out_features))


def trunk_config(s: Settings) -> DINOv3Config:
    """The sizes of the trunk."""
    s = sizes(s)
    if s.preset and s.preset not in PRESETS:
        raise SensoriumError(f"preset={s.preset}: no such size; there are {', '.join(PRESETS)}")
    if s.preset:
        return PRESETS[s.preset]
    if s.start:
        return loaded_trunk(s.start).config
    return DINOv3Config(
        patch=s.patch,
        width=s.width,
        depth=s.depth,
        heads=max(1, s.width // 64),
        hidden=4 * s.width,
        registers=s.registers,
        layer_scale=s.layer_scale,
        local_norm=True,
    )


def trunk_of(s: Settings) -> DINOv3:
    """A trunk with random weights, or the one that a run starts from."""
    if s.start and s.preset:
        raise SensoriumError("start brings its own sizes: leave preset out")
    if s.start and not is_run(s.start):
        return loaded_trunk(s.start)
    return DINOv3(trunk_config(s)).apply(begun)


def begun(module: nn.Module) -> None:
    """How numbers begin: linear layers with deviation 0.02 and no bias, as the authors'."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if (bias := getattr(module, "bias", None)) is not None:
            nn.init.zeros_(bias)


def loaded_trunk(source: str) -> DINOv3:
    """A DINOv3 ViT with published or own weights. Raises SensoriumError where it is another model."""
    return taught(source)[0]


def taught(source: str) -> tuple[DINOv3, Preprocess]:
    """The trunk of a run's teacher, or of a model, in eval mode, and how it is shown pictures. Raises SensoriumError
    where it is another model."""
    if not is_run(source):
        loaded = load_model(source)
        if not isinstance(loaded.model, DINOv3) or loaded.preprocess is None:
            raise SensoriumError(f"{source} is {loaded.found}, no DINOv3 ViT")
        return loaded.model, loaded.preprocess
    state = read_weights(checkpoint_of(source))
    if not any(name.startswith("student.trunk.") for name in state):  # of another recipe, or of several students
        raise SensoriumError(f"{source} is no run of self-supervision: name a model that it wrote, in RUN/model")
    s = settings_of(source)
    trunk = DINOv3(trunk_config(s))
    take(trunk, source, state, "teacher.trunk.")
    return trunk.eval().requires_grad_(False), steps_for(s.size)


def steps_for(size: int) -> Preprocess:
    """How pictures are shown to what learns here."""
    return Preprocess(size=size, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def is_run(place: str) -> bool:
    """Whether a run's folder, or one of its checkpoints, is there: not only a trunk, but heads and teacher too."""
    return bool(place) and (RunFolder(Path(place)).begun or (Path(place) / MANIFEST).exists())


def checkpoint_of(place: str) -> Path:
    """The last checkpoint of a run, or the one that is named. Raises SensoriumError where there is none yet."""
    path = Path(place)
    if (path / MANIFEST).exists():
        return path
    checkpoints = found(RunFolder(path))
    if not checkpoints:
        raise SensoriumError(f"{place} has no checkpoint yet")
    return checkpoints[-1]


def settings_of(place: str) -> Settings:
    """What a run was begun with, as far as it is a setting of this recipe."""
    run = RunFolder(checkpoint_of(place).parent.parent)
    known = {name: value for name, value in run.read_config()["settings"].items() if has(Settings, name)}
    return from_json(Settings, known, f"{run.config}: settings")


def sizes(s: Settings) -> Settings:
    """The settings that say the sizes: those of the run that this one goes on from, or its own."""
    while is_run(s.start):
        s = settings_of(s.start)
    return s


def go_on(model: Distilled, place: str) -> None:
    """Take over the student, the teacher, their heads and centres from a run of this recipe."""
    state, mine = read_weights(checkpoint_of(place)), model.state_dict()
    names = [name for name in mine if not name.startswith("anchor.")]
    check_shapes(place, {name: mine[name] for name in names}, {name: state[name] for name in names if name in state})
    model.load_state_dict(mine | {name: state[name] for name in names})


def take(module: nn.Module, place: str, state: Mapping[str, Tensor], prefix: str) -> None:
    """Load those weights of a run's state whose names begin so. Raises SensoriumError where they do not fit."""
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    check_shapes(place, module.state_dict(), own)
    module.load_state_dict(own)


def check_shapes(place: str, mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    """Raises SensoriumError, naming what differs, unless both have the same names and shapes."""
    wrong = sorted(
        name
        for name in mine.keys() | theirs.keys()
        if name not in mine or name not in theirs or mine[name].shape != theirs[name].shape
    )
    if wrong:
        raise SensoriumError(f"{place} is of another model: {', '.join(wrong[:5])}; {len(wrong)} weights in all")


def export(trunk: DINOv3, folder: Path, steps: Preprocess) -> None:
    """The trunk as its authors name its weights."""
    save_model(trunk, folder, naming="official", steps=steps)

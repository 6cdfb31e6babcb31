"""What a family of models is to this room: a model class, its published sizes, and every naming of its weights."""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sensorium.checkpoints.files import Checkpoint
from sensorium.checkpoints.rename import Row, State
from sensorium.data.preprocess import Preprocess


@runtime_checkable
class Config(Protocol):
    """The sizes of one model: a frozen dataclass in the model's own file."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def no_ties(config: Any) -> dict[str, str]:
    """Every name stands for a tensor of its own."""
    return {}


def nothing_implied(config: Any) -> dict[str, Tensor]:
    """Every tensor of ours is written in the naming."""
    return {}


def no_picture(checkpoint: Checkpoint, config: Any) -> None:
    """The model takes no picture as it is: it reads words, regions, or several kinds of media."""


def the_whole(config: Any, name: str) -> bool:
    """Every tensor of a checkpoint is of the model."""
    return True


def no_constants(config: Any) -> State:
    """Every tensor of a checkpoint was learned."""
    return {}


def as_it_is(state: State, config: Any) -> State:
    """The naming holds our tensors apart, as they are."""
    return state


def any_file(file: Mapping[str, Any] | None) -> bool:
    """The names alone decide, whatever stands in the file beside them."""
    return True


@dataclass(frozen=True, kw_only=True)
class Format:
    """One naming of one family.

    `marks` are alternatives: a checkpoint is of this naming if it holds all names of one of them and none of `without`.
    `read` makes the sizes from the tensors and the file beside them. `file` is that file's name where the naming has
    one, and `describe` writes it; `fits` is asked where names are not enough: whether that file (None where there is
    none) may be beside this naming. `official` is for that of the authors' own files. `tied` maps names of theirs that
    are copies to the names they copy. `implied` are tensors of ours that the naming leaves out because they follow from
    the sizes, or have no effect; `constants` are tensors of theirs that follow from the sizes: required to be so, and
    written when saving. `folds` gives the same model in the tensors that the naming has, where it holds the sum of two
    of ours. `belongs` says which names a config asks for, where a model can be built in part: the others are knowingly
    left unread. `preprocess` is how the line of checkpoints prepares a picture.
    """

    family: str
    naming: str
    marks: tuple[tuple[str, ...], ...]
    rows: Callable[[Any], list[Row]]
    read: Callable[[Mapping[str, Tensor], Mapping[str, Any] | None], Config]
    file: str | None = None
    without: tuple[str, ...] = ()
    fits: Callable[[Mapping[str, Any] | None], bool] = any_file
    official: bool = False
    describe: Callable[[Any], dict[str, Any]] | None = None
    tied: Callable[[Any], dict[str, str]] = no_ties
    implied: Callable[[Any], dict[str, Tensor]] = nothing_implied
    preprocess: Callable[[Checkpoint, Any], Preprocess | None] = no_picture
    belongs: Callable[[Any, str], bool] = the_whole
    constants: Callable[[Any], State] = no_constants
    folds: Callable[[State, Any], State] = as_it_is


@dataclass(frozen=True)
class Axis:
    """An axis of an input that may have another length than the example's: any multiple of `step` in the range."""

    name: str
    step: int = 1
    least: int = 1
    most: int | None = None


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """A part of a model that runs alone: what to call, and an example of what it takes, in the order of the call.

    `varies` names the axes of an input that are free. What is returned bears the names in `outputs`.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    varies: dict[str, dict[int, Axis]]
    outputs: tuple[str, ...] = ("vector",)


class Call(nn.Module):
    """One method of a model as a module of its own."""

    def __init__(self, model: nn.Module, method: str) -> None:
        super().__init__()
        self.model = model
        self.forward = getattr(model, method)  # with the method's own signature, which exporters read


def picture_axes(patch: int = 1, *, sizes: bool = True) -> dict[int, Axis]:
    """Any batch of pictures, and of any size in whole patches where the model has positions for it."""
    sides = {2: Axis("rows", patch, 2), 3: Axis("columns", patch, 2)} if sizes else {}
    return {0: Axis("batch"), **sides}


def text_axes(context: int) -> dict[int, Axis]:
    """Any batch of texts of any length that a tower reads."""
    return {0: Axis("batch"), 1: Axis("length", 1, 2, context)}


@dataclass(frozen=True, kw_only=True)
class Family:
    """One model class. `system` is the paper, as `sensorium models` groups them; `formats` are tried in order.

    `reads` says in words what the model takes ("words and pictures"). `trunks` lists what of it runs alone. Files of
    one published model may differ in the choices of `by_naming`: one naming stores what another leaves out.
    """

    name: str
    system: str
    reads: str
    model: Callable[[Any], nn.Module]
    config: type
    presets: Mapping[str, Config]
    formats: tuple[Format, ...]
    trunks: Callable[[Any], list[Trunk]]
    by_naming: tuple[str, ...] = ()


def picture_features(model: nn.Module, *, patch: int, side: int) -> list[Trunk]:
    """The one trunk of a model that reads pictures of any size and gives `Features`."""
    return [
        Trunk(
            name="image",
            module=model,
            inputs={"image": torch.randn(2, 3, side, side)},
            varies={"image": picture_axes(patch)},
            outputs=("cls_token", "register_tokens", "patch_tokens"),
        )
    ]

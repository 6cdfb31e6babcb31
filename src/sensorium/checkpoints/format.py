"""What a family of models is to this room: a model class, its published sizes, and every naming of its weights."""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

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


def no_picture(checkpoint: Checkpoint, config: Any) -> None:
    """The model takes no picture as it is: it reads words, regions, or several kinds of media."""


def the_whole(config: Any, name: str) -> bool:
    """Every tensor of a checkpoint is of the model."""
    return True


def no_constants(config: Any) -> State:
    """Every tensor of a checkpoint was learned."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Format:
    """One naming of one family.

    `marks` are alternatives: a checkpoint is of this naming if it holds all names of one of them. `read` makes the
    sizes from the tensors and the file beside them. `file` is that file's name where the naming has one, and
    `describe` writes it; `needs_file` is for a naming that only the file tells from another. `tied` maps names of
    theirs that are copies to the names they copy. `preprocess` is how the line of checkpoints prepares a picture.
    `belongs` says which names a config asks for, where a model can be built in part: the others are knowingly left
    unread. `constants` are tensors of theirs that follow from the sizes: required to be so, and written when saving.
    """

    family: str
    naming: str
    marks: tuple[tuple[str, ...], ...]
    rows: Callable[[Any], list[Row]]
    read: Callable[[Mapping[str, Tensor], Mapping[str, Any] | None], Config]
    file: str | None = None
    needs_file: bool = False
    describe: Callable[[Any], dict[str, Any]] | None = None
    tied: Callable[[Any], dict[str, str]] = no_ties
    preprocess: Callable[[Checkpoint, Any], Preprocess | None] = no_picture
    belongs: Callable[[Any, str], bool] = the_whole
    constants: Callable[[Any], State] = no_constants


@dataclass(frozen=True, kw_only=True)
class Family:
    """One model class. `system` is the paper, as `sensorium models` groups them; `formats` are tried in order.

    `reads` says in words what the model takes ("words and pictures").
    """

    name: str
    system: str
    reads: str
    model: Callable[[Any], nn.Module]
    config: type
    presets: Mapping[str, Config]
    formats: tuple[Format, ...]

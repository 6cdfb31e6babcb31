"""What a model cannot take in, by name, and what would help."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sensorium.app.console import short
from sensorium.app.moments import NOUNS, amount
from sensorium.data.errors import SensoriumError

if TYPE_CHECKING:
    from sensorium.data.kinds import Kind
    from sensorium.search.query import Term

EVERYTHING = "imagebind-huge"


class Chooses(Protocol):
    """A model that takes in some kinds of files."""

    @property
    def name(self) -> str:
        """What the user calls it."""
        ...

    def lacks(self, kind: "Kind", /) -> str | None:
        """Why it cannot take in a kind; None where it can."""
        ...


def lacking(model: Chooses) -> list[str]:
    """A sentence for every kind of file that a model cannot take in."""
    return [_named(said, model) for kind in NOUNS if (said := model.lacks(kind)) is not None]


def left_out(skipped: "Mapping[Kind, int]", model: Chooses) -> list[str]:
    """`3 depth maps left out: pocket does not see depth. ImageBind does: --model imagebind-huge`, kind by kind."""
    return [
        f"{amount(skipped[kind], kind)} left out: {_reason(_named(said, model))}. {remedy(model)}"
        for kind in NOUNS
        if skipped.get(kind) and (said := model.lacks(kind))
    ]


def remedy(model: Chooses) -> str:
    """What to do about a kind that a model lacks."""
    if called(model.name).startswith("imagebind"):
        return "It does with all its senses: leave --senses out, or name that one too"
    return f"ImageBind does: --model {EVERYTHING} --index imagebind-index"


def check_examples(terms: "Sequence[Term]", model: Chooses) -> None:
    """Raises SensoriumError for the first file of a question that the model cannot take in, with what would help."""
    from sensorium.data.kinds import kind_of

    for term in terms:
        kind = None if term.file is None else kind_of(term.file)
        said = None if kind is None else model.lacks(kind)
        if kind is not None and said is not None and term.file is not None:
            article = f"a {NOUNS[kind][0]}"
            raise SensoriumError(
                f"{short(term.file)} is {article}, and {_reason(_named(said, model))}. {remedy(model)}"
            )


def called(model: str) -> str:
    """What to call a model: one of a user's own is a path, and its last part will do."""
    return Path(model).name if Path(model).is_absolute() else model


def _named(said: str, model: Chooses) -> str:
    return said.replace(model.name, called(model.name))


def _reason(said: str) -> str:
    """Of "pocket does not see depth: depth maps are left out" what comes before the colon."""
    return said.partition(":")[0]

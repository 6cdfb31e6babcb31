"""Open the user's index with the model that made it: what search, serve and the demo share."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sensorium.app.console import stderr, waiting
from sensorium.app.lacking import called
from sensorium.data.errors import SensoriumError

if TYPE_CHECKING:  # these bring torch and NumPy, which help and usage errors do without
    from sensorium.data.kinds import Sense
    from sensorium.search.index import Index
    from sensorium.tasks.embedding import Embedder, Precision

DEFAULT_MODEL = "pocket"
IN_PARTS = "imagebind"  # how models begin whose senses are loaded one by one


def load_model(name: str, *, precision: "Precision" = "auto", senses: "Sequence[Sense] | None" = None) -> "Embedder":
    """The model called `name`, or these senses of it, saying so while torch and the weights come in.

    A path is made absolute first: an index remembers its model by this name, wherever it is opened from.
    """
    import sensorium

    path = Path(name).expanduser()
    source = str(path.resolve()) if path.exists() else name
    with waiting(f"loading {name} …"):
        model = sensorium.load(source, precision=precision, senses=senses)
    if isinstance(model, sensorium.Loaded):
        raise sensorium.SensoriumError(
            f"{name} is {model.found}: it does not embed files; choose a CLIP, an ImageBind or `pocket`"
        )
    return model


def chosen_senses(text: str | None) -> "list[Sense] | None":
    """The senses that `--senses image,audio` names; None where nothing was said. Raises SensoriumError."""
    if text is None:
        return None
    from sensorium.data.kinds import SENSES

    named = [word.strip().lower() for word in text.split(",") if word.strip()]
    strange = [word for word in named if word not in SENSES]
    if strange or not named:
        raise SensoriumError(f"{', '.join(strange) or text!r} is no sense: choose among {', '.join(SENSES)}")
    return [sense for sense in SENSES if sense in named]


def index_for(folder: Path | None, model: str | None, senses: str | None = None) -> "Index":
    """The index in `folder` for filling it: an existing one with its own model, or a new one with `model`.

    Raises SensoriumError when the index there was made by another model than the one asked for.
    """
    from sensorium.search.index import Index, default_folder

    place, some = folder if folder is not None else default_folder(), chosen_senses(senses)
    there = model is None and place.is_dir() and any(place.iterdir())
    name = model_of(place) if there else model or DEFAULT_MODEL
    if some is not None:
        tell_memory(name, some)
    return Index.open(place, load_model(name, senses=some), create=not there)


def open_index(folder: Path | None, senses: "Collection[Sense] | None" = None) -> "Index":
    """An existing index with the model that made it, ready to search; of a model that is loaded in parts, with these.

    Raises SensoriumError, naming the command that makes one, when there is no index in `folder`.
    """
    from sensorium.search.index import Index

    name = model_of(folder)
    return Index.open(folder, load_model(name, senses=None if senses is None else part_of(name, senses)), create=False)


def model_of(folder: Path | None) -> str:
    """What the model of the index in `folder` is called; raises SensoriumError where there is no index."""
    from sensorium.search.index import Index

    with Index.open(folder, create=False) as listing:
        return listing.stats().model


def part_of(name: str, senses: "Collection[Sense]") -> "list[Sense] | None":
    """Those of the senses that a model has, where it is loaded in parts; None where it is loaded whole anyway."""
    if not called(name).startswith(IN_PARTS):
        return None
    from sensorium.checkpoints.load import memory_of

    there = memory_of(name)
    return [sense for sense in there if sense in senses or (sense == "image" and "video" in senses)] or None


def tell_memory(name: str, senses: "Sequence[Sense]") -> None:
    """Say what these senses of a model will take in memory, before any of it is read. Raises SensoriumError."""
    if name == DEFAULT_MODEL:
        return  # it has no parts, and says so when it is loaded
    from sensorium.checkpoints.load import memory_of
    from sensorium.checkpoints.memory import told

    path = Path(name).expanduser()
    sizes = memory_of(path.resolve() if path.exists() else name, senses=senses)
    stderr().print(f"{called(name)} takes {told(sizes)}", markup=False)

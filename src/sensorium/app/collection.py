"""Open the user's index with the model that made it: what search, serve and the demo share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sensorium.app.console import stderr, waiting
from sensorium.data.errors import SensoriumError

if TYPE_CHECKING:  # these bring torch and NumPy, which help and usage errors do without
    from sensorium.data.kinds import Sense
    from sensorium.search.index import Index
    from sensorium.tasks.embedding import Embedder, Precision

DEFAULT_MODEL = "pocket"


def load_model(name: str, *, precision: "Precision" = "auto", senses: "Sequence[Sense] | None" = None) -> "Embedder":
    """The model called `name`, or these senses of it, saying so while torch and the weights come in.

    What a part of a model takes in memory is said before it is read. A path is made absolute first: an index remembers
    its model by this name, wherever it is opened from.
    """
    with waiting(f"loading {name} …"):
        import sensorium

        path = Path(name).expanduser()
        source = str(path.resolve()) if path.exists() else name
    if senses is not None and name != DEFAULT_MODEL:
        from sensorium.checkpoints.load import memory_of
        from sensorium.checkpoints.memory import told

        stderr().print(f"{name}: {told(memory_of(source, senses=senses))}", markup=False)
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
    if model is None and place.is_dir() and any(place.iterdir()):
        return open_index(place, some)
    return Index.open(place, load_model(model or DEFAULT_MODEL, senses=some))


def open_index(folder: Path | None, senses: "Sequence[Sense] | None" = None) -> "Index":
    """An existing index with the model that made it, ready to search.

    Raises SensoriumError, naming the command that makes one, when there is no index in `folder`.
    """
    from sensorium.search.index import Index

    with Index.open(folder, create=False) as listing:
        model = listing.stats().model
    return Index.open(folder, load_model(model, senses=senses), create=False)

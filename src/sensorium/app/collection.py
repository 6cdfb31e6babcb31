"""Open the user's index with the model that made it: what search, serve and the demo share."""

from pathlib import Path
from typing import TYPE_CHECKING

from sensorium.app.console import waiting

if TYPE_CHECKING:  # these bring torch and NumPy, which help and usage errors do without
    from sensorium.search.index import Index
    from sensorium.tasks.embedding import Embedder, Precision

DEFAULT_MODEL = "pocket"


def load_model(name: str, *, precision: "Precision" = "auto") -> "Embedder":
    """The model called `name`, saying so while torch and the weights come in.

    A path is made absolute first: an index remembers its model by this name, wherever it is opened from.
    """
    with waiting(f"loading {name} …"):
        import sensorium

        path = Path(name).expanduser()
        model = sensorium.load(str(path.resolve()) if path.exists() else name, precision=precision)
    if isinstance(model, sensorium.Loaded):
        raise sensorium.SensoriumError(
            f"{name} is {model.found}: it does not embed pictures; choose a CLIP or `pocket`"
        )
    return model


def index_for(folder: Path | None, model: str | None) -> "Index":
    """The index in `folder` for filling it: an existing one with its own model, or a new one with `model`.

    Raises SensoriumError when the index there was made by another model than the one asked for.
    """
    from sensorium.search.index import Index, default_folder

    place = folder if folder is not None else default_folder()
    if model is None and place.is_dir() and any(place.iterdir()):
        return open_index(place)
    return Index.open(place, load_model(model or DEFAULT_MODEL))


def open_index(folder: Path | None) -> "Index":
    """An existing index with the model that made it, ready to search.

    Raises SensoriumError, naming the command that makes one, when there is no index in `folder`.
    """
    from sensorium.search.index import Index

    with Index.open(folder, create=False) as listing:
        model = listing.stats().model
    return Index.open(folder, load_model(model), create=False)

"""Sensorium: the models that taught transformers to see, and to bind sight to everything else.

import sensorium
model = sensorium.load("pocket")
model.embed(images=["cat.jpg"], text=["a photo of a cat"])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sensorium.checkpoints.load import Loaded
    from sensorium.data.errors import SensoriumError, Unreadable
    from sensorium.tasks.embedding import Embedder
    from sensorium.tasks.loading import load, save

__version__ = "0.1.0"
__all__ = ["Embedder", "Loaded", "SensoriumError", "Unreadable", "__version__", "load", "save"]

_PLACES = {
    "load": ("sensorium.tasks.loading", "load"),
    "save": ("sensorium.tasks.loading", "save"),
    "Embedder": ("sensorium.tasks.embedding", "Embedder"),
    "Loaded": ("sensorium.checkpoints.load", "Loaded"),
    "SensoriumError": ("sensorium.data.errors", "SensoriumError"),
    "Unreadable": ("sensorium.data.errors", "Unreadable"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch takes a second, and `sensorium --help` must not wait."""
    if name not in _PLACES:
        raise AttributeError(f"module 'sensorium' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _PLACES[name]
    return getattr(import_module(module), attribute)

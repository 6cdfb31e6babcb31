"""Regions of one picture, as an object detector saw them: what VisualBERT and ViLBERT read in place of pixels.

Bottom-Up and Top-Down Attention (Anderson et al. 2018), https://arxiv.org/abs/1707.07998
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sensorium.data.errors import Unreadable

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Regions:
    """k regions of a picture; every array has the regions on its first axis.

    features                    (k, d) float32
    boxes                       (k, 4) float32: x1, y1, x2, y2 in pixels of the picture as it was decoded
    width, height               of the picture, in pixels
    object_ids                  (k,) int64: the likeliest class, no background; `object_confidences` its probability
    attribute_ids               (k,) int64: the likeliest attribute; `attribute_confidences` its probability
    class_probabilities         (k, classes) float32: what ViLBERT's masked regions are trained against
    """

    features: Floats
    boxes: Floats
    width: int
    height: int
    object_ids: Integers | None = None
    object_confidences: Floats | None = None
    attribute_ids: Integers | None = None
    attribute_confidences: Floats | None = None
    class_probabilities: Floats | None = None

    def __len__(self) -> int:
        return len(self.features)

    def unit_boxes(self) -> Floats:
        """(k, 4): the boxes as parts of the picture's width and height, 0 to 1."""
        return self.boxes / np.array([self.width, self.height] * 2, np.float32)

    def take(self, chosen: NDArray[Any] | slice) -> "Regions":
        """Some of the regions, in a given order: indices, a mask or a slice."""
        arrays = {name: None if value is None else value[chosen] for name, value in arrays_of(self).items()}
        return Regions(width=self.width, height=self.height, **cast(Any, arrays))


ARRAYS: dict[str, tuple[type[np.generic], int]] = {  # the type and the number of axes of each field
    "features": (np.float32, 2),
    "boxes": (np.float32, 2),
    "object_ids": (np.int64, 1),
    "object_confidences": (np.float32, 1),
    "attribute_ids": (np.int64, 1),
    "attribute_confidences": (np.float32, 1),
    "class_probabilities": (np.float32, 2),
}
REQUIRED = ("features", "boxes", "width", "height")


def arrays_of(regions: Regions) -> dict[str, NDArray[Any] | None]:
    """The arrays of regions by field name; None where they were not given."""
    return {field.name: getattr(regions, field.name) for field in fields(regions) if field.name in ARRAYS}


def make(where: str, values: Mapping[str, Any], names: Mapping[str, str] | None = None) -> Regions:
    """Regions from arrays and numbers of any source, by the field names of `Regions`.

    Features that lie (d, k), as some files have them, are turned where the boxes show it. Boxes and features may
    have more rows than `count` where `values` has one: the rest is padding. Raises Unreadable naming `where` and
    the field (as `names` calls it in the file): one that is missing, of a wrong type or count, or not finite.
    """
    called = {name: (names or {}).get(name, name) for name in (*ARRAYS, "width", "height", "count")}
    if missing := [called[name] for name in REQUIRED if values.get(name) is None]:
        raise Unreadable(where, f"has no {missing[0]}")
    numbers = {name: whole_number(where, called[name], values[name]) for name in ("width", "height")}
    if wrong := [name for name, number in numbers.items() if number < 1]:
        raise Unreadable(where, f"{called[wrong[0]]} is {numbers[wrong[0]]}, should be a number of pixels")
    count = None if values.get("count") is None else whole_number(where, called["count"], values["count"])
    arrays = {
        name: _array(where, called[name], values[name], *ARRAYS[name])
        for name in ARRAYS
        if values.get(name) is not None
    }
    boxes, features = arrays["boxes"], arrays["features"]
    if boxes.shape[1] != 4:
        raise Unreadable(where, f"{called['boxes']} is {list(boxes.shape)}, should be [regions, 4]")
    if len(features) != len(boxes) == features.shape[1]:
        arrays["features"] = features = np.ascontiguousarray(features.T)
    stated = len(boxes) if count is None else count
    for name, array in arrays.items():
        if len(array) < stated or len(array) != len(boxes):
            raise Unreadable(where, f"{called[name]} is of {len(array)} regions, should be of {stated}")
        arrays[name] = array[:stated]
        if array.dtype == np.float32 and not np.isfinite(arrays[name]).all():
            raise Unreadable(where, f"{called[name]} holds numbers that are not finite")
    return Regions(**cast(Any, arrays), **cast(Any, numbers))


def whole_number(where: str, name: str, value: Any) -> int:
    """A number of pixels or regions; raises Unreadable where it is none, or negative."""
    array = np.asarray(value)
    number = array.item() if array.size == 1 and array.dtype.kind in "iuf" else None
    if number is None or (isinstance(number, float) and not number.is_integer()):
        raise Unreadable(where, f"{name} is {str(value)[:40]!r}, should be a whole number")
    number = int(number)
    if number < 0:
        raise Unreadable(where, f"{name} is {number}, should not be negative")
    return number


def _array(where: str, name: str, value: Any, kind: type[np.generic], axes: int) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.kind not in ("iuf" if kind is np.float32 else "iu"):
        raise Unreadable(where, f"{name} is of type {array.dtype}, should be {kind.__name__}")
    if array.ndim != axes:
        raise Unreadable(where, f"{name} is {list(array.shape)}, should have {axes} axes")
    return np.ascontiguousarray(array, dtype=kind)

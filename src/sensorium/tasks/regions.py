"""Pictures through the detector into regions, and into files that VisualBERT and ViLBERT read."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from sensorium.data.detector_picture import LONGEST, SHORTEST, detector_picture
from sensorium.data.errors import Unreadable
from sensorium.data.region_files import write_regions
from sensorium.data.regions import Floats, Regions
from sensorium.models.detector import FIXED_36, Detector, Selection


def regions_of(
    detector: Detector,
    source: str | os.PathLike[str] | bytes | Image.Image,
    selection: Selection = FIXED_36,
    *,
    shortest: int = SHORTEST,
    longest: int = LONGEST,
) -> Regions:
    """The regions of one picture, best first, boxes in its own pixels.

    Runs where the detector's weights are. Raises Unreadable where the picture cannot be read.
    """
    picture = detector_picture(source, shortest, longest)
    place = next(detector.parameters())
    with torch.inference_mode():
        (found,) = detector([picture.pixels.to(place)], selection)
        boxes = found.boxes.float() * found.boxes.new_tensor(picture.scale * 2, dtype=torch.float32)
    return Regions(
        features=_floats(found.features),
        boxes=_floats(boxes),
        width=picture.width,
        height=picture.height,
        object_ids=found.objects.cpu().numpy(),
        object_confidences=_floats(found.confidences),
        attribute_ids=found.attributes.cpu().numpy(),
        attribute_confidences=_floats(found.attribute_confidences),
        class_probabilities=_floats(found.probabilities),
    )


def extract_regions(
    detector: Detector,
    paths: Iterable[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    selection: Selection = FIXED_36,
    *,
    shortest: int = SHORTEST,
    longest: int = LONGEST,
) -> Iterator[Path | Unreadable]:
    """Write one .npz a picture below `folder`, named after the picture; yields each file written, or why none was.

    What is there already is left as it is, so that an interrupted run goes on where it stopped. Two pictures of the
    same name in different folders are not both written: the second is yielded as Unreadable.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, str] = {}
    for path in (os.fspath(path) for path in paths):
        out = folder / f"{Path(path).stem}.npz"
        if out.name in written:
            yield Unreadable(path, f"{out.name} is already of {written[out.name]}")
            continue
        written[out.name] = path
        try:
            if not out.exists():
                write_regions(out, regions_of(detector, path, selection, shortest=shortest, longest=longest))
            yield out
        except Unreadable as error:
            yield error


def _floats(values: Tensor) -> Floats:
    return values.float().cpu().numpy()

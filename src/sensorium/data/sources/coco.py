"""Captions in the format of COCO (Chen et al. 2015, https://arxiv.org/abs/1504.00325): many a picture, in one JSON."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.data.errors import SensoriumError, Unreadable, printable, system_reason
from sensorium.data.stream import Sample


@dataclass(frozen=True)
class CocoCaptions:
    """A source of pictures with all their captions, in the order of the file; pictures without captions are left out.

    Samples have COCO's number of the picture as "id".
    """

    file: Path
    pictures: Path
    rows: tuple[tuple[str, tuple[str, ...], int], ...]
    problems: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    kind: str = "COCO captions"

    @classmethod
    def open(cls, file: Path, pictures: Path | None = None) -> "CocoCaptions":
        """Read captions_*.json.

        `pictures` is the folder of the pictures; without it, the file's own folder and those beside it whose name
        stands in the file's (captions_train2017.json: train2017) are tried. Raises Unreadable for another file,
        SensoriumError where no folder has the first picture.
        """
        try:
            content: Any = json.loads(file.read_bytes())
        except OSError as error:
            raise Unreadable(file, system_reason(error)) from error
        except (ValueError, RecursionError) as error:
            raise Unreadable(file, f"not JSON ({str(error)[:60]})") from error
        if not isinstance(content, Mapping) or not all(
            isinstance(content.get(key), list) for key in ("images", "annotations")
        ):
            raise Unreadable(file, "not COCO's captions: a JSON object with lists `images` and `annotations`")
        names: dict[int, str] = {}
        captions: dict[int, list[str]] = {}
        bad = strange = 0
        for image in content["images"]:
            try:
                names[int(image["id"])] = str(image["file_name"])
            except (KeyError, TypeError, ValueError):
                bad += 1
        for row in content["annotations"]:
            try:
                picture, caption = int(row["image_id"]), row["caption"].strip()
            except (KeyError, TypeError, ValueError, AttributeError):
                bad += 1
                continue
            strange += picture not in names
            captions.setdefault(picture, []).append(caption)
        rows = tuple((name, tuple(captions[i]), i) for i, name in names.items() if i in captions)
        if not rows:
            raise Unreadable(file, "no picture in it has a caption")
        problems = [
            f"{file.name}: {what}: {count:,}"
            for count, what in (
                (bad, "entries without id, file_name, image_id or caption"),
                (strange, "captions of pictures that are not listed"),
                (len(names) - len(rows), "pictures without captions"),
            )
            if count
        ]
        return cls(file, pictures or _pictures(file, rows[0][0]), rows, tuple(problems))

    @property
    def name(self) -> str:
        """The file's name."""
        return printable(str(self.file))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        name, captions, picture = self.rows[index]
        path = self.pictures / name
        return {"image": path, "text": captions, "id": picture, "key": str(path)}


def _pictures(file: Path, name: str) -> Path:
    part = re.sub("^.*captions_", "", file.stem)
    tried = [
        place / sub for place in (file.parent, file.parent.parent) for sub in (".", part, "images", f"images/{part}")
    ]
    for place in tried:
        if (place / name).is_file():
            return place
    places = ", ".join(printable(str(place)) for place in tried)
    raise SensoriumError(f"{file}: {printable(name)} is in none of {places}; name the folder of the pictures")

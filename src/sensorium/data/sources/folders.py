"""Folders of pictures: a folder a class, as ImageNet has it, or pictures with a text file beside each."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.data.errors import SensoriumError, Unreadable, printable, system_reason
from sensorium.data.folder import find_images
from sensorium.data.imagenet import imagenet_names
from sensorium.data.sources.kept import Array, Names
from sensorium.data.stream import Sample

SYNSETS = ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt")
LOOKED = 100  # pictures of class folders, spread over the whole, beside which a text is looked for
PARTS = {"train", "val", "valid", "validation", "test"}


@dataclass(frozen=True, eq=False)
class Folder:
    """A source of the pictures below a folder.

    Where every picture lies in a folder of the first level, that folder is its class, numbered in the order of names.
    A picture's text is what stands in a file of the same name ending in .txt, else the name of its class.
    """

    folder: Path
    classes: tuple[str, ...]
    problems: tuple[str, ...]
    files: Names
    labels: Array
    captioned: bool

    @classmethod
    def open(cls, folder: Path, synsets: Path | None = None) -> "Folder":
        """Look through a folder.

        `synsets` names WordNet's ids, a line each (id, then names); without it, the files that ImageNet comes with
        are looked for beside the classes and one folder up. Raises SensoriumError where there is nothing to read, or
        where there are several parts (train, val) to choose from.
        """
        names: list[str] = []
        problems: list[str] = []
        for found in find_images(folder):
            if isinstance(found, Unreadable):
                problems.append(str(found))
            else:
                names.append(os.path.relpath(found, folder))
        if not names:
            raise SensoriumError(f"{printable(str(folder))}: no pictures below this folder")
        first = [name.partition(os.sep)[0] if os.sep in name else "" for name in names]
        folders = sorted(set(first))
        if len(folders) > 1 and set(folders) <= PARTS:
            one = os.path.join(str(folder), folders[0])
            raise SensoriumError(
                f"{printable(str(folder))} holds {', '.join(folders)}: name one of them, such as {one}"
            )
        if "" in folders:
            return cls(folder, (), tuple(problems), Names(names), np.empty(0, dtype=np.int32), True)
        number = {name: i for i, name in enumerate(folders)}
        labels = np.array([number[name] for name in first], dtype=np.int32)
        captioned = any((folder / name).with_suffix(".txt").is_file() for name in names[:: len(names) // LOOKED + 1])
        return cls(folder, _words(folder, folders, synsets), tuple(problems), Names(names), labels, captioned)

    @property
    def name(self) -> str:
        """The folder's name."""
        return printable(str(self.folder))

    @property
    def kind(self) -> str:
        """In words."""
        return f"a folder of {len(self.classes):,} classes" if self.classes else "a folder of pictures"

    def __len__(self) -> int:
        return len(self.files)

    def called(self, index: int, /) -> Path:
        """The picture's file; no text is looked for."""
        return self.folder / self.files[index]

    def __getitem__(self, index: int, /) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        path = self.called(index)
        sample: dict[str, Any] = {"image": path, "key": str(path)}
        if self.classes:
            sample["label"] = label = int(self.labels[index])
            sample["text"] = self.classes[label]
        if self.captioned and (text := _beside(path.with_suffix(".txt"))):
            sample["text"] = text
        return sample


def _beside(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise Unreadable(file, "not UTF-8") from None
    except OSError as error:
        raise Unreadable(file, system_reason(error)) from error


def _words(folder: Path, classes: list[str], synsets: Path | None) -> tuple[str, ...]:
    """A name for each class folder: WordNet's where folders are called by its ids, else the folder's own in words."""
    if not all(re.fullmatch(r"n\d{8}", name) for name in classes):
        return tuple(printable(name.replace("_", " ")) for name in classes)
    places = [place / name for place in (folder, folder.parent) for name in SYNSETS]
    file = synsets or next((place for place in places if place.is_file()), None)
    if file is None:  # all thousand stand in the order that CLIP's names have
        return imagenet_names() if len(classes) == 1000 else tuple(classes)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(file, "not a list of WordNet ids with names") from error
    known = {line[:9]: line[10:].strip() for line in lines}
    if missing := [name for name in classes if not known.get(name)]:
        raise SensoriumError(f"{file}: no name for {missing[0]}, which is a class of {printable(str(folder))}")
    return tuple(known[name].split(",")[0] for name in classes)

"""Where training data lies: whatever stands at a path becomes a source of samples, each read when its turn comes."""

import os
from pathlib import Path
from typing import Protocol, runtime_checkable

from sensorium.data.errors import SensoriumError, Unreadable, printable, system_reason
from sensorium.data.sources.folders import Folder
from sensorium.data.sources.manifest import FORMATS, Manifest
from sensorium.data.sources.pairs import open_pairs
from sensorium.data.sources.shards import Shards, expand
from sensorium.data.sources.sounds import open_sounds
from sensorium.data.stream import Source

KNOWN = (
    "a folder of pictures or of class folders; .jsonl, .csv, .tsv or .parquet with a row a picture; COCO's captions "
    "(.json); tars of WebDataset, also as shard-{000..123}.tar or a folder; a saved Hugging Face dataset; the tables "
    "of AudioSet, VGGSound, ESC-50, Clotho, AudioCaps and MSR-VTT; the folders of SUN RGB-D, NYU Depth V2, LLVIP and "
    "Ego4D"
)


@runtime_checkable
class Opened(Source, Protocol):
    """A source that says what it is: `kind` in words, the names of its classes, and what is wrong with it already."""

    @property
    def kind(self) -> str:
        """What was recognised, in words."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by label; none where labels are unknown or have no names."""
        ...

    @property
    def problems(self) -> tuple[str, ...]:
        """What was found wrong on opening, a sentence each."""
        ...


def open_source(place: str | os.PathLike[str], *, pictures: Path | None = None, synsets: Path | None = None) -> Opened:
    """The source at a path or a pattern, recognised by what is there; or a set of `data.sets` by its name.

    What is there comes before a set that is called so.
    `pictures` is the folder of COCO's pictures where it does not stand beside the captions; `synsets` a list of
    WordNet ids with names for folders that are called by ids. Raises SensoriumError, saying what is known.
    """
    text = os.fsdecode(place)
    path = Path(text).expanduser()
    if text.startswith(("http://", "https://", "s3://", "gs://")):
        raise SensoriumError(f"{text}: only files on this machine are read: fetch it first")
    if path.is_dir():
        return _folder(path, synsets)
    if path.exists():
        return _files([path], printable(text), pictures)
    if "{" in text or "*" in text or "?" in text:
        return _files(expand(os.path.expanduser(text)), printable(text), pictures)
    from sensorium.data.sets import SETS  # here: they make sources, too

    if text in SETS:
        return SETS[text].read(None)
    raise SensoriumError(f"{printable(text)}: no such file or folder. Known are {KNOWN}; and {', '.join(SETS)}")


def _folder(folder: Path, synsets: Path | None) -> Opened:
    if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        from sensorium.data.sources.arrow import open_saved

        return open_saved(folder)
    try:
        inside = sorted([*folder.iterdir(), *(folder / "data").glob("*.parquet")])
    except OSError as error:
        raise Unreadable(folder, system_reason(error)) from error
    for suffix in (".tar", ".parquet"):
        if files := [file for file in inside if file.suffix.lower() == suffix]:
            if suffix == ".parquet":
                files = _one_split(folder, files)
            return _files(files, printable(str(folder)), None, folder=folder)
    if published := open_sounds(folder) or open_pairs(folder):
        return published
    return Folder.open(folder, synsets)


def _one_split(folder: Path, files: list[Path]) -> list[Path]:
    """The hub calls its files train-00000-of-00002.parquet; two splits are not one set."""
    splits = sorted({file.name.partition("-")[0] for file in files if "-of-" in file.name})
    if len(splits) > 1:
        one = files[0].parent / f"{splits[0]}-*.parquet"
        raise SensoriumError(f"{printable(str(folder))} holds {', '.join(splits)}: name one of them, such as '{one}'")
    return files


def _files(files: list[Path], name: str, pictures: Path | None, folder: Path | None = None) -> Opened:
    suffixes = {file.suffix.lower() for file in files}
    if len(suffixes) > 1:
        raise SensoriumError(f"{name}: files of several kinds ({', '.join(sorted(suffixes))}); name one kind")
    suffix = suffixes.pop()
    if suffix == ".tar" or files[0].name.lower().endswith((".tar.gz", ".tgz")):
        return Shards.open(files, name)
    if suffix == ".parquet":
        from sensorium.data.sources.arrow import open_parquet

        return open_parquet(files, name, folder or files[0].parent)
    if len(files) > 1:
        raise SensoriumError(f"{name}: {len(files):,} files; only tars and Parquet files are read together")
    if suffix == ".csv" and (published := open_sounds(files[0])):
        return published
    if suffix in FORMATS:
        return Manifest(files[0])
    if suffix == ".json":
        from sensorium.data.sources.coco import CocoCaptions

        return CocoCaptions.open(files[0], pictures)
    raise SensoriumError(f"{name}: nothing that is known. Known are {KNOWN}")

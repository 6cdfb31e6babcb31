"""Published sets of sounds, as their authors lay them out: AudioSet, VGGSound, ESC-50, Clotho and AudioCaps.

Only tables are published of three of them, and the sounds come from YouTube: files are found by the names that the
usual downloaders give them, cut to the ten seconds that are meant, and what is not there is counted.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sensorium.data.errors import SensoriumError, Unreadable, printable, system_reason
from sensorium.data.sources.clips import FILMS, SOUNDS, Clips, Sense, files_below, listed, medium, reads, words
from sensorium.data.sources.films import FIRST, msr_vtt

MEDIA = SOUNDS | FILMS
MIDS = "class_labels_indices.csv"  # AudioSet's: index, mid, display_name
TEN = 10  # seconds of AudioCaps' and VGGSound's clips


def open_sounds(path: Path) -> Clips | None:
    """The set that this table, or the one table in this folder, lists; None where it is none of them.

    Raises SensoriumError where the sounds are missing, and where a folder has several tables.
    """
    if path.is_file():
        reader = _reader(path)
        return None if reader is None else reader(path)
    tables = [*sorted(path.glob("*.csv")), *path.glob("meta/esc50.csv")]
    known = [(table, reader) for table in tables if (reader := _reader(table))]
    if len(known) > 1:
        names = ", ".join(table.name for table, _ in known)
        raise SensoriumError(f"{printable(str(path))} holds {names}: name one of them, such as {known[0][0]}")
    return known[0][1](known[0][0]) if known else None


def _reader(table: Path) -> Callable[[Path], Clips] | None:
    """What reads a table, by its first lines."""
    head = _head(table)
    first = head[0] if head else ""
    if any(line.startswith("# YTID") for line in head):
        return audioset
    if first.startswith("filename,fold,target,category"):
        return esc50
    if first.startswith("file_name,caption_1"):
        return clotho
    if re.match(r"(audiocap_id,)?youtube_id,start_time,caption", first):
        return audiocaps
    if first.startswith(FIRST):
        return msr_vtt
    return vggsound if head and all(_VGGSOUND.fullmatch(line) for line in head) else None


_VGGSOUND = re.compile(r'[\w-]{11},\d+,(?:".*"|[^,]*),(?:train|test)')


@reads
def audioset(file: Path) -> Clips:
    """AudioSet (Gemmeke et al. 2017): a *_segments.csv with sounds or films below its folder; several labels each."""
    mids = _mids(file)
    classes = tuple(name for _, name in mids.values())
    media = files_below(_places(file), MEDIA)

    def rows() -> Iterator[Sense | str]:
        for row in _rows(file, skip="#"):
            if len(row) < 4:
                raise ValueError(f"{','.join(row)[:60]}: not id, start, end, labels")
            name, begin, end = row[0].strip(), float(row[1]), float(row[2])
            path = _found(media, name, begin, end)
            labels = [each.strip() for each in ",".join(row[3:]).strip(' "').split(",")]
            if strange := [each for each in labels if each not in mids]:
                raise SensoriumError(f"{file}: label {strange[0]} is not in {MIDS}")
            numbers = tuple(mids[each][0] for each in labels)
            texts = tuple(classes[number] for number in numbers)
            row = Sense(key=f"{name}_{begin:g}", labels=numbers, text=texts)
            yield row | medium(path) if path else _lost(name, begin)

    return listed(str(file), "AudioSet's segments", rows(), classes=classes)


@reads
def vggsound(file: Path) -> Clips:
    """VGGSound (Chen et al. 2020): vggsound.csv without a header, and files {id}_{start, six digits}."""
    table = list(_rows(file))
    classes = tuple(sorted({row[2] for row in table}))
    number = {name: i for i, name in enumerate(classes)}
    media = files_below(_places(file), MEDIA)

    def rows() -> Iterator[Sense | str]:
        for name, start, label, split in table:
            begin = float(start)
            if path := _found(media, name, begin, begin + TEN):
                key = f"{name}_{begin:g}"
                yield Sense(key=key, label=number[label], text=words(label), split=split) | medium(path)
            else:
                yield _lost(name, begin)

    return listed(str(file), "VGGSound", rows(), classes=classes)


@reads
def esc50(file: Path) -> Clips:
    """ESC-50 (Piczak 2015): meta/esc50.csv and audio/; 50 classes in five folds."""
    table = _dicts(file)
    media = files_below([file.parent.parent / "audio", file.parent / "audio", file.parent], SOUNDS)
    names = {int(row["target"]): words(row["category"]) for row in table}
    classes = tuple(names.get(i, str(i)) for i in range(max(names, default=-1) + 1))

    def rows() -> Iterator[Sense | str]:
        for row in table:
            label = int(row["target"])
            if path := media.get(Path(row["filename"]).stem):
                yield Sense(key=row["filename"], audio=path, label=label, text=classes[label], fold=int(row["fold"]))
            else:
                yield f"audio/{row['filename']}"

    return listed(str(file), "ESC-50", rows(), classes=classes)


@reads
def clotho(file: Path) -> Clips:
    """Clotho (Drossos et al. 2020): clotho_captions_{split}.csv with five captions each, and the folder {split}."""
    split = re.sub("^.*captions_", "", file.stem)
    tried = (
        split,
        f"clotho_audio_{split}",
        f"clotho_audio_{split}/{split}",
        f"clotho_audio_files/{split}",
        "audio",
        ".",
    )
    media = files_below([root / name for root in (file.parent, file.parent.parent) for name in tried], SOUNDS)

    def rows() -> Iterator[Sense | str]:
        for row in _dicts(file):
            captions = tuple(row[f"caption_{i}"].strip() for i in range(1, 6) if row.get(f"caption_{i}"))
            if path := media.get(Path(row["file_name"]).stem):
                yield Sense(key=row["file_name"], audio=path, text=captions, split=split)
            else:
                yield f"{split}/{row['file_name']}"

    return listed(str(file), "Clotho", rows())


@reads
def audiocaps(file: Path) -> Clips:
    """AudioCaps (Kim et al. 2019): train.csv, val.csv, test.csv; the five rows of a sound become one sample."""
    captions: dict[tuple[str, str], list[str]] = {}
    names: dict[tuple[str, str], str] = {}
    for row in _dicts(file):
        key = row["youtube_id"], row["start_time"]
        captions.setdefault(key, []).append(row["caption"].strip())
        names.setdefault(key, row.get("audiocap_id") or "")
    media = files_below(_places(file), MEDIA)

    def rows() -> Iterator[Sense | str]:
        for (name, start), texts in captions.items():
            path = _found(media, name, float(start), float(start) + TEN) or media.get(names[name, start])
            if path:
                yield Sense(key=f"{name}_{start}", text=tuple(texts), split=file.stem) | medium(path)
            else:
                yield _lost(name, float(start))

    return listed(str(file), "AudioCaps", rows())


def _places(file: Path) -> list[Path]:
    """Where the sounds of a table may lie: beside it, in a folder called like its split, and one folder up."""
    split = file.stem.removesuffix("_segments")
    names = (
        split,
        f"audio/{split}",
        f"wav/{split}",
        f"video/{split}",
        "audio",
        "audios",
        "wav",
        "wavs",
        "video",
        "videos",
    )
    return [root / name for root in (file.parent, file.parent.parent) for name in (*names, ".")]


def _found(media: dict[str, Path], name: str, begin: float, end: float) -> Path | None:
    """The file of ten seconds of a film on YouTube, by the names that downloaders give it."""
    spans = (f"_{begin:06.0f}", f"_{begin:g}", f"_{begin:g}_{end:g}", f"_{begin:.3f}", f"_{begin:.3f}_{end:.3f}")
    for span in ("", *spans, f"_{1000 * begin:.0f}", f"_{1000 * begin:.0f}_{1000 * end:.0f}"):
        if path := media.get(name + span) or media.get(f"Y{name}{span}"):
            return path
    return None


def _lost(name: str, begin: float) -> str:
    return f"{name}_{begin:06.0f}, {name}_{begin:g} or {name} as a sound or a film"


def _mids(file: Path) -> dict[str, tuple[int, str]]:
    places = [root / MIDS for root in (file.parent, file.parent.parent, file.parent / "metadata")]
    table = next((place for place in places if place.is_file()), None)
    if table is None:
        raise SensoriumError(f"{file}: the names of AudioSet's labels are missing: put {MIDS} into {file.parent}")
    found = {row["mid"]: (int(row["index"]), row["display_name"]) for row in _dicts(table)}
    return dict(sorted(found.items(), key=lambda item: item[1][0]))


def _head(file: Path) -> list[str]:
    try:
        with file.open(encoding="utf-8-sig") as lines:
            return [line.rstrip("\r\n") for _, line in zip(range(3), lines, strict=False)]
    except UnicodeDecodeError:
        return []
    except OSError as error:
        raise Unreadable(file, system_reason(error)) from error


def _rows(file: Path, skip: str | None = None) -> Iterator[Sequence[str]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        table = csv.reader((line for line in lines if not (skip and line.startswith(skip))), skipinitialspace=True)
        yield from (row for row in table if row)


def _dicts(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))

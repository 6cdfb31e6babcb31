"""How people write a question: words and files, joined by + and −, each with a weight if they like.

a cat on a sofa                     words
cat.jpg                             a file: a picture, film, sound, document, ...
beach.jpg + waves.wav - people      both, steered away from people
walk.mp4@7                          a moment of a file of the index, by its number
0.5*people    people:0.5            half as strong (the second needs no quoting in any shell)
"black - white"                     inside quotes nothing is special
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sensorium.data.errors import SensoriumError, printable
from sensorium.search.query import Term

MINUS_SIGNS = "-−–"
LARGEST_WEIGHT = 9.99

_SPLIT = re.compile(rf"""(?:^|(?<=\s))([+{MINUS_SIGNS}])(?=\s|$)""")
_QUOTED = re.compile(r'"([^"]*)"|“([^”]*)”')
_BEFORE = re.compile(r"^(\d+(?:\.\d+)?|\.\d+)\s*[*×]\s*(?=\S)")
_AFTER = re.compile(r"(?<=\S):(\d(?:\.\d+)?|\.\d+)$")
_PLACEHOLDER = re.compile("\x00(\\d+)\x00")
_MOMENT = re.compile(r"^(.+)@(\d{1,9})$")
# Names of files beside those of pictures; what a file is, its content says.
OTHERS = frozenset(
    f".{ending}"
    for endings in (
        "mp4 m4v mov mkv webm avi mpg mpeg ogv wmv flv 3gp mts m2ts",
        "wav mp3 flac ogg oga opus m4a m4b aac wma aif aiff amr mka caf au mp2 spx",
        "npy npz exr csv tsv parquet pdf",
    )
    for ending in endings.split()
)


def parse(words: Sequence[str], *, files: bool = True) -> list[Term]:
    """The terms of a question given as shell words, or as one string.

    A word that names an existing file stands for that file, whatever characters its name holds. With `files=False`
    everything is text: what a web page must ask for, since its reader may not name files here.
    Raises SensoriumError, saying what to write instead.
    """
    terms: list[Term] = []
    pending: list[str] = []
    sign, waiting = 1.0, False  # a sign was read, its term not yet

    def close() -> None:
        nonlocal sign, waiting
        text = " ".join(pending).strip()
        pending.clear()
        if text:
            terms.append(term(text, sign, files=files))
            sign, waiting = 1.0, False

    for word in words:
        if files and _is_file(word):
            close()
            terms.append(Term(file=Path(word).expanduser(), weight=sign))
            sign, waiting = 1.0, False
            continue
        for part in _split(word):
            if part == "+" or part in MINUS_SIGNS:
                close()
                if waiting:
                    raise SensoriumError(f"two signs in a row before {part!r}: write a word or a file between them")
                sign, waiting = (1.0 if part == "+" else -1.0), True
            else:
                pending.append(part)
    close()
    if waiting:
        raise SensoriumError(
            f"the question ends with {'+' if sign > 0 else '-'!r}: write a word or a file after it, "
            "as in 'beach - people'"
        )
    return terms


def term(text: str, sign: float = 1.0, *, files: bool = True) -> Term:
    """One term from its own words: a weight before or after it, a file's name, or plain text.

    Raises SensoriumError for a file that does not exist and for a weight out of range.
    """
    if files and (found := _file(text)):
        return replace(found, weight=sign)
    weight, rest = _weight(text)
    whole = _QUOTED.fullmatch(rest)
    if not files or whole:
        plain = _QUOTED.sub(lambda found: found[1] or found[2] or "", rest).strip()
        if not plain:
            raise SensoriumError("a term has no words: write something between the quotes")
        return Term(text=plain, weight=sign * weight)
    if found := _file(rest):
        return replace(found, weight=sign * weight)
    if _names_file(rest):
        raise SensoriumError(
            f"there is no file {printable(rest)}. Check the name, or quote it twice to search for the words: "
            f"'\"{printable(rest)}\"'"
        )
    plain = _QUOTED.sub(lambda found: found[1] or found[2] or "", rest).strip()
    return Term(text=plain, weight=sign * weight)


def example(text: str, sign: float = 1.0) -> Term:
    """A term from a file's name, whatever its ending, with a weight before or after it: `cat.jpg`, `cat.jpg:0.5`.

    Raises SensoriumError where there is no such file.
    """
    for weight, name in ((1.0, text), _weight(text)):
        path = Path(name).expanduser()
        if path.is_file():
            return Term(file=path, weight=sign * weight)
        if found := _file(name):
            return replace(found, weight=sign * weight)
    raise SensoriumError(f"there is no file {printable(_weight(text)[1])}")


def spell(terms: Sequence[Term]) -> str:
    """The question as people would write it: `beach + cat.jpg − 0.5 × people`."""
    parts: list[str] = []
    for position, each in enumerate(terms):
        if each.text is not None:
            label = f"“{each.text}”"
        elif each.item is not None:
            label = printable(Path(each.item).name)
            label += "" if each.moment is None else f", moment {each.moment}"
        else:
            source = each.image if each.file is None else each.file
            label = printable(Path(source).name) if isinstance(source, str | Path) else "a picture"
        size = abs(each.weight)
        weighted = label if size == 1 else f"{size:g} × {label}"
        if each.weight < 0:
            parts.append(f"− {weighted}")
        else:
            parts.append(f"+ {weighted}" if position else weighted)
    return " ".join(parts)


def _split(word: str) -> list[str]:
    """Signs that stand alone, and what lies between them; what is in quotes stays whole."""
    quoted: list[str] = []

    def keep(found: re.Match[str]) -> str:
        quoted.append(found[0])
        return f"\0{len(quoted) - 1}\0"

    parts = _SPLIT.split(_QUOTED.sub(keep, word))
    restored = (_PLACEHOLDER.sub(lambda found: quoted[int(found[1])], part).strip() for part in parts)
    return [part for part in restored if part]


def _weight(text: str) -> tuple[float, str]:
    if found := _BEFORE.match(text):
        number, rest = found[1], text[found.end() :]
    elif found := _AFTER.search(text):
        number, rest = found[1], text[: found.start()]
    else:
        return 1.0, text
    weight = float(number)
    if not 0 < weight <= LARGEST_WEIGHT:
        raise SensoriumError(
            f"the weight {number} of {printable(rest)!r} is out of range: weights lie above 0 and below 10"
        )
    return weight, rest


def _file(text: str) -> Term | None:
    """A file, or a moment of one: `walk.mp4@7`."""
    if _is_file(text):
        return Term(file=Path(text).expanduser())
    if (found := _MOMENT.match(text)) and _is_file(found[1]):
        return Term(item=Path(found[1]).expanduser(), moment=int(found[2]))
    return None


def _is_file(word: str) -> bool:
    return _names_file(word) and Path(word).expanduser().is_file()


def _names_file(word: str) -> bool:
    from sensorium.data.image import IMAGE_SUFFIXES  # brings numpy and Pillow: not for a command that only helps

    suffix = Path(word).suffix.lower()
    return (suffix in IMAGE_SUFFIXES or suffix in OTHERS) and len(word) < 4096 and "\0" not in word

"""How people write a question: words and pictures, joined by + and −, each with a weight if they like.

a cat on a sofa                     words
cat.jpg                             a picture file
beach + cat.jpg - people            both, steered away from people
0.5*people    people:0.5            half as strong (the second needs no quoting in any shell)
"black - white"                     inside quotes nothing is special
"""

import re
from collections.abc import Sequence
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


def parse(words: Sequence[str], *, pictures: bool = True) -> list[Term]:
    """The terms of a question given as shell words, or as one string.

    A word that names an existing picture stands for that picture, whatever characters its name holds. With
    `pictures=False` everything is text: what a web page must ask for, since its reader may not name files here.
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
            terms.append(term(text, sign, pictures=pictures))
            sign, waiting = 1.0, False

    for word in words:
        if pictures and _is_picture(word):
            close()
            terms.append(Term(image=Path(word).expanduser(), weight=sign))
            sign, waiting = 1.0, False
            continue
        for part in _split(word):
            if part == "+" or part in MINUS_SIGNS:
                close()
                if waiting:
                    raise SensoriumError(f"two signs in a row before {part!r}: write a word or a picture between them")
                sign, waiting = (1.0 if part == "+" else -1.0), True
            else:
                pending.append(part)
    close()
    if waiting:
        raise SensoriumError(
            f"the question ends with {'+' if sign > 0 else '-'!r}: write a word or a picture after it, "
            "as in 'beach - people'"
        )
    return terms


def term(text: str, sign: float = 1.0, *, pictures: bool = True) -> Term:
    """One term from its own words: a weight before or after it, a picture's name, or plain text.

    Raises SensoriumError for a picture that does not exist and for a weight out of range.
    """
    if pictures and _is_picture(text):
        return Term(image=Path(text).expanduser(), weight=sign)
    weight, rest = _weight(text)
    whole = _QUOTED.fullmatch(rest)
    if not pictures or whole:
        plain = _QUOTED.sub(lambda found: found[1] or found[2] or "", rest).strip()
        if not plain:
            raise SensoriumError("a term has no words: write something between the quotes")
        return Term(text=plain, weight=sign * weight)
    if _is_picture(rest):
        return Term(image=Path(rest).expanduser(), weight=sign * weight)
    if _looks_like_picture(rest):
        raise SensoriumError(
            f"there is no picture {printable(rest)}. Check the name, or quote it twice to search for the words: "
            f"'\"{printable(rest)}\"'"
        )
    plain = _QUOTED.sub(lambda found: found[1] or found[2] or "", rest).strip()
    return Term(text=plain, weight=sign * weight)


def picture(text: str, sign: float = 1.0) -> Term:
    """A term from a picture's file name, with a weight before or after it: `cat.jpg`, `cat.jpg:0.5`."""
    if Path(text).expanduser().is_file():
        return Term(image=Path(text).expanduser(), weight=sign)
    weight, rest = _weight(text)
    path = Path(rest).expanduser()
    if not path.is_file():
        raise SensoriumError(f"there is no picture {printable(rest)}")
    return Term(image=path, weight=sign * weight)


def spell(terms: Sequence[Term]) -> str:
    """The question as people would write it: `beach + cat.jpg − 0.5 × people`."""
    parts: list[str] = []
    for position, each in enumerate(terms):
        if each.text is not None:
            label = f"“{each.text}”"
        elif each.item is not None:
            label = "a picture of the collection"
        else:
            label = printable(Path(each.image).name) if isinstance(each.image, str | Path) else "a picture"
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


def _is_picture(word: str) -> bool:
    return _looks_like_picture(word) and Path(word).expanduser().is_file()


def _looks_like_picture(word: str) -> bool:
    from sensorium.data.image import IMAGE_SUFFIXES  # brings numpy and Pillow: not for a command that only helps

    return Path(word).suffix.lower() in IMAGE_SUFFIXES and len(word) < 4096 and "\0" not in word

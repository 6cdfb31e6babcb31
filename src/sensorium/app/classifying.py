"""`sensorium classify`: which of the user's labels fits each picture best."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sensorium.app.collection import load_model
from sensorium.app.console import short, stderr, stdout, write_json
from sensorium.app.searching import bar
from sensorium.data.errors import SensoriumError, Unreadable, printable


def classify_files(
    files: Sequence[Path], labels: Sequence[str], *, templates: Sequence[str], model: str, as_json: bool
) -> bool:
    """Print the best label of every picture; returns whether at least one could be read."""
    paths, problems = pictures_below(files)
    if not paths and not problems:
        raise SensoriumError("there are no pictures in what was given")
    embedder = load_model(model)
    from sensorium.tasks.zero_shot import TEMPLATES, classify

    result = classify(embedder, paths, labels, templates or TEMPLATES)
    rows = iter(result.probabilities.tolist())
    labelled = [
        (path, dict(zip(result.labels, next(rows), strict=True)))
        for path, good in zip(paths, result.readable, strict=True)
        if good
    ]
    problems += [_problem(path) for path, good in zip(paths, result.readable, strict=True) if not good]
    if as_json:
        write_json(
            {
                "model": embedder.name,
                "pictures": [
                    {"path": path, "label": max(shares, key=shares.__getitem__), "probabilities": shares}
                    for path, shares in labelled
                ],
                "unreadable": [{"path": each.path, "reason": each.reason} for each in problems],
            }
        )
    else:
        for path, shares in labelled:
            _print_row(path, shares)
        for each in problems:
            stderr().print(printable(f"{short(each.path)}: {each.reason}"), markup=False)
    return bool(labelled)


def pictures_below(files: Sequence[Path]) -> tuple[list[Path], list[Unreadable]]:
    """Every picture below what was named, and what cannot be reached."""
    from sensorium.data.image import find_images

    return _below(files, find_images)


def files_below(files: Sequence[Path]) -> tuple[list[Path], list[Unreadable]]:
    """Every file below what was named that may be of a kind that is known, and what cannot be reached."""
    from sensorium.data.folder import find_files

    return _below(files, find_files)


def _below(
    files: Sequence[Path], find: Callable[[Path], Iterable[Path | Unreadable]]
) -> tuple[list[Path], list[Unreadable]]:
    found = [each for file in files for each in find(file)]
    return (
        [each for each in found if not isinstance(each, Unreadable)],
        [each for each in found if isinstance(each, Unreadable)],
    )


def _problem(path: Path) -> Unreadable:
    """Why a picture that did not come through cannot be read; read once more, since the model only says that."""
    from sensorium.data.image import read_image

    try:
        read_image(path)
    except Unreadable as error:
        return error
    return Unreadable(path, "could not be read a moment ago, and now can: try again")


def _print_row(path: Path, shares: dict[str, float]) -> None:
    ranked = sorted(shares.items(), key=lambda pair: -pair[1])
    (label, share), rest = ranked[0], ranked[1:3]
    others = ", ".join(f"{name} {other:.0%}" for name, other in rest)
    console = stdout()
    blocks = "▏▎▍▌▋▊▉█" if console.encoding.lower().replace("-", "") == "utf8" else "#"
    line = f"{bar(share, blocks=blocks)} {share:4.0%}  {printable(label):<16} {short(path)}"
    console.print(line, markup=False, end="")
    console.print(f"  [quiet]{others}" if others else "")

"""`sensorium convert`, `verify` and `export`: what people do with weights."""

from dataclasses import asdict
from pathlib import Path

from sensorium.app.console import short, stderr, stdout, waiting, write_json


def convert_model(source: str, into: Path, naming: str) -> None:
    """Write a model under another naming; raises CheckpointError where its family has none of that name."""
    from sensorium.checkpoints.formats import official
    from sensorium.checkpoints.load import check_written, load_model, save_model
    from sensorium.checkpoints.rename import listing

    with waiting(f"reading {source}"):
        loaded = load_model(source)
    chosen = official(loaded.format.family) if naming == "official" else naming
    with waiting(f"writing {into}"):
        file = save_model(loaded.model, into, naming=chosen, steps=loaded.preprocess)
        unsaid = check_written(loaded.model, file)
    stderr().print(f"{source} is {loaded.found}", highlight=False)
    if unsaid.choices:
        stderr().print(f"[mark]{chosen} files do not say[/] {'; '.join(unsaid.choices)}: load it with the right config")
    if unsaid.tensors:
        stderr().print(f"[mark]{chosen} files have no place for[/] {listing(unsaid.tensors)}: left out")
    stdout().print(f"{short(file)}: {chosen} names, read again and equal bit by bit")


def verify_model(source: str, *, as_json: bool) -> bool:
    """Print every check of a model; returns whether all passed."""
    from sensorium.checkpoints.formats import like_preset
    from sensorium.checkpoints.sources import SOURCES
    from sensorium.checkpoints.verify import verify

    with waiting(f"checking {source}"):
        loaded, checks = verify(source)
    passed = all(check.passed for check in checks)
    numbers = sum(p.numel() for p in loaded.model.parameters())
    likely = like_preset(loaded.model) or ""
    public = loaded.source or SOURCES.get(likely)
    given = "" if loaded.source or not public else f", if these are the weights of {public.hub} ({likely})"
    facts = {
        "found": loaded.found,
        "parameters": numbers,
        "licence": public.licence + given if public else "not known: ask whoever gave you the file",
        "trained on": public.trained_on + given if public else "not known",
        "published": public.results + given if public and public.results else "no results known for these weights",
        "fingerprint": loaded.fingerprint,
    }
    if as_json:
        write_json({**facts, "passed": passed, "checks": [{**asdict(c), "passed": c.passed} for c in checks]})
        return passed
    console = stdout()
    console.print(f"[mark]{source}[/]", highlight=False)
    for name, value in facts.items():
        console.print(f"  {name:<12} {f'{value:,}' if isinstance(value, int) else value}", markup=False)
    console.print()
    for check in checks:
        style, verdict = (
            ("quiet", "left out") if check.difference is None else ("good", "ok") if check.passed else ("red", "WRONG")
        )
        amount = "" if check.difference is None else f"{check.difference:.2g}"
        note = f"[quiet]{check.note}[/]" if check.note else ""
        console.print(f"  [{style}]{verdict:<8}[/] {check.name}  {amount}", note)
    return passed


def export_model(source: str, into: Path) -> None:
    """Write every part of a model as ONNX; raises CheckpointError where a file would not compute the same."""
    from sensorium.checkpoints.load import load_model
    from sensorium.checkpoints.onnx import export_onnx

    with waiting(f"reading {source}"):
        loaded = load_model(source)
    with waiting(f"exporting {loaded.format.family}"):
        written = export_onnx(loaded.model, into)
    for each in written:
        stdout().print(f"{short(each.path)}: differs from torch by {each.difference:.1e} of its size", highlight=False)

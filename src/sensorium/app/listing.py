"""`sensorium models`: every preset, how large it is, and where its public weights come from under which licence."""

from dataclasses import asdict, dataclass

from sensorium.app.console import stdout, write_json

# The line of papers, in its order.
LINE = (
    *("pocket", "ViT", "VisualBERT", "ViLBERT", "CLIP", "LayoutLMv2", "ViT with registers", "DINOv3", "VideoCLIP"),
    *("ImageBind", "Bottom-up attention"),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One preset. `reads` says what it takes; the last three are None where no weights are public."""

    name: str
    system: str
    parameters: int
    reads: str
    licence: str | None
    trained_on: str | None
    source: str | None


def rows() -> list[Row]:
    """Every model that `sensorium.load` knows by name; parameters are counted without making any."""
    from sensorium.checkpoints.formats import FAMILIES, parameters
    from sensorium.checkpoints.sources import SOURCES

    presets = {name: family for family in FAMILIES.values() for name in family.presets}
    found = [_pocket()]
    for name in [*SOURCES, *(name for name in presets if name not in SOURCES)]:
        source, family = SOURCES.get(name), presets[name]
        found.append(
            Row(
                name=name,
                system=family.system,
                parameters=parameters(family.presets[name]),
                reads=family.reads,
                licence=source.licence if source else None,
                trained_on=source.trained_on if source else None,
                source=source.hub if source else None,
            )
        )
    return found


def list_models(*, as_json: bool) -> None:
    """Print the table: one line a model, grouped by system; what it was trained on where there is room."""
    found = rows()
    if as_json:
        write_json([asdict(row) for row in found])
        return
    console = stdout()
    roomy = not console.is_terminal or console.width >= 110
    room = max(len(row.source or "") for row in found) if roomy else 0
    for system in LINE:
        members = [row for row in found if row.system == system]
        long, licence = (max(len(text) for text in column) for column in zip(*map(_named, members), strict=True))
        console.print(f"[mark]{system}[/]  [quiet]reads {'; or '.join(dict.fromkeys(row.reads for row in members))}")
        for row in sorted(members, key=lambda row: (row.source is None, row.parameters)):
            line = f"  {row.name:<{long}} {_millions(row.parameters):>6}  "
            line += f"{row.licence or '':<{licence}}  {row.source or 'no public weights':<{room}}"
            if roomy and row.trained_on:
                line += f"  {row.trained_on}"
            console.print(line.rstrip(), markup=False, style="quiet" if row.source is None else "default")
        console.print()
    console.print("[quiet]Columns: name, parameters, licence of the public weights, hub id of the weights.")
    console.print(
        "[quiet]Each is fetched once, when first used. Those that read pictures, with or without words, and ImageBind"
    )
    console.print("[quiet]search: sensorium index FOLDER --model NAME. All of them: sensorium.load(NAME) in Python.")


def _named(row: Row) -> tuple[str, str]:
    return row.name, row.licence or ""


def _pocket() -> Row:
    from sensorium.checkpoints.pocket import VISION
    from sensorium.models import bert, efficientnet
    from sensorium.models.pocket import Pocket
    from sensorium.nn.blank import blank

    with blank():
        larger, smaller = (
            efficientnet.EfficientNetLite(efficientnet.PRESETS[f"efficientnet-lite{size}"]) for size in (2, 0)
        )
        model = Pocket(larger, smaller, bert.Bert(bert.PRESETS["minilm-l6"]))
    return Row(
        name="pocket",
        system="pocket",
        parameters=sum(each.numel() for each in model.parameters()),
        reads="words and pictures",
        licence=VISION.licence,
        trained_on="ImageNet-1k and sentence pairs, bound here",
        source="inside Python packages",
    )


def _millions(parameters: int) -> str:
    if parameters >= 2e9:
        return f"{parameters / 1e9:.1f} B"
    return f"{parameters / 1e6:.1f} M" if parameters < 99.5e6 else f"{parameters / 1e6:.0f} M"

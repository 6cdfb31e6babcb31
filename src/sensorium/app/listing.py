"""`sensorium models`: every preset, how large it is, and where its public weights come from under which licence."""

from dataclasses import asdict, dataclass

from sensorium.app.console import stdout, write_json


@dataclass(frozen=True, kw_only=True)
class Row:
    """One preset. `searches` says what it can be asked with; the last three are None where no weights are public."""

    name: str
    system: str
    parameters: int
    searches: str
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
                searches=family.reads,
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
    for system in dict.fromkeys(row.system for row in found):
        members = [row for row in found if row.system == system]
        console.print(f"[mark]{system}[/]  [quiet]searches by {members[0].searches}")
        for row in sorted(members, key=lambda row: (row.source is None, row.parameters)):
            line = f"  {row.name:<21} {_millions(row.parameters):>6}  "
            line += f"{row.licence or '':<10}  {row.source or 'no public weights':<{room}}"
            if roomy and row.trained_on:
                line += f"  {row.trained_on}"
            console.print(line.rstrip(), markup=False, style="quiet" if row.source is None else "default")
        console.print()
    console.print("[quiet]Columns: name, parameters, licence of the public weights, hub id of the weights.")
    console.print("[quiet]Each is fetched once, when first used: sensorium index FOLDER --model NAME")


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
        searches="words and pictures",
        licence=VISION.licence,
        trained_on="ImageNet-1k and sentence pairs, bound here",
        source="inside Python packages",
    )


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:.1f} M" if parameters < 99.5e6 else f"{parameters / 1e6:.0f} M"

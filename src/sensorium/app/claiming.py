"""`sensorium claim`: a paper's claim in miniature, as a table, a picture and numbers."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from rich.table import Table

from sensorium.app.console import duration, short, stderr, stdout, write_json
from sensorium.claims.outcome import Outcome
from sensorium.data.errors import SensoriumError
from sensorium.tasks.embedding import choose

CLAIMS = {
    "vit": "sensorium.claims.vit",
    "clip": "sensorium.claims.clip",
    "dinov3": "sensorium.claims.dinov3",
    "registers": "sensorium.claims.registers",
    "imagebind": "sensorium.claims.imagebind",
}


def claim_paper(name: str, *, quick: bool, out: Path | None, as_json: bool) -> None:
    """Run a claim into a folder, runs/claim-NAME unless said otherwise."""
    if name not in CLAIMS:
        raise SensoriumError(f"no claim is called {name!r}; there are {', '.join(CLAIMS)}")
    folder = out or Path("runs") / f"claim-{name}{'-quick' if quick else ''}"
    run: Callable[..., Outcome] = import_module(CLAIMS[name]).claim
    bf16 = choose("cpu", "auto")[1] == "bf16"

    def say(line: str) -> None:
        stderr().print(line, markup=False)

    outcome = run(folder, quick=quick, bf16=bf16, say=say)
    if quick:
        outcome = outcome.unjudged()
    data, picture = outcome.write(folder)
    if as_json:
        write_json(outcome.as_json())
        return
    console = stdout()
    console.print(f"[default]{outcome.paper}[/]: {outcome.setting}\n")
    table = Table(box=None, pad_edge=False, show_edge=False)
    for title in ("claim", "measured", "verdict"):
        table.add_column(title, overflow="fold")
    for finding in outcome.findings:
        table.add_row(finding.claim, finding.measured, finding.word)
    console.print(table)
    took = duration(outcome.seconds)
    console.print(f"\n{took}{'; too short to judge' if quick else ''}. {short(picture)}, {short(data)}")

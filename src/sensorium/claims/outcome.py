"""What a claim came to: rows of claim against measurement, curves, and how they are written down."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

REPRODUCED = "reproduced"
NOT_HERE = "not reproduced at this scale"
ROW = 4  # panels


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sentence of the paper and what was measured for it. `verdict` is None where it is not judged."""

    claim: str
    measured: str
    verdict: bool | None

    @property
    def word(self) -> str:
        """The verdict in words."""
        return {True: REPRODUCED, False: NOT_HERE, None: "not judged"}[self.verdict]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line of the picture: measured values over what was spent on them."""

    panel: str
    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Everything that a claim's run found. `axes` names x and y of every panel."""

    paper: str
    setting: str
    findings: Sequence[Finding]
    curves: Sequence[Curve]
    axes: dict[str, tuple[str, str]]
    numbers: dict[str, float] = field(default_factory=dict[str, float])
    seconds: float = 0.0

    def unjudged(self) -> "Outcome":
        """The same without verdicts, for a run that was too short to have any."""
        return replace(self, findings=[replace(finding, verdict=None) for finding in self.findings])

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON keeps it."""
        rows = [asdict(finding) | {"verdict": finding.word} for finding in self.findings]
        return asdict(self) | {"findings": rows}

    def write(self, folder: Path) -> tuple[Path, Path]:
        """outcome.json and outcome.png in `folder`; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        data, picture = folder / "outcome.json", folder / "outcome.png"
        data.write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")
        self.draw(picture)
        return data, picture

    def draw(self, file: Path) -> None:
        """The curves, a panel each, four in a row at most."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        panels = list(self.axes)
        rows = -(-len(panels) // ROW)
        columns = -(-len(panels) // rows)
        figure = Figure(figsize=(4.6 * columns, 4.0 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        places = figure.subplots(rows, columns, squeeze=False).flatten()
        for empty in places[len(panels) :]:
            empty.set_axis_off()
        for axis, panel in zip(places[: len(panels)], panels, strict=True):
            for marker, curve in zip("osD^vPX*", (c for c in self.curves if c.panel == panel), strict=False):
                axis.plot(curve.x, curve.y, marker=marker, markersize=4, label=curve.name)
            axis.set(title=panel, xlabel=self.axes[panel][0], ylabel=self.axes[panel][1])
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
            axis.legend(frameon=False, fontsize=8)
        figure.suptitle(f"{self.paper}: {self.setting}", fontsize=10)
        figure.savefig(file, dpi=110)

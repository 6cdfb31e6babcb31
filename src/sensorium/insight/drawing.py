"""How the drawings look: paper, ink, letters, and colours that everybody can tell apart.

matplotlib comes in when the first drawing is made, and draws without a screen.
"""

from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, ParamSpec

from sensorium.data.errors import SensoriumError, printable, system_reason

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:
    Axes = Figure = object  # so that a signature can be read without matplotlib

P = ParamSpec("P")
PAPER, INK, QUIET, LINE, ACCENT = "#faf9f6", "#1c1b19", "#6b675f", "#e2ded6", "#216e58"
DPI = 110
FORMATS = (".png", ".jpg", ".webp", ".svg", ".pdf")
MISSING = "drawings need one more package: pip install 'sensorium[insight]'; numbers alone (--data) need none"
HEADING, LETTER = 0.72, 0.068  # inches: room for a heading of one line, and for a letter of it
STYLE = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.facecolor": "white",
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.parse_math": False,  # people's words may hold dollars
    "image.interpolation": "nearest",
}


def drawing(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A function that draws, in our style whatever the user's is; raises SensoriumError without matplotlib."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        try:
            import matplotlib
        except ImportError:
            raise SensoriumError(MISSING) from None
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            settings: Any = matplotlib.rcParams
            settings.update(STYLE)
            return draw(*args, **kwargs)

    return styled


def page(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, whose parts find their own places."""
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=DPI, layout="constrained")


def heading(figure: Figure, title: str, remark: str) -> None:
    """A title and lines of explanation at the top left, above everything else; long lines are broken."""
    width, height = figure.get_size_inches()
    lines = "\n".join(fill(line, int((width - 0.3) / LETTER)) for line in remark.splitlines())
    room = HEADING + 0.16 * (lines.count("\n"))
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0.01, 0.01, 0.98, 1 - room / height - 0.01))
    figure.text(
        0.15 / width, 1 - 0.14 / height, fitted(title, int(width / 0.125)), fontsize=13, weight="bold", va="top"
    )
    figure.text(0.15 / width, 1 - 0.41 / height, lines, fontsize=8.5, color=QUIET, va="top")


def quiet(axes: Axes) -> None:
    """A picture alone: no ticks, a thin frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color="#d8d4cb", linewidth=0.8)


def colourbar(
    figure: Figure, drawn: Any, axes: Axes | list[Axes], label: str, *, inside: bool = False, format: str | None = None
) -> None:
    """What the colours of a map mean: at the right of its axes or of several, or `inside` axes of its own."""
    place: dict[str, Any] = {"cax": axes} if inside else {"ax": axes, "shrink": 0.82, "pad": 0.02, "aspect": 26}
    bar = figure.colorbar(drawn, format=format, **place)
    if format is not None:  # of a log scale that spans less than a decade, only the minor ticks would be there
        bar.ax.yaxis.set_minor_formatter(format)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.ax.tick_params(labelsize=7.5, length=2)
    bar.set_label(label, fontsize=8)


def fitted(text: str, letters: int) -> str:
    """Text as a drawing can show it: of at most so many letters, what the font lacks as a box."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans")).get_char_index
    text = "".join(letter if known(ord(letter)) else "□" for letter in printable(" ".join(text.split())))
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def check_drawable(path: Path) -> None:
    """Raises SensoriumError where nothing can be drawn into a file of this name, or nothing can be drawn at all."""
    if path.suffix.lower() not in FORMATS:
        raise SensoriumError(f"cannot draw into {printable(str(path))}: name a {', '.join(FORMATS)} file")
    if find_spec("matplotlib") is None:
        raise SensoriumError(MISSING)


def save(figure: Figure, path: Path) -> None:
    """Write the drawing in the format that the file's ending names, whole or not at all.

    Raises SensoriumError when the file cannot be written or its ending is none of FORMATS.
    """
    check_drawable(path)
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(partial, format=path.suffix[1:].lower())
        partial.replace(path)
    except OSError as error:
        raise SensoriumError(f"cannot write {printable(str(path))}: {system_reason(error)}") from None

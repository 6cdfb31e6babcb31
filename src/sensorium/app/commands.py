"""What all commands share: the application, its exit codes, and the options that several of them have."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from sensorium import __version__
from sensorium.data.errors import SensoriumError

DONE, FAILED, MISUSED, NO_MATCH, INTERRUPTED, READER_GONE = 0, 1, 2, 3, 130, 141

IndexFolder = Annotated[
    Path | None,
    Parameter(name="--index", help="Where the index lives. [default: $SENSORIUM_HOME/index, else your data folder]"),
]

Json = Annotated[
    bool, Parameter(name="--json", negative="", show_default=False, help="Print one JSON value and nothing else.")
]

Several = Parameter(negative="", show_default=False)

Switch = Parameter(negative="", show_default=False)


class Misuse(SensoriumError):
    """The command line makes no sense as it stands; exit code 2."""


app = App(
    name="sensorium",
    version=f"sensorium {__version__}",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # main() has more to say of it
    help="""Find any picture, film, sound or page with words, with another file, or with both.

First index a folder, then ask:

sensorium index ~/Pictures
sensorium search "a cat on a sofa"
sensorium serve --open

Nothing leaves this machine. Every command's --help teaches it by example.
""",
    help_epilogue="""Exit codes: 0 done, 1 could not be done, 2 not understood, 3 no good match, 130 interrupted.
The index lives in $SENSORIUM_HOME/index when SENSORIUM_HOME is set.""",
)

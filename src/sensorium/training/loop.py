"""The loop: the only one, for every paper, on one process or many.

A step: seed, losses and gradients of each part of the batch, their exchange, the optimiser, the recipe's own last word.
A run that was killed goes on from its last checkpoint with the numbers that it would have had: the batch of a step
follows from its number (data/stream.py), the random numbers inside it from `seed`, step and process.
"""

import signal
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import inf, isfinite
from types import FrameType

import torch
from torch import Tensor

from sensorium.data.errors import SensoriumError, printable
from sensorium.nn.allocator import keep_freed_memory
from sensorium.nn.products import fast_products
from sensorium.training.optimisers import follow_schedule
from sensorium.training.progress import Watch
from sensorium.training.recipe import Batch, Engine, Recipe
from sensorium.training.run_folder import Metrics, RunFolder, read_metrics
from sensorium.training.saving import Saver
from sensorium.training.sharding import Root, average, clip, norm, prepare
from sensorium.training.world import World


class Stopped(SensoriumError):
    """A run that was asked to stop, and has saved everything."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


def train(recipe: Recipe, engine: Engine, run: RunFolder, world: World) -> dict[str, float]:
    """Train to the end, from the last whole checkpoint of the run's folder; returns the last step's metrics.

    Raises Stopped after SIGINT or SIGTERM, with everything saved. Raises SensoriumError where a loss or gradient is not
    finite (the weights are then as they were before that step, and the batch is kept), where the last checkpoint
    could not be written, and where the recipe does not fit the engine.
    """
    _check(recipe, engine, world)
    on_cpu = world.device.type == "cpu"
    if on_cpu:
        keep_freed_memory()
    first, model = world.rank == 0, recipe.model
    with ExitStack() as stack:
        if first:
            stack.enter_context(run.alone())
        watch = Watch(steps=recipe.steps, batch=recipe.batch, every=engine.log_every, quiet=not first)
        root = prepare(recipe, engine, world)
        if on_cpu and engine.precision == "fp32":
            stack.enter_context(fast_products(model))
        optimiser = recipe.optimiser(model)
        saver = Saver(run, model, optimiser, world, keep=engine.keep, best=recipe.best, say=watch.say)
        stack.callback(saver.thread.shutdown)
        parts = list(recipe.clipped(model))
        longest = engine.clip_norm or recipe.clip_norm
        done, stop = saver.resume(), 0
        best, record, asked = saver.best_so_far(), dict[str, float](), stack.enter_context(_signals())
        if first:
            run.note_start(done, world)
            metrics = Metrics(run, done, tensorboard=engine.tensorboard)
            stack.callback(metrics.close)
        else:
            metrics = None
        batches = recipe.data.batches(
            recipe.batch, start=done, steps=recipe.steps, rank=world.rank, world=world.size, workers=engine.workers
        )
        stack.enter_context(watch)
        watch.begin(done)
        begun = time.monotonic()
        for step, batch in enumerate(batches, done):
            waited = time.monotonic() - begun
            batch = {name: value.to(world.device, non_blocking=True) for name, value in batch.items()}
            follow_schedule(optimiser, recipe.schedule, step)
            losses = _gradients(recipe, engine, root, world, batch, step)
            lengths = [norm(part.parameters()) for part in parts]
            record, stop = _exchange(losses, torch.stack(lengths).norm(), asked.number, world)
            if not isfinite(record["loss"] + record["gradient"]):
                raise _not_finite(record, losses, batch, step, saver)
            for part, length in zip(parts, lengths, strict=True):
                clip(part.parameters(), longest, length)
            optimiser.step()
            optimiser.zero_grad()
            with torch.no_grad():
                recipe.after_step(step)
            world.broadcast(model.buffers())  # running statistics: one for all
            done = step + 1
            if recipe.evaluate and (done == recipe.steps or _due(done, recipe.evaluate_every)):
                with root.evaluating(), _precision(engine, world):
                    measured = world.tell(root(recipe.evaluate, done))
                record |= {f"evaluate/{name}": float(value) for name, value in measured.items()}
            record |= {"step": done, "learning_rate": float(recipe.schedule["learning_rate"][step])}
            record |= {"seconds": time.monotonic() - begun, "waited": waited}
            begun = time.monotonic()
            if metrics is not None:
                metrics.write(record)
            watch.show(done, record)
            score = record.get(f"evaluate/{recipe.best}", -inf)
            if _due(done, engine.save_every) or done == recipe.steps or stop or score > best:
                saver.save(done, record)
                run.save_damaged(batches.damaged, world.rank)
                best = max(best, score)
            saver.look()
            if stop:
                break
        saver.close()
        if stop and done < recipe.steps:
            raise Stopped(f"stopped after step {done}; everything is saved. Go on with: {run.how_to_resume}", stop)
        if done < recipe.steps:
            raise SensoriumError(f"the data ended after {done} of {recipe.steps} steps")
    return record or read_metrics(run)[-1]


def _check(recipe: Recipe, engine: Engine, world: World) -> None:
    parts = world.size * engine.accumulate
    if engine.accumulate < 1 or recipe.batch < 1 or recipe.batch % parts:
        raise SensoriumError(
            f"batch {recipe.batch} does not divide into {world.size} processes times accumulate {engine.accumulate}: "
            f"take a multiple of {max(parts, 1)}"
        )
    for name, values in recipe.schedule.items():
        if len(values) < recipe.steps:
            raise SensoriumError(f"schedule {name!r} has {len(values)} values for {recipe.steps} steps")
    if "learning_rate" not in recipe.schedule:
        raise SensoriumError("the recipe's schedule lacks 'learning_rate'")


def _due(done: int, every: int) -> bool:
    return every > 0 and done % every == 0


def _gradients(recipe: Recipe, engine: Engine, root: Root, world: World, batch: Batch, step: int) -> dict[str, Tensor]:
    """Add up the gradients of all parts of this process's rows; returns its losses, means over the parts."""
    torch.manual_seed(((recipe.seed * 1_000_003 + step) * 65_537 + world.rank) % 2**63)
    losses: dict[str, Tensor] = {}
    for part in range(engine.accumulate):
        rows = {name: _part(value, part, engine.accumulate) for name, value in batch.items()}
        root.synchronise(part == engine.accumulate - 1)
        with _precision(engine, world):
            terms = {name: term / engine.accumulate for name, term in root(recipe.losses, rows, step).items()}
        torch.stack([term.float() for name, term in terms.items() if not name.startswith("_")]).sum().backward()
        losses = {name: term.detach() + losses.get(name, 0) for name, term in terms.items()}
    average(recipe.model, world)
    return losses


def _part(rows: Tensor, part: int, parts: int) -> Tensor:
    return rows if parts == 1 else rows.unflatten(0, (parts, -1))[part]


def _exchange(losses: Mapping[str, Tensor], length: Tensor, asked: int, world: World) -> tuple[dict[str, float], int]:
    """What to note of a step, means over all processes, and the signal with which any of them was asked to stop. Here
    the processor waits for the device: once a step."""
    numbers = torch.stack([*(loss.float() for loss in losses.values()), length.float(), length.new_tensor(asked)])
    *means, length_, signals = (float(number) for number in world.mean(numbers).tolist())
    named = dict(zip(losses, means, strict=True))
    trained = {f"loss/{name}": value for name, value in named.items() if not name.startswith("_")}
    record = {"loss": sum(trained.values(), 0.0), "gradient": length_, **trained}
    record |= {name[1:]: value for name, value in named.items() if name.startswith("_")}
    return record, asked or (signal.SIGINT if signals else 0)


def _precision(engine: Engine, world: World) -> torch.autocast:
    return torch.autocast(world.device.type, torch.bfloat16, enabled=engine.precision == "bf16")


def _not_finite(
    record: Mapping[str, float], losses: Mapping[str, Tensor], batch: Batch, step: int, saver: Saver
) -> SensoriumError:
    """Keep the batch, on the processes where it went wrong; what to raise."""
    wrong = [name for name, value in record.items() if name.startswith("loss/") and not isfinite(value)] or ["gradient"]
    mine = not all(bool(loss.isfinite()) for loss in losses.values())
    kept = saver.run.save_batch(batch, step, saver.world.rank) if mine or wrong == ["gradient"] else None
    saver.finish()
    saver.world.barrier()
    where = printable(str(kept if kept else saver.run.path / "stopped"))
    return SensoriumError(
        f"step {step + 1}: {', '.join(wrong)} is not finite. The batch is kept in {where}; the checkpoints are those "
        f"of before. Look at the batch, lower the learning rate or clip the gradient (--set clip_norm=1), then: "
        f"{saver.run.how_to_resume}"
    )


@dataclass
class _Asked:
    number: int = 0


@contextmanager
def _signals() -> Generator[_Asked]:
    """Let SIGINT and SIGTERM ask for an end after the step; a second one ends at once."""
    asked = _Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, _: FrameType | None) -> None:
        asked.number = number
        restore()

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        restore()

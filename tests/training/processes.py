"""Training processes that may be killed. They are forked from a server that has imported torch once."""

import multiprocessing
import os
import random
import socket
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sensorium.data.errors import SensoriumError
from sensorium.training.loop import train
from sensorium.training.recipe import Engine
from sensorium.training.run_folder import RunFolder
from sensorium.training.world import start
from tests.training import lines

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["torch._dynamo", "torch.distributed.tensor", "tests.training.processes"])


def run_line(folder: Path, name: str, settings: dict[str, Any], engine: dict[str, Any]) -> None:
    """Begin the run or go on with it, in this process, which is one of a world where the environment says so."""
    run = RunFolder(folder)
    with start("cpu") as world:
        if world.rank == 0 and not run.config.exists():
            run.create({"recipe": name, "settings": settings, "engine": engine})
        world.barrier()
        train(getattr(lines, name)(lines.Settings(**settings), world), Engine(device="cpu", **engine), run, world)


def _process(environment: dict[str, str], log: Path, function: Callable[..., None], *arguments: Any) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    os.environ.update(environment)
    with log.open("w") as file:
        os.dup2(file.fileno(), 2)
        try:
            function(*arguments)
        except SensoriumError as error:
            print(error, file=file)
            raise SystemExit(1) from error


def launch(
    folder: Path, function: Callable[..., None], *arguments: Any, processes: int = 1
) -> list[multiprocessing.process.BaseProcess]:
    """Start a world as torchrun does; what its processes print lies beside the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
    started = []
    for rank in range(processes):
        environment = {**world, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        log = folder.with_suffix(f".{rank}.log")
        started.append(FORK.Process(target=_process, args=(environment, log, function, *arguments)))
        started[-1].start()
    return started


def wait(started: list[multiprocessing.process.BaseProcess]) -> list[int | None]:
    """Wait for all; where one dies the others are killed, as torchrun does. Returns their exit codes."""
    end = time.monotonic() + 60
    while any(process.is_alive() for process in started):
        if any(process.exitcode for process in started) or time.monotonic() > end:
            time.sleep(0.2)  # what is said of it, is said
            for process in started:
                process.kill()
        time.sleep(0.01)
    return [process.exitcode for process in started]


def go(
    folder: Path, name: str = "line", *, processes: int = 1, engine: dict[str, Any] | None = None, **settings: Any
) -> list[int | None]:
    """One start of a run in processes of its own; returns their exit codes."""
    arguments = (folder, name, settings, {"save_every": 3, **(engine or {})})
    return wait(launch(folder, run_line, *arguments, processes=processes))


def go_and_kill(folder: Path, dice: random.Random, *, processes: int = 1, **settings: Any) -> int:
    """Start again and again, killing one process at any moment, until the run is whole; returns the kills."""
    kills = 0
    arguments = (folder, "line", settings, {"save_every": 1})
    while True:
        started = launch(folder, run_line, *arguments, processes=processes)
        seen = _lines(folder)
        end = time.monotonic() + 20
        while _lines(folder) <= seen and time.monotonic() < end and any(p.is_alive() for p in started):
            time.sleep(0.001)  # it has gone on from where it was
        time.sleep(dice.uniform(0, 0.08))
        victim = dice.choice(started)
        if kills < 4:
            victim.kill()
        codes = wait(started)
        if not any(codes):
            return kills
        kills += 1


def _lines(folder: Path) -> int:
    metrics = folder / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0

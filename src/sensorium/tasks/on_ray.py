"""`tasks.collection` on the machines of a Ray cluster, by Ray Data: `pip install 'sensorium[ray]'` (docs.ray.io).

Each worker loads the model once, from the same name, and leaves its parts in the folder, which all machines must share,
as they must the pictures. A part counts once this process has accepted it; those of a machine that dies are computed by
the others, as often as it takes.
"""

import logging
import os
import pickle
import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sensorium.data.errors import SensoriumError
from sensorium.data.sources import Opened
from sensorium.tasks.collection import Done, Job, Part, Run, embed_part
from sensorium.tasks.embedded import Vectors
from sensorium.tasks.embedding import Embedder

LOCAL = "local"


def on_ray(model: str, address: str = LOCAL) -> Run:
    """A `run` for `embed_collection`. `model` is what `sensorium.load` takes, the same on every machine.

    `address` is "local" for a cluster of this machine alone, started and ended with the run; "auto" for the one that
    this machine belongs to; or host:port of its head. One that this process is connected to already is taken as it is.
    Raises SensoriumError where Ray is not installed or there is no such cluster, and for what a worker cannot do.
    """
    ray = need_ray()

    def run(job: Job, parts: Iterator[Part], tell: Callable[[int], None]) -> Iterator[Done]:
        with _connected(ray, address):
            yield from _computed(ray, model, job, parts, tell)

    return run


def need_ray() -> Any:
    """The package ray with its data library, imported now; raises SensoriumError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves these machines
    try:
        import_module("ray.data")
        return import_module("ray")
    except ImportError:
        raise SensoriumError("a cluster needs one more package: pip install 'sensorium[ray]'") from None


@contextmanager
def _connected(ray: Any, address: str) -> Generator[None]:
    if ray.is_initialized():
        yield
        return
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "://" not in address:  # Ray itself would try for minutes
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise SensoriumError(f"no Ray cluster at {address} ({error})") from None
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == LOCAL:
            ray.init(address=LOCAL, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SensoriumError(
            f"no Ray cluster at {address} ({reason}); --ray local starts one on this machine"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _computed(ray: Any, model: str, job: Job, parts: Iterator[Part], tell: Callable[[int], None]) -> Iterator[Done]:
    rows: list[dict[str, bytes]] = []
    todo: dict[str, int] = {}
    inside = False
    for part in parts:
        rows.append({"part": pickle.dumps(part)})
        todo[part.name] = len(part.items)
        inside = inside or any(item.file != item.name for item in part.items)
    worker = Worker(model, job.vectors, job.source if inside else None, job.batch)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # there is one of ours
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    computed = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        _Embed, fn_constructor_args=(worker,), **_room(ray)
    )
    for row in computed.iter_rows():
        if row["refused"]:
            raise SensoriumError(row["refused"])
        done: Done = pickle.loads(row["done"])
        tell(todo.pop(done.name))
        yield done
    if todo:
        raise SensoriumError(f"{len(todo):,} parts did not come back from the cluster: run the same again")


def _room(ray: Any) -> dict[str, Any]:
    """A worker for each GPU; without any, for each machine, or more of them on machines that are larger than others."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(each.get("GPU", 0) for each in machines))
    cores = [int(each["CPU"]) for each in machines if each.get("CPU", 0) >= 1]
    if not gpus and not cores:
        raise SensoriumError("the Ray cluster has neither cores nor GPUs: start nodes with --num-cpus")
    need = {"num_gpus": 1} if gpus else {"num_cpus": min(cores)}
    workers = gpus or sum(each // min(cores) for each in cores)
    # At least one, so that what a dead machine computed need not wait for another machine: workers in no use give way.
    pool = ray.data.ActorPoolStrategy(
        min_size=1, max_size=workers, initial_size=workers, max_tasks_in_flight_per_actor=2
    )
    return {"compute": pool, **need}


@dataclass(frozen=True)
class Worker:
    """What a worker is sent: the model's name, the folder with what its vectors must be, and where the pictures are."""

    model: str
    vectors: Vectors
    source: Opened | None
    batch: int

    def load(self) -> Embedder:
        """The model. Raises SensoriumError where this machine has another under that name, or not the folder."""
        from sensorium.tasks.loading import load

        about = self.vectors.about
        model = load(self.model, precision="bf16" if about.precision == "bf16" else "fp32")
        if not isinstance(model, Embedder) or model.fingerprint != about.fingerprint:
            raise SensoriumError(f"{self.model} is another model here than where the run was started")
        if not self.vectors.under_way.is_dir():
            raise SensoriumError(f"{self.vectors.folder} is not here: choose a folder that all machines share")
        return model


class _Embed:
    """A worker's process."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.model: Embedder | None = None

    def __call__(self, row: dict[str, bytes]) -> dict[str, Any]:
        part: Part = pickle.loads(row["part"])
        try:
            self.model = self.model or self.worker.load()
            done = embed_part(self.model, part, self.worker.source, self.worker.vectors, self.worker.batch)
        except SensoriumError as error:  # to be said to the user, and no reason to try again
            return {"done": b"", "refused": f"{socket.gethostname()}: {error}"}
        return {"done": pickle.dumps(done), "refused": ""}

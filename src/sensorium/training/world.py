"""All processes of a run, seen from one of them. A single process is a world too and needs no launcher."""

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from sensorium.data.errors import SensoriumError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class World:
    """This process's number among `size` processes, its device, and the mesh that FSDP shards over (None when alone).

    Every method with something to exchange must be called by all processes, in the same order.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    mesh: DeviceMesh | None = None

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes in the order of their ranks, (n, ...) -> (size·n, ...), with gradients: what any
        process's loss asks of a row comes back to the process that it is from. All must have equally many rows."""
        return rows if self.size == 1 else _Gather.apply(rows, self)  # pyright: ignore[reportReturnType]

    def sum(self, x: Tensor) -> Tensor:
        """The sum over processes, without gradients."""
        if self.size > 1:
            x = x.detach().clone()
            dist.all_reduce(x)
        return x.detach()

    def mean(self, x: Tensor) -> Tensor:
        """The mean over processes, without gradients."""
        return self.sum(x) / self.size

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the values of process 0, in place; tensors of one type travel together."""
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors if self.size > 1 else ():
            kinds.setdefault(tensor.dtype, []).append(tensor.detach())
        for same in kinds.values():
            flat = torch.cat([tensor.reshape(-1) for tensor in same]).to(self.device)
            dist.broadcast(flat, 0)
            for tensor, part in zip(same, flat.split([tensor.numel() for tensor in same]), strict=True):
                tensor.copy_(part.view(tensor.shape))

    def tell(self, value: T) -> T:
        """Process 0's value, for all; anything that pickles (it never touches a disk)."""
        if self.size == 1:
            return value
        told: list[Any] = [value]
        dist.broadcast_object_list(told, 0, device=self.device)
        return told[0]

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, world: World) -> Tensor:
        ctx.world = world
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world.size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(ctx.world.size)[ctx.world.rank], None


@contextmanager
def start(device: str = "auto") -> Generator[World]:
    """Join the world that torchrun describes in the environment (NCCL between GPUs, gloo between CPUs), or be alone.

    `device` is "auto", "cpu", "cuda" or another of torch's. Raises SensoriumError where it is not there.
    """
    size, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if kind.startswith("cuda") and not torch.cuda.is_available():
        raise SensoriumError(f"device {device!r}: torch sees no GPU here; take --set device=cpu")
    if size == 1:
        yield World(device=torch.device(kind))
        return
    here = torch.device(kind, local) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(here)
    # gloo stands beside NCCL: checkpoints are written in the background and agree on them over the CPU.
    on_gpu = kind == "cuda"
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", device_id=here if on_gpu else None)
    try:
        mesh = init_device_mesh(kind, (size,))
        yield World(rank=dist.get_rank(), size=size, device=here, mesh=mesh)
    finally:
        dist.destroy_process_group()

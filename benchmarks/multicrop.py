"""Seconds of a multi-crop step (forward and backward of DINOv3's student): crops packed in one pass, and otherwise.

    python benchmarks/multicrop.py [--threads 1] [--batch 4] [--rounds 3] [--precision fp32 bf16] [--sizes 256 112]
    python benchmarks/multicrop.py --profile packed --threads 1       # where the time goes

ViT-S/16 with 2 large crops a picture, some of whose patches are hidden, and 8 small ones; random weights and crops.

- packed: `DINOv3.several`, every linear layer one product over all tokens.
- separate: Sensorium's model, one pass for the large crops, one for the small ones.
- official: the scheme of the authors' training code, whose package is not on PyPI, written down here with torch alone.
  Crops stay a list. In every block norms, layer scales, sums and attention (scaled_dot_product_attention, one product
  for q, k and v) run for each size; the list is joined for each linear layer and split again behind it.
- transformers: DINOv3ViTModel, one pass for each size, with its two kinds of attention.

All have the same weights: outputs are compared before the clock runs. Each side is a process of its own, a step of each
in turn, medians; peak memory is the process's. The processor's time, of all cores together, says more than the clock
on the wall where others use the machine. Both sides of Sensorium keep freed memory and multiply by oneDNN where that is
faster, as its training loop does; its loop's optimiser, heads and teacher are not part of this.
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from child import Child

from sensorium.checkpoints.formats import export, format_named
from sensorium.models.dinov3 import PRESETS, DINOv3
from sensorium.nn.allocator import keep_freed_memory
from sensorium.nn.products import fast_products

SIDES = ("packed", "separate", "official", "transformers eager", "transformers sdpa")
Run = Callable[[list[Tensor], list[Tensor | None]], list[Tensor]]


def crops(batch: int, sizes: tuple[int, int]) -> tuple[list[Tensor], list[Tensor | None]]:
    """Large and small crops, and which patches of the large ones are hidden."""
    dice = torch.Generator().manual_seed(0)
    large, small = (
        torch.randn(n * batch, 3, side, side, generator=dice) for n, side in zip((2, 8), sizes, strict=True)
    )
    return [large, small], [torch.rand(len(large), (sizes[0] // 16) ** 2, generator=dice) < 0.15, None]


def ours() -> DINOv3:
    """ViT-S/16 whose layer scale is large enough for blocks to count when outputs are compared."""
    torch.manual_seed(0)
    model = DINOv3(PRESETS["dinov3-vit-s-16"]).train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gain"):
                parameter.fill_(0.2)
    return model


class OfficialBlock(nn.Module):
    """A block over a list of crops, with the weights of ours."""

    def __init__(self, ours: Any) -> None:
        super().__init__()
        self.norm1, self.norm2, self.proj, self.heads = ours.norm1, ours.norm2, ours.attention.out, ours.attention.heads
        q, k, v = ours.attention.query, ours.attention.key, ours.attention.value
        self.qkv = nn.Linear(q.in_features, 3 * q.out_features)
        with torch.no_grad():
            self.qkv.weight.copy_(torch.cat([q.weight, k.weight, v.weight]))
            self.qkv.bias.copy_(torch.cat([q.bias, torch.zeros_like(q.bias), v.bias]))
        self.register_buffer("bias_mask", torch.ones(3, q.out_features).index_fill_(0, torch.tensor(1), 0).flatten())
        self.fc1, self.fc2 = ours.mlp.up, ours.mlp.down
        self.gamma1, self.gamma2 = ours.scale1.gain, ours.scale2.gain

    def attention(self, qkv: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
        """Queries and keys of patches turned in the precision of the table, then the fused kernel."""
        q, k, v = (t.transpose(1, 2) for t in qkv.unflatten(2, (3, self.heads, -1)).unbind(2))
        turned: list[Tensor] = []
        for t in (q, k):
            wide, prefix = t.to(sin.dtype), t.shape[2] - len(sin)
            patches = wide[:, :, prefix:]
            one, other = patches.chunk(2, dim=-1)
            patches = patches * cos + torch.cat([-other, one], dim=-1) * sin
            turned.append(torch.cat([wide[:, :, :prefix], patches], dim=2).to(t.dtype))
        return F.scaled_dot_product_attention(*turned, v).transpose(1, 2).flatten(2)

    def forward(self, xs: list[Tensor], tables: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Joined for every linear layer, apart for all else."""
        shapes = [x.shape[:2] for x in xs]

        def join(xs: list[Tensor]) -> Tensor:
            return torch.cat([x.flatten(0, 1) for x in xs])

        def split(x: Tensor) -> list[Tensor]:
            parts = x.split([rows * tokens for rows, tokens in shapes])
            return [part.unflatten(0, shape) for part, shape in zip(parts, shapes, strict=True)]

        qkv = split(F.linear(join([self.norm1(x) for x in xs]), self.qkv.weight, self.qkv.bias * self.bias_mask))
        attended = split(self.proj(join([self.attention(t, *table) for t, table in zip(qkv, tables, strict=True)])))
        xs = [x + y * self.gamma1 for x, y in zip(xs, attended, strict=True)]
        fed = split(self.fc2(F.gelu(self.fc1(join([self.norm2(x) for x in xs])))))
        return [x + y * self.gamma2 for x, y in zip(xs, fed, strict=True)]


def official(model: DINOv3) -> tuple[nn.Module, Run]:
    """The list of crops through every block."""
    blocks = nn.ModuleList(OfficialBlock(block) for block in model.blocks)

    def table(image: Tensor) -> tuple[Tensor, Tensor]:
        angles = (2 * torch.pi * model.places(image)[:, :, None] / model.periods).flatten(1).tile(2)
        return angles.sin(), angles.cos()

    def run(images: list[Tensor], masks: list[Tensor | None]) -> list[Tensor]:
        xs = [model.embed(image, mask) for image, mask in zip(images, masks, strict=True)]
        for block in blocks:
            xs = block(xs, [table(image) for image in images])  # anew in every block, as augmentation wants
        return [model.norm(x) for x in xs]

    return nn.ModuleList([model, blocks]), run


def transformers(model: DINOv3, kernel: str) -> tuple[nn.Module, Run]:
    """DINOv3ViTModel, a pass for each size."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    moved = dict.fromkeys(("pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale"))
    c = model.config
    sizes = {"hidden_size": c.width, "intermediate_size": c.hidden, "num_attention_heads": c.heads}
    peer = DINOv3ViTModel(
        DINOv3ViTConfig(
            **sizes, **moved, num_register_tokens=c.registers, drop_path_rate=0.0, attn_implementation=kernel
        )
    )
    named = export(model, format_named("dinov3", "transformers"))  # as in files; the module's own layers are one deeper
    peer.load_state_dict({f"model.{name}" if name.startswith("layer.") else name: x for name, x in named.items()})

    def run(images: list[Tensor], masks: list[Tensor | None]) -> list[Tensor]:
        return [peer(image, bool_masked_pos=mask).last_hidden_state for image, mask in zip(images, masks, strict=True)]

    return peer.train(), run


def side(name: str) -> tuple[nn.Module, Run]:
    """One of the sides, with the same weights as the others."""
    model = ours()
    if name == "official":
        return official(model)
    if name.startswith("transformers"):
        return transformers(model, name.split()[1])
    keep_freed_memory()

    def packed(images: list[Tensor], masks: list[Tensor | None]) -> list[Tensor]:
        return [torch.cat([f.cls[:, None], f.registers, f.patches], 1) for f in model.several(images, masks)]

    def separate(images: list[Tensor], masks: list[Tensor | None]) -> list[Tensor]:
        return [model.tokens(image, mask) for image, mask in zip(images, masks, strict=True)]

    return model, packed if name == "packed" else separate


def step(model: nn.Module, run: Run, batch: tuple[Any, Any], precision: str) -> tuple[float, float, float]:
    """Seconds of the forward pass, of the whole, and of all cores together for the whole."""
    model.zero_grad()
    begin, worked = time.perf_counter(), time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        loss = sum(made.float().square().mean() for made in run(*batch))
    middle = time.perf_counter()
    loss.backward()
    return middle - begin, time.perf_counter() - begin, time.process_time() - worked


def serve(name: str, batch: int, sizes: tuple[int, int], precision: str, threads: int) -> None:
    """One side's process: its outputs' fingerprint on the first line that it is asked, then seconds and peak MiB."""
    torch.set_num_threads(threads)
    (model, run), data = side(name), crops(batch, sizes)
    fast = fast_products(model) if name in ("packed", "separate") else nullcontext()
    with fast:
        for asked in sys.stdin:
            if asked.startswith("compare"):
                with torch.no_grad():
                    small = crops(1, (64, 32))
                    print(*(float(x) for made in run(*small) for x in made[0, :6].flatten()[::37]), flush=True)
                continue
            times = step(model, run, data, precision)
            print(*times, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


def profile(name: str, batch: int, sizes: tuple[int, int], precision: str) -> None:
    """Print the operators of a step by their own time."""
    (model, run), data = side(name), crops(batch, sizes)
    step(model, run, data, precision)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        step(model, run, data, precision)
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=24, max_name_column_width=40))


def main() -> None:
    """Print one table for each precision."""
    if sys.argv[1:2] == ["--serve"]:
        name, batch, large, small, precision, threads = sys.argv[2:]
        serve(name, int(batch), (int(large), int(small)), precision, int(threads))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs=2, default=(256, 112))
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--profile", choices=SIDES)
    asked = parser.parse_args()
    if asked.profile:
        torch.set_num_threads(asked.threads)
        for precision in asked.precision:
            profile(asked.profile, asked.batch, tuple(asked.sizes), precision)
        return
    for precision in asked.precision:
        words = [asked.batch, *asked.sizes, precision, asked.threads]
        children = {name: Child(__file__, name, *map(str, words)) for name in SIDES}
        made = {name: torch.tensor([float(x) for x in child("compare").split()]) for name, child in children.items()}
        for name, numbers in made.items():
            torch.testing.assert_close(
                numbers, made["separate"], atol=1e-4, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
            )
        runs: dict[str, list[list[float]]] = {name: [] for name in SIDES}
        for round_ in range(asked.rounds + 1):
            for name, child in children.items():
                numbers = [float(x) for x in child("step").split()]
                if round_:  # the first one warms up
                    runs[name].append(numbers)
        for child in children.values():
            child.process.kill()
        medians = {name: [statistics.median(each) for each in zip(*some, strict=True)] for name, some in runs.items()}
        pixels = " and ".join(map(str, asked.sizes))
        print(f"\n{precision}, batch {asked.batch}, crops of {pixels} pixels, threads: {asked.threads}\n")
        print("| | forward, ms | step, ms | CPU, ms | peak, MiB | step, CPU / packed |\n|---|---|---|---|---|---|")
        for name, (*seconds, peak) in medians.items():
            cells = [f"{1e3 * each:.0f}" for each in seconds] + [f"{peak:.0f}"]
            ratios = [seconds[column] / medians["packed"][column] for column in (1, 2)]
            print(f"| {name} | {' | '.join(cells)} | {ratios[0]:.2f}, {ratios[1]:.2f} |")
        best = [min(medians[name][column] for name in SIDES[2:]) / medians["packed"][column] for column in range(3)]
        print("\nbest peer / packed: forward {:.2f}, step {:.2f}, CPU {:.2f}".format(*best), flush=True)


if __name__ == "__main__":
    main()

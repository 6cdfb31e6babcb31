"""Samples per second of a CLIP training step: Sensorium's loop beside those that others write.

    python benchmarks/train_step.py [--batch 32] [--steps 5] [--precision fp32 bf16] [--open-clip PYTHON]

ViT-S/16 at 224 pixels with CLIP's own text tower, random weights and pictures, captions of 10 to 20 tokens, AdamW. Each
side runs in a process of its own, a step of each in turn, medians; peak memory is the process's. The peers pad captions
to 77, and are

- transformers' CLIPModel in a plain loop with autocast,
- transformers' Trainer (pip install accelerate),
- OpenCLIP's own train_one_epoch, by a Python of its own, since beside its torchvision transformers may not import:
  python -m venv oc; oc/bin/pip install torch==2.13.0 torchvision==0.28.0 open_clip_torch; --open-clip oc/bin/python

Sensorium's side is `training.loop.train` itself, with everything that it writes. The share of the GEMM peak is the
products that the step needs (as the model has it, without padding: forward, and twice that backward), by the time they
would take at the speed of the best product of this CPU, which is measured here.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from child import Child

SIDES = ("sensorium", "plain loop", "Trainer", "OpenCLIP")
WORDS, END = 49408, 49407


def batch_of(size: int, step: int, padded: int | None) -> dict[str, Tensor]:
    """Random pictures and captions; the same for every side but for the padding."""
    dice = torch.Generator().manual_seed(step)
    lengths = torch.randint(10, 21, (size,), generator=dice)
    ids = torch.zeros(size, padded or int(lengths.max()), dtype=torch.long)
    for row, length in zip(ids, lengths.tolist(), strict=True):
        row[:length] = torch.randint(1, 49000, (length,), generator=dice)
        row[length - 1 :] = END  # the end, with which transformers pads as well
    return {"image": torch.randint(0, 256, (size, 3, 224, 224), generator=dice).to(torch.uint8), "text": ids}


class Memory:
    """Batches that are there already; a step is taken when the benchmark asks for it."""

    def __init__(self, size: int, told: Iterator[None]) -> None:
        self.size, self.told, self.damaged = size, told, dict[str, str]()

    def batches(self, batch: int, *, start: int, steps: int, **_: Any) -> "Memory":
        """All of them."""
        return self

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for step, _ in enumerate(self.told):
            yield batch_of(self.size, step, None)


def sensorium(size: int, precision: str, told: Iterator[None]) -> None:
    """The real loop, which takes its batches when it is asked to go on."""
    from sensorium.data.preprocess import clip as clip_steps
    from sensorium.models.clip import CLIP, CLIPConfig, TextTower, ViTTower
    from sensorium.training.loop import train
    from sensorium.training.optimisers import adamw
    from sensorium.training.recipe import Engine, Recipe
    from sensorium.training.recipes.clip import Settings, Trained, contrast
    from sensorium.training.run_folder import RunFolder
    from sensorium.training.world import World

    tower = ViTTower(patch=16, width=384, depth=12, heads=6, mlp=1536)
    model = Trained(CLIP(CLIPConfig(vision=tower, text=TextTower(), embed=512)), "contrastive")
    recipe = Recipe(
        model=model,
        losses=contrast(model, clip_steps(), Settings(), World()),
        data=Memory(size, told),
        optimiser=adamw(0.2),
        schedule={"learning_rate": torch.full((1000,), 1e-4, dtype=torch.float64)},
        steps=1000,
        batch=size,
    )
    engine = Engine(precision="bf16" if precision == "bf16" else "fp32", clip_norm=1.0, save_every=1000)
    with tempfile.TemporaryDirectory() as scratch:
        run = RunFolder(Path(scratch) / "run")
        run.create({"recipe": "benchmark", "settings": {}, "engine": {}})
        train(recipe, engine, run, World())


def peer() -> Any:
    """transformers' model of the same sizes."""
    import transformers

    vision = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536}
    config = transformers.CLIPConfig(
        text_config={"eos_token_id": END}, vision_config={**vision, "patch_size": 16, "image_size": 224}
    )
    return transformers.CLIPModel(config).train()


def normalised(pixels: Tensor) -> Tensor:
    return (pixels.float() / 255 - 0.45) / 0.27


def plain_loop(size: int, precision: str, told: Iterator[None]) -> None:
    """What OpenCLIP's training script does in a step."""
    model = peer()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.2)
    for step, _ in enumerate(told):
        batch = batch_of(size, step, 77)
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            seen = model(input_ids=batch["text"], pixel_values=normalised(batch["image"]))
            logits, match = seen.logits_per_image, torch.arange(size)
            loss = (F.cross_entropy(logits, match) + F.cross_entropy(logits.T, match)) / 2
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()


def trainer(size: int, precision: str, told: Iterator[None]) -> None:
    """transformers' Trainer with the model's own loss."""
    import transformers

    class Endless(torch.utils.data.IterableDataset[dict[str, Tensor]]):
        def __iter__(self) -> Iterator[dict[str, Tensor]]:
            for step, _ in enumerate(told):
                batch = batch_of(size, step, 77)
                for text, image in zip(batch["text"], normalised(batch["image"]), strict=True):
                    yield {"input_ids": text, "pixel_values": image}

    with tempfile.TemporaryDirectory() as scratch:
        arguments = transformers.TrainingArguments(
            scratch,
            max_steps=1000,
            per_device_train_batch_size=size,
            bf16=precision == "bf16",
            use_cpu=True,
            report_to=[],
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
        )

        class WithLoss(transformers.Trainer):
            def compute_loss(self, model: Any, inputs: Any, **_: Any) -> Any:
                return model(**inputs, return_loss=True).loss

        WithLoss(peer(), arguments, train_dataset=Endless()).train()


def open_clip(size: int, precision: str, told: Iterator[None]) -> None:
    """OpenCLIP's model in the loop of its training script."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:  # a CUDA build beside torch for CPUs: its operators do not load, and OpenCLIP needs none
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    import open_clip as theirs
    from open_clip_train.train import train_one_epoch

    class Endless:
        num_batches, num_samples = 1000, 1000 * size

        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            for step, _ in enumerate(told):
                batch = batch_of(size, step, 77)
                yield normalised(batch["image"]), batch["text"]

    model = theirs.CLIP(
        embed_dim=512,
        vision_cfg={"image_size": 224, "layers": 12, "width": 384, "patch_size": 16},
        text_cfg={"context_length": 77, "vocab_size": WORDS, "width": 512, "heads": 8, "layers": 12},
        quick_gelu=True,
        output_dict=True,
    )
    asked = {"device": "cpu", "precision": "amp_bf16" if precision == "bf16" else "fp32", "batch_size": size}
    asked |= {"distill": False, "skip_scheduler": True, "horovod": False, "wandb": False, "distributed": False}
    asked |= {"accum_freq": 1, "grad_clip_norm": 1.0, "log_every_n_steps": 100, "rank": 0, "world_size": 1}
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.2)
    data = {"train": Namespace(dataloader=Endless(), set_epoch=lambda epoch: None)}
    train_one_epoch(model, data, theirs.ClipLoss(), 0, optimiser, None, None, None, Namespace(**asked))


def needed(size: int, step: int) -> float:
    """Multiplications and additions of a step's products: weights, and attention's own."""

    def tower(tokens: float, pairs: float, width: int) -> float:
        return 12 * 2 * (tokens * 12 * width**2 + pairs * 2 * width)

    ends = (batch_of(size, step, None)["text"] == END).int().argmax(1).double() + 1
    image = 196 * 2 * 768 * 384 + tower(197, 197**2, 384)
    text = tower(float(ends.mean()), float(ends.square().mean()), 512)
    return 3 * size * (image + text)


def best_product(precision: str) -> float:
    """Operations a second of the fastest product here, on all threads."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    x, weight = torch.randn(4096, 1024).to(dtype), torch.randn(1024, 1024).to(dtype)
    ways: list[Callable[[], Tensor]] = [lambda: F.linear(x, weight)]
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        ways.append(lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], ""))
    seconds = []
    with torch.inference_mode():
        for way in ways * 30:
            begin = time.thread_time()
            way()
            seconds.append(time.thread_time() - begin)
    return 2 * x.numel() * len(weight) / min(seconds)


def serve(side: str, size: int, precision: str) -> None:
    """One side's process: a line takes a step; its seconds, those of computing and the peak memory in MiB are told."""
    run: Callable[[int, str, Iterator[None]], None] = {
        "sensorium": sensorium,
        "plain loop": plain_loop,
        "Trainer": trainer,
        "OpenCLIP": open_clip,
    }[side]

    def told() -> Iterator[None]:
        for _ in sys.stdin:
            begin, busy = time.perf_counter(), time.process_time()
            yield
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(time.perf_counter() - begin, time.process_time() - busy, peak, flush=True)

    run(size, precision, told())


def main() -> None:
    """Print one table for each precision."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], int(sys.argv[3]), sys.argv[4])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--open-clip", metavar="PYTHON", help="a Python that has open_clip_torch")
    asked = parser.parse_args()
    there = {"Trainer": find_spec("accelerate"), "OpenCLIP": asked.open_clip}
    sides = [side for side in SIDES if there.get(side, True)]
    for precision in asked.precision:
        peak, threads = best_product(precision), torch.get_num_threads()
        pythons = {"OpenCLIP": asked.open_clip}
        children = {
            side: Child(__file__, side, str(asked.batch), precision, python=pythons.get(side, sys.executable))
            for side in sides
        }
        times: dict[str, list[float]] = {side: [] for side in sides}
        computing: dict[str, list[float]] = {side: [] for side in sides}
        peaks: dict[str, float] = {}
        for step in range(asked.steps + 2):
            for side, child in children.items():
                seconds, busy, peaks[side] = map(float, child().split())
                if step > 1:  # the first ones warm up
                    times[side].append(seconds)
                    computing[side].append(busy / threads)
        for child in children.values():
            child.process.kill()
        rates = [
            {side: asked.batch / statistics.median(some) for side, some in each.items()} for each in (times, computing)
        ]
        ratios = [rate["sensorium"] / max(rate[side] for side in sides if side != "sensorium") for rate in rates]
        lowest = min(peaks[side] for side in sides if side != "sensorium")
        work = statistics.mean(needed(asked.batch, step) for step in range(2, asked.steps + 2)) / asked.batch
        core = peak / threads / 1e9
        print(f"\n{precision}, batch {asked.batch}, {threads} threads; the best product: {core:.0f} GFLOP/s a core\n")
        print("| | samples/s | by CPU time | of the GEMM peak | peak memory, MiB |\n|---|---|---|---|---|")
        for side in sides:
            clock, busy = (rate[side] for rate in rates)
            print(f"| {side} | {clock:.1f} | {busy:.1f} | {busy * work / peak:.0%} | {peaks[side]:.0f} |")
        least = peaks["sensorium"] / lowest
        print(f"| ratio to the best peer | {ratios[0]:.2f} | {ratios[1]:.2f} | | {least:.2f} |", flush=True)


if __name__ == "__main__":
    main()

"""Samples per second of a CLIP training step: Sensorium's loop beside those that users of transformers write.

    python benchmarks/train_step.py [--batch 64] [--steps 6] [--precision fp32 bf16]

ViT-S/16 at 224 pixels with CLIP's own text tower, random weights and pictures, captions of 10 to 20 tokens, AdamW. Each
side runs in a process of its own, a step of each in turn, medians; peak memory is the process's. The peers are
transformers' CLIPModel in a plain loop as OpenCLIP's training script has it (autocast, captions padded to 77; open_clip
itself needs torchvision, which does not import beside this torch), and in transformers' Trainer where accelerate is
installed. Sensorium's side is `training.loop.train` itself, with everything that it writes.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from child import Child

SIDES = ("sensorium", "plain loop", "Trainer")
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


def serve(side: str, size: int, precision: str) -> None:
    """One side's process: a line takes a step, and its seconds and the peak memory in MiB are told."""
    run: Callable[[int, str, Iterator[None]], None] = {
        "sensorium": sensorium,
        "plain loop": plain_loop,
        "Trainer": trainer,
    }[side]

    def told() -> Iterator[None]:
        for _ in sys.stdin:
            begin = time.perf_counter()
            yield
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(time.perf_counter() - begin, peak, flush=True)

    run(size, precision, told())


def main() -> None:
    """Print one table for each precision."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], int(sys.argv[3]), sys.argv[4])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    asked = parser.parse_args()
    sides = [side for side in SIDES if side != "Trainer" or find_spec("accelerate")]
    for precision in asked.precision:
        children = {side: Child(__file__, side, str(asked.batch), precision) for side in sides}
        times: dict[str, list[float]] = {side: [] for side in sides}
        peaks: dict[str, float] = {}
        for step in range(asked.steps + 2):
            for side, child in children.items():
                seconds, peak = map(float, child().split())
                peaks[side] = peak
                if step > 1:  # the first ones warm up
                    times[side].append(seconds)
        for child in children.values():
            child.process.kill()
        speed = {side: asked.batch / statistics.median(some) for side, some in times.items()}
        best = max(speed[side] for side in sides if side != "sensorium")
        print(f"\n{precision}, batch {asked.batch}, {torch.get_num_threads()} threads\n")
        print("| | samples/s | peak memory, MiB |\n|---|---|---|")
        for side in sides:
            print(f"| {side} | {speed[side]:.1f} | {peaks[side]:.0f} |")
        print(f"\nratio {speed['sensorium'] / best:.2f}", flush=True)


if __name__ == "__main__":
    main()

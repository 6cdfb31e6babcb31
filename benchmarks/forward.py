"""One forward pass of each system beside transformers: python benchmarks/forward.py [--only vit clip] [--batch 1 8 32]

With --memory, the peak memory of each implementation.

Random weights, the same sizes, inference mode, each implementation in a process of its own, set up as its user has it.
Each row runs them in turn, round after round, and gives medians, so that a change in the machine's speed meets all.
The peer is transformers with its eager attention and, where it has one, with scaled_dot_product_attention; the ratio
is against the better of the two. ViLBERT has no peer there: its own layers run with attention spelled out and all
padding computed.

Texts have the lengths that captions have (10 to 20 tokens); CLIP's peer gets them padded to 77, as CLIP's own
tokeniser does, and in a second row padded to the longest of the batch. Regions: 36 of them, questions of 8 to 20 words
padded to 20.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from sensorium.nn.allocator import keep_freed_memory
from sensorium.nn.looking import eager, using
from sensorium.nn.packed import pack

sys.path.insert(0, str(Path(__file__).parent))
from child import Child

transformers.logging.set_verbosity_error()
ATTENTION = ("eager", "sdpa")
NAMES = ("sensorium", *ATTENTION)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One line of the table: how to build ours and theirs, and what both are given."""

    ours: Callable[[], tuple[torch.nn.Module, Callable[[dict[str, Any]], Any]]]
    theirs: Callable[[str], tuple[torch.nn.Module, Callable[[dict[str, Any]], Any]] | None]
    inputs: Callable[[int], dict[str, Any]]
    goals: tuple[float, float | None]
    """What the ratio should reach in fp32 and in bf16."""


def images(batch: int, side: int = 224) -> dict[str, Any]:
    return {"image": torch.randn(batch, 3, side, side)}


def peer(name: str, config: Any, attention: str) -> torch.nn.Module | None:
    """transformers' model with random weights, or None where it has no such kernel."""
    config._attn_implementation = attention
    try:
        return getattr(transformers, name)(config)
    except ValueError:
        return None


def vit() -> Subject:
    from sensorium.models.vit import PRESETS, ViT

    def ours() -> Any:
        model = ViT(PRESETS["vit-b-16"])
        return model, lambda given: model(given["image"])

    def theirs(attention: str) -> Any:
        model = peer("ViTForImageClassification", transformers.ViTConfig(num_labels=1000), attention)
        return model and (model, lambda given: model(given["image"]).logits)

    return Subject(ours=ours, theirs=theirs, inputs=images, goals=(2.0, 1.1))


def clip_image() -> Subject:
    from sensorium.models.clip import PRESETS, VisionTransformer, ViTTower

    def ours() -> Any:
        sizes = PRESETS["clip-vit-b-32"]
        assert isinstance(sizes.vision, ViTTower)
        model = VisionTransformer(sizes.vision, sizes.embed)
        return model, lambda given: model(given["image"])

    def theirs(attention: str) -> Any:
        config = transformers.CLIPVisionConfig(projection_dim=512)
        model = peer("CLIPVisionModelWithProjection", config, attention)
        return model and (model, lambda given: model(given["image"]).image_embeds)

    return Subject(ours=ours, theirs=theirs, inputs=images, goals=(2.0, None))


def _clip_text(padded: int | None) -> Subject:
    from sensorium.models.clip import PRESETS, TextTransformer

    def inputs(batch: int) -> dict[str, Any]:
        lengths = torch.randint(10, 21, (batch,))
        ids = torch.zeros(batch, padded or int(lengths.max()), dtype=torch.long)
        for row, length in zip(ids, lengths.tolist(), strict=True):
            row[:length] = torch.randint(1, 49000, (length,))
            row[length - 1 :] = 49407  # the end, with which transformers pads as well
        return {"ids": ids}

    def ours() -> Any:
        sizes = PRESETS["clip-vit-b-32"]
        model = TextTransformer(sizes.text, sizes.embed)
        return model, lambda given: model(given["ids"])

    def theirs(attention: str) -> Any:
        model = peer("CLIPTextModelWithProjection", transformers.CLIPTextConfig(eos_token_id=49407), attention)
        return model and (model, lambda given: model(given["ids"]).text_embeds)

    return Subject(ours=ours, theirs=theirs, inputs=inputs, goals=(8.0, 5.0))


def dinov3() -> Subject:
    from sensorium.models.dinov3 import PRESETS, DINOv3

    def ours() -> Any:
        model = DINOv3(PRESETS["dinov3-vit-b-16"])
        return model, lambda given: model(given["image"])

    def theirs(attention: str) -> Any:
        config = transformers.DINOv3ViTConfig(
            hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, num_register_tokens=4
        )
        model = peer("DINOv3ViTModel", config, attention)
        return model and (model, lambda given: model(given["image"]).pooler_output)

    return Subject(ours=ours, theirs=theirs, inputs=images, goals=(2.0, None))


def _questions(batch: int, words: int, most: int = 20) -> tuple[Tensor, Tensor]:
    ids = torch.randint(1000, words, (batch, most))
    lengths = torch.randint(8, most + 1, (batch, 1))
    lengths[0] = most
    return ids, torch.arange(most) < lengths


def visualbert() -> Subject:
    from sensorium.models.visualbert import VisualBERT, VisualBERTConfig

    def inputs(batch: int) -> dict[str, Any]:
        ids, mask = _questions(batch, 30522)
        return {"ids": ids, "mask": mask, "regions": torch.randn(batch, 36, 2048)}

    def ours() -> Any:
        model = VisualBERT(VisualBERTConfig(pretraining=False))
        return model, lambda given: model.represent(given["ids"], given["regions"], mask=given["mask"])

    def theirs(attention: str) -> Any:
        model = peer("VisualBertModel", transformers.VisualBertConfig(visual_embedding_dim=2048), attention)

        def run(given: dict[str, Any]) -> Any:
            seen = torch.ones(given["regions"].shape[:2], dtype=torch.long)
            return model(  # type: ignore[misc]
                input_ids=given["ids"],
                attention_mask=given["mask"].long(),
                visual_embeds=given["regions"],
                visual_attention_mask=seen,
                visual_token_type_ids=torch.zeros_like(seen),
            ).pooler_output

        return model and (model, run)

    return Subject(ours=ours, theirs=theirs, inputs=inputs, goals=(2.0, None))


def layoutlmv2() -> Subject:
    from sensorium.models.layoutlmv2 import PRESETS, LayoutLMv2

    def inputs(batch: int) -> dict[str, Any]:
        corner = torch.randint(0, 800, (batch, 512, 2))
        boxes = torch.cat([corner, corner + torch.randint(1, 200, (batch, 512, 2))], dim=-1)
        return {"ids": torch.randint(1000, 30000, (batch, 512)), "boxes": boxes, "cells": torch.randn(batch, 49, 256)}

    def ours() -> Any:
        model = LayoutLMv2(PRESETS["layoutlmv2-base"])
        model.page = GivenPage()  # type: ignore[assignment]  # both sides read a page that has been looked at
        return model, lambda given: model(given["ids"], given["boxes"], given["cells"])

    def theirs(attention: str) -> Any:
        if attention == "sdpa":
            return None
        return _layoutlmv2_peer()

    return Subject(ours=ours, theirs=theirs, inputs=inputs, goals=(2.0, 1.4))


class GivenPage(torch.nn.Module):
    """In the place of a page encoder: the map comes as it is."""

    def forward(self, cells: Tensor, bbox: Tensor | None = None) -> Tensor:
        """The map itself."""
        return cells


def _layoutlmv2_peer() -> tuple[torch.nn.Module, Callable[[dict[str, Any]], Any]]:
    """transformers' model without its page encoder, which needs detectron2."""
    from transformers.models.layoutlmv2 import modeling_layoutlmv2 as module

    class Absent(torch.nn.Module):
        def __init__(self, config: Any) -> None:
            super().__init__()

        def forward(self, image: Tensor) -> Tensor:
            return image

    module.LayoutLMv2PreTrainedModel._init_weights = lambda *_: None  # asks for detectron2's classes
    module.LayoutLMv2VisualBackbone = Absent
    module.requires_backends = lambda *_: None
    model = module.LayoutLMv2Model(transformers.LayoutLMv2Config())

    def run(given: dict[str, Any]) -> Any:
        return model(input_ids=given["ids"], bbox=given["boxes"], image=given["cells"]).pooler_output

    return model, run


def vilbert() -> Subject:
    from sensorium.models.vilbert import PRESETS, ViLBERT

    def inputs(batch: int) -> dict[str, Any]:
        ids, mask = _questions(batch, 30522)
        corner = torch.rand(batch, 36, 4)
        places = torch.cat([corner, corner.prod(-1, keepdim=True)], dim=-1)
        return {"ids": ids, "mask": mask, "regions": torch.randn(batch, 36, 2048), "places": places}

    def ours() -> Any:
        model = ViLBERT(PRESETS["vilbert"])
        return model, lambda given: model(given["ids"], given["regions"], given["places"], mask=given["mask"])

    def theirs(attention: str) -> Any:
        if attention == "sdpa":
            return None
        model = ViLBERT(PRESETS["vilbert"])

        def run(given: dict[str, Any]) -> Any:
            with using(model, eager):
                return model(given["ids"], given["regions"], given["places"])

        return model, run

    return Subject(ours=ours, theirs=theirs, inputs=inputs, goals=(2.0, None))


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "vit-b-16": vit,
    "clip-b-32 image": clip_image,
    "clip-b-32 text, peer padded to 77": lambda: _clip_text(77),
    "clip-b-32 text, peer padded to the longest": lambda: _clip_text(None),
    "dinov3-b-16": dinov3,
    "visualbert": visualbert,
    "layoutlmv2-base": layoutlmv2,
    "vilbert": vilbert,
}


def implementation(subject: Subject, name: str, precision: str) -> Callable[[Any], Any] | None:
    """What to call, its model ready to run; None where the peer has no such kernel."""
    found = subject.ours() if name == "sensorium" else subject.theirs(name)
    if found is None:
        return None
    model, call = found
    model = _in(model.eval().requires_grad_(False), precision)
    if name == "sensorium":
        pack(model)
    return call


def _in(model: torch.nn.Module, precision: str) -> torch.nn.Module:
    return model.bfloat16() if precision == "bf16" else model


def _cast(given: dict[str, Any], precision: str) -> dict[str, Any]:
    if precision == "fp32":
        return given
    return {name: x.bfloat16() if x.is_floating_point() else x for name, x in given.items()}


@torch.inference_mode()
def serve(name: str) -> None:
    """One implementation's process: a line of standard input builds a row's model, an empty one runs it and tells the
    seconds. Ours has its memory set as `sensorium.load` does; the peer's is as its user finds it."""
    if name == "sensorium":
        keep_freed_memory()
    built, call, given = None, None, dict[str, Any]()
    for line in sys.stdin:
        if asked := line.split("\t")[:-1]:
            row, batch, precision, threads = asked
            torch.set_num_threads(int(threads))
            torch.manual_seed(0)
            subject = SUBJECTS[row]()
            if built != (row, precision):
                call, built = None, (row, precision)  # the model before is freed first
                call = implementation(subject, name, precision)
            given = _cast(subject.inputs(int(batch)), precision)
            print("absent" if call is None else "ready", flush=True)
        elif call is not None:
            start = time.perf_counter()
            call(given)
            print(time.perf_counter() - start, flush=True)


def measure(
    children: dict[str, Child], row: str, batch: int, how: Any, rounds: int, seconds: float
) -> dict[str, float]:
    """Median milliseconds of every implementation that the row has; they run in turn."""
    runs = {name: child for name, child in children.items() if child(row, batch, *how) == "ready"}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for child in runs.values():
        child()
    begun = time.perf_counter()
    while len(times["sensorium"]) < rounds and time.perf_counter() - begun < seconds:
        for name, child in runs.items():
            times[name].append(float(child()))
    return {name: 1e3 * statistics.median(some) for name, some in times.items()}


@torch.inference_mode()
def peak(row: str, name: str, batch: int, precision: str) -> float | None:
    """MiB that this process needs at most for one implementation: see `memory`."""
    subject = SUBJECTS[row]()
    with torch.device("meta"):  # imports all that the model needs, and takes no memory for its weights
        if (subject.ours() if name == "sensorium" else subject.theirs(name)) is None:
            return None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    torch.manual_seed(0)
    call, given = implementation(subject, name, precision), _cast(subject.inputs(batch), precision)
    assert call is not None
    for _ in range(2):
        call(given)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024  # Linux counts in KiB


def memory(row: str, batch: int, precision: str) -> dict[str, float]:
    """MiB of every implementation, each in a process of its own.

    The peak of the resident set after building the model, packing it (ours) and running a batch twice, less the peak
    after importing the same libraries and building the same model without numbers.
    """
    found: dict[str, float] = {}
    for name in NAMES:
        child = [sys.executable, __file__, "--peak", row, name, str(batch), precision]
        told = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1]
        if told != "None":
            found[name] = float(told)
    return found


def main() -> None:
    """Print one table for each number of threads and each precision."""
    if sys.argv[1:2] == ["--peak"]:
        row, name, batch, precision = sys.argv[2:]
        print(peak(row, name, int(batch), precision))
        return
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(SUBJECTS), help="rows that begin with one of these")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, torch.get_num_threads()])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=20, help="a row stops here, after whole rounds")
    parser.add_argument("--memory", action="store_true", help="peak memory in place of times, at batch 8")
    asked = parser.parse_args()
    rows = [row for row in SUBJECTS if row.startswith(tuple(asked.only))]
    if asked.memory:
        for precision in asked.precision:
            print(f"\n{precision}, batch 8; MiB at the peak, beyond the imports\n")
            print("| | sensorium | eager | sdpa | ratio |")
            print("|---|---|---|---|---|")
            for row in rows:
                found = memory(row, 8, precision)
                best = min(size for name, size in found.items() if name != "sensorium")
                cells = [f"{found[name]:.0f}" if name in found else "" for name in NAMES]
                print(f"| {row} | {' | '.join(cells)} | {found['sensorium'] / best:.2f} |", flush=True)
        return
    children = {name: Child(__file__, name) for name in NAMES}
    for threads in dict.fromkeys(asked.threads):
        for precision in asked.precision:
            print(f"\n{threads} thread{'s' * (threads > 1)}, {precision}; milliseconds, medians\n")
            print("| | batch | sensorium | eager | sdpa | ratio | goal |")
            print("|---|---|---|---|---|---|---|")
            for row in rows:
                subject = SUBJECTS[row]()
                for batch in asked.batch:
                    found = measure(children, row, batch, (precision, threads), asked.rounds, asked.seconds)
                    best = min(time for name, time in found.items() if name != "sensorium")
                    goal = subject.goals[precision == "bf16"]
                    cells = [f"{found[name]:.1f}" if name in found else "" for name in NAMES]
                    line = f"| {row} | {batch} | {' | '.join(cells)} | {best / found['sensorium']:.2f} | {goal or ''} |"
                    print(line, flush=True)


if __name__ == "__main__":
    main()

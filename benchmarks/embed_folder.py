"""Images per second from a folder of JPEGs to stored vectors: Sensorium's index beside the loop that users write.

    python benchmarks/embed_folder.py                      # 1,000 JPEGs of 1024x768, three rounds
    python benchmarks/embed_folder.py --images 100 --rounds 1

Both run CLIP ViT-B/32 with the same random weights on all cores. The peer is transformers: a DataLoader with two
workers, Pillow and CLIPImageProcessor's arithmetic, batches of 32, the model in fp32 and, where the CPU multiplies it,
in bf16; it keeps its vectors in one .npy file. Sensorium runs `Index.update`, which also records every file in SQLite.
Rounds alternate, so that a change in the machine's speed meets both. The share of the GEMM peak counts the model's
multiplications only, against the best of several large fp32 products in the same run.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data as photographs
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPConfig, CLIPModel

from sensorium.data.preprocess import clip
from sensorium.search.index import Index
from sensorium.tasks.embedding import choose
from sensorium.tasks.loading import load

GFLOP_PER_IMAGE = 2 * (12 * (50 * 12 * 768**2 + 2 * 50 * 50 * 768) + 49 * 3072 * 768) / 1e9
BATCH = 32


class Folder(Dataset[torch.Tensor]):
    """The plain loop's data set: Pillow, bicubic, centre crop, normalise."""

    def __init__(self, files: list[Path]) -> None:
        self.files, self.preprocess = files, clip(224)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> torch.Tensor:
        with Image.open(self.files[i]) as image:
            return self.preprocess(image)


def make_jpegs(folder: Path, count: int) -> list[Path]:
    """Crops of scikit-image's photographs, scaled to 1024x768: real content, every file different."""
    sources = [photographs.astronaut(), photographs.chelsea(), photographs.coffee(), photographs.rocket()]
    rng = np.random.default_rng(0)
    files: list[Path] = []
    for i in range(count):
        image = Image.fromarray(sources[i % len(sources)])
        width = int(image.width * rng.uniform(0.6, 1.0))
        height = min(image.height, width * 3 // 4)
        left, top = (int(rng.integers(0, n + 1)) for n in (image.width - width, image.height - height))
        picture = image.crop((left, top, left + width, top + height)).resize((1024, 768), Image.Resampling.BICUBIC)
        files.append(folder / f"{i:05d}.jpg")
        picture.save(files[-1], quality=88)
    return files


def plain_loop(model: CLIPModel, files: list[Path], out: Path, dtype: torch.dtype) -> None:
    """What a user of transformers writes."""
    vectors: list[torch.Tensor] = []
    with torch.inference_mode():
        for pixels in DataLoader(Folder(files), batch_size=BATCH, num_workers=2):
            features = model.get_image_features(pixel_values=pixels.to(dtype)).pooler_output
            vectors.append(torch.nn.functional.normalize(features.float(), dim=-1))
    np.save(out, torch.cat(vectors).numpy())


def gemm_peak() -> float:
    """GFLOP/s of the best of a few large fp32 products on all threads."""
    a, b = torch.randn(3072, 3072), torch.randn(3072, 3072)
    seconds = []
    for _ in range(6):
        begin = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - begin)
    return 2 * 3072**3 / min(seconds) / 1e9


def main() -> None:
    """Run the rounds and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    bf16 = choose("cpu", "auto")[1] == "bf16"

    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "photos").mkdir()
        files = make_jpegs(root / "photos", arguments.images)
        torch.manual_seed(0)
        peer = CLIPModel(CLIPConfig()).eval()
        peer.save_pretrained(root / "clip")
        rounds = 0

        def ours(precision: str) -> Callable[[], None]:
            embedder = load(root / "clip", device="cpu", precision=precision)

            def run() -> None:
                nonlocal rounds
                rounds += 1
                index = Index.open(root / f"index-{rounds}", embedder)
                report = index.update([root / "photos"])
                index.close()
                assert report.added == len(files)

            return run

        runs: dict[str, Callable[[], None]] = {
            "transformers fp32": lambda: plain_loop(peer, files, root / "peer.npy", torch.float32),
            "sensorium fp32": ours("fp32"),
        }
        if bf16:
            half = CLIPModel.from_pretrained(root / "clip", dtype=torch.bfloat16).eval()
            runs["transformers bf16"] = lambda: plain_loop(half, files, root / "peer.npy", torch.bfloat16)
            runs["sensorium bf16"] = ours("bf16")

        peak = gemm_peak()
        speed: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(arguments.rounds):
            for name, run in runs.items():
                begin = time.perf_counter()
                run()
                speed[name].append(len(files) / (time.perf_counter() - begin))
                print(f"  {name}: {speed[name][-1]:.1f} images/s", flush=True)
        peak = max(peak, gemm_peak())

    print(
        f"\n{arguments.images} JPEGs of 1024x768, {arguments.rounds} rounds, {torch.get_num_threads()} threads, medians"
    )
    medians = {name: statistics.median(values) for name, values in speed.items()}
    for name, value in medians.items():
        share = f"   {value * GFLOP_PER_IMAGE / peak:4.0%} of the fp32 GEMM peak" if "fp32" in name else ""
        print(f"{name:20} {value:7.1f} images/s{share}")
    print(f"{'fp32 GEMM peak':20} {peak:7.0f} GFLOP/s; a limit of {peak / GFLOP_PER_IMAGE:.1f} images/s in fp32")
    print(f"ratio at fp32: {medians['sensorium fp32'] / medians['transformers fp32']:.2f}")
    if bf16:
        print(f"ratio at bf16: {medians['sensorium bf16'] / medians['transformers bf16']:.2f}")
        print(f"bf16 against their fp32: {medians['sensorium bf16'] / medians['transformers fp32']:.2f}")
    else:
        print("bf16: this CPU has no instructions for it (it would be emulated, several times slower); not measured")


if __name__ == "__main__":
    main()

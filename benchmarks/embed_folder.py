"""Images per second from a folder of JPEGs to stored vectors: Sensorium's index beside the loop that users write.

    python benchmarks/embed_folder.py                      # 1,000 JPEGs of 1024x768, three rounds
    python benchmarks/embed_folder.py --images 100 --rounds 1

Both run CLIP ViT-B/32 with the same random weights on all cores, each in a process of its own. The peer is
transformers: a DataLoader with two workers, Pillow and CLIPImageProcessor's arithmetic, batches of 32, the model in
fp32 and, where the CPU multiplies it, in bf16; it keeps its vectors in one .npy file. Sensorium runs `Index.update`,
which also records every file in SQLite. Rounds alternate, so that a change in the machine's speed meets both. The share
of the GEMM peak counts the model's multiplications only, against the best of several large fp32 products of torch's.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

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

sys.path.insert(0, str(Path(__file__).parent))
from child import Child

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


def serve(side: str, root: Path) -> None:
    """One side's process: for every precision asked for, the seconds from the folder to stored vectors."""
    files, rounds = sorted((root / "photos").iterdir()), 0
    for line in sys.stdin:
        precision: Literal["fp32", "bf16"] = "bf16" if line.split() == ["bf16"] else "fp32"
        if side == "transformers":
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            model = CLIPModel.from_pretrained(root / "clip", dtype=dtype).eval()
            begin = time.perf_counter()
            plain_loop(model, files, root / "peer.npy", dtype)
        else:
            embedder = load(root / "clip", device="cpu", precision=precision)
            rounds += 1
            begin = time.perf_counter()
            index = Index.open(root / f"index-{rounds}", embedder)
            report = index.update([root / "photos"])
            index.close()
            assert report.added == len(files)
        print(time.perf_counter() - begin, flush=True)


def main() -> None:
    """Run the rounds and print medians and ratios."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], Path(sys.argv[3]))
        return
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
        CLIPModel(CLIPConfig()).eval().save_pretrained(root / "clip")
        sides = {side: Child(__file__, side, str(root)) for side in ("transformers", "sensorium")}
        precisions = ("fp32", "bf16") if bf16 else ("fp32",)
        runs = {f"{side} {precision}": (child, precision) for precision in precisions for side, child in sides.items()}

        peak = gemm_peak()
        speed: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(arguments.rounds):
            for name, (child, precision) in runs.items():
                speed[name].append(len(files) / float(child(precision)))
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

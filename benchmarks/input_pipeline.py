"""How many samples a second the input of training alone delivers: read, decode, crop, tokenise, collate.

    python benchmarks/input_pipeline.py            # [--batch 64] [--seconds 5]

JPEGs are 500 x 375 crops of the photographs that scikit-image carries, made in a temporary folder (quality 90); emoji
are the rendered array of `sensorium data fetch emoji`. Every row is measured with batches prepared by the process
itself, by one worker and by two; each for some seconds after the workers' start. The last column divides by the
computing time of one process instead of the clock, which tells more on a machine that others use.
"""

import argparse
import importlib.util
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sensorium.data import emoji
from sensorium.data.augment import Augment, ResizedCrop, SquareCrop, one_text
from sensorium.data.errors import SensoriumError
from sensorium.data.image import read_image
from sensorium.data.sources import open_source
from sensorium.data.stream import Prepare, Source, Stream
from sensorium.data.tokenizer import ClipTokenizer

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg", "retina.jpg")


def make_jpegs(folder: Path, count: int) -> None:
    """Crops of real photographs, each with a caption beside it."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise SensoriumError("the photographs stand in scikit-image: pip install scikit-image")
    data = Path(spec.submodule_search_locations[0]) / "data"
    pictures = [read_image(data / name) for name in PHOTOGRAPHS if (data / name).is_file()]
    chance = np.random.default_rng(0)
    for i in range(count):
        picture = pictures[i % len(pictures)]
        width = int(min(picture.width, picture.height * 4 / 3) * chance.uniform(0.7, 1))
        left, top = (
            chance.integers(0, picture.width - width + 1),
            chance.integers(0, picture.height - width * 3 // 4 + 1),
        )
        crop = picture.crop((left, top, left + width, top + width * 3 // 4)).resize(
            (500, 375), Image.Resampling.LANCZOS
        )
        out = io.BytesIO()
        crop.save(out, "JPEG", quality=90)
        (folder / f"{i:05}.jpg").write_bytes(out.getvalue())
        (folder / f"{i:05}.txt").write_text(f"a photo of number {i}, cut out of a larger photograph")


def preparing(augment: Augment, context: int) -> Prepare:
    """Pixels and token ids of a sample."""
    tokenizer = ClipTokenizer()

    def prepare(sample, generator):
        text = one_text(sample, generator)
        return {"image": augment(sample["image"], generator), "text": tokenizer([text], context)[0]}

    return prepare


def rate(source: Source, prepare: Prepare, batch: int, workers: int, seconds: float) -> tuple[float, float]:
    """Samples a second after the first four batches; and samples a second of this process's own computing."""
    batches = Stream(sources=[source], prepare=prepare).batches(batch, start=0, steps=1_000_000, workers=workers)
    for _ in range(4):
        next(batches)
    started, busy, count = time.perf_counter(), time.process_time(), 0
    while (passed := time.perf_counter() - started) < seconds:
        next(batches)
        count += batch
    batches.close()
    return count / passed, count / (time.process_time() - busy)


def main() -> None:
    """Print a line a source and augmentation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as in a worker
    with tempfile.TemporaryDirectory() as folder:
        make_jpegs(Path(folder), 600)
        rows: list[tuple[str, Callable[[], Source], Augment, int]] = [
            ("JPEG 500x375, CLIP's crop to 224", lambda: open_source(folder), SquareCrop(224), 77),
            ("JPEG 500x375, ViT's crop to 224", lambda: open_source(folder), ResizedCrop(224), 77),
            ("JPEG 500x375, CLIP's crop to 64", lambda: open_source(folder), SquareCrop(64), 32),
            ("emoji 64, CLIP's crop, zoom 1.2", emoji.emoji, SquareCrop(64, zoom=1.2), 32),
        ]
        print(f"samples a second, batch {arguments.batch}")
        print(f"{'':<36}{'alone':>9}{'1 worker':>10}{'2 workers':>10}{'of CPU time':>13}")
        for name, source, augment, context in rows:
            prepare = preparing(augment, context)
            rates = [rate(source(), prepare, arguments.batch, n, arguments.seconds) for n in (0, 1, 2)]
            (alone, busy), (one, _), (two, _) = rates
            print(f"{name:<36}{alone:>9,.0f}{one:>10,.0f}{two:>10,.0f}{busy:>13,.0f}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except SensoriumError as error:
        raise SystemExit(str(error)) from None

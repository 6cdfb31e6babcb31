"""A film of two hours and a sound of one, indexed, killed and gone on with: python benchmarks/long_media.py [--model M]

Both are made here: a film (160 x 120, 5 frames a second, a key frame every 5 s, with sound) of colours that change, a
sound of tones at 44.1 kHz. A process indexes them and is killed in the middle of each; another
goes on. Reported: the peak of memory beyond the loaded model's, pieces a second, how many pieces were embedded, and
whether what is stored is whole, without a gap and without a double.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

import sensorium
from sensorium.search.index import Index, Progress

RATE, FRAMES = 44_100, 5


def make_film(path: Path, seconds: int) -> None:
    """Colours and bars that move, and a tone of 16 kHz samples."""
    across = np.linspace(0, 1, 160, dtype=np.float32)[None, :, None]
    with av.open(str(path), "w") as container:
        film, sound = container.add_stream("mpeg4", rate=FRAMES), container.add_stream("aac", rate=16000, layout="mono")
        film.width, film.height, film.pix_fmt, film.gop_size, film.bit_rate = 160, 120, "yuv420p", 5 * FRAMES, 200_000
        for second in range(seconds):
            tint = np.array([second % 97 / 97, second % 53 / 53, second % 29 / 29], np.float32)
            for n in range(FRAMES):
                row = (across + n / FRAMES) % 1 * tint * 255
                pixels = np.ascontiguousarray(np.broadcast_to(row, (120, 160, 3)).astype(np.uint8))
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = second * FRAMES + n, Fraction(1, FRAMES)
                container.mux(film.encode(frame))
            heard = av.AudioFrame.from_ndarray(tone(second, 16000)[None], format="fltp", layout="mono")
            heard.rate, heard.pts, heard.time_base = 16000, second * 16000, Fraction(1, 16000)
            container.mux(sound.encode(heard))
        for stream in (film, sound):
            container.mux(stream.encode())


def make_sound(path: Path, seconds: int) -> None:
    """A tone that changes every second."""
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for second in range(seconds):
            file.write(tone(second, RATE))


def tone(second: int, rate: int) -> np.ndarray:
    """One second of it."""
    times = np.arange(rate, dtype=np.float32) / rate
    return (0.4 * np.sin(2 * np.pi * (200 + 37 * (second % 40)) * times)).astype(np.float32)


def serve(place: Path, files: list[Path], model: str) -> None:
    """Index, and tell of every commit in a line."""
    embedder = sensorium.load(model)
    assert not isinstance(embedder, sensorium.Loaded)
    print("loaded", memory(os.getpid(), "VmHWM"), flush=True)

    def told(progress: Progress) -> None:
        print("at", progress.detail or "-", flush=True)

    with Index.open(place, embedder) as index:
        report = index.update(files, progress=told)
        print("done", report.embedded, {**report.skipped}, [str(each) for each in report.unreadable], flush=True)


def memory(process: int, field: str) -> int:
    """MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field))) // 1024


def run(arguments: list[str], until: str | None) -> Iterator[tuple[str, int, float]]:
    """Lines of a serving process with its peak memory and the time; killed at the first that begins with `until`."""
    command = [sys.executable, __file__, "--serve", *arguments]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield line.strip(), memory(process.pid, "VmHWM"), time.monotonic() - began
            if until is not None and line.startswith(until):
                process.send_signal(signal.SIGKILL)
                return


def stored(place: Path) -> dict[str, tuple[int, bool, bool]]:
    """For each file: its pieces, whether these are numbered without gap or double, and whether it is whole."""
    found: dict[str, tuple[int, bool, bool]] = {}
    with Index.open(place, create=False) as index:
        for item in index.items():
            numbers = [spot.number for spot in index.store.spots(item.digest).values()]
            vectors = len(index.store.vectors(item.digest))
            right = numbers == list(range(len(numbers))) and vectors == len(numbers)
            found[item.path.name] = (len(numbers), right, item.whole)
    return found


def clock(seconds: int) -> str:
    """As progress tells it, to the minute."""
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--film", type=int, default=7200, help="seconds")
    parser.add_argument("--sound", type=int, default=3600, help="seconds")
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(Path(asked.serve[0]), list(map(Path, asked.serve[1:])), asked.model)
        return
    with tempfile.TemporaryDirectory() as scratch:
        top, place = Path(scratch), Path(scratch) / "index"
        files = [top / "film.mp4", top / "sound.wav"]
        make_film(files[0], asked.film)
        make_sound(files[1], asked.sound)
        for file in files:
            print(f"{file.name:12} {file.stat().st_size / 2**20:8.1f} MiB")
        arguments = [str(place), *map(str, files), "--model", asked.model]
        for until in (f"at film.mp4 {clock(asked.film // 2)}", f"at sound.wav {clock(asked.sound // 2)}", None):
            before = sum(pieces for pieces, _, _ in stored(place).values()) if place.exists() else 0
            told = list(run(arguments, until))
            (loaded, _, first), (last, peak, seconds) = told[0], told[-1]
            base = int(loaded.split()[1])
            kept = stored(place)
            new = sum(pieces for pieces, _, _ in kept.values()) - before
            print(f"{'killed' if until and not last.startswith('done') else 'ended'} at: {last}")
            print(f"    {new:,} pieces in {seconds - first:.0f} s: {new / (seconds - first):.1f} a second")
            print(f"    peak memory {peak:,} MiB, of which the loaded model is {base:,}")
            for name, (pieces, right, whole) in kept.items():
                print(f"    {name}: {pieces:,} pieces, numbered {'right' if right else 'WRONG'}, whole: {whole}")
            if last.startswith("done"):
                break


if __name__ == "__main__":
    main()

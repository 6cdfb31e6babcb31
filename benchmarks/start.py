"""Cold start: from a new process to the first vector, beside `import torch` alone.

    python benchmarks/start.py [--rounds 5]

Each round starts every command anew, in turn; medians of wall time and of CPU time.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "import torch": "import torch",
    "sensorium --help": "import sys; sys.argv = ['sensorium', '--help']; import sensorium.app.cli as c; c.main()",
    "load pocket, embed a text": "import sensorium; sensorium.load('pocket').embed(text=['a cat'])",
    "transformers, import CLIP": "from transformers import CLIPModel, CLIPTokenizer",
}


def measure(code: str) -> tuple[float, float]:
    """Wall and CPU seconds of a new interpreter that runs `code`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL, env={**os.environ})
    wall = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Run the rounds and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for code in COMMANDS.values():
        measure(code)  # warms the disk cache
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, code in COMMANDS.items():
            seconds[name].append(measure(code))
    base = statistics.median(wall for wall, _ in seconds["import torch"])
    for name, taken in seconds.items():
        wall, cpu = (statistics.median(column) for column in zip(*taken, strict=True))
        print(f"{name:28} {wall:6.2f} s wall   {cpu:6.2f} s CPU   {wall / base:5.2f} x import torch")


if __name__ == "__main__":
    main()

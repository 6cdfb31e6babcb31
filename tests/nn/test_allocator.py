import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import os, resource, sys, torch
from sensorium.nn.allocator import keep_freed_memory
print(keep_freed_memory())
x = torch.ones(8 << 20)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    y = (x + 1) * 2
    del y
begun = faults()
for _ in range(10):
    y = (x + 1) * 2
    del y
print(faults() - begun)
"""


def run(**more: str) -> tuple[str, int]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | more
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=environment)
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_a_freed_block_is_taken_again_without_touching_new_pages() -> None:
    kept, faults = run()
    assert kept == "True"
    assert faults < 40_000  # of 20 blocks of 8192 pages each; the heap may still grow by one or two


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_what_the_user_has_chosen_stays() -> None:
    kept, faults = run(MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="131072")
    assert kept == "False"
    assert faults > 50_000

"""Memory that inference frees is kept for the next layer, where the C library would hand it back to the system.

A batch's activations are tens of megabytes each. glibc maps blocks of that size anew every time, and the kernel then
fills them page by page: a fifth of a CLIP ViT-B/32's time on a CPU. Kept blocks cost nothing to take again.
"""

import ctypes
import os
import sys
from functools import cache

KEPT = 1 << 29  # bytes of freed memory that stay with the process at most
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt(3)


@cache
def keep_freed_memory() -> bool:
    """Tell glibc, once a process, to keep up to half a gigabyte of freed memory; False where there is no glibc.

    It is a setting of the whole process; where MALLOC_TRIM_THRESHOLD_ or MALLOC_MMAP_THRESHOLD_ stand in the
    environment, the user has chosen, and nothing is set.
    """
    if not sys.platform.startswith("linux") or {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & set(os.environ):
        return False
    try:
        tune = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl and others
        return False
    # glibc before 2.35 takes no more than 32 MB for the first
    return bool((tune(MMAP_THRESHOLD, KEPT) or tune(MMAP_THRESHOLD, 1 << 25)) and tune(TRIM_THRESHOLD, KEPT))

"""What glibc does with the memory that a training step frees: keeps it for the next step, and gives it back at times.

Other C libraries (macOS, musl) lack these calls; there, both functions do nothing.
"""

from __future__ import annotations

import ctypes


def keep_freed_memory() -> None:
    """Tells glibc to keep large freed blocks: asking the kernel for them anew doubles the cost of a training step."""
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGE = -1, -3, 2**31 - 1
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
        libc.mallopt(M_TRIM_THRESHOLD, LARGE)


def give_back_freed_memory() -> None:
    """Gives pages that hold nothing back to the kernel: batches of ever new sizes leave gigabytes of gaps."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)

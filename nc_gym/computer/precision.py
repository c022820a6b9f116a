"""Which number format a device computes fastest in: GPUs and newer CPUs have bf16 units, older CPUs emulate them."""

from __future__ import annotations

import time

import torch


def fastest_dtype(device: torch.device) -> torch.dtype:
    """Returns bfloat16 or, on a CPU whose float32 matrix products are faster, float32."""
    if device.type != "cpu":
        return torch.bfloat16
    return min((torch.bfloat16, torch.float32), key=_seconds_per_product)


def running_dtype(device: torch.device, paints_patches: bool) -> torch.dtype:
    """Returns the format that a computer runs in; on CPUs only products as wide as those of patches all gain by bf16.

    Batches of terminals gain on some CPUs with bf16 units (an AMD EPYC) and lose on others (an Intel Xeon).
    """
    return fastest_dtype(device) if paints_patches or device.type != "cpu" else torch.float32


def _seconds_per_product(dtype: torch.dtype, size: int = 256) -> float:
    """Times products of square matrices on the CPU; the best of three, after one to warm up."""
    a = torch.ones(size, size, dtype=dtype)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])

"""Which number format a device computes fastest in: GPUs and newer CPUs have bf16 units, older CPUs emulate them."""

from __future__ import annotations

import time

import torch


def fastest_dtype(device: torch.device) -> torch.dtype:
    """Returns bfloat16 or, on a CPU whose float32 matrix products are faster, float32."""
    if device.type != "cpu":
        return torch.bfloat16
    return min((torch.bfloat16, torch.float32), key=_seconds_per_product)


def _seconds_per_product(dtype: torch.dtype, size: int = 256) -> float:
    """Times products of square matrices on the CPU; the best of three, after one to warm up."""
    a = torch.ones(size, size, dtype=dtype)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])

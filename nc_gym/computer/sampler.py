"""The sampler: integrates the renderer's flow from noise to clean latents, with noise that belongs to each row.

Noise is counter-based: a hash of (row seed, tiles drawn since the boot, dimension), so a row's screens do not depend on
its neighbours, on the batch, or on torch's global generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64, the increment of splitmix64
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def splitmix64(x: Tensor) -> Tensor:
    """The finaliser of splitmix64 (Steele et al. 2014) on int64, wrapping around."""
    x = x + _GOLDEN
    x = (x ^ _shift_right(x, 30)) * _MIX_1
    x = (x ^ _shift_right(x, 27)) * _MIX_2
    return x ^ _shift_right(x, 31)


def row_noise(seeds: Tensor, counters: Tensor, dim: int) -> Tensor:
    """Returns standard normal noise (P, dim), a function of each entry's seed (P,) and counter (P,) alone."""
    stream = splitmix64(splitmix64(seeds) ^ counters)
    index = torch.arange(dim, device=seeds.device)
    bits = splitmix64(stream[:, None] + index * _GOLDEN)  # (P, dim)
    u, v = _shift_right(bits, 40), bits & ((1 << 24) - 1)  # two 24-bit uniforms per number
    radius = torch.sqrt(-2 * torch.log((u.float() + 1) / (1 << 24)))
    return radius * torch.cos(v.float() * (2 * math.pi / (1 << 24)))  # Box-Muller


class FlowSampler:
    """Euler steps along dz/ds = (z - x)/s on an even grid from s = 1 to 0."""

    def __init__(self, denoise_steps: int) -> None:
        if denoise_steps < 1:
            raise ValueError(f"denoise_steps={denoise_steps}; at least 1 step is needed")
        self.denoise_steps = denoise_steps
        scheduler = FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(sigmas=[1 - i / denoise_steps for i in range(denoise_steps)])
        self.levels = [float(s) for s in scheduler.sigmas]

    def sample(self, denoise: Callable[[Tensor, float], Tensor], noise: Tensor) -> Tensor:
        """Returns clean latents (P, d_z) from noise (P, d_z); ``denoise(z, s)`` estimates the clean latents."""
        z = noise
        for s, s_next in zip(self.levels, self.levels[1:], strict=False):
            x = denoise(z, s)
            z = x if s_next == 0 else z + (s_next - s) * (z - x) / s
        return z

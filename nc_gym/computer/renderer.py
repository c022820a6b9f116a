"""The scout and the renderer: from h_t to the damage, and from noise to the damaged tiles, x_{t+1} ~ G(h_t).

The scout names the motion, the number and the places of the tiles that the log's token draws. The renderer is a
denoiser of tile latents under rectified flow (Lipman et al. 2023), x-prediction: given a noisy latent
z_s = (1 - s) x + s eps, the noise level s, h_t, the place and the framebuffer around it, it estimates the clean x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.event_log import norm


@dataclass
class Damage:
    """Logits of the scout, for M tokens and S slots."""

    shift: Tensor  # (M, rows + 1)
    count: Tensor  # (M, S + 1)
    more: Tensor  # (M, 2)
    row: Tensor  # (M, S, rows)
    col: Tensor  # (M, S, columns)


class Scout(nn.Module):
    """One linear reading of h_t (M, d)."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        S, R, C = config.group, config.tile_rows, config.tile_columns
        self.sizes = [R + 1, S + 1, 2, S * R, S * C]
        self.slots = S
        self.read = nn.Linear(config.width, sum(self.sizes))

    def forward(self, h: Tensor) -> Damage:
        """Reads the damage off h (M, d)."""
        shift, count, more, row, col = self.read(h).split(self.sizes, -1)
        return Damage(shift, count, more, row.unflatten(-1, (self.slots, -1)), col.unflatten(-1, (self.slots, -1)))


class Foresight(nn.Module):
    """Told the next event, names the codes of the tiles that the next tokens will draw: a training target and a draft.

    A later tile can be guessed from the tiles before it; the first token of an event must have worked out all of them,
    and the token before it may begin to.
    """

    def __init__(self, config: NeuralComputerConfig, width: int = 64) -> None:
        super().__init__()
        self.gate = nn.Embedding(config.num_events + 1, config.width)
        self.slots = nn.Linear(config.width, config.foresight * config.group * width, bias=False)
        self.codes = nn.Linear(width, config.num_codes)
        nn.init.ones_(self.gate.weight)

    def forward(self, h: Tensor, event: Tensor) -> Tensor:
        """Maps h (M, d) and the next token's event (M,) to (M, foresight * S, width), which ``codes`` reads."""
        return norm(self.slots(h * self.gate(event)).unflatten(-1, (-1, self.codes.in_features)))


def noise_embedding(s: Tensor, dim: int) -> Tensor:
    """Sinusoids (..., dim) of the noise level s in [0, 1]."""
    frequency = torch.exp(torch.arange(dim // 2, device=s.device) * (math.log(1000.0) / (dim // 2)))
    angle = s[..., None] * frequency
    return torch.cat([angle.cos(), angle.sin()], -1)


class Renderer(nn.Module):
    """Denoises tile latents; every tile is a vector, so one call serves any set of damaged tiles of any rows."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        w, d_z = config.renderer_width, config.latent_dim
        self.slots = nn.Linear(config.width, config.group * w, bias=False)
        self.codes = nn.Linear(w, config.num_codes)  # training target only: the dense supervision of h_t
        self.noisy = nn.Linear(d_z, w)
        self.noise = nn.Linear(64, w)
        self.old = nn.Linear(3 * d_z, w)
        self.row = nn.Embedding(config.tile_rows, w)
        self.col = nn.Embedding(config.tile_columns, w)
        self.ups = nn.ModuleList(nn.Linear(w, 2 * w) for _ in range(config.renderer_layers))
        self.downs = nn.ModuleList(nn.Linear(2 * w, w) for _ in range(config.renderer_layers))
        self.clean = nn.Linear(w, d_z)

    def slot_state(self, h: Tensor) -> Tensor:
        """Splits h (M, d) into one condition per slot (M, S, w)."""
        return norm(self.slots(h).unflatten(-1, (-1, self.noisy.out_features)))

    def condition(self, slot: Tensor, old: Tensor, row: Tensor, col: Tensor) -> Tensor:
        """What does not change while denoising: (P, w) from slot (P, w), old latents (P, 3, d_z), places (P,)."""
        return slot + self.old(old.flatten(1).to(slot.dtype)) + self.row(row) + self.col(col)

    def at_level(self, condition: Tensor) -> Callable[[Tensor, float], Tensor]:
        """Returns what estimates clean latents, float32, from noisy ones that all have the same noise level."""
        return lambda z, s: self(z, torch.full((len(z),), s, device=z.device), condition).float()

    def forward(self, z: Tensor, s: Tensor, condition: Tensor) -> Tensor:
        """Estimates the clean latents x (P, d_z) from noisy z (P, d_z) at noise levels s (P,)."""
        dtype = condition.dtype
        x = condition + self.noisy(z.to(dtype)) + self.noise(noise_embedding(s, 64).to(dtype))
        for up, down in zip(self.ups, self.downs, strict=True):
            x = x + down(F.gelu(up(norm(x)), approximate="tanh"))
        return self.clean(norm(x))

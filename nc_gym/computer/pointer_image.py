"""The pointer's image over the windows that there are after an event.

h_t says an image by itself, but not over which window, or how far from a side of it, the pointer comes to lie when that
event opens, closes, raises or moves one: the window table after the event says so. In: that table, and the pointer's
place. Out: logits that are added to h_t's.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.window_table import TableReader


class PointerImage(nn.Module):
    """Reads the image off the windows around the pointer; it says nothing at first."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.windows = TableReader(config)
        self.read = nn.Linear(config.width, config.num_sprites, bias=False)
        nn.init.normal_(self.windows.down.weight, std=0.02)
        nn.init.normal_(self.windows.hit.weight, std=0.05)
        nn.init.zeros_(self.read.weight)

    def forward(self, table: Tensor, pointer: Tensor) -> Tensor:
        """Maps tables (M, K, FIELDS) and the pointer's columns and rows (M, 2) to logits (M, sprites)."""
        return self.read(F.gelu(self.windows(table, pointer), approximate="tanh"))

"""The window table of a computer with a pointer: what it knows of the open windows, apart from how they look.

Which window comes to the front when another is closed, or which one a click raises, is one choice that hundreds of
tiles must share. So the event log makes it: it reads the table before an event and h_t says the table after it, which
the scout, the painter and the denoiser are told. Learned from the window lists of recordings; in its closed loop the
computer reads what it said itself. A table is int64 (K, FIELDS), one window per row, from the top of the stack down.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nc_gym.computer.config import NeuralComputerConfig

FIELDS = ("state", "title", "task", "left", "top", "right", "bottom")
CLASSES = 120  # values of a field; sides are counted in tiles,
EDGE = 20  # from so many left of the screen and above it
_SIDES = FIELDS.index("left")  # from here on fields are sides
_SEEN = len(FIELDS) + 4 + 2  # fields, the sides as seen from the pointer, and where that is
_CLASS_WIDTH, _WINDOW_WIDTH = 16, 128
_KEPT = 6.0  # what speaks for every window staying as it is before anything is learned


def name_sides(windows: NDArray[np.int16], tile: int) -> NDArray[np.uint8]:
    """Turns the sides of windows (..., FIELDS) from pixels into classes; a window that is absent is all 0."""
    named = windows.astype(np.int64)
    named[..., _SIDES:] = (named[..., _SIDES:] // tile + EDGE).clip(0, CLASSES - 1)
    return np.where(named[..., :1] == 0, 0, named).astype(np.uint8)


class TableReader(nn.Module):
    """Turns a table and where the pointer lies from its windows into one vector, 0 at first."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.value = nn.Embedding(_SEEN * CLASSES, _CLASS_WIDTH)
        self.up = nn.Linear(_SEEN * _CLASS_WIDTH, _WINDOW_WIDTH)
        self.down = nn.Linear(config.windows * _WINDOW_WIDTH, config.width, bias=False)
        nn.init.normal_(self.value.weight, std=0.5)
        nn.init.zeros_(self.down.weight)

    def forward(self, table: Tensor, pointer: Tensor) -> Tensor:
        """Maps tables (..., K, FIELDS) and the pointer's columns and rows (..., 2) to (..., d)."""
        at = pointer[..., None, :].expand(*table.shape[:-1], 2)
        away = (torch.cat([at, at], -1) + 2 * EDGE - table[..., _SIDES:]).clamp(0, CLASSES - 1)
        seen = torch.cat([table, away, at], -1).where(table[..., :1] > 0, 0)
        number = seen + torch.arange(_SEEN, device=seen.device) * CLASSES
        each = F.gelu(self.up(self.value(number).flatten(-2)), approximate="tanh")
        return self.down(each.flatten(-2))


class TableHead(nn.Module):
    """Reads the table after an event off h_t.

    Every field has sources: what a row was before, the same gone along or grown with the pointer, or a new value. The
    likelihood of a value is the sum over the sources that show it, as in the painter. All fields of a row share what
    speaks for the old rows, so that they come from one.
    """

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        K, fields = config.windows, len(FIELDS)
        self.shape = K, fields
        self.new = nn.Linear(config.width, K * fields * CLASSES)
        self.source = nn.Linear(config.width, K * (K + 2 + fields))  # old rows; along, grown; new, field by field
        for layer in (self.new, self.source):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.source.bias.data = F.pad(_KEPT * torch.eye(K), (0, 2 + fields)).flatten()

    def forward(self, h: Tensor, table: Tensor, moved: Tensor) -> Tensor:
        """Returns the likelihood of every value, float32 (M, K, FIELDS, CLASSES).

        Args:
            h: (M, d).
            table: before the event, (M, K, FIELDS).
            moved: columns and rows by which the event moved the pointer, (M, 2).
        """
        K, fields = self.shape
        was, along, grows, new = self.source(h).float().unflatten(-1, (K, -1)).split([K, 1, 1, fields], -1)
        never = torch.full_like(along, -torch.inf)
        along = torch.cat([never.expand(-1, -1, _SIDES), along.expand(-1, -1, 4)], -1)
        grows = torch.cat([never.expand(-1, -1, _SIDES + 2), grows.expand(-1, -1, 2)], -1)
        was = was[:, :, None].expand(-1, -1, fields, -1)
        share = torch.cat([was, torch.stack([along, grows, new], -1)], -1).softmax(-1)  # (M, K, FIELDS, K + 3)
        far = F.pad(torch.cat([moved, moved], -1), (_SIDES, 0))[:, None]
        there = (table + far).clamp(0, CLASSES - 1)[..., None]
        before = table.transpose(1, 2)[:, None].expand(-1, K, -1, -1)  # (M, K, FIELDS, K)
        fresh = self.new(h).float().unflatten(-1, (K, fields, CLASSES)).softmax(-1)
        shown = torch.cat([before, there, there], -1)
        return (fresh * share[..., -1:]).scatter_add(-1, shown, share[..., :-1])

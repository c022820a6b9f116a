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

BOX = ("left", "top", "width", "height")
# Of a state 0 is no window, 1 one that is not on the screen; the others are as recordings have them.
FIELDS = ("state", "title", "task", *BOX, *(f"normal {side}" for side in BOX))  # normal: what a window goes back to
CLASSES = 160  # values of a field; boxes are counted in tiles,
EDGE = 64  # places from so many left of the screen and above it
NAMES, SIDES = 3, 4  # fields: names first, then the box, then the normal box
BOXES = slice(NAMES, NAMES + SIDES)
_HIDDEN = 1  # the highest state of a window that is not on the screen
# Fields, right and bottom, the sides as seen from the pointer, its place, near sides, whether it is on the window:
_SEEN = len(FIELDS) + 2 + 4 + 2 + 4 + 1
_NEAR = 12  # those that are fewer tiles away, as what a click hits is decided there; what is farther is all alike
_CLASS_WIDTH, WINDOW_WIDTH = 16, 128


def name_sides(windows: NDArray[np.int16], tile: int) -> NDArray[np.uint8]:
    """Turns the boxes of windows (..., FIELDS) from pixels into classes; a window that is absent is all 0."""
    named = windows.astype(np.int64)
    named[..., NAMES:] //= tile
    for first in (NAMES, NAMES + SIDES):
        named[..., first : first + 2] += EDGE  # left and top; width and height are never negative
    named = named.clip(0, CLASSES - 1)
    return np.where(named[..., :1] == 0, 0, named).astype(np.uint8)


def outlines(table: Tensor, config: NeuralComputerConfig) -> Tensor:
    """Returns between which columns and rows of tiles each window of tables (..., K, FIELDS) lies, frame and all.

    Returns:
        left, top, right and bottom (..., K, 4), the last two beyond it.
    """
    left, top, right, bottom = config.frame
    near, size = table[..., BOXES].split(2, -1)
    near = near - EDGE
    grown = torch.tensor([-left, -top, right, bottom], device=table.device)
    return torch.cat([near, near + size], -1) + grown


def covers(table: Tensor, place: Tensor, config: NeuralComputerConfig) -> Tensor:
    """Returns whether each window of tables (..., K, FIELDS) lies at columns and rows (..., 2), bool (..., K)."""
    begin, end = outlines(table, config).split(2, -1)
    at = place[..., None, :]
    return ((at >= begin) & (at < end)).all(-1) & (table[..., 0] > _HIDDEN)


def hits(table: Tensor, pointer: Tensor, config: NeuralComputerConfig) -> Tensor:
    """Returns whether pointers (..., 2) are on each window of tables (..., K, FIELDS), int64 (..., K).

    0 is beside it, 1 on it but a window above it is there too, 2 on it.
    """
    on = covers(table, pointer, config)
    return on.long() + (on & (on.cumsum(-1) == 1))


class WindowPlace(nn.Module):
    """Tells how far places are from the sides of the topmost window there, as what it shows does; 0 at first."""

    def __init__(self, config: NeuralComputerConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.sides = nn.ModuleList(nn.Embedding(CLASSES, width) for _ in range(SIDES))
        for side in self.sides:
            nn.init.zeros_(side.weight)  # type: ignore[arg-type]  # of an Embedding

    def forward(self, table: Tensor, place: Tensor) -> Tensor:
        """Maps tables (..., K, FIELDS) and columns and rows of tiles (..., 2) to (..., width)."""
        top = hits(table, place, self.config) == 2
        near, far = (outlines(table, self.config) * top[..., None]).sum(-2).split(2, -1)
        away = torch.cat([place - near + 1, far - place], -1)  # from 1 on; 0 is for places in no window
        away = (away * top.any(-1, keepdim=True)).clamp(max=CLASSES - 1)
        first, *others = (side(n) for side, n in zip(self.sides, away.unbind(-1), strict=True))
        return sum(others, first)


class WindowReader(nn.Module):
    """Turns each window of a table and where the pointer lies from it into one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Embedding(_SEEN * CLASSES, _CLASS_WIDTH)
        self.up = nn.Linear(_SEEN * _CLASS_WIDTH, WINDOW_WIDTH)
        nn.init.normal_(self.value.weight, std=0.5)

    def forward(self, table: Tensor, pointer: Tensor, hit: Tensor) -> Tensor:
        """Maps tables (..., K, FIELDS), the pointer's columns and rows (..., 2) and ``hits`` to (..., K, w)."""
        at = pointer[..., None, :].expand(*table.shape[:-1], 2)
        near = table[..., NAMES : NAMES + 2]
        far = near + table[..., NAMES + 2 : NAMES + SIDES]
        away = torch.cat([at, at], -1) + EDGE - torch.cat([near, far], -1)
        close = away.clamp(-_NEAR, _NEAR) + _NEAR
        seen = torch.cat([table, far, away + EDGE, at, close, hit[..., None]], -1).clamp(0, CLASSES - 1)
        number = seen.where(table[..., :1] > 0, 0) + torch.arange(_SEEN, device=seen.device) * CLASSES
        return F.gelu(self.up(self.value(number).flatten(-2)), approximate="tanh")


class TableReader(nn.Module):
    """Turns a table and where the pointer lies from its windows into one vector, 0 at first.

    What a click does depends on the window that it hits, and hardly on which row of the table that is. So that window
    is read once more by itself, the same way wherever it stands.
    """

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.config, self.window = config, WindowReader()
        self.down = nn.Linear(config.windows * WINDOW_WIDTH, config.width, bias=False)
        self.hit = nn.Linear(WINDOW_WIDTH, config.width, bias=False)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.hit.weight)

    def forward(self, table: Tensor, pointer: Tensor) -> Tensor:
        """Maps tables (..., K, FIELDS) and the pointer's columns and rows (..., 2) to (..., d)."""
        hit = hits(table, pointer, self.config)
        windows = self.window(table, pointer, hit)
        return self.down(windows.flatten(-2)) + self.hit((windows * (hit == 2)[..., None]).sum(-2))

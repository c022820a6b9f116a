"""The window table of a computer with a pointer: what it knows of the open windows, apart from how they look.

Which window comes to the front when another is closed, or which one a click raises, is one choice that hundreds of
tiles must share. So the event log makes it: it reads the table before an event and h_t says the table after it, which
the scout, the painter and the denoiser are told. Learned from the window lists of recordings; in its closed loop the
computer reads what it said itself. A table is int64 (K, FIELDS), one window per row, from the top of the stack down.
"""

from __future__ import annotations

from dataclasses import dataclass

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


class WindowReader(nn.Module):
    """Turns each window of a table and where the pointer lies from it into one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Embedding(_SEEN * CLASSES, _CLASS_WIDTH)
        self.up = nn.Linear(_SEEN * _CLASS_WIDTH, _WINDOW_WIDTH)
        nn.init.normal_(self.value.weight, std=0.5)

    def forward(self, table: Tensor, pointer: Tensor) -> Tensor:
        """Maps tables (..., K, FIELDS) and the pointer's columns and rows (..., 2) to (..., K, w)."""
        at = pointer[..., None, :].expand(*table.shape[:-1], 2)
        away = (torch.cat([at, at], -1) + 2 * EDGE - table[..., _SIDES:]).clamp(0, CLASSES - 1)
        seen = torch.cat([table, away, at], -1).where(table[..., :1] > 0, 0)
        number = seen + torch.arange(_SEEN, device=seen.device) * CLASSES
        return F.gelu(self.up(self.value(number).flatten(-2)), approximate="tanh")


class TableReader(WindowReader):
    """Turns a table and where the pointer lies from its windows into one vector, 0 at first."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.down = nn.Linear(config.windows * _WINDOW_WIDTH, config.width, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, table: Tensor, pointer: Tensor) -> Tensor:
        """Maps tables (..., K, FIELDS) and the pointer's columns and rows (..., 2) to (..., d)."""
        return self.down(super().forward(table, pointer).flatten(-2))


@dataclass
class TableOdds:
    """How likely each table after an event is, for M events: every row is an old row, field by field kept or changed.

    A row's likelihood is the sum over the old rows it may come from of the product over its fields, so that all fields
    come from one window.
    """

    before: Tensor  # (M, K, FIELDS) the table before
    far: Tensor  # (M, 1, FIELDS) tiles by which sides go with the pointer, 0 for other fields
    origin: Tensor  # (M, K, K) which old row each row comes from, log probabilities
    change: Tensor  # (M, K, FIELDS, 4) whether a field is kept, goes along, grows or is new, probabilities
    new: Tensor  # (M, K, FIELDS, CLASSES) new values, probabilities

    def log_likelihood(self, table: Tensor) -> Tensor:
        """Returns the log likelihood of each row of the tables (M, K, FIELDS), float32 (M, K)."""
        kept, along, grown, new = self.change.unbind(-1)  # (M, K, FIELDS) each
        drawn = new * self.new.gather(-1, table[..., None])[..., 0]
        same = table[:, :, None] == self.before[:, None]  # (M, K, K, FIELDS): rows, old rows
        went = table[:, :, None] == _moved(self.before, self.far)[:, None]
        each = drawn[:, :, None] + kept[:, :, None] * same + (along + grown)[:, :, None] * went
        return (self.origin + (each + 1e-9).log().sum(-1)).logsumexp(-1)

    def table(self) -> Tensor:
        """Returns the likeliest table: of each row the likeliest origin, then the likeliest value of each field."""
        origin = self.origin.argmax(-1)[..., None].expand(-1, -1, len(FIELDS))
        old = self.before.gather(1, origin)
        went = _moved(old, self.far)
        shown = torch.stack([old, went, went], -1)
        return (self.new * self.change[..., 3:]).scatter_add(-1, shown, self.change[..., :3]).argmax(-1)


def _moved(table: Tensor, far: Tensor) -> Tensor:
    """Moves the sides of tables (M, K, FIELDS) by ``far`` (M, 1, FIELDS)."""
    return (table + far).clamp(0, CLASSES - 1)


class TableHead(nn.Module):
    """Reads the table after an event off h_t and the windows before it."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        K, fields = config.windows, len(FIELDS)
        self.shape = K, fields
        self.new = nn.Linear(config.width, K * fields * CLASSES)
        self.source = nn.Linear(config.width, K * (K + 2 + fields))  # old rows; along, grown; new, field by field
        self.window = WindowReader()
        self.ask = nn.Linear(config.width, K * _WINDOW_WIDTH, bias=False)  # which window is it, by what it is like
        for layer in (self.new, self.source):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.ask.weight)
        self.source.bias.data = F.pad(_KEPT * torch.eye(K), (0, 2 + fields)).flatten()

    def forward(self, h: Tensor, table: Tensor, pointer: Tensor, moved: Tensor) -> TableOdds:
        """Returns how likely each table after the event is.

        Args:
            h: (M, d).
            table: before the event, (M, K, FIELDS).
            pointer: its column and row after the event, (M, 2).
            moved: columns and rows by which the event moved it, (M, 2).
        """
        K, fields = self.shape
        was, along, grows, new = self.source(h).float().unflatten(-1, (K, -1)).split([K, 1, 1, fields], -1)
        was = was + (self.ask(h).unflatten(-1, (K, -1)) @ self.window(table, pointer).mT).float()
        never = torch.full_like(along, -torch.inf)
        along = torch.cat([never.expand(-1, -1, _SIDES), along.expand(-1, -1, 4)], -1)
        grows = torch.cat([never.expand(-1, -1, _SIDES + 2), grows.expand(-1, -1, 2)], -1)
        kept = was.logsumexp(-1, keepdim=True).expand(-1, -1, fields)
        return TableOdds(
            before=table,
            far=F.pad(torch.cat([moved, moved], -1), (_SIDES, 0))[:, None],
            origin=was.log_softmax(-1),
            change=torch.stack([kept, along, grows, new], -1).softmax(-1),
            new=self.new(h).float().unflatten(-1, (K, fields, CLASSES)).softmax(-1),
        )

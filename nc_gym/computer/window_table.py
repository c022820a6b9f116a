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

BOX = ("left", "top", "width", "height")
FIELDS = ("state", "title", "task", *BOX, *(f"normal {side}" for side in BOX))  # normal: what a window goes back to
CLASSES = 160  # values of a field; boxes are counted in tiles,
EDGE = 64  # places from so many left of the screen and above it
_NAMES, _SIDES = 3, 4  # fields: names first, then the box, then the normal box
BOXES = slice(_NAMES, _NAMES + _SIDES)
_SEEN = len(FIELDS) + 2 + 4 + 2  # fields, right and bottom, the sides as seen from the pointer, and where that is
_CLASS_WIDTH, _WINDOW_WIDTH = 16, 128
_KEPT = 6.0  # what speaks for every window staying as it is before anything is learned
_TWICE = -1e4  # what speaks against a window that is twice: more than all else, and -inf would make all such alike
_MODES = ("kept", "along", "grown", "normal", "free")  # what a box may do, as a whole
_STEPS = (1, 2, 3, 4)  # tiles by which a box may grow: some windows grow by whole characters


def name_sides(windows: NDArray[np.int16], tile: int) -> NDArray[np.uint8]:
    """Turns the boxes of windows (..., FIELDS) from pixels into classes; a window that is absent is all 0."""
    named = windows.astype(np.int64)
    named[..., _NAMES:] //= tile
    for first in (_NAMES, _NAMES + _SIDES):
        named[..., first : first + 2] += EDGE  # left and top; width and height are never negative
    named = named.clip(0, CLASSES - 1)
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
        near = table[..., _NAMES : _NAMES + 2]
        far = near + table[..., _NAMES + 2 : _NAMES + _SIDES]
        away = torch.cat([at, at], -1) + 2 * EDGE - torch.cat([near, far], -1)
        seen = torch.cat([table, far, away, at], -1).clamp(0, CLASSES - 1).where(table[..., :1] > 0, 0)
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
    """How likely each table after an event is, for M events: every row is an old row, kept or changed.

    A row's likelihood is the sum over the old rows that it may come from of the product over its parts: each of its
    names is kept or new; its box does one of ``_MODES`` as a whole; its normal box is kept or is its new box.
    """

    before: Tensor  # (M, K, FIELDS) the table before
    gone: Tensor  # (M, K, 2) where the boxes were at the last event with a button, gone as far as the pointer since
    grown: Tensor  # (M, K, 2, STEPS) their sizes then, grown as far in whole steps
    origin: Tensor  # (M, K, K) which old row each row comes from, log probabilities
    fresh: Tensor  # (M, K, 7) whether a name, or a side of a box that is free, is new, probabilities
    mode: Tensor  # (M, K, MODES) log probabilities
    step: Tensor  # (M, K, 2, STEPS) by which steps width and height grow, probabilities
    settled: Tensor  # (M, K) whether the normal box is the box, probabilities
    new: Tensor  # (M, K, 7, CLASSES) new values of names and sides, probabilities

    def log_likelihood(self, table: Tensor) -> Tensor:
        """Returns the log likelihood of each row of the tables (M, K, FIELDS), float32 (M, K)."""
        old, row = self.before[:, None], table[:, :, None]  # of every row (axis 1) from every old row (axis 2)
        name, box, normal = row.split([_NAMES, _SIDES, _SIDES], -1)
        _, old_box, old_normal = old.split([_NAMES, _SIDES, _SIDES], -1)
        (place, size), (old_place, old_size) = box.split(2, -1), old_box.split(2, -1)
        drawn = self.fresh * self.new.gather(-1, table[..., : _NAMES + _SIDES, None])[..., 0]  # (M, K, 7)
        same = row[..., : _NAMES + _SIDES] == old[..., : _NAMES + _SIDES]
        either = (drawn[:, :, None] + (1 - self.fresh)[:, :, None] * same + 1e-9).log()  # (M, K, K, 7)
        grown = (self.step[:, :, None] * (size[..., None] == self.grown[:, None])).sum(-1)  # (M, K, K, 2)
        possible = torch.stack([
            _log(box == old_box),
            _log(torch.cat([place == self.gone[:, None], size == old_size], -1)),
            _log(place == old_place) + (grown + 1e-9).log().sum(-1),
            _log(box == old_normal),
            either[..., _NAMES:].sum(-1),
        ], -1)  # as in _MODES  # fmt: skip
        boxed = (possible + self.mode[:, :, None]).logsumexp(-1)
        goes_back = (1 - self.settled)[:, :, None] * (normal == old_normal).all(-1)
        settled = goes_back + (self.settled * (normal == box)[..., 0, :].all(-1))[:, :, None]
        shown = boxed + either[..., 1:_NAMES].sum(-1) + (settled + 1e-6).log()
        each = either[..., 0] + shown.where(name[..., 0] > 0, 0.0)  # of an absent window there is no more to say
        return (self.origin + each).logsumexp(-1)

    @torch.no_grad()
    def table(self) -> Tensor:
        """Returns the likeliest table in which no window is twice, of those whose rows are in ``rows``."""
        rows, k = self.rows(), torch.arange(self.before.shape[1], device=self.before.device)
        at_once = TableOdds(**{name: odds.repeat_interleave(len(k), 0) for name, odds in vars(self).items()})
        each = at_once.log_likelihood(rows.transpose(1, 2).flatten(0, 1))  # one call instead of one per old row
        each = each.view(-1, len(k), len(k)).transpose(1, 2)  # (M, K, K)
        ways = torch.cartesian_prod(*[k] * len(k))  # (W, K) which old row each row comes from
        tables = rows[:, k, ways]  # (M, W, K, FIELDS)
        name = torch.where(tables[..., 0] > 0, tables[..., 1] * CLASSES + tables[..., 2], -1 - k)  # (M, W, K)
        twice = (name[..., None] == name[..., None, :]).sum((-1, -2)) > len(k)
        best = (each[:, k, ways].sum(-1) + _TWICE * twice).argmax(-1)
        return tables[torch.arange(len(tables), device=k.device), best]

    def rows(self) -> Tensor:
        """Returns of each row the likeliest value of each part if it comes from each old row, (M, K, K, FIELDS)."""
        old = self.before[:, None].expand(-1, self.before.shape[1], -1, -1)
        kept, normal = old[..., : _NAMES + _SIDES], old[..., _NAMES + _SIDES :]
        new, fresh = self.new[:, :, None], self.fresh[:, :, None]
        top, value = new.max(-1)  # (M, K, 1, 7)
        again = new.expand(*kept.shape, -1).gather(-1, kept[..., None])[..., 0]
        name, free = torch.where(fresh * top > 1 - fresh + fresh * again, value, kept).split([_NAMES, _SIDES], -1)
        box = kept[..., _NAMES:]
        place, size = box.split(2, -1)
        by = self.step.argmax(-1)[:, :, None, :, None].expand(*size.shape, 1)
        grown = self.grown[:, None].expand(*size.shape, -1).gather(-1, by)[..., 0]
        along = torch.cat([self.gone[:, None].expand_as(size), size], -1)
        boxes = torch.stack([box, along, torch.cat([place, grown], -1), normal, free], -2)  # (M, K, K, MODES, 4)
        agreed = (boxes[..., None, :] == boxes[..., None, :, :]).all(-1)  # modes that come to the same box
        best = (agreed * self.mode.exp()[:, :, None, None]).sum(-1).argmax(-1)
        box = boxes.gather(-2, best[..., None, None].expand(*best.shape, 1, _SIDES))[..., 0, :]
        normal = torch.where(self.settled[:, :, None, None] > 0.5, box, normal)
        return torch.cat([name, box, normal], -1).where(name[..., :1] > 0, 0)


def _log(right: Tensor) -> Tensor:
    """Returns 0 where all of (..., n) is right and -inf elsewhere."""
    return torch.zeros(right.shape[:-1], device=right.device).masked_fill(~right.all(-1), -torch.inf)


class TableHead(nn.Module):
    """Reads the table after an event off h_t and the windows before it."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.rows, said = config.windows, _NAMES + _SIDES
        self.parts = [self.rows, said, len(_MODES), 2 * len(_STEPS), 1]  # as ``TableOdds`` has them
        self.new = nn.Linear(config.width, self.rows * said * CLASSES)
        self.source = nn.Linear(config.width, self.rows * sum(self.parts))
        self.window = WindowReader()
        self.ask = nn.Linear(config.width, self.rows * _WINDOW_WIDTH, bias=False)  # which window, by what it is like
        for layer in (self.new, self.source):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.ask.weight)
        origin, fresh, mode, _, settled = self.source.bias.data.view(self.rows, -1).split(self.parts, -1)
        origin += _KEPT * torch.eye(self.rows)
        mode[:, 0] += _KEPT
        fresh -= _KEPT
        settled -= _KEPT

    def forward(self, h: Tensor, table: Tensor, pointer: Tensor, held: Tensor, since: Tensor) -> TableOdds:
        """Returns how likely each table after the event is.

        Args:
            h: (M, d).
            table: before the event, (M, K, FIELDS).
            pointer: its column and row after the event, (M, 2).
            held: the boxes when a button did something last, (M, K, 4).
            since: columns and rows by which the pointer moved since then, (M, 2).
        """
        each = self.source(h).float().unflatten(-1, (self.rows, -1))
        origin, fresh, mode, step, settled = each.split(self.parts, -1)
        origin = origin + (self.ask(h).unflatten(-1, (self.rows, -1)) @ self.window(table, pointer).mT).float()
        steps = torch.tensor(_STEPS, device=h.device)
        went = since[:, None, :, None].div(steps, rounding_mode="trunc") * steps  # (M, 1, 2, STEPS)
        return TableOdds(
            before=table,
            gone=(held[..., :2] + since[:, None]).clamp(0, CLASSES - 1),
            grown=(held[..., 2:, None] + went).clamp(0, CLASSES - 1),
            origin=origin.log_softmax(-1),
            fresh=fresh.sigmoid(),
            mode=mode.log_softmax(-1),
            step=step.unflatten(-1, (2, -1)).softmax(-1),
            settled=settled[..., 0].sigmoid(),
            new=self.new(h).float().unflatten(-1, (self.rows, -1, CLASSES)).softmax(-1),
        )

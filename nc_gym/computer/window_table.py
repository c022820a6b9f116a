"""The window table of a computer with a pointer: what it knows of the open windows, apart from how they look.

Which window comes to the front when another is closed, or which one a click raises, is one choice that hundreds of
tiles must share. So the event log makes it: it reads the table before an event and h_t says the table after it, which
the scout, the painter and the denoiser are told. Learned from the window lists of recordings; in its closed loop the
computer reads what it said itself. A table is int64 (K, FIELDS), one window per row, from the top of the stack down.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

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
_NAMES, _SIDES = 3, 4  # fields: names first, then the box, then the normal box
BOXES = slice(_NAMES, _NAMES + _SIDES)
_HIDDEN = 1  # the highest state of a window that is not on the screen
# Fields, right and bottom, the sides as seen from the pointer, its place, near sides, whether it is on the window:
_SEEN = len(FIELDS) + 2 + 4 + 2 + 4 + 1
_NEAR = 12  # those that are fewer tiles away, as what a click hits is decided there; what is farther is all alike
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


class WindowReader(nn.Module):
    """Turns each window of a table and where the pointer lies from it into one vector."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.config = config
        self.value = nn.Embedding(_SEEN * CLASSES, _CLASS_WIDTH)
        self.up = nn.Linear(_SEEN * _CLASS_WIDTH, _WINDOW_WIDTH)
        nn.init.normal_(self.value.weight, std=0.5)

    def forward(self, table: Tensor, pointer: Tensor) -> Tensor:
        """Maps tables (..., K, FIELDS) and the pointer's columns and rows (..., 2) to (..., K, w)."""
        at = pointer[..., None, :].expand(*table.shape[:-1], 2)
        near = table[..., _NAMES : _NAMES + 2]
        far = near + table[..., _NAMES + 2 : _NAMES + _SIDES]
        away = torch.cat([at, at], -1) + EDGE - torch.cat([near, far], -1)
        close = away.clamp(-_NEAR, _NEAR) + _NEAR
        hit = hits(table, pointer, self.config)[..., None]
        seen = torch.cat([table, far, away + EDGE, at, close, hit], -1).clamp(0, CLASSES - 1)
        number = seen.where(table[..., :1] > 0, 0) + torch.arange(_SEEN, device=seen.device) * CLASSES
        return F.gelu(self.up(self.value(number).flatten(-2)), approximate="tanh")


class TableReader(WindowReader):
    """Turns a table and where the pointer lies from its windows into one vector, 0 at first."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__(config)
        self.down = nn.Linear(config.windows * _WINDOW_WIDTH, config.width, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, table: Tensor, pointer: Tensor) -> Tensor:
        """Maps tables (..., K, FIELDS) and the pointer's columns and rows (..., 2) to (..., d)."""
        return self.down(super().forward(table, pointer).flatten(-2))


@dataclass
class TableOdds:
    """How likely each table after an event is, for M events: every row is an old row, kept or changed.

    A table's likelihood is the sum over the ways in which its rows may come from old rows of the product over rows and
    their parts: each name is kept or new; the box does one of ``_MODES`` as a whole; the normal box is kept or is the
    new box.
    """

    before: Tensor  # (M, K, FIELDS) the table before
    gone: Tensor  # (M, K, 2) where the boxes were at the last event with a button, gone as far as the pointer since
    grown: Tensor  # (M, K, 2, STEPS) their sizes then, grown as far in whole steps
    way: Tensor  # (M, W) which old row each row comes from, as in ``_ways``, log probabilities
    fresh: Tensor  # (M, K, 7) whether a name, or a side of a box that is free, is new, probabilities
    mode: Tensor  # (M, K, MODES) log probabilities
    step: Tensor  # (M, K, 2, STEPS) by which steps width and height grow, probabilities
    settled: Tensor  # (M, K) whether the normal box is the box, probabilities
    new: Tensor  # (M, K, 7, CLASSES) new values of names and sides, probabilities

    def log_likelihood(self, table: Tensor) -> Tensor:
        """Returns the log likelihood of the tables (M, K, FIELDS), float32 (M,)."""
        return (self.way + _of_ways(self.of_origins(table[:, :, None]))).logsumexp(-1)

    def of_origins(self, row: Tensor) -> Tensor:
        """Returns how likely each row (axis 1) is if it comes from each old row (axis 2), log likelihoods.

        Args:
            row: its values, the same for all origins, (M, K, 1, FIELDS), or other ones for each, (M, K, K, FIELDS).
        """
        old = self.before[:, None]
        name, box, normal = row.split([_NAMES, _SIDES, _SIDES], -1)
        _, old_box, old_normal = old.split([_NAMES, _SIDES, _SIDES], -1)
        (place, size), (old_place, old_size) = box.split(2, -1), old_box.split(2, -1)
        said, fresh = row[..., : _NAMES + _SIDES], self.fresh[:, :, None]
        drawn = fresh * self.new[:, :, None].expand(*said.shape, -1).gather(-1, said[..., None])[..., 0]
        either = (drawn + (1 - fresh) * (said == old[..., : _NAMES + _SIDES]) + 1e-9).log()  # (M, K, K, 7)
        grown = (self.step[:, :, None] * (size[..., None] == self.grown[:, None])).sum(-1)  # (M, K, K, 2)
        possible = torch.stack([
            _log(box == old_box),
            _log(torch.cat([place == self.gone[:, None], size == old_size], -1)),
            _log(place == old_place) + (grown + 1e-9).log().sum(-1),
            _log(box == old_normal),
            either[..., _NAMES:].sum(-1),
        ], -1)  # as in _MODES  # fmt: skip
        boxed = (possible + self.mode[:, :, None]).logsumexp(-1)
        settled = self.settled[:, :, None]
        settled = (1 - settled) * (normal == old_normal).all(-1) + settled * (normal == box).all(-1)
        shown = boxed + either[..., 1:_NAMES].sum(-1) + (settled + 1e-6).log()
        return either[..., 0] + shown.where(name[..., 0] > 0, 0.0)  # of an absent window there is no more to say

    @torch.no_grad()
    def table(self) -> Tensor:
        """Returns the likeliest table in which no window is twice, of those whose rows are in ``rows``.

        Tasks that were numbered from 0 without a gap still are: when one ends, those behind it move up.
        """
        rows, k = self.rows(), self.before.shape[1]
        total = self.way + _of_ways(self.of_origins(rows))
        ways, number = _ways(k).to(rows.device), torch.arange(k, device=rows.device)
        first = (rows[:, :, :, None] == rows[:, :, None]).all(-1).int().argmax(-1)  # (M, K, K) of those that are alike
        alike = (first[:, number, ways] * k ** number.flip(0)).sum(-1)  # (M, W) the first way to the same table
        odds = (total - total.max(-1, keepdim=True).values).exp()
        odds = torch.zeros_like(odds).scatter_add(1, alike, odds)
        tables = rows[:, number, ways]  # (M, W, K, FIELDS)
        name = torch.where(tables[..., 0] > 0, tables[..., 1] * CLASSES + tables[..., 2], -1 - number)  # (M, W, K)
        twice = (name[..., None] == name[..., None, :]).sum((-1, -2)) > k
        best = (odds.clamp(min=1e-30).log() + _TWICE * twice).argmax(-1)
        table = tables[torch.arange(len(tables), device=rows.device), best]
        gapless = (_numbered(self.before) == self.before).flatten(1).all(1)
        return torch.where(gapless[:, None, None], _numbered(table), table)

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


def _numbered(table: Tensor) -> Tensor:
    """Returns tables (M, K, FIELDS) whose tasks are numbered from 0 in the order that they have."""
    there, task = table[..., 0] > 0, table[..., 2]
    earlier = (there[:, None] & (task[:, None] < task[..., None])).sum(-1)
    return torch.cat([table[..., :2], earlier.where(there, task)[..., None], table[..., 3:]], -1)


@functools.cache
def _ways(rows: int) -> Tensor:
    """Returns all ways in which rows may come from old rows, (W, K): the number of each row's old row."""
    with torch.inference_mode(False):  # it is kept, and training may need it too
        return torch.cartesian_prod(*[torch.arange(rows)] * rows).view(-1, rows)


def _of_ways(origins: Tensor) -> Tensor:
    """Sums what speaks for each row's origin (M, K, K) up for each of the ways: (M, W)."""
    chosen = F.one_hot(_ways(origins.shape[1]), origins.shape[1]).flatten(1).to(origins)  # (W, K * K)
    return origins.flatten(1) @ chosen.T


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
        self.window = WindowReader(config)
        self.ask = nn.Linear(config.width, self.rows * _WINDOW_WIDTH, bias=False)  # which window, by what it is like
        self.way = nn.Linear(config.width, self.rows**self.rows)  # what the rows together speak for
        for layer in (self.new, self.source, self.way):
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
            way=(self.way(h).float() + _of_ways(origin)).log_softmax(-1),
            fresh=fresh.sigmoid(),
            mode=mode.log_softmax(-1),
            step=step.unflatten(-1, (2, -1)).softmax(-1),
            settled=settled[..., 0].sigmoid(),
            new=self.new(h).float().unflatten(-1, (self.rows, -1, CLASSES)).softmax(-1),
        )
